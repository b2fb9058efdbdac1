"""Beyond Tamm-Dancoff: pairs that are made and pairs that are taken away, against dense matrices, laws and the response of
charges to a field, on cells of two atoms and a few k points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import hamiltonians, optics, results
from jaxepi.errors import InputError
from jaxepi.optics import lanczos
from jaxepi.optics.bethe_salpeter import Screening, chebyshev, exciton_spectrum, excitons, lowest
from jaxepi.optics.bethe_salpeter.pairs import Pairs, product
from jaxepi.optics.bethe_salpeter.setup import Setup
from jaxepi.optics.bethe_salpeter.spectrum import run
from jaxepi.structure import Structure
from jaxepi.tree import replace

A = 5.431
CELL = Structure.create([[0.0, 0, 0], [A / 4, A / 4, A / 4]], A / 2 * (1 - np.eye(3)), [14, 14])
MOVED = CELL.with_positions(CELL.positions + jnp.array([[0.0, 0, 0], [0.1, -0.05, 0.2]]))
HAMILTONIAN = hamiltonians.load("si-vogl1983")
GRAPH = HAMILTONIAN.graph(CELL)
STRONG = Screening(4.0, 4.0, 0.5)
ENERGIES = np.linspace(2.0, 8.0, 61)


def given(shift=(0.3, 0.1, 0.2), halved=False, mesh=(2, 2, 2), valence=2, conduction=3, interaction=STRONG):
    setup = Setup.of(HAMILTONIAN, MOVED, mesh, valence, conduction, [[1, 2, 0]], shift, "float64", halved)
    return setup.pairs(HAMILTONIAN, MOVED, GRAPH, interaction, True, optics.EnergyGrid(0.05, 600))[0]


@pytest.fixture(scope="module")
def pairs() -> Pairs:
    return given()


def dense(pairs):
    """A and B of [[A, B], [-B*, -A*]], written out from their definition with sums over k and R."""
    d_c, d_v = np.asarray(pairs.electrons), np.asarray(pairs.holes)
    points, c, v = len(d_c), d_c.shape[2], d_v.shape[2]
    atoms, cells = np.array(pairs.atoms), np.array(list(np.ndindex(*pairs.mesh)))
    phase = np.exp(2j * np.pi * (cells / np.array(pairs.mesh)) @ cells.T)
    w, fields = (np.asarray(x)[atoms][:, atoms] for x in (pairs.attraction, pairs.exchange))
    between = np.einsum("kr,qr,ijr->kqij", phase.conj(), phase, w) / points
    made, taken = np.einsum("kic,kjv->kcvij", d_c, d_v.conj()), np.einsum("kiv,kjc->kcvij", d_v, d_c.conj())
    blocks = []
    for to in (made, taken):
        block = -np.einsum("kcvij,kqij,qduij->kcvqdu", made.conj(), between, to)
        block += np.einsum("kcvii,ij,qdujj->kcvqdu", made.conj(), fields / points, to)
        blocks.append(block.reshape(points * c * v, -1))
    gaps = np.zeros((points, c, v, points, c, v), complex)
    for k in range(points):
        gaps[k, :, :, k] += np.einsum("cd,uv->cvdu", np.asarray(pairs.upper)[k], np.eye(v))
        gaps[k, :, :, k] -= np.einsum("cd,uv->cvdu", np.eye(c), np.asarray(pairs.lower)[k])
    return blocks[0] + gaps.reshape(blocks[0].shape), blocks[1]


def lines(energies, weights):
    """eps2 but for its scale, in Gaussians of 0.1 eV."""
    return np.exp(-0.5 * ((ENERGIES[:, None] - energies) / 0.1) ** 2) @ weights


def from_dense(a, b, r):
    """Energies and squared dipoles of the whole problem: left and right vectors of a matrix that is not Hermitian."""
    values, right = np.linalg.eig(np.block([[a, b], [-b.conj(), -a.conj()]]))
    both = np.concatenate([r, r.conj()])
    source = np.linalg.solve(right, np.concatenate([r, -r.conj()]))
    weights = (both.conj() @ right) * source
    up = values.real > 0
    return values, values[up].real, weights[up].real


def alone(pairs, r):
    """The same of independent particles."""
    upper, lower = (np.diagonal(np.asarray(e), axis1=1, axis2=2).real for e in (pairs.upper, pairs.lower))
    return (upper[:, :, None] - lower[:, None]).ravel(), np.abs(r) ** 2


def from_lanczos(pairs, steps):
    alpha, beta, norm = run(pairs, steps, lambda _: None, tamm_dancoff=False)
    squares, shares = (np.asarray(x)[0] for x in lanczos.ritz(alpha, beta))
    return np.sqrt(squares), shares / np.sqrt(squares) * float(norm[0]) ** 2


@pytest.mark.slow
def test_recursion_and_products_are_those_of_the_dense_problem(pairs):
    a, b = dense(pairs)
    np.testing.assert_allclose(a, a.conj().T, atol=1e-12)
    np.testing.assert_allclose(b, b.T, atol=1e-12)
    x = np.random.default_rng(0).normal(size=(2, *pairs.dipoles.shape[1:]))
    x = x[0] + 1j * x[1]
    for sign in (0, 1, -1):
        mine = np.asarray(product(pairs, jnp.asarray(x), sign)).ravel()
        np.testing.assert_allclose(mine, a @ x.ravel() + sign * b @ x.ravel().conj(), atol=1e-11)
    values, energies, weights = from_dense(a, b, np.asarray(pairs.dipoles[0]).ravel())
    assert np.abs(values.imag).max() < 1e-9
    np.testing.assert_allclose(np.sort(energies), np.sort(-values.real[values.real < 0]), atol=1e-9)
    expected = lines(energies, weights)
    np.testing.assert_allclose(lines(*from_lanczos(pairs, 96)), expected, atol=1e-8 * expected.max())
    # What couples is felt: Tamm-Dancoff is another spectrum.
    values, vectors = np.linalg.eigh(a)
    r = np.asarray(pairs.dipoles[0]).ravel()
    assert np.abs(lines(values, np.abs(r.conj() @ vectors) ** 2) - expected).max() > 0.01 * expected.max()
    # Moments: E eps2 is <r|A r - B r*>, eps2/E what a static field induces, <r|(A + B)^-1 r>.
    np.testing.assert_allclose(energies @ weights, np.vdot(r, a @ r - b @ r.conj()).real, rtol=1e-9)
    whole = np.block([[(a + b).real, (b - a).imag], [(a + b).imag, (a - b).real]])
    induced = np.linalg.solve(whole, np.concatenate([r.real, r.imag]))
    np.testing.assert_allclose(weights @ (1 / energies), np.concatenate([r.real, r.imag]) @ induced, rtol=1e-9)


@pytest.mark.slow
def test_the_lowest_excitons_are_those_of_the_dense_problem(pairs):
    _, energies, weights = from_dense(*dense(pairs), np.asarray(pairs.dipoles[0]).ravel())
    order = np.argsort(energies)[:4]
    whole, alone = (lowest.of_pairs(pairs, MOVED, np.zeros((8, 3)), 4, kept) for kept in (False, True))
    np.testing.assert_allclose(whole.energies, energies[order], atol=1e-8)
    np.testing.assert_allclose(8 * whole.strengths, weights[order], rtol=1e-6)
    np.testing.assert_allclose(whole.weights.sum(axis=1), 1, rtol=1e-12)
    # Coupling lowers every energy.
    assert (np.asarray(alone.energies - whole.energies) > 0.01).all()
    with pytest.raises(InputError, match="make pairs by itself"):
        lowest.of_pairs(given(interaction=Screening(1.0, 16.0, 0.5)), MOVED, np.zeros((8, 3)), 1, False)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "remedy"), [("complex64", "jax_enable_x64"), ("complex128", "ask for fewer")])
def test_what_does_not_converge_is_refused_with_what_helps(pairs, monkeypatch, dtype, remedy):
    monkeypatch.setattr(lowest, "RESIDUAL", 1e-9 if dtype == "complex64" else 1e-20)
    rounded = jax.tree.map(lambda x: x.astype(dtype if jnp.iscomplexobj(x) else np.finfo(dtype).dtype), pairs)
    with pytest.raises(InputError, match=f"have not converged .*; .*{remedy}"):
        lowest.of_pairs(rounded, MOVED, np.zeros((8, 3)), 4, False)


@pytest.mark.slow
def test_without_interaction_particles_are_independent_and_with_local_fields_alone_charges_answer_a_field(pairs):
    """The second is the random phase approximation: Dyson's equation of the charges on atoms (Adler, Wiser)."""
    free = replace(pairs, attraction=jnp.zeros_like(pairs.attraction), exchange=jnp.zeros_like(pairs.exchange))
    r = np.asarray(pairs.dipoles[0])
    gaps, squares = alone(pairs, r.ravel())
    expected = lines(gaps, squares)
    np.testing.assert_allclose(lines(*from_lanczos(free, 96)), expected, atol=1e-8 * expected.max())

    fields = replace(free, exchange=20 * pairs.exchange)
    energies, weights = from_lanczos(fields, 96)
    here = np.array(pairs.atoms)[:, None] == np.arange(2)
    charges = np.einsum("koc,kov,oi->ikcv", pairs.electrons.conj(), pairs.holes, here) / len(r) ** 0.5
    sources = np.concatenate([r[None], charges]).reshape(3, -1)
    for z in (2.0j, 1.0 + 0.5j):
        up, down = 1 / (gaps - z), 1 / (gaps + z)
        bare = np.einsum("at,t,bt->ab", sources.conj(), up, sources) + np.einsum(
            "at,t,bt->ab", sources, down, sources.conj()
        )
        v = np.asarray(fields.exchange)
        screened = bare[0, 0] - bare[0, 1:] @ v @ np.linalg.solve(np.eye(2) + bare[1:, 1:] @ v, bare[1:, 0])
        assert abs(screened / bare[0, 0] - 1) > 1e-3
        np.testing.assert_allclose((weights * 2 * energies / (energies**2 - z**2)).sum(), screened, rtol=1e-8)


