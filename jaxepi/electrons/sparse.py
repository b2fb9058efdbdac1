"""A few states next to an energy in a large cell, by shift and invert on the sparse H(k) (SciPy, on the host).

Much faster than the dense spectrum of hundreds of atoms. Not differentiable: use `eigenvalues` for that. Every result says how
well it solves (H - E S) c = 0.
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from jaxtyping import Array, Float, Inexact

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import Blocks, Hamiltonian
from jaxepi.kpoints import fractional
from jaxepi.structure import Structure

DENSE = 600
"""Matrices up to this size are diagonalised whole."""

LEAST = 1e-10
"""Combinations of orbitals whose overlap is smaller than this times the largest are left out of whole spectra."""

INDEFINITE = (
    "S(k) is not positive definite: the orbitals are linearly dependent, or the overlap is not that of this Hamiltonian"
)


class NearStates(NamedTuple):
    """States of (H - E S) c = 0, ascending, c^+ S c = 1.

    Attributes:
        energies: eV. vectors: columns. residuals: |(H - E S) c| of each, eV. dropped: combinations of orbitals that were left
            out because their overlap is next to nothing.
    """

    energies: Float[np.ndarray, " m"]
    vectors: Inexact[np.ndarray, "N m"]
    residuals: Float[np.ndarray, " m"]
    dropped: int


class NearBands(NamedTuple):
    """States next to an energy at k points.

    Attributes:
        energies: eV, shape (k, m). velocities: dE/dk, eV angstrom, shape (k, m, 3); of single degenerate states arbitrary.
        residuals: largest at each k, eV. seconds: spent on each k.
    """

    energies: Float[np.ndarray, "k m"]
    velocities: Float[np.ndarray, "k m 3"]
    residuals: Float[np.ndarray, " k"]
    seconds: Float[np.ndarray, " k"]


def sparse_bloch(
    blocks: Blocks, graph: Graph, vectors: Float[Array | np.ndarray, "e 3"], k: Any, derivative: int | None = None
) -> tuple[sp.csc_matrix, sp.csc_matrix | None]:
    """H(k) and S(k) as SciPy sparse matrices, atomic gauge; real at k = 0 where the blocks are.

    Args:
        k: Cartesian, 1/angstrom, shape (3,). derivative: axis of k by which both are differentiated; none when left out.
    """
    angle = np.asarray(vectors) @ np.asarray(k)
    phase = np.exp(1j * angle) if angle.any() else np.ones(len(angle))
    if derivative is not None:
        phase = 1j * np.asarray(vectors)[:, derivative] * phase
    assemble = _assembler(blocks, graph)

    def matrix(diagonal: Any, edges: Any) -> sp.csc_matrix:
        own = np.asarray(diagonal) * (derivative is None)
        return assemble(own, phase[:, None, None] * np.asarray(edges))

    h = matrix(blocks.onsite, blocks.hopping)
    return h, None if blocks.overlap is None else matrix(blocks.own_overlap, blocks.overlap)


def _assembler(blocks: Blocks, graph: Graph) -> Callable[[np.ndarray, np.ndarray], sp.csc_matrix]:
    """What makes a matrix of blocks of atoms and edges."""
    index, size = blocks.basis.index(blocks.species), blocks.size
    n, width = index.shape
    itself = np.arange(n)
    senders, receivers = (np.concatenate([itself, np.asarray(x)]) for x in (graph.senders, graph.receivers))
    if size == n * width:  # no padding: blocks are not taken apart before they are summed
        order = np.argsort(senders, kind="stable")
        starts = np.concatenate([[0], np.cumsum(np.bincount(senders, minlength=n))])

        def whole(own: np.ndarray, edges: np.ndarray) -> sp.csc_matrix:
            values = np.concatenate([own, edges])[order]
            found = sp.bsr_matrix((values, receivers[order], starts), shape=(size, size), blocksize=(width, width))
            found.sum_duplicates()
            return found.tocsc()

        return whole
    rows, columns = (index[senders][:, :, None], index[receivers][:, None, :])
    rows, columns = (np.broadcast_to(x, (len(x), width, width)).ravel() for x in (rows, columns))
    kept = (rows < size) & (columns < size)

    def padded(own: np.ndarray, edges: np.ndarray) -> sp.csc_matrix:
        values = np.concatenate([own, edges]).ravel()
        return sp.csc_matrix((values[kept], (rows[kept], columns[kept])), shape=(size, size))

    return padded


def states_near(h: sp.csc_matrix, s: sp.csc_matrix | None, energy: float, count: int) -> NearStates:
    """The `count` states of (H - E S) c = 0 that are closest to `energy` (eV).

    Raises:
        InputError: an overlap that is not positive definite, or more states than there are.
    """
    size = h.shape[0]
    if not 0 < count <= size:
        raise InputError(f"{count} states of {size} orbitals: give a number from 1 to {size}")
    dropped = 0
    if size <= DENSE or count >= size - 1:
        energies, vectors, dropped = _whole(h.toarray(), None if s is None else s.toarray())
        if count > len(energies):
            raise InputError(
                f"{count} states of {size} orbitals, {dropped} of them dependent on others: give at most {len(energies)}"
            )
        chosen = np.sort(np.argsort(np.abs(energies - energy), kind="stable")[:count])
        energies, vectors = energies[chosen], vectors[:, chosen]
    else:
        energies, vectors = _inverted(h, s, energy, count)
    away = h @ vectors - (vectors if s is None else s @ vectors) * energies
    return NearStates(energies, vectors, np.linalg.norm(away, axis=0), dropped)


def _inverted(h: sp.csc_matrix, s: sp.csc_matrix | None, energy: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    shifted = (h - energy * (sp.identity(h.shape[0], format="csc") if s is None else s)).tocsc()
    try:
        factors = spl.splu(shifted, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})
    except RuntimeError as error:  # a pivot of zero
        raise InputError(
            f"{energy:g} eV is itself an energy of this cell: H - E S has no inverse; move it by 1e-4 eV"
        ) from error
    inverse = spl.LinearOperator(h.shape, factors.solve, dtype=h.dtype)
    start = np.cos(1.0 + np.arange(h.shape[0])).astype(h.dtype)  # fixed, so that results repeat bit by bit
    try:
        energies, vectors = spl.eigsh(h, k=count, M=s, sigma=energy, OPinv=inverse, v0=start)
    except spl.ArpackNoConvergence as error:
        raise InputError(
            f"{count} states next to {energy:g} eV do not converge: ask for more or fewer ({error})"
        ) from error
    except spl.ArpackError as error:
        raise InputError(f"{INDEFINITE} ({error})") from error
    norms = np.ones(count) if s is None else np.einsum("nm,nm->m", vectors.conj(), s @ vectors).real
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise InputError(INDEFINITE)
    order = np.argsort(energies)
    return energies[order], (vectors / norms**0.5)[:, order]


def _whole(h: np.ndarray, s: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, int]:
    """All states, in the space of the combinations of orbitals whose overlap is not negligible."""
    if s is None:
        return (*np.linalg.eigh(h), 0)
    own, turn = np.linalg.eigh(s)
    if own[0] < -LEAST * own[-1]:
        raise InputError(f"{INDEFINITE} (smallest eigenvalue {own[0]:.3g})")
    kept = own > LEAST * own[-1]
    x = turn[:, kept] / own[kept] ** 0.5
    energies, vectors = sl.eigh(x.conj().T @ h @ x)
    return energies, x @ vectors, int((~kept).sum())


def bands_near(
    hamiltonian: Hamiltonian,
    structure: Structure,
    points: Any,
    energy: float,
    count: int = 8,
    graph: Graph | None = None,
    progress: Callable[[int], None] | None = None,
) -> NearBands:
    """States next to an energy at fractional k points of a large cell, with velocities and residuals.

    Args:
        points: shape (k, 3), or `KPoints`. energy: eV. count: of states at each k. graph: built from the structure when left
            out. progress: called after each point with how many are done.

    Raises:
        InputError: as `states_near`, and as `Hamiltonian.blocks`.
    """
    graph = hamiltonian.graph(structure) if graph is None else graph
    points = np.asarray(fractional(points), dtype=float)
    blocks, vectors = hamiltonian.blocks(structure, graph), np.asarray(graph.vectors(structure))
    periodic = np.asarray(structure.cell)[np.array(structure.pbc)]
    axes = np.flatnonzero(np.abs(periodic).max(axis=0, initial=0.0) > 1e-6)
    rows = []
    for i, k in enumerate(points @ np.asarray(structure.reciprocal, dtype=float)):
        began = time.perf_counter()
        found = states_near(*sparse_bloch(blocks, graph, vectors, k), energy, count)
        velocities = np.zeros((count, 3))
        for axis in axes.tolist():
            velocities[:, axis] = _slopes(found, *sparse_bloch(blocks, graph, vectors, k, axis))
        rows.append((found.energies, velocities, found.residuals.max(), time.perf_counter() - began))
        if progress is not None:
            progress(i + 1)
    return NearBands(*(np.array(column) for column in zip(*rows, strict=True)))


def _slopes(found: NearStates, dh: sp.csc_matrix, ds: sp.csc_matrix | None) -> Float[np.ndarray, " m"]:
    """c^+ (dH - E dS) c of every state."""
    moved = dh @ found.vectors
    if ds is not None:
        moved = moved - (ds @ found.vectors) * found.energies
    return np.einsum("nm,nm->m", found.vectors.conj(), moved).real
