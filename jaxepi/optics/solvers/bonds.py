"""H(k) and the momenta as dense block rows: one an atom, times the gathered rows of its neighbours.

Vectors have the shape (n, o, m): atoms, orbitals of a block row (absent ones stay zero), columns. A product is one matrix
product a group of atoms, (o x slots o) by (slots o x m); nothing is a general sparse format.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Inexact, Int

from jaxepi import edge_lists
from jaxepi.graph import Graph
from jaxepi.guards import constant
from jaxepi.hamiltonians.base import Blocks
from jaxepi.hamiltonians.bloch import phased
from jaxepi.linalg import alike
from jaxepi.optics.momentum import momentum_operator
from jaxepi.tree import pytree, replace

GATHERED, GATHERED_ON_ACCELERATORS = 1 << 17, 1 << 28
"""Numbers that are gathered for one matrix product, about: on a CPU what its cache holds."""

SLOTS = 4
"""Slots of a row come in multiples of this."""


@pytree
class Bonds:
    """An operator between atoms that are neighbours.

    Attributes:
        blocks: one block row an atom, its slots side by side, shape (n, o, slots*o), or stacked.
        receivers: the atom of each slot, shape (n, slots). kept: orbitals that exist, shape (n, o).
    """

    blocks: Inexact[Array, "*a n o so"]
    receivers: Int[Array, "n s"]
    kept: Bool[Array, "n o"]

    def group(self, columns: int) -> int:
        """Atoms whose products are done together."""
        numbers = GATHERED if jax.default_backend() == "cpu" else GATHERED_ON_ACCELERATORS
        return min(len(self.receivers), max(1, numbers // (self.blocks.shape[-1] * columns)))

    def apply(self, vectors: Inexact[Array, "n o m"]) -> Inexact[Array, "n o m"]:
        """The operator times vectors."""
        width = self.blocks.shape[-1]

        def row(slots):
            blocks, receivers = slots
            return blocks @ vectors[receivers].reshape(width, vectors.shape[2])

        return jax.lax.map(row, (self.blocks, self.receivers), batch_size=self.group(vectors.shape[2]))

    def adjoint_free(self, vectors: Inexact[Array, "n o m"]) -> Inexact[Array, "n o m"]:
        """The transpose of a Hermitian operator, its conjugate, times vectors."""
        return self.apply(vectors.conj()).conj()

    def cotangent(self, left: Inexact[Array, "n o m"], right: Inexact[Array, "n o m"]) -> Array:
        """The entries of left @ right^T where the operator has blocks, as its `blocks`."""
        width = self.blocks.shape[-1]

        def row(slots):
            own, receivers = slots
            return own @ right[receivers].reshape(width, right.shape[2]).T

        return jax.lax.map(row, (left, self.receivers), batch_size=self.group(right.shape[2]))

    def scaled(self, centre: Any, half: Any) -> "Bonds":
        """(H - centre)/half; the first slot is the atom itself."""
        dtype = self.blocks.dtype
        rows, columns = self.blocks.shape[-2:]
        shift = jnp.eye(rows, columns, dtype=dtype) * jnp.asarray(centre).astype(dtype)
        shift = shift[None] * self.kept[..., None].astype(dtype)
        return replace(self, blocks=(self.blocks - shift) / jnp.asarray(half).astype(dtype))


def operators(blocks: Blocks, graph: Graph, vectors: Array, phase: Array) -> tuple[Bonds, Bonds]:
    """H(k) and the three W = -i dH/dk of an orthogonal basis, the latter stacked.

    Args:
        phase: of every edge: `bloch.phases`, or `bloch.signs` where H(k) is real. graph: has slots for its `neighbours` alone.
    """
    index = np.asarray(blocks.basis.index(blocks.species))
    kept = jnp.asarray(index < blocks.size)
    hopping, onsite = alike(phased(phase, blocks.hopping), blocks.onsite)
    w = momentum_operator(blocks, graph, vectors, phase)
    padded = jnp.concatenate([hopping, jnp.zeros_like(hopping[:1])])[graph.neighbours]
    receivers = jnp.concatenate([graph.receivers, jnp.zeros(1, graph.receivers.dtype)])[graph.neighbours]
    itself = jnp.arange(graph.n_atoms, dtype=receivers.dtype)[:, None]
    receivers = jnp.concatenate([itself, receivers], axis=1)
    h = _rows(jnp.concatenate([onsite[:, None], padded], axis=1), receivers, kept)
    return Bonds(h, receivers, kept), Bonds(_rows(w.blocks, w.receivers, kept), w.receivers, kept)


def _rows(blocks: Array, receivers: Array, kept: Array) -> Array:
    """Blocks (..., n, s, o, o) as block rows (..., n, o, s*o), zero where an orbital does not exist."""
    there = kept[:, None, :, None] & kept[receivers][:, :, None, :]
    blocks = jnp.where(there, blocks, 0) if blocks.ndim == 4 else jnp.where(there[None], blocks, 0)
    blocks = jnp.swapaxes(blocks, -3, -2)
    return blocks.reshape(*blocks.shape[:-2], -1)


def without_zeros(blocks: Sequence[Blocks], graph: Graph) -> Graph:
    """The graph with neighbours whose blocks are not all zero: what the skin holds, but no cutoff reaches, costs nothing.

    Rows are padded to a multiple of `SLOTS`, so that few programs are compiled.
    """
    there = sum(np.abs(np.asarray(one.hopping)).max(axis=(1, 2)) for one in blocks) > 0
    rows = edge_lists.rows(np.asarray(graph.senders), there & np.asarray(graph.mask), graph.n_atoms)
    missing = -rows.shape[1] % SLOTS
    return replace(graph, neighbours=constant(np.pad(rows, ((0, 0), (0, missing)), constant_values=graph.n_edges)))