@pytest.mark.slow
def test_half_a_mesh_and_real_arithmetic_give_the_whole():
    half, whole = (lines(*from_lanczos(given((0.5, 0.5, 0.5), halved), 60)) for halved in (True, False))
    np.testing.assert_allclose(half, whole, atol=1e-6 * whole.max())


@pytest.mark.slow
def test_an_attraction_that_the_gap_cannot_bear_is_refused():
    options = {"polarisations": [[1, 2, 0]], "graph": GRAPH, "tamm_dancoff": False}
    for strength in (16.0, 40.0):
        with pytest.raises(InputError, match="make pairs by itself"):
            excitons(HAMILTONIAN, MOVED, 2, Screening(1.0, strength, 0.5), 2, 3, 20, shift=(0.3, 0.1, 0.2), **options)
        with pytest.raises(InputError, match="make pairs by itself"):
            exciton_spectrum(
                HAMILTONIAN, MOVED, ENERGIES, 2, Screening(1.0, strength, 0.5), optics.Gaussian(0.5), 2, 3, 60,
                shift=(0.3, 0.1, 0.2), **options,
            )  # fmt: skip
    # A spectrum that is there: more steps than pairs, which end with zeros.
    found = excitons(HAMILTONIAN, MOVED, 2, STRONG, 2, 3, 120, shift=(0.3, 0.1, 0.2), **options)
    again = results.of_image(results.image({"excitons": found}, {}))["excitons"]
    assert not again.tamm_dancoff
    np.testing.assert_array_equal(again.transitions().histogram, found.transitions().histogram)
    # The expansion is the same spectrum, and not that of Tamm-Dancoff.
    wide, settings = optics.Gaussian(0.5), {"shift": (0.3, 0.1, 0.2), **options}
    expanded = exciton_spectrum(HAMILTONIAN, MOVED, ENERGIES, 2, STRONG, wide, 2, 3, 60, **settings)
    lines = [one.spectrum(ENERGIES, wide).eps2 for one in (found, excitons(
        HAMILTONIAN, MOVED, 2, STRONG, 2, 3, 120, **{**settings, "tamm_dancoff": True}
    ))]  # fmt: skip
    np.testing.assert_allclose(expanded.eps2, lines[0], rtol=5e-3, atol=2e-3 * np.abs(lines[0]).max())
    assert np.abs(lines[1] - lines[0]).max() > 0.02 * np.abs(lines[0]).max()
    assert np.isfinite(found.spectrum(ENERGIES, optics.Gaussian(0.1)).eps2).all()
    sums = [float(one.f_sum()[0]) for one in (found.independent, found.transitions())]
    assert 0.5 * sums[0] < sums[1] < sums[0]


