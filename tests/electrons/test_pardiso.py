"""States by PARDISO, with factors in single precision, against SuperLU's; what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
import small_orbitals

from jaxepi import electrons, materials
from jaxepi.electrons import pardiso
from jaxepi.electrons.bloch_products import BlochProducts
from jaxepi.electrons.lanczos import nearest
from jaxepi.errors import InputError


@pytest.fixture(scope="module")
def mkl():
    try:
        pardiso.library()
    except InputError as error:
        pytest.skip(str(error))


def symmetric(size, seed, complex_):
    """A sparse Hermitian H and a positive S."""
    rng = np.random.default_rng(seed)
    h, s = sp.diags(rng.normal(size=size)).tolil(), (2 * sp.eye(size)).tolil()
    if complex_:
        h, s = h.astype(complex), s.astype(complex)
    for away in range(1, 6):
        for target, scale in ((h, 1.0), (s, 0.15)):
            values = scale * (rng.normal(size=size) + 1j * rng.normal(size=size))[away:] / away**2
            values = values if complex_ else values.real
            target.setdiag(values, away)
            target.setdiag(values.conj(), -away)
    return h.tocsr(), s.tocsr()


def test_factors_count_states_below_and_solutions_refine_to_double_precision(mkl):
    for complex_ in (False, True):
        h, s = symmetric(90, 1, complex_)
        shifted = (h - 0.1 * s).tocsr()
        factors = pardiso.Factors(sp.triu(shifted, format="csr"))
        b = np.cos(np.arange(180.0)).reshape(90, 2).astype(h.dtype)
        found = factors.solve(b)
        np.testing.assert_allclose(shifted @ found, b, atol=0.05)
        for _ in range(8):  # refinement
            found = found + factors.solve(b - shifted @ found)
        np.testing.assert_allclose(shifted @ found, b, atol=1e-9)
        below = int((np.linalg.eigvalsh(shifted.toarray()) < 0).sum())
        assert factors.negative == (-1 if complex_ else below)
        factors.close()


def test_block_lanczos_with_a_rough_inverse_finds_states_to_double_precision():
    """The inverse is right to three digits only; the states are those of the whole spectrum, those of degenerate pairs too."""
    import scipy.linalg as sl

    h, s = (np.kron(np.eye(2), m.toarray()) for m in symmetric(60, 2, True))
    inverse = np.linalg.inv(h - 0.1 * s) * (1 + 1e-3 * np.cos(np.arange(120.0)))
    energies, vectors, residuals = nearest(lambda x: (h @ x, s @ x), lambda x: inverse @ x, 120, 0.1, 6, np.complex128)
    exact = sl.eigvalsh(h, s)
    np.testing.assert_allclose(energies, np.sort(exact[np.argsort(np.abs(exact - 0.1))[:6]]), atol=1e-10)
    np.testing.assert_allclose(vectors.conj().T @ s @ vectors, np.eye(6), atol=1e-9)
    assert residuals.max() < 1e-8


def test_products_of_lattice_translations_are_those_of_the_bloch_sums():
    """Of p_z and of one real k; the upper triangle is that of H - E S."""
    material = materials.load("bilayer-graphene-AB")
    cell, model = material.primitive, material.hamiltonian
    graph = model.graph(cell)
    blocks = model.blocks(cell, graph)
    sums = BlochProducts(blocks, graph, cell.cell)
    for k, kind in (([0.5, 0.0, 0.0], np.floating), ([0.1, 0.3, 0.0], np.complexfloating)):
        phases = sums.phases(np.array(k))
        assert np.issubdtype(phases.dtype, kind)
        h, s = sums.products(np.eye(4).astype(phases.dtype), phases)
        atomic, _ = electrons.sparse_bloch(
            blocks, graph, graph.vectors(cell), np.array(k) @ np.asarray(cell.reciprocal)
        )
        np.testing.assert_allclose(np.linalg.eigvalsh(h), np.linalg.eigvalsh(atomic.toarray()), atol=1e-10)
        triangle = sums.upper(np.array(k), 0.3).toarray()
        np.testing.assert_allclose(triangle, np.triu(h - 0.3 * s), atol=1e-5)


@pytest.mark.slow
def test_products_of_several_orbitals_that_overlap_are_those_of_the_bloch_sums():
    """H and S themselves, turned to the other gauge atom by atom, and slopes against the change of what they are slopes of."""
    model, cell = small_orbitals.model(0), small_orbitals.bilayer(2)
    graph = model.graph(cell)
    blocks = model.blocks(cell, graph)
    sums, k = BlochProducts(blocks, graph, cell.cell), np.array([0.13, 0.31, 0.0])
    wave = k @ np.asarray(cell.reciprocal)
    phases = sums.phases(k)
    h, s = sums.products(np.eye(sums.size, dtype=complex), phases)
    turn = np.repeat(np.exp(1j * np.asarray(cell.positions) @ wave), sums.size // len(cell))
    for ours, atomic in zip((h, s), electrons.sparse_bloch(blocks, graph, graph.vectors(cell), wave), strict=True):
        np.testing.assert_allclose(ours, turn[:, None] * atomic.toarray() * turn.conj(), atol=1e-10)
    np.testing.assert_allclose(sums.upper(k, 0.3).toarray(), np.triu(h - 0.3 * s), atol=1e-4)
    rng = np.random.default_rng(0)
    c, energies = rng.normal(size=(2, sums.size, 3)), np.array([0.2, -0.4, 1.1])
    c = c[0] + 1j * c[1]
    found = sums.slopes(k, energies, c)
    for axis in range(2):
        step = np.zeros(3)
        step[axis] = 1e-5
        values = []
        for sign in (1, -1):
            at = k + sign * step @ np.linalg.inv(np.asarray(cell.reciprocal))
            x, y = sums.products(c, sums.phases(at))
            values.append(np.einsum("nm,nm->m", c.conj(), x - y * energies).real)
        np.testing.assert_allclose(found[:, axis], (values[0] - values[1]) / 2e-5, rtol=1e-6, atol=1e-5)


def test_a_solver_that_is_unknown_or_not_installed_is_refused(monkeypatch):
    material = materials.load("bilayer-graphene-AB")
    with pytest.raises(InputError, match="choose one of superlu, pardiso"):
        electrons.bands_near(material.hamiltonian, material.primitive, [[0, 0, 0]], 0.8, 2, solver="umfpack")
    monkeypatch.setattr(pardiso, "NAMES", ("libnone_rt.so",))
    with pytest.raises(InputError, match=r"pip install 'jaxepi\[mkl\]'"):
        pardiso.library.__wrapped__()


@pytest.mark.slow
def test_bands_of_a_twisted_bilayer_by_both_solvers(mkl):
    """28 atoms and p_z orbitals: energies, velocities, and how many states lie below."""
    material = materials.load("twisted-bilayer-graphene-m1-r1")
    cell, model = material.primitive, material.hamiltonian
    k = np.array([[0.1, 0.2, 0.0], [0.5, 0.0, 0.0]])
    ours, theirs = (electrons.bands_near(model, cell, k, 0.8, 4, solver=name) for name in ("pardiso", "superlu"))
    np.testing.assert_allclose(ours.energies, theirs.energies, atol=1e-9)
    np.testing.assert_allclose(ours.velocities[0], theirs.velocities[0], atol=1e-6)
    exact = np.asarray(electrons.eigenvalues(model, cell, jnp.asarray(k[1:])))[0]
    assert ours.below.tolist() == [-1, int((exact < 0.8).sum())]
    assert ours.residuals.max() < 1e-8
