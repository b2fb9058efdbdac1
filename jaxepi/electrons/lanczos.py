"""Block Lanczos of shift and invert: states of (H - E S) c = 0 next to an energy, with factors in single precision.

Every solution of (H - E S) x = b is refined in double precision (iterative refinement), so that the factors decide the time
alone; blocks of vectors read them once for many. All blocks are kept and orthogonalised against each other. Source: R. G.
Grimes, J. G. Lewis and H. D. Simon, SIAM J. Matrix Anal. Appl. 15, 228 (1994); refinement: N. J. Higham, Accuracy and
Stability of Numerical Algorithms (SIAM, 2002), chapter 12.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Inexact

from jaxepi.errors import InputError

INDEFINITE = (
    "S(k) is not positive definite: the orbitals are linearly dependent, or the overlap is not that of this Hamiltonian"
)

GUARD = 4
"""States beyond those that are asked for, which speed up the last of these."""

MOST = 40
"""Blocks that are tried."""

EXACT = 1e-9
"""|b - (H - E S) x| / |b| at which x is refined no further."""

Product = Callable[[Any], tuple[Any, Any]]
Inverse = Callable[[Any], Any]


def nearest(
    product: Product, inverse: Inverse, size: int, energy: float, count: int, dtype: Any, tolerance: float = 1e-8
) -> tuple[Float[np.ndarray, " m"], Inexact[np.ndarray, "N m"], Float[np.ndarray, " m"]]:
    """The `count` states next to an energy.

    Args:
        product: gives H x and S x of x (N, m). inverse: about (H - E S)^-1 x, of single precision. size: N. energy: E, eV.
        dtype: of the vectors. tolerance: largest residual |(H - E S) c| of a state, eV.

    Returns:
        Energies, ascending, vectors (c^+ S c = 1) and residuals.

    Raises:
        InputError: no convergence, or an overlap that is not positive definite.
    """
    width = min(count + GUARD, size)
    start = np.cos(np.arange(1, size + 1)[:, None] * (1 + np.arange(width)) ** 0.5)  # fixed: results repeat bit by bit
    new = _orthonormal([], _solved(product, inverse, start.astype(dtype), energy))
    space = [x[:, :0] for x in new]  # x, H x and S x
    inner = np.zeros((0, 0), dtype)
    for _ in range(MOST):
        following = _solved(product, inverse, new[2], energy)
        space = [np.concatenate(pair, axis=1) for pair in zip(space, new, strict=True)]
        # The inverse in the basis: what it makes of the newest block, seen from all of them.
        column = space[2].conj().T @ following[0]
        known, added = len(inner), column.shape[1]
        grown = np.zeros((known + added, known + added), dtype)
        grown[:known, :known], grown[:, known:], grown[known:] = inner, column, column.conj().T
        inner = grown
        inner[known:, known:] = 0.5 * (column[known:] + column[known:].conj().T)
        turn = np.linalg.eigh(inner)
        largest = np.argsort(-np.abs(turn[0]), kind="stable")[:width]
        found = _states([x @ turn[1][:, largest] for x in space], energy, count)
        if len(found[0]) == count and found[2].max() < tolerance:
            return found
        new = _orthonormal(space, following)
        if not new[0].shape[1]:  # nothing else is there
            break
    raise InputError(
        f"{len(found[0])} of {count} states next to {energy:g} eV are found, with residuals up to {found[2].max():.1g} eV: "
        "move the energy, or ask for more or fewer"
    )


def _states(space: list[Any], energy: float, count: int) -> tuple[Any, Any, Any]:
    """Energies, vectors and residuals of the states of a small space that are next to an energy."""
    v, h, s = space
    matrix, overlap = (0.5 * (m + m.conj().T) for m in (v.conj().T @ h, v.conj().T @ s))
    own, turn = np.linalg.eigh(overlap)
    x = turn / own**0.5
    values, mixed = np.linalg.eigh(x.conj().T @ matrix @ x)
    chosen = np.sort(np.argsort(np.abs(values - energy), kind="stable")[:count])
    values, mixed = values[chosen], x @ mixed[:, chosen]
    return values, v @ mixed, np.linalg.norm(h @ mixed - (s @ mixed) * values, axis=0)


def _solved(product: Product, inverse: Inverse, b: Any, energy: float) -> list[Any]:
    """x, H x and S x of the solution x of (H - E S) x = b."""
    x, last = inverse(b), np.inf
    scale = np.linalg.norm(b, axis=0)
    for _ in range(20):
        h, s = product(x)
        away = b - (h - energy * s)
        error = (np.linalg.norm(away, axis=0) / scale).max()
        if error < EXACT or (error < 1e-6 and error > 0.5 * last):  # or as exact as it gets
            return [x, h, s]
        if not error < 2 * last:
            break
        x, last = x + inverse(away), error
    raise InputError(
        f"(H - E S) x = b at {energy:g} eV is solved to {error:.1g} only by factors in single precision: move the energy by "
        "1e-3 eV, or take solver 'superlu'"
    )


def _orthonormal(space: list[Any], new: list[Any]) -> list[Any]:
    """x, H x and S x of a block, combined so that its columns are orthonormal in S to those of the space and each other."""
    norms = np.einsum("nm,nm->m", new[0].conj(), new[2]).real
    if not (np.isfinite(norms).all() and (norms > 0).all()):
        raise InputError(INDEFINITE)
    new = [x / norms**0.5 for x in new]
    for _ in range(3):  # the first takes away nearly all of it, the others what it left
        if space:
            inner = space[2].conj().T @ new[0]
            new = [x - old @ inner for x, old in zip(new, space, strict=True)]
        values, turn = np.linalg.eigh(new[0].conj().T @ new[2])
        kept = values > 1e-20
        new = [x @ (turn[:, kept] / values[kept] ** 0.5) for x in new]
    return new
