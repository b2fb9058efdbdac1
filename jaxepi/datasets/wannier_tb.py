"""`seedname_tb.dat` of Wannier90: lattice vectors, H(R) and position matrix elements r(R) in one text file.

Flows in: a path. Flows out: arrays as the file holds them (R in lattice vectors, eV, angstrom). Format: the chapter on files
of the Wannier90 user guide; vectors of the Wigner-Seitz distances stand in `seedname_wsvec.dat`, as for `_hr.dat`.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

from jaxepi.datasets.wannier import LARGEST, Hoppings, read_table, read_text
from jaxepi.errors import InputError

ENDING = "_tb.dat"


class Tight(NamedTuple):
    """H(R) and r(R).

    Attributes:
        hoppings: as of `_hr.dat`. cell: rows are lattice vectors, angstrom.
        positions: <m 0| r_a |n R>, angstrom, to be divided by the degeneracies, shape (3, r, w, w).
    """

    hoppings: Hoppings
    cell: Float[np.ndarray, "3 3"]
    positions: Complex[np.ndarray, "3 r w w"]

    @property
    def centres(self) -> Float[np.ndarray, "w 3"]:
        """Of the Wannier functions, angstrom: <m 0| r |m 0>."""
        home = int(np.flatnonzero(~self.hoppings.vectors.any(axis=1))[0])
        return np.diagonal(self.positions[:, home], axis1=1, axis2=2).real.T / self.hoppings.degeneracies[home]


def read_tb(path: str | Path) -> Tight:
    """H(R) and r(R) from `seedname_tb.dat`.

    Raises:
        InputError: a file that is missing, cut short, damaged, or whose two parts have other lattice vectors.
    """
    path = Path(path)
    comment, _, rest = read_text(path).partition("\n")
    held = [line for line in rest.splitlines() if line.strip()]
    try:
        cell = np.array([[float(word) for word in line.split()[:3]] for line in held[:3]])
        functions, count = (int(line.split()[0]) for line in held[3:5])
        taken, words = 5, list[str]()
        while len(words) < count:
            words += held[taken].split()
            taken += 1
        degeneracies = np.array([int(word) for word in words[: max(count, 0)]], dtype=np.int32)
        if cell.shape != (3, 3) or min(functions, count, *degeneracies) < 1:
            raise ValueError("three vectors and positive numbers are expected")
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(
            f"{path} is not a _tb.dat file ({error}); expected a comment, three lattice vectors, the number of Wannier "
            "functions, that of lattice vectors R, their degeneracies, and blocks of H(R) and of r(R)"
        ) from error
    each = 1 + functions**2
    if len(held) - taken != 2 * count * each:
        raise InputError(
            f"{path}: {functions} Wannier functions and {count} lattice vectors need {2 * count * each} lines after the "
            f"degeneracies; the file holds {len(held) - taken}; it is cut short or damaged"
        )
    parts = [held[taken : taken + count * each], held[taken + count * each :]]
    (vectors, h), (again, r) = (
        _blocks(path, part, functions, columns) for part, columns in zip(parts, (2, 6), strict=True)
    )
    if not (vectors == again).all() or not (~vectors.any(axis=1)).any():
        raise InputError(f"{path}: H(R) and r(R) have other lattice vectors, or none is zero; the file is damaged")
    matrices = h[..., 0] + 1j * h[..., 1]
    positions = np.moveaxis(r[..., 0::2] + 1j * r[..., 1::2], -1, 0)
    return Tight(Hoppings(vectors, degeneracies, matrices, comment.strip()), cell, positions)


def _blocks(path: Path, lines: list[str], functions: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Lattice vectors (r, 3), and numbers (r, w, w, columns) by m and n."""
    each = 1 + functions**2
    heads = read_table(path, lines[::each], 3)
    rows = read_table(path, [line for i, line in enumerate(lines) if i % each], 2 + columns)
    pairs = rows[:, :2].reshape(-1, functions**2, 2) - 1
    whole = (heads == np.round(heads)).all() and (pairs == np.round(pairs)).all()
    place = pairs[..., 0] * functions + pairs[..., 1]
    complete = (np.sort(place, axis=1) == np.arange(functions**2)).all()
    if not whole or not complete or len(np.unique(heads, axis=0)) < len(heads) or not (np.abs(rows) <= LARGEST).all():
        raise InputError(
            f"{path} does not list every element once for every lattice vector, as finite numbers below {LARGEST:g}; it is "
            "damaged"
        )
    out = np.empty((len(heads), functions**2, columns))
    np.put_along_axis(out, place.astype(int)[..., None], rows[:, 2:].reshape(len(heads), -1, columns), axis=1)
    return heads.astype(int), out.reshape(len(heads), functions, functions, columns)
