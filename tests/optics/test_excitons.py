"""Electrons and holes that attract each other: against dense matrices and laws, on cells of two atoms and a few k points."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxepi import hamiltonians, kpoints, optics, units
from jaxepi.errors import InputError
from jaxepi.optics import lanczos
from jaxepi.optics.bethe_salpeter import Keldysh, ModelDielectric, Screening, excitons, interaction
from jaxepi.optics.bethe_salpeter import pairs as pairs_module
from jaxepi.optics.bethe_salpeter.pairs import product
from jaxepi.optics.bethe_salpeter.setup import Setup, at_rest
from jaxepi.optics.bethe_salpeter.spectrum import run
from jaxepi.structure import Structure
from jaxepi.tree import astype

A = 5.431
CELL = Structure.create([[0.0, 0, 0], [A / 4, A / 4, A / 4]], A / 2 * (1 - np.eye(3)), [14, 14])
HAMILTONIAN = hamiltonians.load("si-vogl1983")
GRAPH = HAMILTONIAN.graph(CELL)
MESH = (2, 3, 2)
ENERGIES = jnp.linspace(2.0, 8.0, 61)
WIDE = optics.Gaussian(0.1)
MOVED = CELL.with_positions(CELL.positions + jnp.array([[0.0, 0, 0], [0.1, -0.05, 0.2]]))
GRID = optics.EnergyGrid(0.05, 600)


@pytest.fixture(scope="module")
def pairs():
    setup = Setup.of(HAMILTONIAN, MOVED, MESH, 3, 4, None, (0.3, 0.1, 0.2), "float64")
    return setup.pairs(HAMILTONIAN, MOVED, GRAPH, Screening(11.7, 2.0, 0.5), True, GRID)[0]


def dense(pairs):
    """The matrix, written out from its definition with sums over k and R."""
    d_c, d_v = np.asarray(pairs.electrons), np.asarray(pairs.holes)
    points, _, c = d_c.shape
    v = d_v.shape[2]
    atoms = np.array(pairs.atoms)
    cells = np.array(list(np.ndindex(*pairs.mesh)))
    phase = np.exp(2j * np.pi * (cells / np.array(pairs.mesh)) @ cells.T)  # (k, R), k without its shift
    w = np.asarray(pairs.attraction)[atoms][:, atoms]
    h = np.zeros((points, c, v, points, c, v), complex)
    for k in range(points):
        h[k, :, :, k] += np.einsum("cd,uv->cvdu", np.asarray(pairs.upper)[k], np.eye(v))
        h[k, :, :, k] -= np.einsum("cd,uv->cvdu", np.eye(c), np.asarray(pairs.lower)[k])
        for q in range(points):
            between = (phase[k].conj() * phase[q] * w).sum(-1) / points
            h[k, :, :, q] -= np.einsum("ic,jv,ij,id,ju->cvdu", d_c[k].conj(), d_v[k], between, d_c[q], d_v[q].conj())
            fields = np.asarray(pairs.exchange)[atoms][:, atoms] / points
            h[k, :, :, q] += np.einsum("ic,iv,ij,jd,ju->cvdu", d_c[k].conj(), d_v[k], fields, d_c[q], d_v[q].conj())
    return h.reshape(points * c * v, -1)


@pytest.mark.slow
def test_the_product_is_that_of_the_matrix_and_hermitian(pairs):
    h = dense(pairs)
    np.testing.assert_allclose(h, h.conj().T, atol=1e-12)
    x = np.random.default_rng(0).normal(size=(2, *pairs.dipoles.shape[1:]))
    x = jnp.asarray(x[0] + 1j * x[1])
    np.testing.assert_allclose(np.asarray(product(pairs, x)).ravel(), h @ np.asarray(x).ravel(), atol=1e-11)


@pytest.mark.slow
def test_lanczos_is_the_dense_spectrum(pairs):
    values, vectors = np.linalg.eigh(dense(pairs))
    r = np.asarray(pairs.dipoles).reshape(3, -1)
    weights = np.abs(r.conj() @ vectors) ** 2
    lines = np.exp(-0.5 * ((np.asarray(ENERGIES)[:, None] - values) / 0.1) ** 2)
    alpha, beta, norm = run(pairs, 144, lambda _: None)
    found, shares = (np.asarray(x) for x in lanczos.ritz(alpha, beta))
    mine = np.exp(-0.5 * ((np.asarray(ENERGIES)[None, :, None] - found[:, None]) / 0.1) ** 2)
    mine = np.einsum("pwm,pm,p->pw", mine, shares, np.asarray(norm) ** 2)
    expected = weights @ lines.T
    np.testing.assert_allclose(mine, expected, atol=1e-8 * expected.max())


@pytest.mark.slow
@pytest.mark.parametrize(("shift", "few"), [((0.0, 0.0, 0.0), 8), ((0.5, 0.5, 0.5), 6)])
def test_half_a_mesh_and_real_arithmetic_give_the_whole(shift, few):
    spectra = []
    for halved, kept in ((False, 12), (True, few)):  # without a shift four points are their own images
        setup = Setup.of(HAMILTONIAN, CELL, MESH, 3, 4, [[1, 2, 0]], shift, "float64", halved)
        assert len(setup.points) == kept
        here, parts = setup.pairs(HAMILTONIAN, MOVED, GRAPH, Screening(11.7, 2.0, 0.5), True, GRID)
        alpha, beta, norm = run(here, 60, lambda _: None)
        energies, weights = (np.asarray(x)[0] for x in lanczos.ritz(alpha, beta))
        line = np.exp(-0.5 * ((np.asarray(ENERGIES)[:, None] - energies) / 0.3) ** 2) @ weights
        spectra.append((line * float(norm[0]) ** 2, *parts[:2]))
    for half, whole in zip(*spectra, strict=True):
        np.testing.assert_allclose(half, whole, atol=1e-6 * np.max(whole))


@pytest.mark.slow
def test_without_attraction_particles_are_independent():
    none = Screening(jnp.inf, 0.0)
    found = excitons(HAMILTONIAN, CELL, MESH, none, 3, 4, 160, exchange=False, shift=(0.3, 0.1, 0.2), graph=GRAPH)
    ours = found.spectrum(ENERGIES, WIDE).eps2
    theirs = found.independent.spectrum(ENERGIES, WIDE).eps2
    np.testing.assert_allclose(ours, theirs, atol=1e-8 * float(theirs.max()))
    points = kpoints.mesh(MESH, (0.3, 0.1, 0.2), time_reversal=False)
    usual = optics.transitions(HAMILTONIAN, at_rest(CELL), points, graph=GRAPH, tensor=False)
    np.testing.assert_allclose(found.independent.histogram, usual.histogram, atol=1e-10)
    assert found.convergence(ENERGIES, WIDE) < 1e-6
    with pytest.raises(InputError, match="steps 161: the recursion took 160"):
        found.transitions(161)


@pytest.mark.slow
def test_single_precision_changes_less_than_is_said(pairs):
    def lines(held):
        alpha, beta, norm = run(held, 144, lambda _: None)
        energies, weights = (np.asarray(x) for x in lanczos.ritz(alpha, beta))
        shapes = np.exp(-0.5 * ((np.asarray(ENERGIES)[None, :, None] - energies[:, None]) / 0.1) ** 2)
        return np.einsum("pwm,pm,p->pw", shapes, weights, np.asarray(norm) ** 2)

    double, single = lines(pairs), lines(astype(pairs, "float32"))
    assert 0 < np.abs(single - double).max() < 1e-4 * double.max()


def test_overlapping_orbitals_are_made_orthonormal_symmetrically():
    a, b = np.random.default_rng(1).normal(size=(2, 6, 6))
    s = jnp.asarray(np.eye(6) + 0.05 * (a + 1j * b) @ (a + 1j * b).conj().T)
    turn = pairs_module._loewdin(s)
    np.testing.assert_allclose(turn @ turn.conj().T, np.eye(6), atol=1e-12)
    # States c after Cholesky's L: S^(1/2) c is what the turned ones are.
    c = np.linalg.inv(np.linalg.cholesky(np.asarray(s))).conj().T
    np.testing.assert_allclose(turn, scipy.linalg.sqrtm(np.asarray(s)) @ c, atol=1e-12)


def test_a_layer_screens_by_struve_and_neumann():
    from scipy.special import struve, y0

    x = np.array([0.01, 0.3, 2.0, 20.0])
    np.testing.assert_allclose(interaction.struve_minus_neumann(jnp.asarray(x)), struve(0, x) - y0(x), rtol=1e-9)
    far = Keldysh(5.0, 2.0).potential(jnp.array([1e4]))
    np.testing.assert_allclose(far, units.COULOMB / 2e4, rtol=1e-5)


def test_a_model_dielectric_function_screens_as_its_transform():
    from scipy.integrate import quad

    eps0, density = 11.7, 0.2
    model, bohr = ModelDielectric(eps0, density), units.HBAR2_PER_ELECTRON_MASS / units.COULOMB

    def inverse(q):
        """1/eps(q) from its definition."""
        thomas_fermi = 4 * (3 * np.pi**2 * density) ** (1 / 3) / (np.pi * bohr)
        plasma = 4 * np.pi * units.COULOMB * units.HBAR2_PER_ELECTRON_MASS * density
        fourth = (0.5 * units.HBAR2_PER_ELECTRON_MASS * q**2) ** 2 / plasma
        return 1 / (1 + 1 / (1 / (eps0 - 1) + 1.563 * q**2 / thomas_fermi + fourth))

    def transformed(r):
        """The bare part apart: 1/eps - 1 falls as q^-4."""
        rest = quad(lambda q: (inverse(q) - 1) * np.sinc(q * r / np.pi), 0, 200, limit=2000)[0]
        return units.COULOMB * (1 / r + 2 / np.pi * rest)

    for r in (0.3, 1.0, 2.35, 6.0):
        np.testing.assert_allclose(model.potential(jnp.array(r)), transformed(r), rtol=1e-6)
    width = units.COULOMB / (10 * np.sqrt(np.pi))
    onsite = 2 * units.COULOMB / np.pi * quad(lambda q: np.exp(-((q * width) ** 2)) * inverse(q), 0, 12)[0]
    np.testing.assert_allclose(model.onsite, onsite, rtol=1e-8)
    assert model.potential(jnp.array(1e3)) * 1e3 * eps0 / units.COULOMB == pytest.approx(1, rel=1e-9)


def test_bare_charges_have_the_madelung_constant():
    salt = Structure.create([[0.0, 0, 0], [2.82, 0, 0]], 2.82 * (1 - np.eye(3)), [11, 17])
    v = interaction.exchange_table(salt, 0.0)
    np.testing.assert_allclose((v[0, 1] - v[0, 0]) * 2.82 / units.COULOMB, 1.747564594633, rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"interaction": Screening(0.9)}, "eps0 0.9"),
        ({"interaction": ModelDielectric(1.0, 0.2)}, "needs more than 1"),
        ({"interaction": ModelDielectric(11.7, 9.0)}, "density 9 .*0.2 for silicon"),
        ({"memory_gb": 1e-4}, "GB of working memory .*fewer bands or k points"),
        ({"valence": 9}, "this cell has 4"),
        ({"precision": "half"}, "float64 or float32"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    args = {"kmesh": 2, "interaction": Screening(11.7)} | options
    with pytest.raises(InputError, match=words):
        excitons(HAMILTONIAN, CELL, graph=GRAPH, **args)


@pytest.mark.slow
def test_a_metal_is_refused():
    graphite = hamiltonians.load("graphene-trambly2010")
    layer = Structure.create(
        [[0.0, 0, 5], [0, 2.456 / 3**0.5, 5]],
        [[2.456, 0, 0], [-1.228, 2.127, 0], [0, 0, 10]],
        [6, 6],
        (True, True, False),
    )
    with pytest.raises(InputError, match="a metal"):
        excitons(graphite, layer, (3, 3, 1), Keldysh(5.0))

    def compiled(radius):
        screening, wide = Keldysh(radius), optics.Gaussian(2.0)
        return optics.exciton_spectrum(graphite, layer, [2.0], (3, 3, 1), screening, wide, moments_count=60).eps2.sum()

    assert np.isnan(jax.jit(compiled)(5.0))


@pytest.mark.slow
def test_an_attraction_that_the_gap_cannot_bear_is_refused():
    with pytest.raises(InputError, match=r"the lowest pair's energy is -"):
        excitons(HAMILTONIAN, CELL, 2, Screening(1.0, 25.0), steps=30, polarisations=[[1, 0, 0]], graph=GRAPH)


def test_lines_that_are_no_gaussians_are_not_expanded():
    with pytest.raises(InputError, match=r"Lorentzian lines.*optics\.excitons takes any"):
        optics.exciton_spectrum(HAMILTONIAN, CELL, [3.4], 2, Screening(11.7), optics.Lorentzian(0.5))
