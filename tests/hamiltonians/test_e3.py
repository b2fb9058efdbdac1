"""Equivariant Hamiltonians: they turn with the crystal, are Hermitian and local, fit what they can, and keep their file."""

import dataclasses
import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import graphene
from scipy.spatial.transform import Rotation

from jaxepi import hamiltonians, tree
from jaxepi.datasets.overlap import OverlapFunctions
from jaxepi.errors import InputError
from jaxepi.hamiltonians import Hamiltonian, e3
from jaxepi.hamiltonians.e3_shells import Shells
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.nn import Irrep
from jaxepi.structure import Structure

SMALL = {"relations": "layers", "cutoff": 2.6, "skin": 0.3, "splines": 6, "edge_functions": 2, "neighbour_functions": 2}
SMALL |= {"neighbour_lmax": 2, "channels": 2, "edge_channels": 2, "hidden": [4], "lmax": 2, "radial_layers": [4]}
REACH = 3.6
"""Angstrom."""


def tables() -> OverlapFunctions:
    """Overlaps that fall off smoothly, of one s, one p and one more s shell, without projectors."""
    end = REACH / 0.529177210903
    r = np.linspace(0, end, 33)
    fade = np.cos(np.pi * r / (2 * end)) ** 4
    count = 3 + 2 + 2  # ss, ss*, s*s*; sp, s*p; pp of l = 0 and 2
    orbital = 12.0 * fade[None] * np.array([1.0, 0.1, 0.1, 0.1, 1.0, 0.05, 1.0])[:count, None]
    empty = np.zeros((0, 33))
    return OverlapFunctions(orbital, empty, np.zeros((0, 0)), ("s", "p", "s"), (), end, (end, 1.0), 1e-12)


@functools.cache
def model(interactions: int = 1, **changes) -> Hamiltonian:
    """A model with random numbers everywhere."""
    overlap, values = Overlap.of(tables())
    basis = e3.carried(overlap, ("s", "p", "s"), 6, 4.0)
    module = e3.configured({**SMALL, "interactions": interactions, **changes}, basis, overlap, (3.0, 2.0))
    params = module.init(0, values)
    random = np.random.default_rng(1)

    def noise(x):
        return np.asarray(random.normal(size=np.shape(x)))

    kept = {"overlap": params.pop("overlap")}
    return Hamiltonian({**jax.tree.map(noise, params), **kept}, module)


def bilayer(repeats: int = 1, seed: int = 0) -> Structure:
    """AB layers, displaced."""
    atoms = graphene("C2", a=2.46, vacuum=8.0)
    other = atoms.copy()
    other.translate([0, 1.42, 3.2])
    atoms = (atoms + other).repeat((repeats, 1, 1))
    atoms.rattle(0.05, seed=seed)
    atoms.pbc = (True, True, False)
    return Structure.from_ase(atoms)


def turned(shells: Shells, rotation: np.ndarray) -> np.ndarray:
    """The matrix that turns orbitals with the crystal."""
    from scipy.linalg import block_diag

    return block_diag(*(rotation if l else np.eye(1) for l in shells.l))


@functools.cache
def blocks(interactions: int):
    """Structure, graph and blocks of a displaced bilayer."""
    h, structure = model(interactions), bilayer()
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
    structure, graph, found = blocks(h.module.atoms is not None)
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


def test_it_is_hermitian_and_tells_layers_apart():
    h = model(0)
    _, graph, found = blocks(h.module.atoms is not None)
    np.testing.assert_array_equal(found.hopping[graph.reverse], np.swapaxes(found.hopping, 1, 2))
    np.testing.assert_array_equal(found.onsite, np.swapaxes(found.onsite, 1, 2))
    kind = np.asarray(h.module.kind_of_edges(graph))
    np.testing.assert_array_equal(kind.sum(axis=1), 1.0)
    assert set(kind[:, 1]) == {0.0, 1.0}


@pytest.mark.slow
def test_far_atoms_change_nothing():
    h, structure = model(), bilayer(6)
    graph = h.graph(structure)
    moved = structure.with_positions(structure.positions.at[0].add(0.1))
    one, two = h.blocks(structure, graph), h.blocks(moved, graph)
    x = np.asarray(structure.positions)[:, 0]
    length = float(structure.cell[0, 0])
    away = np.abs((x - x[0] + length / 2) % length - length / 2)
    reach = h.module.cutoff + h.module.baseline.near
    far = away[np.asarray(graph.senders)] > reach
    assert far.any()
    np.testing.assert_array_equal(np.asarray(one.hopping)[far], np.asarray(two.hopping)[far])
    assert np.abs(np.asarray(one.hopping) - np.asarray(two.hopping)).max() > 1e-3


def test_a_file_gives_the_same_blocks(tmp_path):
    h = model(0)
    path = tmp_path / "model.npz"
    e3.write(h, {**SMALL, "interactions": 0, "neighbours": (3.0, 2.0)}, path, {"citation": "made by a test"})
    again = hamiltonians.load(path)
    assert again.citation == "made by a test"
    structure, graph, found = blocks(h.module.atoms is not None)
    np.testing.assert_array_equal(again.blocks(structure, graph).hopping, found.hopping)
    assert again.basis.occupied(structure.species) == 8


def test_shells_of_other_tables_are_refused():
    overlap, _ = Overlap.of(tables())
    with pytest.raises(InputError, match="label again"):
        e3.carried(overlap, ("s", "p"), 6, 4.0)


LABELS = Path(__file__).parents[2] / "experiments/bilayer_graphene/checks/lcao-rotated.h5"
