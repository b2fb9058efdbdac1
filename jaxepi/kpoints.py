"""k points: meshes with weights, and paths. Fractional (of the reciprocal vectors) at every interface."""

import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxepi.errors import InputError, whole_number
from jaxepi.structure import Structure

MOST = 10_000_000
"""k points of one mesh at most: their coordinates alone fill half a gigabyte."""


class KPoints(NamedTuple):
    """Fractional k points, shape (k, 3), and their weights, shape (k,), which sum to one."""

    points: np.ndarray
    weights: np.ndarray

    @property
    def is_real(self) -> bool:
        """Whether every point is its own time-reversal image, so that a spinless H(k) can be made real."""
        return bool(np.allclose(2 * self.points, np.round(2 * self.points), rtol=0, atol=1e-9))

    def checked(self) -> "KPoints":
        """The same, if it is a set of k points: for points that were put together by hand.

        Raises:
            InputError: shapes that do not fit, values that are no numbers, or weights that do not sum to one.
        """
        points, weights = fractional(self.points), self.weights
        if np.shape(weights) != points.shape[:1]:
            raise InputError(
                f"{len(points)} k points have weights of shape {np.shape(weights)}; give one weight a point"
            )
        if not isinstance(weights, jax.core.Tracer):
            weights = np.asarray(weights, dtype=float)
            if not np.isfinite(weights).all() or weights.min() < 0:
                raise InputError("weights of k points must be numbers that are not negative")
            total = weights.sum()
            if abs(total - 1) > 1e-6:
                raise InputError(f"weights of k points sum to {total:.6g}; divide them by that, so that they sum to 1")
        return KPoints(points, weights)


def fractional(points: Any) -> Any:
    """k points as an array of shape (k, 3); those of `KPoints` without their weights.

    Raises:
        InputError: another shape, or values that are no numbers.
    """
    given = points.points if isinstance(points, KPoints) else points
    try:
        array = given if isinstance(given, jax.Array) else np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        raise InputError("k points are not numbers; give fractional coordinates of shape (k, 3)") from None
    if array.ndim != 2 or array.shape[1] != 3 or not len(array):
        one = "; one point is [[kx, ky, kz]]" if array.shape == (3,) else ""
        raise InputError(f"k points have shape {array.shape}; give fractional coordinates of shape (k, 3){one}")
    if not isinstance(array, jax.core.Tracer) and not np.isfinite(np.asarray(array)).all():
        raise InputError("k points hold NaN or infinity")
    return array


def mesh(
    counts: Any,
    shift: Any = (0.0, 0.0, 0.0),
    time_reversal: bool = True,
    periodic: Sequence[bool] = (True, True, True),
) -> KPoints:
    """A regular mesh; time-reversal partners k and -k are merged into one point of double weight.

    Args:
        counts: divisions of the three reciprocal vectors, an integer or three.
        shift: offset in units of one division (0.5 shifts by half), of three directions.
        periodic: directions that have a k; an integer divides these alone.
        time_reversal: merge k and -k (right for every non-magnetic crystal).

    Raises:
        InputError: divisions that are no whole numbers above zero, or more than `MOST` points.
    """
    given = [counts if p else 1 for p in periodic] if np.ndim(counts) == 0 else list(counts)
    if len(given) != 3 or len(shift) != 3:
        raise InputError(f"k mesh {counts} shifted by {shift}: give one positive integer or three, and three shifts")
    divisions = [whole_number(n, f"k mesh {counts}: give one positive integer or three") for n in given]
    if any(n > 1 and not p for n, p in zip(divisions, periodic, strict=True)):
        raise InputError(
            f"k mesh {counts} divides a direction that is not periodic (pbc={tuple(periodic)}); use 1 there"
        )
    if math.prod(divisions) > MOST:
        raise InputError(f"k mesh {counts}: {math.prod(divisions):.3g} points are more than {MOST:.0e}; divide less")
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


def quasirandom(count: Any, start: int = 0, periodic: Sequence[bool] = (True, True, True)) -> KPoints:
    """Points `start` to `start + count` of a low-discrepancy sequence that fills the Brillouin zone evenly, equal weights.

    Different snapshots given successive stretches of it sample the zone together far better than each on the same mesh
    (twist averaging: Lin, Zong and Ceperley, Phys. Rev. E 64, 016702 (2001)). The sequence is the additive recurrence of
    the generalised golden ratio (Roberts). Non-periodic directions stay at zero.

    Raises:
        InputError: a count below one.
    """
    whole_number(count, "quasirandom k points")
    ratio = 1.2207440846057596  # real root of x^4 = x + 1
    step = ratio ** -np.arange(1.0, 4.0)
    points = (0.5 + np.arange(start, start + count)[:, None] * step) % 1.0
    points = (points - np.round(points)) * np.asarray(periodic)
    return KPoints(points, np.full(count, 1.0 / count))


class Path(NamedTuple):
    """k points along straight stretches.

    Attributes:
        points: fractional, shape (k, 3). distance: along the path, 1/angstrom, shape (k,); nothing is added at a break.
        corners: place on `distance`, and name. rows: the number of the point at each corner.
        breaks: the points (by number) with which a new stretch begins.
    """

    points: np.ndarray
    distance: np.ndarray
    corners: list[tuple[float, str]]
    rows: tuple[int, ...] = ()
    breaks: tuple[int, ...] = ()


