"""H(k) and S(k) of a large cell without making them: products with vectors from the H(R) and S(R) of its lattice translations.

    H(k) = sum over R of exp(i k.R) H(R),

real where k and -k are equivalent and the blocks are real: half the memory of the factors, a quarter of their time. This is
the gauge of lattice translations; energies, and velocities c^+ (dH/dk - E dS/dk) c, are those of any other.
"""

from typing import Any

import numpy as np
import scipy.sparse as sp
from jaxtyping import Float, Inexact

from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import Blocks

ROUND = 1e-9
"""Fractions of a phase closer to a whole number are that number."""


class BlochProducts:
    """H and S of one k at a time.

    Attributes:
        shifts: lattice translations R, shape (r, 3), integers. h: H(R) of each, sparse; S(R) likewise, or None.
        cell: angstrom, shape (3, 3). real: whether all blocks are.
    """

    def __init__(self, blocks: Blocks, graph: Graph, cell: Any):
        """Args: blocks: not needed afterwards. cell: of the structure, angstrom, shape (3, 3)."""
        shifts, which = np.unique(np.asarray(graph.shifts), axis=0, return_inverse=True)
        if not (shifts == 0).all(axis=1).any():  # a cell whose atoms see their images alone
            shifts = np.concatenate([shifts, np.zeros((1, 3), shifts.dtype)])
        self.shifts, self.cell, self.size = shifts, np.asarray(cell, dtype=float), blocks.size
        parts = (blocks.onsite, blocks.hopping), (blocks.own_overlap, blocks.overlap)
        sums = [_translations(blocks, graph, which.ravel(), shifts, *pair) for pair in parts if pair[1] is not None]
        self.h, self.s = sums[0], sums[1] if len(sums) > 1 else None
        self.real = not any(np.iscomplexobj(m) for m in self.h)

    def phases(self, k: Float[np.ndarray, " 3"]) -> Inexact[np.ndarray, " r"]:
        """exp(i k.R) of fractional k; real where they all are +-1."""
        turns = self.shifts @ np.asarray(k, dtype=float)
        if self.real and (np.abs(2 * turns - np.round(2 * turns)) < ROUND).all():
            return 1.0 - 2.0 * (np.round(2 * turns) % 2)
        return np.exp(2j * np.pi * turns)

    def upper(self, k: Float[np.ndarray, " 3"], energy: float) -> sp.csr_matrix:
        """The upper triangle of H(k) - E S(k), single precision."""
        found: Any = 0
        for i, phase in enumerate(self.phases(k)):
            part = self.h[i].copy()
            if self.s is not None:
                part.data -= energy * self.s[i].data
            elif not self.shifts[i].any():
                part = part - energy * sp.identity(self.size)
            part = _triangle(part.astype(np.complex64 if np.iscomplexobj(part) else np.float32))
            part.data = part.data * phase.astype(np.complex64 if np.iscomplexobj(phase) else np.float32)
            found = part if i == 0 else found + part
        return found.tocsr()

    def products(self, x: Inexact[np.ndarray, "N m"], phases: Any) -> tuple[np.ndarray, np.ndarray]:
        """H x and S x, of these phases."""
        h, s = self._product(self.h, x, phases), x if self.s is None else self._product(self.s, x, phases)
        return h, s

    def _product(self, matrices: list[Any], x: np.ndarray, phases: Any) -> np.ndarray:
        found = np.zeros(x.shape, np.result_type(x.dtype, phases.dtype, matrices[0].dtype))
        x = np.ascontiguousarray(x)
        for matrix, phase in zip(matrices, phases, strict=True):
            if phase == 0:
                continue
            if np.iscomplexobj(x) and not np.iscomplexobj(matrix):  # SciPy would make a complex copy of the matrix
                part = (matrix @ x.view(x.real.dtype)).view(x.dtype)
            else:
                part = matrix @ x
            found += phase * part
        return found

    def slopes(self, k: Any, energies: Float[np.ndarray, " m"], vectors: Inexact[np.ndarray, "N m"]) -> np.ndarray:
        """c^+ (dH/dk - E dS/dk) c of every state, eV angstrom, shape (m, 3)."""
        phases = np.exp(2j * np.pi * (self.shifts @ np.asarray(k, dtype=float)))
        vectors = vectors.astype(complex)
        moved = np.zeros((len(energies), 3))
        for axis, lengths in enumerate((self.shifts @ self.cell).T):
            if np.any(lengths):
                h, s = self.products(vectors, 1j * lengths * phases)
                s = s if self.s is not None else 0.0 * s
                moved[:, axis] = np.einsum("nm,nm->m", vectors.conj(), h - s * energies).real
        return moved


def _triangle(matrix: Any) -> sp.csr_matrix:
    """The upper triangle, by rows."""
    found = matrix.tocsr()
    rows = np.repeat(np.arange(found.shape[0], dtype=found.indices.dtype), np.diff(found.indptr))
    kept = found.indices >= rows
    starts = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=found.shape[0]))])
    upper = sp.csr_matrix((found.data[kept], found.indices[kept], starts), shape=found.shape)
    upper.sum_duplicates()
    return upper


def _translations(
    blocks: Blocks, graph: Graph, which: np.ndarray, shifts: np.ndarray, own: Any, between: Any
) -> list[Any]:
    """The matrix of each lattice translation, of blocks of atoms and edges."""
    own, between = np.asarray(own), np.asarray(between)
    senders, receivers = np.asarray(graph.senders), np.asarray(graph.receivers)
    out = []
    for i, shift in enumerate(shifts):
        mine = np.flatnonzero(which == i)
        ends, values = (senders[mine], receivers[mine]), between[mine]
        if not shift.any():
            everyone = np.arange(len(own))
            ends = (np.concatenate([ends[0], everyone]), np.concatenate([ends[1], everyone]))
            values = np.concatenate([values, own])
        out.append(assembled(blocks, *ends, values))
    return out


def assembled(blocks: Blocks, senders: np.ndarray, receivers: np.ndarray, values: np.ndarray) -> Any:
    """A sparse matrix of the orbitals, of blocks between pairs of atoms; what stands twice is summed."""
    index, size = blocks.basis.index(blocks.species), blocks.size
    n, width = index.shape
    if size == n * width:  # no padding: blocks are not taken apart before they are summed
        order = np.argsort(senders, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(senders, minlength=n))])
        found = sp.bsr_matrix((values[order], receivers[order], starts), shape=(size, size), blocksize=(width, width))
        found.sum_duplicates()
        return found
    rows, columns = (index[senders][:, :, None], index[receivers][:, None, :])
    rows, columns = (np.broadcast_to(x, (len(x), width, width)).ravel() for x in (rows, columns))
    kept = (rows < size) & (columns < size)
    return sp.csr_matrix((values.ravel()[kept], (rows[kept], columns[kept])), shape=(size, size))
