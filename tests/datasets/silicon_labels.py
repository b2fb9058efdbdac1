"""Displaced cells of silicon with the bands and blocks of a published set, as data sets hold them."""

import numpy as np
from ase.build import bulk

from jaxepi import datasets, electrons, hamiltonians
from jaxepi.datasets.blocks import PairBlocks
from jaxepi.kpoints import mesh
from jaxepi.structure import Structure

LEVELS = {"model": {"code": "jaxepi", "version": "1", "settings": {"set": "si-vogl1983"}}}


def silicon(count=3, atoms=None):
    rng = np.random.default_rng(7)
    atoms = bulk("Si", a=5.43) if atoms is None else atoms
    frames = [atoms.copy() for _ in range(count)]
    for moved in frames:
        moved.positions += rng.normal(scale=0.05, size=(len(atoms), 3))
    return frames


def labelled(frames, blocks=True):
    """A published set's bands on a small mesh, and its H(R), s p s* in the basis of the set."""
    model, points = hamiltonians.load("si-niquet2009"), mesh((3, 3, 3))
    parts = []
    for atoms in frames:
        structure = Structure.from_ase(atoms)
        bands = electrons.eigenvalues(model, structure, points.points)
        held = pair_blocks(model, structure) if blocks else None
        parts.append(
            datasets.single(
                atoms.positions,
                atoms.cell.array,
                atoms.numbers.tolist(),
                {"model": {"eigenvalues": np.asarray(bands)}},
                kpoints=np.asarray(points.points),
                weights=np.asarray(points.weights),
                mesh=(3, 3, 3, 0, 0, 0),
                occupied=4,
                temperature=300.0,
                kind="thermal",
                blocks=held,
            )
        )
    return datasets.gather("bands", LEVELS, parts, who="a test")


def pair_blocks(model, structure):
    """H(R) of a published set as the store holds it, S the identity."""
    graph = model.graph(structure)
    found = model.blocks(structure, graph)
    ends = np.column_stack([graph.senders, graph.receivers, graph.shifts])
    kept = np.array(first(ends))
    own = np.column_stack([np.arange(len(structure))] * 2 + [np.zeros((len(structure), 3), int)])
    pairs = np.concatenate([own, ends[kept]])
    matrices = np.concatenate([found.onsite, np.asarray(found.hopping)[kept]])
    overlap = np.zeros_like(matrices)
    overlap[: len(own)] = np.eye(matrices.shape[1])
    order = np.lexsort(pairs.T[::-1])
    letters = tuple(x.strip("0123456789*") for x in model.basis.all_shells)
    return PairBlocks(np.array([0, len(pairs)]), pairs[order], matrices[order], overlap[order], letters, 3.5, "model")


def first(ends):
    """Which of each Hermitian pair comes first."""
    return [tuple(r) <= (r[1], r[0], -r[2], -r[3], -r[4]) for r in ends.tolist()]
