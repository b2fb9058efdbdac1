"""k points: meshes with weights, and paths. Fractional (of the reciprocal vectors) at every interface."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxepi.errors import InputError


class KPoints(NamedTuple):
    """Fractional k points, shape (k, 3), and their weights, shape (k,), which sum to one."""

    points: np.ndarray
    weights: np.ndarray

    @property
    def is_real(self) -> bool:
        """Whether every point is its own time-reversal image, so that a spinless H(k) can be made real."""
        return bool(np.allclose(2 * self.points, np.round(2 * self.points), rtol=0, atol=1e-9))


def mesh(counts: int | Sequence[int], shift: Sequence[float] = (0.0, 0.0, 0.0), time_reversal: bool = True) -> KPoints:
    """A regular mesh; time-reversal partners k and -k are merged into one point of double weight.

    Args:
        counts: divisions of the three reciprocal vectors. shift: offset in units of one division (0.5 shifts by half).
        time_reversal: merge k and -k (right for every non-magnetic crystal).

    Raises:
        InputError: a division below one.
    """
    divisions = [counts] * 3 if isinstance(counts, int) else [int(c) for c in counts]
    if len(divisions) != 3 or min(divisions) < 1:
        raise InputError(f"k mesh {counts}: give one positive integer or three")
    axes = [(np.arange(n) + s) / n for n, s in zip(divisions, shift, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    points -= np.round(points)
    weights = np.full(len(points), 1.0 / len(points))
    if not time_reversal:
        return KPoints(points, weights)
    pairs = np.minimum(keys(points), keys(-points))
    _, first, where = np.unique(pairs, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return KPoints(points[first[order]], np.bincount(where, weights=weights)[order])


def keys(points: np.ndarray) -> np.ndarray:
    """One integer a k point, equal for points a reciprocal vector apart (to 1e-6 of it), shape (...).

    Args:
        points: fractional, shape (..., 3).
    """
    # Rounded off the centre, so that no fraction of small integers lies where rounding is a matter of chance.
    whole = np.floor((points % 1.0) * 1e6 + 0.3137).astype(np.int64) % 1_000_000
    return whole @ np.array([1_000_000_000_000, 1_000_000, 1])


def find(points: np.ndarray, k: Sequence[float] | np.ndarray, tolerance: float = 1e-4) -> int | None:
    """First row of `points` that holds k, its time-reversal image, or one a reciprocal vector away; None without one.

    Args:
        points: fractional, shape (n, 3). k: fractional. tolerance: largest difference of a component.
    """
    away = np.stack([points - np.asarray(k), points + np.asarray(k)])
    rows = np.flatnonzero((np.abs(away - np.round(away)).max(axis=2) < tolerance).any(axis=0))
    return int(rows[0]) if len(rows) else None


def quasirandom(count: int, start: int = 0, periodic: Sequence[bool] = (True, True, True)) -> KPoints:
    """Points `start` to `start + count` of a low-discrepancy sequence that fills the Brillouin zone evenly, equal weights.

    Different snapshots given successive stretches of it sample the zone together far better than each on the same mesh
    (twist averaging: Lin, Zong and Ceperley, Phys. Rev. E 64, 016702 (2001)). The sequence is the additive recurrence of
    the generalised golden ratio (Roberts). Non-periodic directions stay at zero.

    Raises:
        InputError: a count below one.
    """
    if count < 1:
        raise InputError(f"{count} quasirandom k points: ask for at least one")
    ratio = 1.2207440846057596  # real root of x^4 = x + 1
    step = ratio ** -np.arange(1.0, 4.0)
    points = (0.5 + np.arange(start, start + count)[:, None] * step) % 1.0
    points = (points - np.round(points)) * np.asarray(periodic)
    return KPoints(points, np.full(count, 1.0 / count))


def path(corners: Sequence[Sequence[float]], count: int, cell) -> tuple[np.ndarray, np.ndarray]:
    """Points along straight segments between fractional `corners`, about `count` in all, evenly spaced in 1/angstrom.

    Returns:
        Fractional points (k, 3), and the length along the path (k,), 1/angstrom. Corners are always among the points.

    Raises:
        InputError: fewer than two corners or a count below two.
    """
    ends = np.asarray(corners, dtype=float)
    if ends.ndim != 2 or ends.shape[1] != 3 or len(ends) < 2:
        raise InputError(f"a k path needs at least two corners of three numbers, got shape {ends.shape}")
    if count < 2:
        raise InputError(f"a k path of {count} points: ask for at least two")
    reciprocal = 2 * np.pi * np.linalg.inv(np.asarray(cell)).T
    lengths = np.linalg.norm(np.diff(ends, axis=0) @ reciprocal, axis=1)
    points, distance = [ends[:1]], [np.zeros(1)]
    for start, stop, length, before in zip(ends[:-1], ends[1:], lengths, np.cumsum(lengths) - lengths, strict=True):
        n = max(1, round((count - 1) * length / lengths.sum()))
        fraction = np.arange(1, n + 1)[:, None] / n
        points.append(start + fraction * (stop - start))
        distance.append(before + fraction[:, 0] * length)
    return np.concatenate(points), np.concatenate(distance)
