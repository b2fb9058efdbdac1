"""A few states next to an energy in a large cell, by shift and invert on the sparse H(k), on the host.

Much faster than the dense spectrum of hundreds of atoms. Not differentiable: use `eigenvalues` for that. Every result says how
well it solves (H - E S) c = 0. SciPy's SuperLU comes with the package; PARDISO, where it is installed, keeps a quarter of the
memory or less (`jaxepi.electrons.pardiso`).
"""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from jaxtyping import Array, Float, Inexact, Int

from jaxepi.electrons.bloch_products import BlochProducts, assembled
from jaxepi.electrons.pardiso import Factors, library, refined
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
        residuals: largest at each k, eV. seconds: spent on each k. gigabytes: of the factors at each k, zero where the solver
            does not say. below: how many states lie below the energy, -1 where the solver does not say (PARDISO says it
            where k and -k are equivalent).
    """

    energies: Float[np.ndarray, "k m"]
    velocities: Float[np.ndarray, "k m 3"]
    residuals: Float[np.ndarray, " k"]
    seconds: Float[np.ndarray, " k"]
    gigabytes: Float[np.ndarray, " k"]
    below: Int[np.ndarray, " k"]


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
    itself = np.arange(len(blocks.species))
    senders, receivers = (np.concatenate([itself, np.asarray(x)]) for x in (graph.senders, graph.receivers))

    def matrix(diagonal: Any, edges: Any) -> sp.csc_matrix:
        own = np.asarray(diagonal) * (derivative is None)
        values = np.concatenate([own, phase[:, None, None] * np.asarray(edges)])
        return assembled(blocks, senders, receivers, values).tocsc()

    h = matrix(blocks.onsite, blocks.hopping)
    return h, None if blocks.overlap is None else matrix(blocks.own_overlap, blocks.overlap)


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
    return _nearest(factors.solve, s, h.shape[0], h.dtype, energy, count)


def _nearest(
    solve: Callable[[np.ndarray], np.ndarray], s: Any, size: int, dtype: Any, energy: float, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Energies, ascending, and vectors, c^+ S c = 1, of the states next to an energy.

    Args:
        solve: (H - E S)^-1 times a vector. s: what multiplies vectors by S, or None.
    """
    inverse = spl.LinearOperator((size, size), solve, dtype=dtype)
    start = np.cos(1.0 + np.arange(size)).astype(dtype)  # fixed, so that results repeat bit by bit
    try:
        # Of H itself the iteration asks for nothing but its shape.
        energies, vectors = spl.eigsh(inverse, k=count, M=s, sigma=energy, OPinv=inverse, v0=start)
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
    progress: Callable[[int, NearBands], None] | None = None,
    solver: str = "superlu",
) -> NearBands:
    """States next to an energy at fractional k points of a large cell, with velocities and residuals.

    Args:
        points: shape (k, 3), or `KPoints`. energy: eV. count: of states at each k. graph: built from the structure when left
            out. progress: called after each point with how many are done and what was found at this one. solver: of the sparse
            equations; "pardiso" keeps one factor in single precision and refines what it solves to double.

    Raises:
        InputError: as `states_near`, and as `Hamiltonian.blocks`; a solver that is not known or not installed.
    """
    if solver not in SOLVERS:
        raise InputError(f"solver {solver!r}: choose one of {', '.join(SOLVERS)}")
    graph = hamiltonian.graph(structure) if graph is None else graph
    points = np.asarray(fractional(points), dtype=float)
    rows, at = [], SOLVERS[solver](hamiltonian.blocks(structure, graph), graph, structure, energy, count)
    for i, k in enumerate(points):
        began = time.perf_counter()
        energies, velocities, residual, gigabytes, below = at(k)
        rows.append((energies, velocities, residual, time.perf_counter() - began, gigabytes, below))
        if progress is not None:
            progress(i + 1, _joined(rows[-1:]))
    return _joined(rows)


def _joined(rows: list[tuple[Any, ...]]) -> NearBands:
    return NearBands(*(np.array(column) for column in zip(*rows, strict=True)))


Point = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, float, float, int]]
"""Of fractional k: energies, velocities, the largest residual, gigabytes of factors, states below."""


def _by_superlu(blocks: Blocks, graph: Graph, structure: Structure, energy: float, count: int) -> Point:
    vectors = np.asarray(graph.vectors(structure))
    periodic = np.asarray(structure.cell)[np.array(structure.pbc)]
    axes = np.flatnonzero(np.abs(periodic).max(axis=0, initial=0.0) > 1e-6)

    def at(k: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float, int]:
        cartesian = k @ np.asarray(structure.reciprocal, dtype=float)
        found = states_near(*sparse_bloch(blocks, graph, vectors, cartesian), energy, count)
        velocities = np.zeros((count, 3))
        for axis in axes.tolist():
            velocities[:, axis] = _slopes(found, *sparse_bloch(blocks, graph, vectors, cartesian, axis))
        return found.energies, velocities, float(found.residuals.max()), 0.0, -1

    return at


def _by_pardiso(blocks: Blocks, graph: Graph, structure: Structure, energy: float, count: int) -> Point:
    if not 0 < count <= blocks.size:
        raise InputError(f"{count} states of {blocks.size} orbitals: give a number from 1 to {blocks.size}")
    library()
    if blocks.size <= DENSE or count >= blocks.size - 1:
        return _by_superlu(blocks, graph, structure, energy, count)
    sums = BlochProducts(blocks, graph, structure.cell)

    def at(k: np.ndarray) -> tuple[np.ndarray, np.ndarray, float, float, int]:
        phases = sums.phases(k)
        dtype = np.result_type(phases.dtype, sums.rows[0].dtype, np.float64)

        def shifted(x: np.ndarray) -> np.ndarray:
            h, s = sums.products(x[:, None], phases)
            return (h - energy * s)[:, 0]

        def overlap(x: np.ndarray) -> np.ndarray:
            return sums.products(x.reshape(sums.size, -1), phases)[1].reshape(x.shape)

        operator = spl.LinearOperator((sums.size, sums.size), overlap, matmat=overlap, dtype=dtype)
        factors = Factors(sums.upper(k, energy))
        try:
            solve = refined(factors.solve, shifted, energy)
            s = operator if sums.overlaps else None
            energies, vectors = _nearest(solve, s, sums.size, dtype, energy, count)
        finally:
            factors.close()
        h, moved = sums.products(vectors, phases)
        residual = float(np.linalg.norm(h - moved * energies, axis=0).max())
        return energies, sums.slopes(k, energies, vectors), residual, factors.gigabytes, factors.negative

    return at


SOLVERS = {"superlu": _by_superlu, "pardiso": _by_pardiso}
"""Of sparse equations, by name."""


def _slopes(found: NearStates, dh: sp.csc_matrix, ds: sp.csc_matrix | None) -> Float[np.ndarray, " m"]:
    """c^+ (dH - E dS) c of every state."""
    moved = dh @ found.vectors
    if ds is not None:
        moved = moved - (ds @ found.vectors) * found.energies
    return np.einsum("nm,nm->m", found.vectors.conj(), moved).real
