"""Position matrix elements from tables of overlaps: against sums over a grid, their laws, and the velocity they make exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.units import Bohr
from scipy.spatial.transform import Rotation
from scipy.special import spherical_jn

from jaxepi.datasets.overlap import DEGREE, OverlapFunctions, entries, shell_functions
from jaxepi.graph import build_graph
from jaxepi.hamiltonians import Basis, Blocks, Hamiltonian, e3, positions
from jaxepi.hamiltonians.bloch import bloch_matrices
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.optics.momentum import orthonormal
from jaxepi.structure import Structure

pytestmark = pytest.mark.slow

SHELLS, WIDTHS = ("s", "p", "s"), (0.55, 0.7, 1.1)
"""Orbitals r^l exp(-a r^2) Y, a in 1/bohr^2."""

PROJECTOR = 0.9
"""Of an s projector likewise."""


def radial(q, shell, a):
    """int r^l exp(-a r^2) j_l(qr) r^2 dr."""
    l = DEGREE[shell]
    return np.sqrt(np.pi) * q**l * np.exp(-(q**2) / (4 * a)) / (2 ** (l + 2) * a ** (l + 1.5))


@pytest.fixture(scope="module")
def model():
    """An overlap of Gaussians, tabulated, and its parameters."""
    r, q = np.linspace(0.0, 14.0, 257), np.linspace(0.0, 12.0, 400)

    def function(one, two, a, b, l):
        product = radial(q, one, a) * radial(q, two, b) * q**2 * (q[1] - q[0])
        sign = 8.0 * (-1) ** ((DEGREE[one] - DEGREE[two] - l) // 2)
        return sign * (spherical_jn(l, q[None] * np.maximum(r, 1e-3)[:, None]) @ product) / np.maximum(r, 1e-3) ** l

    orbital = [function(SHELLS[i], SHELLS[j], WIDTHS[i], WIDTHS[j], l) for i, j, l in entries(SHELLS, SHELLS, True)]
    projector = [function("s", SHELLS[j], PROJECTOR, WIDTHS[j], l) for _, j, l in entries(("s",), SHELLS, False)]
    tables = OverlapFunctions(
        np.array(orbital), np.array(projector), np.array([[0.08]]), SHELLS, ("s",), 14.0, (14.0, 14.0), 0.0
    )
    return Overlap.of(tables)


def values(points, centre, shell, a):
    """Orbitals at points, all in bohr."""
    away = points - centre
    r = np.linalg.norm(away, axis=1)
    unit = away / np.maximum(r, 1e-12)[:, None]
    return (r ** DEGREE[shell] * np.exp(-a * r**2))[:, None] * shell_functions(unit, shell)


def grid():
    one = np.arange(-7.5, 7.51, 0.4)
    return np.stack(np.meshgrid(one, one, one, indexing="ij"), axis=-1).reshape(-1, 3), 0.4**3


VECTOR = np.array([0.7, -0.5, 0.9])
"""Angstrom."""


@pytest.fixture(scope="module")
def pairs(model):
    """Vectors between two atoms, from one and from the other: positions and overlaps; turned, too."""
    overlap, params = model
    vectors = jnp.asarray(np.concatenate([VECTOR[None], np.random.default_rng(0).normal(size=(7, 3))]))
    turn = Rotation.random(random_state=1).as_matrix()
    every = jnp.concatenate([vectors, -vectors, vectors @ turn.T])

    @jax.jit
    def made():
        held = positions.ket_centred(overlap, params, every), overlap.two_centre(params, vectors)
        other = positions.tables(overlap, params["orbital"].at[0].multiply(1.1))
        return *held, positions.at_rest(overlap, params), other

    d, s, own, other = made()
    assert np.isnan(other).all(), "tables of no functions make no positions"
    return vectors, turn, *jnp.split(d, 3), s, own


def test_positions_are_those_of_a_sum_over_a_grid(pairs):
    _, _, ket, _, _, _, own = pairs
    points, volume = grid()
    vector = VECTOR / Bohr
    first, second = (
        np.concatenate([values(points, x, s, a) for s, a in zip(SHELLS, WIDTHS, strict=True)], axis=1)
        for x in (-vector / 2, vector / 2)
    )
    direct = volume * np.einsum("pi,pc,pj->cij", first, points - vector / 2, second) * Bohr
    assert np.abs(direct).max() > 0.05
    np.testing.assert_allclose(ket[0], direct, atol=3e-8)
    direct = volume * np.einsum("pi,pc,pj->cij", first, points + vector / 2, first) * Bohr
    np.testing.assert_allclose(own, direct, atol=3e-8)


def test_from_one_atom_or_the_other_differs_by_their_distance(pairs):
    """<i| r - r_j |j> - <i| r - r_i |j> = (r_i - r_j) S_ij, and both turn with the atoms."""
    vectors, turn, ket, back, turned, s, _ = pairs
    bra = jnp.swapaxes(back, 2, 3)
    np.testing.assert_allclose(ket - bra, -vectors[:, :, None, None] * s[:, None], atol=1e-7)
    orbitals = np.eye(5)
    orbitals[1:4, 1:4] = turn
    expected = np.einsum("cd,ik,vdkl,jl->vcij", turn, orbitals, ket, orbitals)
    np.testing.assert_allclose(turned, expected, atol=1e-12)


def made(model, structure, seed):
    """Gaussians and projectors with a Hamiltonian of their own that is no multiple of S: blocks, graph and vectors."""
    overlap, params = model
    graph = build_graph(structure, overlap.cutoff, 0.0, (overlap.relation,))

    @jax.jit
    def of(level):
        own, edges = overlap.apply(params, structure, graph, graph.tables[0])
        at, between = positions.apply(overlap, params, structure, graph, graph.tables[0])
        h, hopping = (jnp.einsum("xij,jk->xik", s, level + level.T) for s in (own, edges))
        h, hopping = h + jnp.swapaxes(h, 1, 2), hopping + jnp.swapaxes(hopping[graph.reverse], 1, 2)
        basis = Basis(((6, ("s", "p", "s*")),), ((6, 4.0),))
        return Blocks(h, hopping, edges, basis, structure.species, at, between, own), graph.vectors(structure)

    blocks, vectors = of(jnp.asarray(np.random.default_rng(seed).normal(size=(5, 5))))
    return blocks, graph, vectors


@jax.jit
def strengths(blocks, graph, vectors, k):
    """|<m|W|n>|^2, eV^2 angstrom^2, and energies."""
    h, w = orthonormal(blocks, graph, vectors, k)
    e, u = jnp.linalg.eigh(h)
    return e, jnp.abs(u.conj().T @ w.blocks @ u) ** 2


def test_velocities_do_not_depend_on_where_atoms_are_said_to_be(model):
    """The same functions of a zigzag chain, counted as of other places: phases, vectors and dipoles change, transitions do
    not."""
    cell = np.diag([2.4, 20.0, 20.0])
    structure = Structure.create([[0, 0, 0], [1.1, 0.6, 0.3]], cell, [6, 6], (True, False, False))
    blocks, graph, vectors = made(model, structure, 2)
    k = jnp.array([0.37, 0.0, 0.0])
    moved = jnp.array([[0.3, -0.2, 0.1], [-0.1, 0.25, 0.4]])
    i, j = moved[graph.senders], moved[graph.receivers]

    def relocated(b):
        middle = 0.5 * (i + j)
        return Blocks(
            b.onsite,
            b.hopping,
            b.overlap,
            b.basis,
            b.species,
            b.dipoles - moved[:, :, None, None] * b.own_overlap[:, None],
            b.edge_dipoles - middle[:, :, None, None] * b.overlap[:, None],
            b.onsite_overlap,
        )

    e, exact = strengths(blocks, graph, vectors, k)
    found = strengths(relocated(blocks), graph, vectors + j - i, k)
    np.testing.assert_allclose(found[0], e, atol=1e-9)
    np.testing.assert_allclose(found[1], exact, rtol=1e-7, atol=1e-7 * float(exact.max()))

    def centred(b):
        return Blocks(b.onsite, b.hopping, b.overlap, b.basis, b.species, onsite_overlap=b.onsite_overlap)

    plain = strengths(centred(blocks), graph, vectors, k)[1], strengths(centred(blocks), graph, vectors + j - i, k)[1]
    assert np.abs(plain[0] - plain[1]).max() > 0.01 * np.abs(plain[0]).max()
    np.testing.assert_allclose(
        jnp.diagonal(plain[0], axis1=1, axis2=2), jnp.diagonal(exact, axis1=1, axis2=2), atol=1e-8
    )


def test_a_model_with_tables_gives_positions_where_velocities_ask_for_them(model):
    overlap, params = model
    module = e3.configured({"kind": "equivariant", "interactions": 0}, e3.carried(overlap, SHELLS, 6, 4.0), overlap)
    h = Hamiltonian(module.init(0, params), module)
    structure = Structure.create([[0, 0, 0], VECTOR], np.eye(3) * 40.0, [6, 6], (False, False, False))
    graph = h.graph(structure)
    blocks = h.blocks_with_dipoles(structure, graph)
    at, between = jax.jit(lambda: positions.apply(overlap, params, structure, graph, graph.tables[-1]))()
    np.testing.assert_allclose(blocks.dipoles, at, atol=1e-12)
    np.testing.assert_allclose(blocks.edge_dipoles, between, atol=1e-12)
    np.testing.assert_array_equal(between[graph.reverse], jnp.swapaxes(between, 2, 3))
    assert jax.eval_shape(h.blocks, structure, graph.check(structure)).edge_dipoles is None


def test_velocities_of_a_molecule_are_energies_times_positions(model):
    """hbar v = i (E_m - E_n) <m|r|n> of two atoms alone, with the matrix of r from sums over a grid, and the projectors' share
    as the tables have it."""
    structure = Structure.create([[0, 0, 0], VECTOR], np.eye(3) * 40.0, [6, 6], (False, False, False))
    blocks, graph, vectors = made(model, structure, 3)
    zero = jnp.zeros(3)
    _, w = orthonormal(blocks, graph, vectors, zero)
    points, volume = grid()
    places = np.array([[0, 0, 0], VECTOR]) / Bohr
    orbitals, projectors = [], []
    for x in places - places.mean(axis=0):
        orbitals += [values(points, x, s, a) for s, a in zip(SHELLS, WIDTHS, strict=True)]
        projectors.append(values(points, x, "s", PROJECTOR))
    orbitals, projectors = np.concatenate(orbitals, axis=1), np.concatenate(projectors, axis=1)
    p = volume * projectors.T @ orbitals
    s = volume * orbitals.T @ orbitals + 0.08 * p.T @ p
    r = volume * np.einsum("pi,pc,pj->cij", orbitals, points, orbitals)
    r = Bohr * (r + 0.08 * np.einsum("ai,ac,aj->cij", p, places - places.mean(axis=0), p))
    hamiltonian, overlaps = bloch_matrices(blocks, graph, vectors, zero)
    np.testing.assert_allclose(overlaps.real, s, atol=1e-6)
    x = np.linalg.inv(np.linalg.cholesky(s))
    h, r = x @ hamiltonian.real @ x.T, x @ r @ x.T
    np.testing.assert_allclose(w.blocks, h @ r - r @ h, atol=2e-5 * np.abs(h).max())
