"""Graphs: which atoms are neighbours, with integer cell shifts. One topology, many configurations.

A graph is built once on the host, with a skin, and shared by every snapshot, temperature, strain and parameter. Edge
vectors x[receiver] + shift @ cell - x[sender] are then a pure function of positions and cell. Any number of periodic
images is allowed, so the same representation serves an 8-atom cell and a 4096-atom supercell.

Networks read the edges as dense tables, one a `Relation`: a row an atom, so that sums over neighbours are matrix products
and no edge is ever scattered on the way to the energy.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxepi.errors import InputError
from jaxepi.layers import bonded_layers
from jaxepi.structure import Structure
from jaxepi.tree import pytree, replace, static

FAR = 1e3
"""Padding lies this far away, angstrom: beyond any cutoff, with finite derivatives."""


@dataclasses.dataclass(frozen=True)
class Relation:
    """A set of edges of its own kind.

    Attributes:
        cutoff: pairs closer than this, angstrom.
        between: "any" pair, only pairs "intra" one layer, or only pairs "inter" layers (see `layers`).
    """

    cutoff: float
    between: Literal["any", "intra", "inter"] = "any"


@pytree
class Table:
    """The edges of one relation, a row of slots an atom.

    Attributes:
        receivers: the neighbour in each slot, shape (n, m); padded slots hold the atom itself.
        shifts: its lattice translation, shape (n, m, 3), integers. mask: which slots are edges, shape (n, m).
    """

    receivers: Int[Array, "n m"]
    shifts: Int[Array, "n m 3"]
    mask: Bool[Array, "n m"]

    def vectors(self, positions: Float[Array, "n 3"], cell: Float[Array, "*n 3 3"]) -> Float[Array, "n m 3"]:
        """From each atom to its neighbours, angstrom; padded slots point `FAR` away.

        Args:
            cell: one (3, 3), or one an atom (n, 3, 3) where several crystals share the table.
        """
        shifts = self.shifts.astype(positions.dtype) @ cell
        vectors = positions[self.receivers] - positions[:, None] + shifts
        far = jnp.asarray([FAR, 0.0, 0.0], positions.dtype)
        return jnp.where(self.mask[..., None], vectors, far)


@pytree
class Graph:
    """Directed edges (both directions of every bond), sorted by sender.

    Attributes:
        senders, receivers: atom indices, shape (e,).
        shifts: lattice translations of the receiver, shape (e, 3), integers.
        neighbours: edges that leave each atom, shape (n, most), padded with e (an index past the last edge).
        reference: edge vectors of the structure the graph was built from, angstrom, shape (e, 3). Models that refer to
            ideal bond directions read them here.
        tables: the edges of each relation that was asked for, closer than its cutoff plus the skin.
        positions, cell: the structure the graph was built from.
        cutoff: every pair closer than this (angstrom) is an edge as long as no atom moves by more than half the skin.
        skin: extra radius, angstrom.
    """

    senders: Int[Array, "e"]
    receivers: Int[Array, "e"]
    shifts: Int[Array, "e 3"]
    neighbours: Int[Array, "n most"]
    reference: Float[Array, "e 3"]
    tables: tuple[Table, ...]
    positions: Float[Array, "n 3"]
    cell: Float[Array, "3 3"]
    cutoff: float = static()
    skin: float = static()

    @property
    def n_atoms(self) -> int:
        return self.positions.shape[0]

    @property
    def n_edges(self) -> int:
        return self.senders.shape[0]

    def vectors(self, structure: Structure) -> Float[Array, "e 3"]:
        """Edge vectors from sender to receiver, angstrom, of `structure` (which may differ from the reference)."""
        x = structure.positions
        return x[self.receivers] - x[self.senders] + self.shifts.astype(x.dtype) @ structure.cell

    def displacement(self, structure: Structure) -> Float[Array, ""]:
        """Largest distance, angstrom, that an atom has moved since the graph was built, homogeneous strain aside."""
        back = jnp.linalg.solve(structure.cell, self.cell.astype(structure.cell.dtype))
        moved = structure.positions @ back - self.positions
        moved = moved - moved.mean(axis=0)
        return jnp.sqrt((moved**2).sum(axis=1).max())

    def check(self, structure: Structure) -> None:
        """Refuse a structure whose atoms have moved by more than half the skin since the graph was built.

        Raises:
            InputError: names the displacement and the remedy. Call outside jit.
        """
        moved = float(self.displacement(structure))
        if not moved <= 0.5 * self.skin:
            raise InputError(
                f"an atom moved by {moved:.3f} angstrom, more than half the graph's skin ({0.5 * self.skin:.3f}); "
                "rebuild the graph from this structure, or build it with a larger skin"
            )


def build_graph(structure: Structure, cutoff: float, skin: float = 0.0, relations: tuple[Relation, ...] = ()) -> Graph:
    """All pairs closer than `cutoff + skin`, periodic images included, found on the host by vesin.

    Args:
        structure: the reference structure (concrete arrays).
        cutoff: interaction range, angstrom. skin: extra radius that lets atoms move by half of it, angstrom.
        relations: the tables to make; none of them may reach beyond `cutoff`.

    Raises:
        InputError: a cutoff that is not positive and finite, a relation that reaches beyond it, or a negative skin.
    """
    from vesin import NeighborList

    if not (np.isfinite(cutoff) and cutoff > 0):
        raise InputError(f"cutoff {cutoff} angstrom: give a positive interaction range")
    if not skin >= 0:
        raise InputError(f"skin {skin} angstrom: give zero or a positive length")
    for relation in relations:
        if not 0 < relation.cutoff <= cutoff:
            raise InputError(f"{relation} does not fit into a graph of cutoff {cutoff} angstrom; raise that cutoff")
    x = np.asarray(structure.positions, dtype=np.float64)
    cell = np.asarray(structure.cell, dtype=np.float64)
    finder = NeighborList(cutoff=cutoff + skin, full_list=True, sorted=True)
    i, j, s = finder.compute(points=x, box=cell, periodic=np.asarray(structure.pbc), quantities="ijS")
    order = np.lexsort((s[:, 2], s[:, 1], s[:, 0], j, i))
    i, j, s = i[order].astype(np.int32), j[order].astype(np.int32), s[order].astype(np.int32)
    reference = x[j] - x[i] + s @ cell
    everyone = np.ones(len(i), dtype=bool)
    dtype = structure.positions.dtype
    return Graph(
        senders=jnp.asarray(i),
        receivers=jnp.asarray(j),
        shifts=jnp.asarray(s),
        neighbours=jnp.asarray(_rows(i, everyone, len(x))),
        reference=jnp.asarray(reference, dtype=dtype),
        tables=_tables(structure, i, j, s, np.linalg.norm(reference, axis=1), skin, relations),
        positions=structure.positions,
        cell=structure.cell,
        cutoff=float(cutoff),
        skin=float(skin),
    )


Shape = tuple[int, ...]
"""Lengths of a graph that differ from one to the next: edges, neighbours of an atom, slots of every table."""


def shape_of(graph: Graph) -> Shape:
    """The lengths of a graph."""
    return (graph.n_edges, graph.neighbours.shape[1], *(table.mask.shape[1] for table in graph.tables))


def padded(graph: Graph, shape: Shape) -> Graph:
    """The same graph with the lengths `shape`, none shorter than its own, so that graphs can be stacked or exchanged.

    Padded edges lead from the last atom to an image of it `FAR` away and no row lists them; padded slots are masked.
    """
    edges, columns, *slots = shape
    extra, last = edges - graph.n_edges, graph.n_atoms - 1
    far = int(np.ceil(FAR / np.linalg.norm(np.asarray(graph.cell)[0])))
    away = np.tile(np.array([far, 0, 0], np.int32), (extra, 1))
    rows = np.asarray(graph.neighbours)
    rows = np.where(rows >= graph.n_edges, edges, rows)

    def longer(values: Array) -> Array:
        return jnp.asarray(np.pad(np.asarray(values), (0, extra), constant_values=last))

    return replace(
        graph,
        senders=longer(graph.senders),
        receivers=longer(graph.receivers),
        shifts=jnp.asarray(np.concatenate([graph.shifts, away])),
        neighbours=jnp.asarray(np.pad(rows, ((0, 0), (0, columns - rows.shape[1])), constant_values=edges)),
        reference=jnp.asarray(np.concatenate([graph.reference, away @ np.asarray(graph.cell)]), graph.reference.dtype),
        tables=tuple(_wider(table, count) for table, count in zip(graph.tables, slots, strict=True)),
    )


def _wider(table: Table, slots: int) -> Table:
    """A table with more slots, masked."""
    atoms, now = table.mask.shape
    receivers = np.tile(np.arange(atoms, dtype=np.int32)[:, None], (1, slots))
    receivers[:, :now] = table.receivers
    more = ((0, 0), (0, slots - now))
    shifts = np.pad(np.asarray(table.shifts), (*more, (0, 0)))
    return Table(jnp.asarray(receivers), jnp.asarray(shifts), jnp.asarray(np.pad(np.asarray(table.mask), more)))


def _rows(senders: np.ndarray, chosen: np.ndarray, n: int) -> np.ndarray:
    """Chosen edges (sorted by sender) that leave each atom, padded with the number of all edges: shape (n, most)."""
    edges = np.flatnonzero(chosen)
    counts = np.bincount(senders[edges], minlength=n)
    rows = np.full((n, max(int(counts.max()), 1)), len(senders), dtype=np.int32)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    rows[senders[edges], np.arange(len(edges)) - first] = edges
    return rows


def _tables(structure, i, j, s, length, skin, relations) -> tuple[Table, ...]:
    """The tables of all relations."""
    same = np.ones(len(i), bool)
    if any(r.between != "any" for r in relations):
        layer, image, directions = bonded_layers(structure)
        # An image of the same layer that no bonds lead to, such as the next sheet of graphite, is another layer.
        apart = (image[i] + s - image[j]).astype(float)
        within = np.einsum("eab,eb->ea", directions[layer[i]], apart)
        same = (layer[i] == layer[j]) & (np.abs(within - apart).max(axis=1) < 1e-6)
    kinds = {"any": np.ones_like(same), "intra": same, "inter": ~same}
    out = []
    for relation in relations:
        rows = _rows(i, kinds[relation.between] & (length < relation.cutoff + skin), len(structure))
        mask = rows < len(i)
        receivers = np.where(mask, np.append(j, 0)[rows], np.arange(len(rows))[:, None]).astype(np.int32)
        shifts = np.append(s, np.zeros((1, 3), np.int32), axis=0)[rows]
        out.append(Table(jnp.asarray(receivers), jnp.asarray(shifts), jnp.asarray(mask)))
    return tuple(out)
