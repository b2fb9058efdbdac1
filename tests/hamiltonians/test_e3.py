"""Equivariant Hamiltonians: they turn with the crystal, are Hermitian and local, fit what they can, and keep their file."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from small_orbitals import SMALL, bilayer, model, tables

from jaxepi import hamiltonians, materials, tree
from jaxepi.electrons.eigen import eigenvalues
from jaxepi.errors import InputError
from jaxepi.hamiltonians import e3, e3_baseline
from jaxepi.hamiltonians.e3_shells import Shells
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.nn import Irrep


def turned(shells: Shells, rotation: np.ndarray) -> np.ndarray:
    """The matrix that turns orbitals with the crystal."""
    from scipy.linalg import block_diag

    return block_diag(*(rotation if l else np.eye(1) for l in shells.l))


@functools.cache
def blocks():
    """Structure, graph and blocks of a displaced, long bilayer."""
    h, structure = model(), bilayer(6)
    graph = h.graph(structure)
    return structure, graph, h.blocks(structure, graph)


def test_blocks_are_made_again_from_their_tensors():
    shells, values = Shells((0, 1, 2)), np.random.default_rng(0).normal(size=(3, 9, 9))
    assert Irrep(1, 1) in shells.irreps
    tensors = {irrep: jnp.asarray(shells.tensors(values, irrep)) for irrep in shells.columns}
    np.testing.assert_allclose(shells.blocks(tensors), values, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-5)])
def test_it_turns_with_the_crystal(dtype, tolerance):
    h = model()
    parts = {n: tree.astype(h.params[n], dtype) for n in ("atoms", "edges")}
    h = dataclasses.replace(h, params={**h.params, **parts})
    structure, graph, found = blocks()
    rotation = Rotation.from_rotvec([0.4, -0.9, 0.7]).as_matrix() * -1.0  # with inversion
    other = dataclasses.replace(structure, positions=structure.positions @ rotation.T, cell=structure.cell @ rotation.T)
    again = h.blocks(other, h.graph(other))
    turn = turned(h.module.shells, rotation)
    ends = np.column_stack([graph.senders, graph.receivers, graph.shifts])
    there = h.graph(other)
    np.testing.assert_array_equal(ends, np.column_stack([there.senders, there.receivers, there.shifts]))
    for name in ("onsite", "hopping", "overlap"):
        a, b = (np.asarray(getattr(x, name)) for x in (found, again))
        np.testing.assert_allclose(turn @ a @ turn.T, b, atol=tolerance * np.abs(a).max())


@pytest.mark.slow
def test_it_is_hermitian_and_tells_layers_apart():
    h = model()
    _, graph, found = blocks()
    np.testing.assert_array_equal(found.hopping[graph.reverse], np.swapaxes(found.hopping, 1, 2))
    np.testing.assert_array_equal(found.onsite, np.swapaxes(found.onsite, 1, 2))
    kind = np.asarray(h.module.kind_of_edges(graph))
    np.testing.assert_array_equal(kind.sum(axis=1), 1.0)
    assert set(kind[:, 1]) == {0.0, 1.0}


@pytest.mark.slow
def test_far_atoms_change_nothing():
    h = model()
    structure, graph, one = blocks()
    two = h.blocks(structure.with_positions(structure.positions.at[0].add(0.05)), graph)
    x = np.asarray(structure.positions)[:, 0]
    length = float(structure.cell[0, 0])
    away = np.abs((x - x[0] + length / 2) % length - length / 2)
    far = away[np.asarray(graph.senders)] > h.module.cutoff + h.module.baseline.near
    assert far.any()
    np.testing.assert_array_equal(np.asarray(one.hopping)[far], np.asarray(two.hopping)[far])
    assert np.abs(np.asarray(one.hopping) - np.asarray(two.hopping)).max() > 1e-3


@pytest.mark.slow
def test_edges_gone_through_in_parts(monkeypatch):
    """12 atoms in parts of five, the last filled up: H, and its derivatives by positions and parameters, are those of all atoms
    at once, of two configurations together."""
    h, structure = model(1), bilayer(3)
    graph = h.graph(structure)
    two = jnp.stack([structure.positions, 1.002 * structure.positions])
    weights = jnp.asarray(np.random.default_rng(0).normal(size=graph.n_edges * h.basis.block_size**2))
    slots = max(table.mask.shape[1] for table in h.module.near_tables(graph))

    def found(atoms):
        monkeypatch.setattr(e3, "ATOMS", atoms)
        monkeypatch.setattr(e3_baseline, "CHUNK", atoms * slots)

        def sums(x, params):
            blocks = h.module.apply({"params": params}, structure.with_positions(x), graph)
            found = blocks.onsite, blocks.hopping
            # A linear sum: of a sine of large numbers, the derivative would hold their rounding many times over.
            return sum(jnp.vdot(weights[: x.size], x.ravel()) for x in found), found

        slopes = jax.grad(sums, argnums=(0, 1), has_aux=True)
        return jax.jit(jax.vmap(slopes, in_axes=(0, None)))(two, h.params)

    parts, whole = found(5), found(12)
    for name in ("baseline", "atoms", "edges", "spread"):
        assert max(np.abs(x).max() for x in jax.tree.leaves(whole[0][1][name])) > 1e-3
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max(initial=1)), parts, whole
    )


def test_the_linear_terms_of_edges_are_their_features_times_weights():
    """What the model sums atom by atom is what least squares fit: features of every edge, times weights."""
    h = model(0, neighbour_lmax=2, neighbour_functions=2)
    base, params = h.module.baseline, jax.tree.map(jnp.asarray, h.params["baseline"])
    random = np.random.default_rng(0)
    near = tuple(jnp.asarray(random.normal(size=(3, m, 3))) for m in (4, 2))
    moments = base.moments(near, base.neighbour_functions)
    for kind, vectors in enumerate(near):
        senders = np.repeat(np.arange(3, dtype=np.int32), vectors.shape[1])
        found = base.directed(params, kind, vectors, moments)
        assert {str(irrep) for irrep in found} == set(params["around"])
        for irrep, x in found.items():
            features = base.edge_features(irrep, vectors.reshape(-1, 3), moments, jnp.asarray(senders))
            expected = features @ params["around"][str(irrep)][kind]
            assert np.abs(expected).max() > 1e-3
            np.testing.assert_allclose(x.reshape(expected.shape), expected, rtol=0, atol=1e-12)


def test_a_file_holds_all_of_a_model(tmp_path):
    h = model(0)
    path = tmp_path / "model.npz"
    e3.write(h, {**SMALL, "interactions": 0, "neighbours": (3.0, 2.0)}, path, {"citation": "made by a test"})
    again = hamiltonians.load(path)
    assert again.citation == "made by a test"
    assert again.module == h.module
    jax.tree.map(np.testing.assert_array_equal, again.params, jax.tree.map(np.asarray, h.params))
    assert again.basis.occupied((6,) * 4) == 8


def test_shells_of_other_tables_are_refused():
    overlap, _ = Overlap.of(tables())
    with pytest.raises(InputError, match="label again"):
        e3.carried(overlap, ("s", "p"), 6, 4.0)


@pytest.mark.slow
def test_what_it_says_it_takes_is_what_xla_takes():
    h = hamiltonians.load("graphene-pbe-lcao")
    cell = materials.load("graphene").primitive.supercell((3, 3, 1))
    module, graph = h.module, h.graph(cell)

    def made(params, x):
        tables = module.near_tables(graph)
        near = tuple(table.vectors(x, cell.cell) for table in tables)
        atoms = jnp.arange(len(cell), dtype=graph.senders.dtype)
        return module.around(params, {}, atoms, near, tuple(table.receivers for table in tables))

    found = jax.jit(made).lower(h.params, cell.positions).compile().memory_analysis()
    assert 0.7 < module.working_bytes(graph) / found.temp_size_in_bytes < 1.3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["graphene-pbe-lcao", "graphene-pbe-e3"])
def test_shipped_models_have_a_dirac_point(name):
    """Two bands meet at K by symmetry alone, filled up to there; their slope is that of PBE, 0.83e6 m/s within 5%."""
    h, cell = hamiltonians.load(name).astype("float64"), materials.load("graphene").primitive
    k = np.array([1 / 3, 1 / 3, 0.0])
    step = 0.01 * np.array([1.0, 0.0, 0.0]) @ np.linalg.inv(np.asarray(cell.reciprocal))
    energies = np.asarray(eigenvalues(h, cell, np.stack([k, k + step, k - step])))
    assert abs(energies[0, 4] - energies[0, 3]) < 1e-9
    slope = (energies[1:, 4] - energies[1:, 3]).mean() / 0.02
    metres_a_second = slope * 1e-10 / 6.582119569e-16
    assert abs(metres_a_second / 0.83e6 - 1) < 0.05