@pytest.mark.slow
def test_the_expansion_is_the_dense_spectrum_and_its_derivative_is_right(pairs):
    energies, width, r = jnp.array([2.5, 3.7, 5.0]), jnp.asarray(0.5), np.asarray(pairs.dipoles[0]).ravel()

    def changes(strength):
        scaled = replace(pairs, attraction=strength * pairs.attraction)
        eps1, eps2, _, _ = chebyshev.changed(scaled, energies, width, 90, tamm_dancoff=False)
        both = jnp.concatenate([eps1, eps2])
        return both @ jnp.array([1.0, -0.5, 0.7, 1.3, 0.4, -0.9]), both

    compiled = jax.jit(jax.value_and_grad(changes, has_aux=True))
    (_, found), slope = compiled(1.0)
    near, far = ((compiled(1.0 + h)[0][0] - compiled(1.0 - h)[0][0]) / (2 * h) for h in (1e-3, 2e-3))
    np.testing.assert_allclose(slope, (4 * near - far) / 3, rtol=1e-5)
    expected = []
    for part in (chebyshev.dispersion(width), chebyshev.gaussian(width)):
        sign, total = -1.0 if expected else 1.0, []
        for e, weights in (from_dense(*dense(pairs), r)[1:], alone(pairs, r)):
            at = np.asarray(energies)[:, None]
            total.append((part(jnp.asarray(at - e)) + sign * part(jnp.asarray(-at - e))) @ weights)
        expected.append(total[0] - total[1])
    np.testing.assert_allclose(found, np.concatenate(expected), atol=1e-4 * np.abs(np.concatenate(expected)).max())