def special_points(structure: Structure) -> dict[str, np.ndarray]:
    """High-symmetry points of a cell by name (G for Gamma), fractional, as ASE tabulates them for its lattice.

    Raises:
        InputError: nothing is periodic, or ASE does not know the lattice.
    """
    return _tabulated(structure)[0]


def _tabulated(structure: Structure) -> tuple[dict[str, np.ndarray], str]:
    """Special points and the standard path of a cell's lattice."""
    from ase.cell import Cell

    pbc = np.asarray(structure.pbc)
    if not pbc.any():
        raise InputError("no direction of this structure is periodic (pbc): it has no k points")
    # ASE knows layers whose third direction is not periodic, and chains along the first.
    first = 0 if pbc.all() else int(np.flatnonzero(~pbc)[0]) + 1 if pbc.sum() == 2 else int(np.flatnonzero(pbc)[0])
    order = (np.arange(3) + first) % 3
    try:
        found = Cell(np.asarray(structure.cell, dtype=float)[order]).bandpath(npoints=0, pbc=pbc[order].tolist())
    except Exception as error:  # ASE's search for the lattice raises what it meets
        raise InputError(f"ASE does not recognise the lattice of this cell ({error}); give a reduced cell") from error
    back = np.argsort(order)
    return {name: np.asarray(k)[back] for name, k in found.special_points.items()}, found.path


def path(structure: Structure, along: Any = None, count: Any = 200) -> Path:
    """Points along straight stretches, about `count` in all, evenly spaced in 1/angstrom, corners among them.

    Args:
        structure: whose cell it is.
        along: names of special points, with a comma where the path breaks ("GXU,KGL"; ASE's names, such as X1, G for
            Gamma), or fractional corners; ASE's standard path of the lattice when left out.
        count: about how many points.

    Raises:
        InputError: a name the cell does not have (the known ones are listed), fewer than two corners, or more than `count`.
    """
    if whole_number(count, "points on a k path") < 2:
        raise InputError(f"a k path of {count} points: ask for at least two")
    stretches = _named(structure, along) if along is None or isinstance(along, str) else [_corners(along)]
    number = sum(len(stretch) for stretch in stretches)
    if number > count:
        raise InputError(f"a k path with {number} corners needs at least as many points, not {count}")
    reciprocal = np.asarray(structure.reciprocal, dtype=float)
    ends = [np.array([k for _, k in stretch]) for stretch in stretches]
    lengths = [np.linalg.norm(np.diff(k, axis=0) @ reciprocal, axis=1) for k in ends]
    total = sum(float(length.sum()) for length in lengths)
    if total < 1e-9:
        raise InputError("a k path without length: its corners are one point")
    points: list[np.ndarray] = []
    distance: list[float] = []
    corners, rows, breaks, place = [], [], [], 0.0
    for stretch, k, length in zip(stretches, ends, lengths, strict=True):
        if points:
            breaks.append(len(points))
        points.append(k[0])
        distance.append(place)
        rows.append(len(points) - 1)
        corners.append((place, stretch[0][0]))
        for start, stop, step, (name, _) in zip(k[:-1], k[1:], length, stretch[1:], strict=True):
            n = max(1, round((count - len(stretches)) * step / total))
            points += list(start + np.arange(1, n + 1)[:, None] / n * (stop - start))
            distance += list(place + step * np.arange(1, n + 1) / n)
            place += float(step)
            rows.append(len(points) - 1)
            corners.append((place, name))
    return Path(np.array(points), np.array(distance), corners, tuple(rows), tuple(breaks))


def _named(structure: Structure, along: str | None) -> list[list[tuple[str, np.ndarray]]]:
    """Stretches of a path by name: the corners of each."""
    known, standard = _tabulated(structure)
    text = (standard if along is None else along).replace("\N{GREEK CAPITAL LETTER GAMMA}", "G")
    stretches = [re.findall(r"[A-Z][a-z0-9]*|\S", part) for part in text.split(",")]
    given, names = along if along is None or len(along) < 80 else f"{along[:80]}...", ", ".join(known)
    for stretch in stretches:
        for name in stretch:
            if name not in known:
                raise InputError(f"path {given!r}: this cell has no special point {name!r}; it has {names}")
        if len(stretch) < 2:
            raise InputError(f"path {given!r}: give at least two special points between commas, of {names}")
    return [[(name, known[name]) for name in stretch] for stretch in stretches]


def _corners(along: Sequence[Sequence[float]]) -> list[tuple[str, np.ndarray]]:
    """Fractional corners, named by their numbers."""
    ends = np.asarray(along, dtype=float)
    if ends.ndim != 2 or ends.shape[1] != 3 or len(ends) < 2:
        raise InputError(f"a k path needs at least two corners of three numbers, got shape {ends.shape}")
    return [("(" + ", ".join(f"{c:g}" for c in corner) + ")", corner) for corner in ends]
