"""Training examples: configurations of some data sets at one level of theory, flat, with their neighbours.

`Examples` are arrays on the host, atoms of all configurations one after the other (see `reading`). Neighbours are found once.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxepi.graph import Relation, Table, build_graph
from jaxepi.progress import progress_bar
from jaxepi.structure import Structure

LABELS = ("energy", "forces", "stress")


class Neighbours(NamedTuple):
    """A `Table` on the host: receivers (counted from the first atom of the configuration), shifts, mask."""

    receivers: Int[np.ndarray, "a m"]
    shifts: Int[np.ndarray, "a m 3"]
    mask: Bool[np.ndarray, "a m"]


@dataclasses.dataclass(frozen=True)
class Examples:
    """c configurations of a atoms together.

    Attributes:
        positions: angstrom. numbers: atomic numbers. forces: eV/angstrom.
        first: index of the first atom of each configuration, and the number of all atoms.
        cell: angstrom. energy: eV. stress: eV/angstrom^3.
        weights: of energy, forces and stress in the loss; 0 where there is no label.
        temperature: kelvin, NaN where there is none. strain: relative to the lattice of the unstrained crystal.
        points: of the k mesh, 1 where unknown.
        split, kind, mesh, source: words, one a configuration; `mesh` names the density of k points (see
            `reading.mesh_density`), `source` the set.
        tables: neighbours by relation; empty until `connect`. theory: code, version and settings of the level.
    """

    positions: Float[np.ndarray, "a 3"]
    numbers: Int[np.ndarray, "a"]
    forces: Float[np.ndarray, "a 3"]
    first: Int[np.ndarray, "c_1"]
    cell: Float[np.ndarray, "c 3 3"]
    energy: Float[np.ndarray, "c"]
    stress: Float[np.ndarray, "c 3 3"]
    weights: Float[np.ndarray, "c 3"]
    temperature: Float[np.ndarray, "c"]
    strain: Float[np.ndarray, "c 3 3"]
    points: Float[np.ndarray, "c"]
    split: np.ndarray
    kind: np.ndarray
    mesh: np.ndarray
    source: np.ndarray
    pbc: np.ndarray
    tables: tuple[Neighbours, ...] = ()
    theory: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.energy)

    @property
    def sizes(self) -> Int[np.ndarray, "c"]:
        """Atoms in each configuration."""
        return np.diff(self.first)

    @property
    def volume(self) -> Float[np.ndarray, "c"]:
        """Angstrom^3."""
        return np.abs(np.linalg.det(self.cell))

    @property
    def species(self) -> tuple[int, ...]:
        """Atomic numbers that occur."""
        return tuple(int(z) for z in np.unique(self.numbers))

    def rows(self, split: str) -> Int[np.ndarray, "k"]:
        """Configurations of a split."""
        return np.flatnonzero(self.split == split)

    def content(self, split: str) -> Float[np.ndarray, "3"]:
        """Configurations with energies, atoms with forces and configurations with stress in a split."""
        rows = self.rows(split)
        has = self.weights[rows] > 0
        return np.array([has[:, 0].sum(), (has[:, 1] * self.sizes[rows]).sum(), has[:, 2].sum()], dtype=float)

    def counts(self, species: Sequence[int]) -> Float[np.ndarray, "c s"]:
        """Atoms of each species in each configuration."""
        return np.stack([self.sum(self.numbers == z) for z in species], axis=1)

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Sums over the atoms of each configuration."""
        return np.add.reduceat(np.asarray(values, np.float64), self.first[:-1], axis=0)

    def structure(self, c: int | np.integer) -> Structure:
        """One configuration."""
        atoms = slice(self.first[c], self.first[c + 1])
        species = tuple(int(z) for z in self.numbers[atoms])
        pbc = (bool(self.pbc[c, 0]), bool(self.pbc[c, 1]), bool(self.pbc[c, 2]))
        return Structure(jnp.asarray(self.positions[atoms]), jnp.asarray(self.cell[c]), species, pbc)

    def connect(self, relations: tuple[Relation, ...], progress: bool = False) -> "Examples":
        """With the neighbours of every atom, for all relations."""
        cutoff = max(relation.cutoff for relation in relations)
        found = [
            build_graph(self.structure(c), cutoff, 0.0, relations).tables
            for c in progress_bar(
                range(len(self)), desc="neighbours", unit="configuration", shown=progress, leave=False
            )
        ]
        return dataclasses.replace(self, tables=tuple(_stack(list(group)) for group in zip(*found, strict=True)))

    def widths(self) -> Int[np.ndarray, "c r"]:
        """Most neighbours of an atom in each configuration, by relation."""
        each = [np.asarray(table.mask).sum(axis=1) for table in self.tables]
        return np.stack([np.maximum.reduceat(counts, self.first[:-1]) for counts in each], axis=1)


def _stack(tables: list[Table]) -> Neighbours:
    """Tables of single configurations below each other, padded to the widest."""
    width = max(table.mask.shape[1] for table in tables)

    def join(name: str, kind) -> np.ndarray:
        parts = [np.asarray(getattr(table, name)).astype(kind) for table in tables]
        wide = [np.pad(p, ((0, 0), (0, width - p.shape[1])) + ((0, 0),) * (p.ndim - 2)) for p in parts]
        return np.concatenate(wide)

    return Neighbours(join("receivers", np.int32), join("shifts", np.int8), join("mask", bool))


def thin(examples: Examples, train: int, seed: int) -> Examples:
    """Only so many training configurations, drawn by the seed; all others and all for 0 are kept."""
    rows = examples.rows("train")
    if not 0 < train < len(rows):
        return examples
    dropped = np.random.default_rng((seed, 1)).permutation(rows)[train:]
    keep = np.setdiff1d(np.arange(len(examples)), dropped)
    sizes = examples.sizes
    atoms = np.repeat(np.isin(np.arange(len(examples)), keep), sizes)
    per_atom = {n: getattr(examples, n)[atoms] for n in ("positions", "numbers", "forces")}
    kept = {
        field.name: getattr(examples, field.name)[keep]
        for field in dataclasses.fields(examples)
        if field.name not in (*per_atom, "first", "tables", "theory")
    }
    first = np.concatenate([[0], np.cumsum(sizes[keep])]).astype(np.int64)
    return dataclasses.replace(examples, first=first, **per_atom, **kept)
