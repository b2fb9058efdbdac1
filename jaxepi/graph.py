"""Graphs: which atoms are neighbours, with integer cell shifts. One topology, many configurations.

A graph is built once on the host, with a skin, and shared by every snapshot, temperature, strain and parameter. Edge
vectors x[receiver] + shift @ cell - x[sender] are then a pure function of positions and cell. Any number of periodic
images is allowed, so the same representation serves an 8-atom cell and a 4096-atom supercell.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxepi.errors import InputError
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static


@pytree
class Graph:
    """Directed edges (both directions of every bond), sorted by sender.

    Attributes:
        senders, receivers: atom indices, shape (e,).
        shifts: lattice translations of the receiver, shape (e, 3), integers.
        neighbours: edges that leave each atom, shape (n, most), padded with e (an index past the last edge).
        reference: edge vectors of the structure the graph was built from, angstrom, shape (e, 3). Models that refer to
            ideal bond directions read them here.
        positions, cell: the structure the graph was built from.
        cutoff: every pair closer than this (angstrom) is an edge as long as no atom moves by more than half the skin.
        skin: extra radius, angstrom.
    """

    senders: Int[Array, "e"]
    receivers: Int[Array, "e"]
    shifts: Int[Array, "e 3"]
    neighbours: Int[Array, "n most"]
    reference: Float[Array, "e 3"]
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


def build_graph(structure: Structure, cutoff: float, skin: float = 0.0) -> Graph:
    """All pairs closer than `cutoff + skin`, periodic images included, found on the host by vesin.

    Args:
        structure: the reference structure (concrete arrays).
        cutoff: interaction range, angstrom. skin: extra radius that lets atoms move by half of it, angstrom.

    Raises:
        InputError: a cutoff that is not positive and finite, or a negative skin.
    """
    from vesin import NeighborList

    if not (np.isfinite(cutoff) and cutoff > 0):
        raise InputError(f"cutoff {cutoff} angstrom: give a positive interaction range")
    if not skin >= 0:
        raise InputError(f"skin {skin} angstrom: give zero or a positive length")
    x = np.asarray(structure.positions, dtype=np.float64)
    cell = np.asarray(structure.cell, dtype=np.float64)
    finder = NeighborList(cutoff=cutoff + skin, full_list=True, sorted=True)
    i, j, s = finder.compute(points=x, box=cell, periodic=np.asarray(structure.pbc), quantities="ijS")
    order = np.lexsort((s[:, 2], s[:, 1], s[:, 0], j, i))
    i, j, s = i[order].astype(np.int32), j[order].astype(np.int32), s[order].astype(np.int32)
    counts = np.bincount(i, minlength=len(x))
    neighbours = np.full((len(x), max(int(counts.max()), 1)), len(i), dtype=np.int32)
    neighbours[i, np.arange(len(i)) - np.repeat(np.cumsum(counts) - counts, counts)] = np.arange(len(i))
    dtype = structure.positions.dtype
    return Graph(
        senders=jnp.asarray(i),
        receivers=jnp.asarray(j),
        shifts=jnp.asarray(s),
        neighbours=jnp.asarray(neighbours),
        reference=jnp.asarray(x[j] - x[i] + s @ cell, dtype=dtype),
        positions=structure.positions,
        cell=structure.cell,
        cutoff=float(cutoff),
        skin=float(skin),
    )
