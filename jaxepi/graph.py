"""Graphs: which atoms are neighbours, with integer cell shifts. One topology, many configurations.

A graph is built once on the host, with a skin, and shared by every snapshot, temperature, strain and parameter. Edge
vectors x[receiver] + shift @ cell - x[sender] are then a pure function of positions and cell. Any number of periodic
images is allowed, so the same representation serves an 8-atom cell and a 4096-atom supercell.

Networks read the edges as dense tables, one a `Relation`: a row an atom, so that sums over neighbours are matrix products
and no edge is ever scattered on the way to the energy.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxepi import edge_lists
from jaxepi.errors import InputError
from jaxepi.guards import constant, full_precision, poisoned, traced
from jaxepi.layers import bonded_layers
from jaxepi.linalg import inverse_3x3, spectral_norm_3x3
from jaxepi.structure import Structure
from jaxepi.tree import pytree, replace, static

FAR = 1e3
"""Padding lies this far away, angstrom: beyond any cutoff, with finite derivatives."""

ROUND_OFF = 1e-4
"""Lengths that differ by less (angstrom) are equal: the positions of a large cell in single precision."""

DENSEST = 0.2
"""Atoms in a cubic angstrom that no crystal exceeds by much (diamond has 0.176)."""

MOST_EDGES = 1e8
"""Graphs of more edges are refused before they are searched for: they take more than 10 GB."""


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
        edges: place of each slot's edge in the graph's list, shape (n, m), padded as `Graph.neighbours`; None where several
            crystals share the table and there is no list.
    """

    receivers: Int[Array, "n m"]
    shifts: Int[Array, "n m 3"]
    mask: Bool[Array, "n m"]
    edges: Int[Array, "n m"] | None = None

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
        reverse: place of the edge (receiver, sender, -shift) of each edge (a padded one is its own), shape (e,).
        mask: which edges are real, shape (e,); the others pad the graph to the length of another.
        neighbours: edges that leave each atom, shape (n, most), padded with e (an index past the last edge).
        reference: edge vectors of the structure the graph was built from, angstrom, shape (e, 3). Models that refer to
            ideal bond directions read them here.
        tables: the edges of each relation that was asked for, closer than its cutoff plus the skin.
        positions, cell: the structure the graph was built from.
        cutoff: every pair closer than this (angstrom) is an edge as long as no atom moves by more than half the skin.
        skin: extra radius, angstrom.
        species, pbc: of that structure (static). relations: of the tables (static).
        checked: whether the structure it is used with has been seen to hold (static); see `check`.
    """

    senders: Int[Array, "e"]
    receivers: Int[Array, "e"]
    shifts: Int[Array, "e 3"]
    reverse: Int[Array, "e"]
    mask: Bool[Array, "e"]
    neighbours: Int[Array, "n most"]
    reference: Float[Array, "e 3"]
    tables: tuple[Table, ...]
    positions: Float[Array, "n 3"]
    cell: Float[Array, "3 3"]
    cutoff: float = static()
    skin: float = static()
    species: tuple[int, ...] = static()
    pbc: tuple[bool, bool, bool] = static()
    relations: tuple[Relation, ...] = static()
    checked: bool = static(default=False)

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
        return self._displacement(structure, inverse_3x3(structure.cell) @ self.cell.astype(structure.cell.dtype))

    def _displacement(self, structure: Structure, back: Float[Array, "3 3"]) -> Float[Array, ""]:
        moved = structure.positions @ back - self.positions.astype(structure.positions.dtype)
        moved = moved - moved.mean(axis=0, keepdims=True)
        return jnp.sqrt((moved**2).sum(axis=1).max())

    def holds(self, structure: Structure) -> Bool[Array, ""]:
        """Whether every pair within the cutoff is still an edge: no atom has moved by more than half the skin.

        Homogeneous strain brings pairs closer too: it may use up what the displacements leave of the skin. False for NaN.
        Traceable, and without derivatives.
        """
        if not traced(structure, self):
            return constant(self.hold(structure.positions, structure.cell))
        graph, structure = jax.lax.stop_gradient((self, structure))
        moved, squeeze = graph._changes(structure)
        return graph._allows(moved, squeeze)

    def _allows(self, moved: Any, squeeze: Any) -> Any:
        return squeeze * (self.cutoff + self.skin - 2 * moved) >= self.cutoff - ROUND_OFF

    def _changes(self, structure: Structure) -> tuple[Array, Array]:
        """Largest displacement, angstrom, and the factor by which strain shortens lengths at most."""
        back = inverse_3x3(structure.cell) @ self.cell.astype(structure.cell.dtype)
        return self._displacement(structure, back), 1 / spectral_norm_3x3(back)

    def _known_changes(self, positions: Any, cell: Any) -> tuple[np.ndarray, float]:
        """`_changes` of known values on the host, for many positions (*s, n, 3) in one cell, in double precision."""
        x, own, home = (np.asarray(a, np.float64) for a in (positions, self.cell, self.positions))
        cell = np.asarray(cell, np.float64)
        if not (np.isfinite(cell).all() and np.linalg.det(cell)):
            return np.full(x.shape[:-2], np.nan), np.nan
        back = np.linalg.inv(cell) @ own
        moved = x @ back - home
        moved -= moved.mean(axis=-2, keepdims=True)
        return np.asarray(np.sqrt((moved**2).sum(axis=-1).max(axis=-1))), 1 / float(np.linalg.norm(back, 2))

    def hold(self, positions: Any, cell: Any) -> np.ndarray:
        """Which of many positions (*s, n, 3) hold, on the host."""
        return np.asarray(self._allows(*self._known_changes(positions, cell)))

    def fits(self, structure: Structure, cutoff: float = 0.0, relations: tuple[Relation, ...] = ()) -> None:
        """Refuse a graph of other atoms, or one that a model of some reach (angstrom) and relations cannot use.

        Static facts alone: under jit, vmap and grad as well.

        Raises:
            InputError: names what differs.
        """
        remedy = "build the graph from this structure with model.graph(structure)"
        same = structure.species is self.species or structure.species == self.species  # the first costs no time
        if structure.positions.shape[-2:] != self.positions.shape[-2:] or not same:
            differing = [i for i, (a, b) in enumerate(zip(structure.species, self.species, strict=False)) if a != b]
            what = f"atom {differing[0]} is of another element" if differing else f"{len(structure.species)} atoms"
            raise InputError(f"the graph was built for {len(self.species)} other atoms ({what}); {remedy}")
        if structure.pbc != self.pbc:
            raise InputError(f"the graph was built with pbc {self.pbc}, the structure has {structure.pbc}; {remedy}")
        if self.cutoff < cutoff - ROUND_OFF:
            raise InputError(
                f"the graph ends at {self.cutoff:g} angstrom, but the model reaches {cutoff:g}; {remedy} of this model"
            )
        made = [(relation.between, relation.cutoff) for relation in self.relations]
        asked = [(relation.between, relation.cutoff) for relation in relations]
        if asked and [a for a, _ in made] != [b for b, _ in asked]:
            raise InputError(f"the graph has tables for {made}, but the model needs {asked}; {remedy} of this model")
        for (kind, have), (_, need) in zip(made, asked, strict=False):
            if have < need - ROUND_OFF:
                raise InputError(
                    f"the graph's table of {kind} pairs ends at {have:g} angstrom, but the model reaches {need:g}; "
                    f"{remedy} of this model"
                )

    def complaint(self, structure: Structure) -> str:
        """Why `holds` is false, and what helps. Call outside jit."""
        moved, squeeze = (float(x) for x in self._known_changes(structure.positions, structure.cell))
        remedy = "rebuild the graph from this structure, or build it with a larger skin"
        if moved <= 0.5 * self.skin:
            return (
                f"strain brings atoms {100 * (1 - squeeze):.1f}% closer, and they moved by {moved:.3f} angstrom: more than "
                f"the graph's skin ({self.skin:.3f}) allows for; {remedy}"
            )
        return (
            f"an atom moved by {moved:.3f} angstrom, more than half the graph's skin ({0.5 * self.skin:.3f}); {remedy}"
        )

    def check(self, structure: Structure) -> "Graph":
        """Refuse a structure whose atoms or cell have changed by more than the skin allows since the graph was built.

        Static facts are checked under tracing too; values where they are known.

        Returns:
            The graph; marked as checked where values are known, so that what is compiled for this structure need not look
            again.

        Raises:
            InputError: names the displacement and the remedy.
        """
        self.fits(structure)
        if traced(structure, self):
            return self
        if not self.hold(structure.positions, structure.cell):
            raise InputError(self.complaint(structure))
        return replace(self, checked=True)


def guarded(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """A method `kernel(model, structure, graph)` of a model, jitted, and refused or NaN where the graph does not hold.

    The model says as `module.cutoff` and `module.relations` what the graph must reach.
    """

    @jax.jit
    def compiled(model: Any, structure: Structure, graph: Graph) -> Any:
        if graph.checked:
            return kernel(model, structure, graph)
        holds = graph.holds(structure)
        # Derivatives by atoms that no bond reaches would stay zero, if the result alone became NaN.
        return poisoned(kernel(model, poisoned(structure, holds), graph), holds)

    @functools.wraps(kernel)
    @full_precision  # of derivatives too, which are traced in here
    def method(self: Any, structure: Structure, graph: Graph) -> Any:
        graph.fits(structure, self.module.cutoff, self.module.relations)
        return compiled(self, structure, graph.check(structure))

    return method


def build_graph(structure: Structure, cutoff: float, skin: float = 0.0, relations: tuple[Relation, ...] = ()) -> Graph:
    """All pairs closer than `cutoff + skin`, periodic images included, found on the host by vesin.

    Args:
        structure: the reference structure (concrete arrays).
        cutoff: interaction range, angstrom. skin: extra radius that lets atoms move by half of it, angstrom.
        relations: the tables to make; none of them may reach beyond `cutoff`.

    Raises:
        InputError: a cutoff that is not positive and finite, a relation that reaches beyond it, a negative skin, a radius that
            makes more than `MOST_EDGES` edges, or positions that are being traced.
    """
    if not (np.isfinite(cutoff) and cutoff > 0):
        raise InputError(f"cutoff {cutoff} angstrom: give a positive interaction range")
    if not 0 <= skin < np.inf:
        raise InputError(f"skin {skin} angstrom: give zero or a positive length")
    for relation in relations:
        if not 0 < relation.cutoff <= cutoff:
            raise InputError(f"{relation} does not fit into a graph of cutoff {cutoff} angstrom; raise that cutoff")
    if traced(structure):
        raise InputError(
            "a graph is built on the host, where the positions are known, and JAX is tracing them: build it outside "
            "(model.graph(structure)) and pass it as graph="
        )
    _refuse_too_many(structure, cutoff + skin)
    # The arrays are constants of whatever is being traced around this.
    with jax.core.eval_context():
        return _built(structure, float(cutoff), float(skin), tuple(relations))


def _refuse_too_many(structure: Structure, radius: float) -> None:
    """Refuse a search for more edges than memory holds, from an estimate of their number; large supercells are welcome."""
    cell = np.asarray(structure.cell, dtype=np.float64)
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    images = np.prod(
        [2 * radius / h + 1 if periodic else 1.0 for h, periodic in zip(heights, structure.pbc, strict=True)]
    )
    atoms = len(structure)
    dense = atoms * 4 / 3 * np.pi * radius**3 * DENSEST
    if not min(atoms**2 * images, dense) < MOST_EDGES:
        raise InputError(
            f"cutoff and skin of {radius:g} angstrom together make more than {MOST_EDGES:.0e} pairs of {atoms} atoms and their "
            "images, which no memory holds; give shorter ones"
        )


def _built(structure: Structure, cutoff: float, skin: float, relations: tuple[Relation, ...]) -> Graph:
    """The graph of arguments that make sense."""
    from vesin import NeighborList

    x = np.asarray(structure.positions, dtype=np.float64)
    cell = np.asarray(structure.cell, dtype=np.float64)
    finder = NeighborList(cutoff=cutoff + skin, full_list=True, sorted=True)
    i, j, s = finder.compute(points=x, box=cell, periodic=np.asarray(structure.pbc), quantities="ijS")
    order = edge_lists.order(i, j, *s.T)
    i, j, s = i[order].astype(np.int32), j[order].astype(np.int32), s[order].astype(np.int32)
    reference = x[j] - x[i] + s @ cell
    everyone = np.ones(len(i), dtype=bool)
    dtype = structure.positions.dtype
    return Graph(
        senders=constant(i),
        receivers=constant(j),
        shifts=constant(s),
        reverse=constant(edge_lists.reverse(i, j, s)),
        mask=constant(everyone),
        neighbours=constant(edge_lists.rows(i, everyone, len(x))),
        reference=constant(reference, dtype=dtype),
        tables=_tables(structure, i, j, s, np.linalg.norm(reference, axis=1), skin, relations),
        positions=structure.positions,
        cell=structure.cell,
        cutoff=cutoff,
        skin=skin,
        species=structure.species,
        pbc=structure.pbc,
        relations=relations,
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

    def longer(values: Array) -> Array:
        return constant(np.pad(np.asarray(values), (0, extra), constant_values=last))

    return replace(
        graph,
        senders=longer(graph.senders),
        receivers=longer(graph.receivers),
        shifts=constant(np.concatenate([graph.shifts, away])),
        reverse=constant(np.concatenate([graph.reverse, np.arange(graph.n_edges, edges, dtype=np.int32)])),
        mask=constant(np.pad(np.asarray(graph.mask), (0, extra))),
        neighbours=_wider_rows(graph.neighbours, columns, graph.n_edges, edges),
        reference=constant(np.concatenate([graph.reference, away @ np.asarray(graph.cell)]), graph.reference.dtype),
        tables=tuple(
            _wider(table, count, graph.n_edges, edges) for table, count in zip(graph.tables, slots, strict=True)
        ),
    )


def _wider(table: Table, slots: int, old: int, new: int) -> Table:
    """A table with more slots, masked, of a graph that has `new` edges instead of `old`."""
    atoms, now = table.mask.shape
    receivers = np.tile(np.arange(atoms, dtype=np.int32)[:, None], (1, slots))
    receivers[:, :now] = table.receivers
    more = ((0, 0), (0, slots - now))
    shifts, mask = np.pad(np.asarray(table.shifts), (*more, (0, 0))), np.pad(np.asarray(table.mask), more)
    edges = None if table.edges is None else _wider_rows(table.edges, slots, old, new)
    return Table(constant(receivers), constant(shifts), constant(mask), edges)


def _wider_rows(rows: Int[Array, "n m"], columns: int, old: int, new: int) -> Int[Array, "n columns"]:
    """Rows of edges with more columns, padded with the number of all edges, which was `old`."""
    own = np.asarray(rows)
    own = np.where(own >= old, new, own)
    return constant(np.pad(own, ((0, 0), (0, columns - own.shape[1])), constant_values=new))


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
        rows = edge_lists.rows(i, kinds[relation.between] & (length < relation.cutoff + skin), len(structure))
        mask = rows < len(i)
        receivers = np.where(mask, np.append(j, 0)[rows], np.arange(len(rows))[:, None]).astype(np.int32)
        shifts = np.append(s, np.zeros((1, 3), np.int32), axis=0)[rows]
        out.append(Table(*(constant(x) for x in (receivers, shifts, mask, rows))))
    return tuple(out)
