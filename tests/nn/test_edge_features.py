"""Features of edges and what they are read as: blocks that turn with the crystal, Hermitian H(k), the same on padded graphs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import turning
from flax import linen
from turning import ROTATION

from jaxepi import nn
from jaxepi.graph import Relation, build_graph, padded, shape_of
from jaxepi.hamiltonians.base import Blocks
from jaxepi.hamiltonians.basis import Basis
from jaxepi.hamiltonians.bloch import bloch_matrices
from jaxepi.hamiltonians.e3_network import Readout
from jaxepi.hamiltonians.e3_shells import Shells
from jaxepi.nn import SCALAR, Irrep, natural, natural_up_to
from jaxepi.structure import Structure

CUTOFF = 3.6
BASIS = Basis(((14, ("s", "p", "d")), (6, ("s", "p", "d"))), ((14, 4.0), (6, 4.0)))
SHELLS = Shells((0, 1, 2))
COLUMNS = tuple((irrep, len(pairs)) for irrep, pairs in SHELLS.columns.items())
K = np.array([0.17, -0.31, 0.08])


class Network(linen.Module):
    """The shortest way from a graph to blocks that uses every layer."""

    @linen.compact
    def __call__(self, species, structure, graph):
        table, vectors = graph.tables[0], graph.vectors(structure)
        length, unit = nn.directions(table.vectors(structure.positions, structure.cell))
        onehot = jax.nn.one_hot(species, 2, dtype=vectors.dtype)
        kinds = {SCALAR: self.param("kinds", linen.initializers.normal(1.0), (2, 1, 4)).astype(vectors.dtype)}
        around = nn.Convolution(4, natural_up_to(2), (8,), 8.0)
        sums = around(kinds, nn.radial_basis(length, CUTOFF, 4), nn.harmonics(unit, 2), table.receivers, onehot)
        atoms = nn.SymmetricContraction(2, 2, natural_up_to(2))(sums, species)
        distance, direction = nn.directions(vectors)
        ends = [atoms[SCALAR][index, 0] for index in (graph.senders, graph.receivers)]
        basis, fade = nn.radial_basis(distance, CUTOFF, 4), nn.polynomial_cutoff(distance, CUTOFF)
        invariants = nn.EdgeScalars((8, 8))(basis, fade, *ends)
        angles = nn.harmonics(direction, 2)
        edges = nn.EdgeFeatures(4, SHELLS.irreps)(atoms, invariants, angles, graph.senders, graph.receivers)
        edges = nn.gate(nn.Linear(4, gated=True)(edges))
        own = nn.to_atoms(edges, table.edges)
        hopping, onsite = (
            SHELLS.blocks(Readout(COLUMNS, name=name)(x)) for name, x in (("hopping", edges), ("onsite", own))
        )
        return nn.hermitian(onsite), nn.hermitian(hopping, graph.reverse)


@functools.cache
def world():
    random = np.random.default_rng(3)
    cell = 3.4 * np.eye(3) + random.uniform(-0.4, 0.4, (3, 3))
    structure = Structure(jnp.asarray(random.uniform(0, 1, (3, 3)) @ cell), jnp.asarray(cell), (14, 6, 14))
    network, species = Network(), jnp.asarray([0, 1, 0])
    params = turning.parameters(network, species, structure, graph_of(structure))
    return structure, jax.jit(lambda s, g: network.apply(params, species, s, g))


def graph_of(structure):
    return build_graph(structure, CUTOFF, 0.0, (Relation(CUTOFF),))


def turned(structure, matrix):
    return Structure(structure.positions @ matrix.T, structure.cell @ matrix.T, structure.species)


def orbitals(matrix, atoms):
    """Turns all orbitals with the crystal."""
    sign = round(np.linalg.det(matrix))
    one, start = np.zeros((SHELLS.width, SHELLS.width)), 0
    for l in SHELLS.l:
        one[start : start + 2 * l + 1, start : start + 2 * l + 1] = sign**l * turning.wigner(l, sign * matrix)
        start += 2 * l + 1
    return np.kron(np.eye(atoms), one)


def h(structure, graph, found):
    blocks = Blocks(*found, None, BASIS, structure.species)
    k = jnp.asarray(K) @ structure.reciprocal
    return np.asarray(bloch_matrices(blocks, graph, graph.vectors(structure), k)[0])


@pytest.mark.slow
def test_a_random_network_of_edges_gives_a_hermitian_h_that_turns_with_the_crystal():
    structure, apply = world()
    graph = graph_of(structure)
    once = h(structure, graph, apply(structure, graph))
    size = np.abs(once).max()
    assert np.linalg.matrix_rank(once) == len(once) == 3 * 9
    np.testing.assert_allclose(once, once.conj().T, atol=1e-14 * size)
    for matrix in (ROTATION, -np.eye(3), -ROTATION):
        other, d = turned(structure, matrix), orbitals(matrix, 3)
        graph = graph_of(other)
        np.testing.assert_allclose(h(other, graph, apply(other, graph)), d @ once @ d.T, atol=1e-12 * size)


@pytest.mark.slow
def test_single_precision_turns_to_its_own_accuracy():
    structure, apply = world()
    found = []
    for matrix in (np.eye(3), ROTATION):
        other = turned(structure, matrix)
        single = jax.tree.map(lambda x: x.astype(jnp.float32), other)
        onsite, hopping = apply(single, graph_of(other))
        assert hopping.dtype == jnp.float32
        found.append((np.asarray(onsite), np.asarray(hopping), orbitals(matrix, 1)))
    (onsite, hopping, _), (onsite_turned, hopping_turned, d) = found
    np.testing.assert_allclose(onsite_turned, d @ onsite @ d.T, atol=1e-5 * np.abs(onsite).max())
    np.testing.assert_allclose(hopping_turned, d @ hopping @ d.T, atol=1e-5 * np.abs(hopping).max())


@pytest.mark.slow
def test_blocks_hold_the_irreps_that_no_sum_over_harmonics_gives():
    structure, apply = world()
    _, hopping = apply(structure, graph_of(structure))
    for (l1, first), (l2, second), irrep in (
        ((1, slice(1, 4)), (1, slice(1, 4)), Irrep(1, 1)),
        ((1, slice(1, 4)), (2, slice(4, 9)), Irrep(2, -1)),
    ):
        part = nn.components(l1, l2, hopping[:, first, second])
        assert float(jnp.abs(part[irrep]).max()) > 1e-3 * float(jnp.abs(hopping).max())


@pytest.mark.slow
def test_a_padded_graph_gives_the_same():
    structure, apply = world()
    graph = graph_of(structure)
    longer = padded(graph, tuple(n + 5 for n in shape_of(graph)))
    assert longer.n_edges == graph.n_edges + 5
    onsite, hopping = apply(structure, graph)
    same_onsite, more = apply(structure, longer)
    np.testing.assert_allclose(same_onsite, onsite, atol=1e-13)
    np.testing.assert_allclose(np.asarray(more)[np.asarray(longer.mask)], hopping, atol=1e-13)
    assert not np.asarray(more)[~np.asarray(longer.mask)].any()


@pytest.mark.parametrize(("l1", "l2"), [(0, 1), (1, 1), (1, 2), (2, 2)])
def test_blocks_and_their_tensors_are_one(l1, l2):
    values = jnp.asarray(np.random.default_rng(0).normal(size=(4, 2 * l1 + 1, 2 * l2 + 1)))
    parts = nn.components(l1, l2, values)
    assert list(parts) == list(nn.shell_irreps(l1, l2))
    np.testing.assert_allclose(nn.block(l1, l2, parts), values, atol=1e-14)
    sizes = sum((np.asarray(x) ** 2).sum() for x in parts.values())
    np.testing.assert_allclose(sizes, (values**2).sum(), rtol=1e-13)


def test_sums_over_slots_and_edges_are_one():
    structure, _ = world()
    graph = graph_of(structure)
    values = jnp.asarray(np.random.default_rng(0).normal(size=(graph.n_edges, 3, 2)))
    rows = graph.tables[0].edges
    expected = jax.ops.segment_sum(values, graph.senders, graph.n_atoms)
    np.testing.assert_allclose(nn.to_atoms({natural(1): values}, rows)[natural(1)], expected, atol=1e-13)
    slots = values.at[rows].get(mode="fill", fill_value=np.nan)
    np.testing.assert_array_equal(nn.to_edges(slots, rows, graph.n_edges), values)