@pytest.mark.slow
def test_two_bands_without_common_orbitals_do_not_couple():
    """The two parabolic bands of Wannier's exciton: nothing beyond Tamm-Dancoff."""
    orbital = np.zeros((2, 8, 2, 1), complex)
    orbital[0, :, 0] = orbital[1, :, 1] = 1
    electrons, holes = jnp.asarray(orbital)
    w = jnp.asarray(np.random.default_rng(0).uniform(size=8)[None, None])
    energies, x = (jnp.ones((8, 1, 1), complex) for _ in range(2))
    two = Pairs(electrons, holes, energies, 0 * energies, x[None], w, None, atoms=(0, 0), mesh=(2, 2, 2), chunk=2)
    with jax.disable_jit():
        np.testing.assert_allclose(product(two, x, 1), product(two, x, -1), atol=1e-14)


@pytest.mark.slow
def test_the_sum_rule_is_that_of_the_bands_whose_exchange_is_the_attraction():
    """A chain in the field of its own W: beyond Tamm-Dancoff E eps2 has the area that hoppings without exchange give."""
    n, x = 41, np.array([0.0, 0.37])
    cells = (np.arange(n) + n // 2) % n - n // 2
    apart = cells + x[:, None, None] - x[None, :, None]
    apart -= n * np.round(apart / n)
    w = 1.5 / np.sqrt(apart**2 + 0.5)
    bare = np.zeros((2, 2, n))
    bare[0, 0, 0], bare[1, 1, 0] = 1.5, -1.5
    bare[0, 1, 0] = bare[1, 0, 0] = -1.0
    bare[1, 0, 1] = bare[0, 1, n - 1] = -0.6  # to the next cell, and back

    def of_k(matrix):
        return np.moveaxis(np.fft.fft(matrix, axis=2), 2, 0)

    density = np.zeros((2, 2, n))
    for _ in range(200):
        h = bare - w * density
        energies, states = np.linalg.eigh(of_k(h))
        taken = states[:, :, :1] @ states[:, :, :1].conj().transpose(0, 2, 1)
        density = np.fft.ifft(np.moveaxis(taken, 0, 2), axis=2)
    np.testing.assert_allclose(h, bare - w * density, atol=1e-12)
    holes, electrons = states[:, :, :1], states[:, :, 1:]
    gaps = (energies[:, 1] - energies[:, 0])[:, None, None]
    r = electrons.conj().transpose(0, 2, 1) @ of_k(-apart * h) @ holes / gaps
    upper, lower = (energies[:, i, None, None] + 0j for i in (1, 0))
    fields = np.array([[2.0, 0.7], [0.7, 3.0]])
    arrays = (jnp.asarray(a) for a in (electrons, holes, upper, lower, r[None], w, fields))
    chain = Pairs(*arrays, atoms=(0, 1), mesh=(n, 1, 1), chunk=2)

    def area(matrix):
        return -0.5 * n * (density.conj() * matrix * apart**2).sum().real

    r = jnp.asarray(r)
    independent = float((gaps * np.abs(r) ** 2).sum())
    alone, whole = (float(jnp.vdot(r, product(chain, r, sign)).real) for sign in (0, -1))
    np.testing.assert_allclose(independent, area(h), rtol=1e-6)
    np.testing.assert_allclose(whole, area(bare), rtol=1e-6)
    assert whole < 0.8 * independent
    assert abs(alone / area(bare) - 1) > 0.02
