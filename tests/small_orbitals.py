"""A small basis of three shells (s, p, s) with overlaps that fall off smoothly, displaced bilayers, random Hamiltonians."""

import functools

import jax
import numpy as np
from ase.build import graphene

from jaxepi.datasets.blocks import PairBlocks
from jaxepi.datasets.dataset import single
from jaxepi.datasets.overlap import OverlapFunctions
from jaxepi.hamiltonians import Hamiltonian, e3
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.structure import Structure

SMALL = {"relations": "layers", "cutoff": 2.6, "skin": 0.3, "splines": 6, "edge_functions": 2, "neighbour_functions": 1}
SMALL |= {
    "pair_functions": 1,
    "neighbour_lmax": 1,
    "channels": 2,
    "edge_channels": 2,
    "hidden": [4],
    "lmax": 1,
    "radial_layers": [4],
}
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
    kept = {"overlap": params.pop("overlap")}
    return Hamiltonian({**random_numbers(params), **kept}, module)


def random_numbers(tree):
    """Normal numbers in the shapes of a tree."""
    random = np.random.default_rng(1)
    return jax.tree.map(lambda x: np.asarray(random.normal(size=np.shape(x))), tree)


def bilayer(repeats: int = 1, seed: int = 0) -> Structure:
    """AB layers, displaced."""
    atoms = graphene("C2", a=2.46, vacuum=8.0)
    other = atoms.copy()
    other.translate([0, 1.42, 3.2])
    atoms = (atoms + other).repeat((repeats, 1, 1))
    atoms.rattle(0.05, seed=seed)
    atoms.pbc = (True, True, False)
    return Structure.from_ase(atoms)


LEVEL = "made"


def labelled(h: Hamiltonian, splits: tuple[str, ...] = ("train", "train", "validation")) -> list:
    """Displaced bilayers with the blocks of a model, each Hermitian pair once, as a data set holds them."""
    out = []
    for seed, split in enumerate(splits):
        structure = bilayer(seed=seed)
        structure = Structure.create(
            np.round(np.asarray(structure.positions), 8),
            np.round(np.asarray(structure.cell), 8),
            structure.species,
            structure.pbc,
        )
        graph = h.graph(structure, skin=0.0)
        found = h.blocks(structure, graph)
        edges = np.column_stack([graph.senders, graph.receivers, graph.shifts])
        once = [r for r, (i, j, *x) in enumerate(edges.tolist()) if (i, j, *x) <= (j, i, *(-y for y in x))]
        own = np.column_stack([np.arange(4)] * 2 + [np.zeros((4, 3), int)])
        matrices = [
            np.concatenate([a, np.asarray(b)[once]])
            for a, b in ((found.onsite, found.hopping), (found.onsite_overlap, found.overlap))
        ]
        pairs = np.concatenate([own, edges[once]])
        offsets = np.array([0, len(pairs)])
        blocks = PairBlocks(offsets, pairs, *matrices, ("s", "p", "s"), REACH + 0.1, LEVEL, tables())
        x, cell = np.asarray(structure.positions), np.asarray(structure.cell)
        more = {"pbc": structure.pbc, "occupied": 8, "blocks": blocks, "split": split, "kind": "monolayer"}
        out.append(single(x, cell, structure.species, {LEVEL: {}}, **more))
    return out
