"""H(k) and S(k) of a large cell without making them: products with vectors from the blocks of H(R) and S(R).

    H(k) = sum over R of exp(i k.R) H(R),

real where k and -k are equivalent and the blocks are real: half the memory of the factors, a quarter of their time. This is
the gauge of lattice translations; energies, and velocities c^+ (dH/dk - E dS/dk) c, are those of any other. The rows of H and S
of one atom stand together, so that one dense product an atom does for both.
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
        rows: of every atom, of H and beneath it of S (where there is one), shape (2 o, neighbours o), itself first.
        ends: its neighbours. shifts: their lattice translations, integers. starts: place of each atom's first neighbour.
        index: place of every orbital of every atom, shape (n, o); beyond the last for padding. cell: angstrom, shape (3, 3).
        size: orbitals. real: whether all blocks are. overlaps: whether there is an S.
    """

    def __init__(self, blocks: Blocks, graph: Graph, cell: Any):
        """Args: blocks: not needed afterwards. cell: of the structure, angstrom, shape (3, 3)."""
        senders = np.asarray(graph.senders)
        n, self.overlaps = len(blocks.species), blocks.overlap is not None
        self.index, self.size, self.cell = (
            blocks.basis.index(blocks.species),
            blocks.size,
            np.asarray(cell, dtype=float),
        )
        first = np.concatenate([[0], np.cumsum(np.bincount(senders, minlength=n))])  # edges are sorted by sender
        self.starts = first + np.arange(n + 1)
        self.ends = np.insert(np.asarray(graph.receivers), first[:-1], np.arange(n))
        self.shifts = np.insert(np.asarray(graph.shifts), first[:-1], 0, axis=0)
        pairs = [(np.asarray(blocks.onsite), np.asarray(blocks.hopping))]
        if self.overlaps:
            pairs.append((np.asarray(blocks.own_overlap), np.asarray(blocks.overlap)))
        self.rows = []
        for i in range(n):
            mine = slice(first[i], first[i + 1])
            whole = [np.concatenate([own[i : i + 1], between[mine]]) for own, between in pairs]
            self.rows.append(np.concatenate([w.transpose(1, 0, 2).reshape(w.shape[1], -1) for w in whole]))
        self.real = not np.iscomplexobj(self.rows[0])

    def phases(self, k: Float[np.ndarray, " 3"]) -> Inexact[np.ndarray, " e"]:
        """exp(i k.R) of fractional k, of all neighbours of all atoms; real where they all are +-1."""
        turns = self.shifts @ np.asarray(k, dtype=float)
        if self.real and (np.abs(2 * turns - np.round(2 * turns)) < ROUND).all():
            return 1.0 - 2.0 * (np.round(2 * turns) % 2)
        return np.exp(2j * np.pi * turns)

    def upper(self, k: Float[np.ndarray, " 3"], energy: float) -> sp.csr_matrix:
        """The upper triangle of H(k) - E S(k), shape (N, N), single precision, eV; k fractional, energy in eV."""
        phases = self.phases(k)
        n, width = self.index.shape
        owners = np.repeat(np.arange(n), np.diff(self.starts))
        kept = self.ends >= owners
        dtype = np.complex64 if np.iscomplexobj(phases) or not self.real else np.float32
        values = np.empty((int(kept.sum()), width, width), dtype)
        filled = 0
        for i, both in enumerate(self.rows):
            mine = slice(self.starts[i], self.starts[i + 1])
            part = both[:width] - energy * both[width:] if self.overlaps else both.copy()
            if not self.overlaps:
                part[:, :width] -= energy * np.eye(width)
            part = part.reshape(width, -1, width)[:, kept[mine]] * phases[mine][kept[mine], None]
            values[filled : filled + part.shape[1]] = part.transpose(1, 0, 2)
            filled += part.shape[1]
        places = np.concatenate([[0], np.cumsum(np.bincount(owners[kept], minlength=n))])
        found = sp.bsr_matrix((values, self.ends[kept], places), shape=(n * width, n * width), blocksize=(width, width))
        found.sum_duplicates()
        return _triangle(found.tocsr(), (self.index < self.size).ravel())

    def products(self, x: Inexact[np.ndarray, "N m"], phases: Any) -> tuple[np.ndarray, np.ndarray]:
        """H x (eV) and S x of x (N, m), with the phases of all neighbours, shape (e,)."""
        dtype = np.result_type(x.dtype, phases.dtype, self.rows[0].dtype)
        n, width = self.index.shape
        padded = np.concatenate([x, np.zeros((1, x.shape[1]))]).astype(dtype)[self.index]
        found = np.empty((n, 1 + self.overlaps, width, x.shape[1]), dtype)
        plain = phases == 1
        for i, both in enumerate(self.rows):
            mine = slice(self.starts[i], self.starts[i + 1])
            near = padded[self.ends[mine]]
            if not plain[mine].all():
                near *= phases[mine, None, None]
            near = near.reshape(both.shape[1], -1)
            split = np.iscomplexobj(near) and self.real  # two real columns for a complex one
            made = (both @ near.view(near.real.dtype)).view(dtype) if split else both @ near
            found[i] = made.reshape(found.shape[1:])
        valid = self.index < self.size
        results = [np.ascontiguousarray(found[:, j][valid]) for j in range(1 + self.overlaps)]
        return results[0], results[1] if self.overlaps else x.astype(dtype)

    def slopes(self, k: Any, energies: Float[np.ndarray, " m"], vectors: Inexact[np.ndarray, "N m"]) -> np.ndarray:
        """c^+ (dH/dk - E dS/dk) c of every state, eV angstrom, shape (m, 3)."""
        phases = np.exp(2j * np.pi * (self.shifts @ np.asarray(k, dtype=float)))
        moved = np.zeros((len(energies), 3))
        for axis, lengths in enumerate((self.shifts @ self.cell).T):
            if np.any(lengths):
                h, s = self.products(vectors, 1j * lengths * phases)
                change = h - s * energies if self.overlaps else h
                moved[:, axis] = np.einsum("nm,nm->m", vectors.conj(), change).real
        return moved


def _triangle(matrix: sp.csr_matrix, valid: np.ndarray) -> sp.csr_matrix:
    """The upper triangle of the orbitals that are none of padding, by rows."""
    size = int(valid.sum())
    place = np.cumsum(valid, dtype=matrix.indices.dtype) - 1
    rows = np.repeat(np.arange(matrix.shape[0], dtype=matrix.indices.dtype), np.diff(matrix.indptr))
    kept = matrix.indices >= rows
    if size < len(valid):
        kept &= valid[rows] & valid[matrix.indices]
    starts = np.concatenate([[0], np.cumsum(np.bincount(place[rows[kept]], minlength=size))])
    return sp.csr_matrix((matrix.data[kept], place[matrix.indices[kept]], starts), shape=(size, size))


def assembled(blocks: Blocks, senders: np.ndarray, receivers: np.ndarray, values: np.ndarray) -> Any:
    """A sparse matrix of the orbitals, shape (N, N), of blocks between pairs of atoms, shape (p, o, o); what stands twice is
    summed."""
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
