"""Graphs that replace one another while atoms move: in arrays of few shapes, so that compiled functions are used again.

Flows in: a potential and positions. Flows out: a `Graph` for one configuration, or one whose arrays have a row a run.
"""

import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.graph import FAR, Graph, Table
from jaxepi.potentials.base import Potential
from jaxepi.structure import Structure

Shape = tuple[int, ...]
"""Number of edges, of neighbours of an atom, and of slots in every table."""

_ROOM = 1.15  # what is asked for beyond the present need
_STEP = 8  # columns come in multiples of this many


def graph(potential: Potential, structure: Structure, shape: Shape = ()) -> tuple[Graph, Shape]:
    """The graph of a structure, and its shape, which is `shape` wherever that suffices."""
    found = _built(potential, structure)
    shape = _fitting([found], shape)
    return _padded(found, shape), shape


def graphs(
    potential: Potential, structure: Structure, positions: Float[Array, "r n 3"], shape: Shape = ()
) -> tuple[Graph, Shape]:
    """One graph a run, built from its positions, angstrom; and their shape, which is `shape` wherever that suffices."""
    found = [_built(potential, structure.with_positions(x)) for x in positions]
    shape = _fitting(found, shape)
    return jax.tree.map(lambda *x: jnp.stack(x), *(_padded(one, shape) for one in found)), shape


def valid(graph: Graph, structure: Structure) -> bool:
    """Whether every pair within the cutoff is still an edge: after moves and strain since the graph was built."""
    deformation = np.linalg.solve(np.asarray(graph.cell, float), np.asarray(structure.cell, float))
    narrowest = np.linalg.svd(deformation, compute_uv=False).min()
    left = graph.cutoff + graph.skin - 2 * float(graph.displacement(structure))
    return bool(narrowest * left >= graph.cutoff)


def _built(potential: Potential, structure: Structure) -> Graph:
    """A new graph, without the warnings that came with the first one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return potential.graph(structure)


def _fitting(found: Sequence[Graph], shape: Shape) -> Shape:
    """A shape that holds all graphs: no shorter than `shape`, and with room wherever that does not suffice."""
    needed = [max(lengths) for lengths in zip(*(_shape(one) for one in found), strict=True)]
    have = shape or (0,) * len(needed)
    return tuple(h if n <= h else _roomy(n) for n, h in zip(needed, have, strict=True))


def _shape(graph: Graph) -> Shape:
    """The lengths that differ from graph to graph."""
    return (graph.n_edges, graph.neighbours.shape[1], *(table.mask.shape[1] for table in graph.tables))


def _roomy(needed: int) -> int:
    return -(-int(np.ceil(_ROOM * needed)) // _STEP) * _STEP


def _padded(graph: Graph, shape: Sequence[int]) -> Graph:
    """The same graph with more slots: edges that no row lists and that are far longer than any cutoff, masked slots."""
    edges, columns, *slots = shape
    extra, atoms = edges - graph.n_edges, graph.n_atoms
    far = int(np.ceil(FAR / np.linalg.norm(np.asarray(graph.cell)[0])))
    away = np.tile(np.array([far, 0, 0], np.int32), (extra, 1))
    rows = np.asarray(graph.neighbours)
    rows = np.where(rows >= graph.n_edges, edges, rows)
    return Graph(
        senders=jnp.asarray(_longer(graph.senders, extra, atoms - 1)),
        receivers=jnp.asarray(_longer(graph.receivers, extra, atoms - 1)),
        shifts=jnp.asarray(np.concatenate([graph.shifts, away])),
        neighbours=jnp.asarray(np.pad(rows, ((0, 0), (0, columns - rows.shape[1])), constant_values=edges)),
        reference=jnp.asarray(np.concatenate([graph.reference, away @ np.asarray(graph.cell)]), graph.reference.dtype),
        tables=tuple(_wider(table, count) for table, count in zip(graph.tables, slots, strict=True)),
        positions=graph.positions,
        cell=graph.cell,
        cutoff=graph.cutoff,
        skin=graph.skin,
    )


def _longer(values: Array, extra: int, fill: int) -> np.ndarray:
    return np.pad(np.asarray(values), (0, extra), constant_values=fill)


def _wider(table: Table, slots: int) -> Table:
    atoms, now = table.mask.shape
    receivers = np.tile(np.arange(atoms, dtype=np.int32)[:, None], (1, slots))
    receivers[:, :now] = table.receivers
    more = ((0, 0), (0, slots - now))
    shifts = np.pad(np.asarray(table.shifts), (*more, (0, 0)))
    return Table(jnp.asarray(receivers), jnp.asarray(shifts), jnp.asarray(np.pad(np.asarray(table.mask), more)))
