"""States by PARDISO, with factors in single precision, against SuperLU's; what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
import small_orbitals

from jaxepi import electrons, materials
from jaxepi.electrons import pardiso, sparse
from jaxepi.electrons.bloch_products import BlochProducts
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
        b = np.cos(np.arange(90.0)).astype(h.dtype)
        np.testing.assert_allclose(shifted @ factors.solve(b), b, atol=0.05)
        found = pardiso.refined(factors.solve, lambda x, a=shifted: a @ x, 0.1)(b)
        np.testing.assert_allclose(shifted @ found, b, atol=1e-9)
        below = int((np.linalg.eigvalsh(shifted.toarray()) < 0).sum())
        assert factors.negative == (-1 if complex_ else below)
        factors.close()


def test_a_rough_inverse_is_refined_to_double_precision_or_refused():
    """Of an inverse that is right to three digits, and of one that is right to none."""
    h, s = (m.toarray() for m in symmetric(60, 2, True))
    shifted, b = h - 0.1 * s, np.cos(np.arange(60.0)).astype(complex)
    rough = np.linalg.inv(shifted) * (1 + 1e-3 * np.cos(np.arange(60.0)))
    found = pardiso.refined(lambda x: rough @ x, lambda x: shifted @ x, 0.1)(b)
    np.testing.assert_allclose(shifted @ found, b, atol=1e-10)
    with pytest.raises(InputError, match="move the energy by"):
        pardiso.refined(lambda x: -rough @ x, lambda x: shifted @ x, 0.1)(b)


def same(model, cell, k, orbitals):
    """H and S of lattice translations themselves, which are those of the Bloch sums turned atom by atom."""
    graph = model.graph(cell)
    blocks = model.blocks(cell, graph)
    sums, wave = BlochProducts(blocks, graph, cell.cell), np.array(k) @ np.asarray(cell.reciprocal)
    phases = sums.phases(np.array(k))
    h, s = sums.products(np.eye(sums.size).astype(phases.dtype), phases)
    turn = np.repeat(np.exp(1j * np.asarray(cell.positions) @ wave), orbitals)
    for ours, atomic in zip((h, s), electrons.sparse_bloch(blocks, graph, graph.vectors(cell), wave), strict=True):
        expected = np.eye(len(turn)) if atomic is None else atomic.toarray()
        np.testing.assert_allclose(ours, turn[:, None] * expected * turn.conj(), atol=1e-10)
    np.testing.assert_allclose(sums.upper(np.array(k), 0.3).toarray(), np.triu(h - 0.3 * s), atol=1e-4)
    return sums, phases


def test_products_of_lattice_translations_are_those_of_the_bloch_sums():
    """Of p_z, at a real and at a complex k."""
    material = materials.load("bilayer-graphene-AB")
    for k, kind in (([0.5, 0.0, 0.0], np.floating), ([0.1, 0.3, 0.0], np.complexfloating)):
        _, phases = same(material.hamiltonian, material.primitive, k, 1)
        assert np.issubdtype(phases.dtype, kind)


@pytest.mark.slow
def test_products_of_several_orbitals_that_overlap_are_those_of_the_bloch_sums():
    """And slopes are the change of what they are slopes of."""
    cell, k = small_orbitals.bilayer(2), np.array([0.13, 0.31, 0.0])
    sums, _ = same(small_orbitals.model(0), cell, k, 5)
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
def test_bands_of_a_twisted_bilayer_by_both_solvers(mkl, monkeypatch):
    """28 atoms and p_z orbitals: energies, velocities, and how many states lie below."""
    material = materials.load("twisted-bilayer-graphene-m1-r1")
    cell, model = material.primitive, material.hamiltonian
    k = np.array([[0.1, 0.2, 0.0], [0.5, 0.0, 0.0]])
    monkeypatch.setattr(sparse, "DENSE", 10)
    ours, theirs = (electrons.bands_near(model, cell, k, 0.8, 4, solver=name) for name in ("pardiso", "superlu"))
    np.testing.assert_allclose(ours.energies, theirs.energies, atol=1e-9)
    np.testing.assert_allclose(ours.velocities[0], theirs.velocities[0], atol=1e-6)
    exact = np.asarray(electrons.eigenvalues(model, cell, jnp.asarray(k[1:])))[0]
    assert ours.below.tolist() == [-1, int((exact < 0.8).sum())]
    assert ours.residuals.max() < 1e-8
