"""The text files of Wannier90: H(R), centres, the lattice of the input, and the vectors of the Wigner-Seitz distances.

Flows in: paths. Flows out: arrays as the files hold them (R in lattice vectors, centres in angstrom, energies in eV).
Formats: the chapter on files of the Wannier90 user guide.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float, Int

from jaxepi.errors import InputError
from jaxepi.structure import Structure


class Hoppings(NamedTuple):
    """H(R) of `seedname_hr.dat`.

    Attributes:
        vectors: lattice vectors R, integers, shape (r, 3). degeneracies: by which the terms of R are divided, shape (r,).
        matrices: <m 0| H |n R>, eV, shape (r, w, w). comment: the first line.
    """

    vectors: Int[np.ndarray, "r 3"]
    degeneracies: Int[np.ndarray, "r"]
    matrices: Complex[np.ndarray, "r w w"]
    comment: str


class Input(NamedTuple):
    """What is used of `seedname.win`: the crystal, whether the Wannier functions are spinors, and further keywords."""

    structure: Structure
    spinors: bool
    keywords: dict[str, str]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def read_hr(path: str | Path) -> Hoppings:
    """H(R) from `seedname_hr.dat`.

    Raises:
        InputError: a file that is missing, cut short, damaged, or that lists an element twice.
    """
    path = Path(path)
    comment, _, rest = _text(path).partition("\n")
    words = rest.split()
    try:
        functions, count = int(words[0]), int(words[1])
        degeneracies = np.array(words[2 : 2 + count], dtype=int)
        table = np.array(words[2 + count :], dtype=np.float64)
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{path} is not an _hr.dat file ({error}); expected a comment, the number of Wannier functions, that of "
            "lattice vectors, their degeneracies, and lines of R, m, n, Re H, Im H"
        ) from error
    lines = functions**2 * count
    if functions < 1 or count < 1 or len(table) != 7 * lines or len(degeneracies) != count:
        raise InputError(
            f"{path}: {functions} Wannier functions and {count} lattice vectors need {lines} lines of 7 numbers; the file "
            f"holds {len(table) / 7:g}; it is cut short or damaged"
        )
    if (degeneracies < 1).any():
        raise InputError(f"{path}: degeneracy {degeneracies.min()} of a lattice vector; expected positive integers")
    table = table.reshape(lines, 7)
    if not np.isfinite(table).all():
        raise InputError(f"{path} holds NaN or infinity (line {int(np.argwhere(~np.isfinite(table))[0, 0])} of H)")
    labels = np.round(table[:, :5]).astype(int)
    vectors, which = np.unique(labels[:, :3], axis=0, return_inverse=True)
    first = labels[:: functions**2, :3]  # a block a lattice vector, in the order of the degeneracies
    rows = {tuple(r): i for i, r in enumerate(first)}
    pairs = labels[:, 3:] - 1
    inside = (pairs >= 0).all() and (pairs < functions).all()
    place = (which.ravel() * functions + pairs[:, 0]) * functions + pairs[:, 1]
    if not inside or len(vectors) != count or len(rows) != count or len(np.unique(place)) != lines:
        raise InputError(f"{path} does not list every element of H once for every lattice vector; it is damaged")
    matrices = np.zeros((count, functions, functions), dtype=complex)
    order = np.array([rows[tuple(r)] for r in vectors])[which.ravel()]
    matrices[order, pairs[:, 0], pairs[:, 1]] = table[:, 5] + 1j * table[:, 6]
    return Hoppings(first, degeneracies, matrices, comment.strip())


def read_centres(path: str | Path, functions: int) -> Float[np.ndarray, "w 3"]:
    """Centres of the Wannier functions, angstrom, from `seedname_centres.xyz` (the atoms that follow them are skipped).

    Raises:
        InputError: a file that is missing or does not hold `functions` centres.
    """
    path = Path(path)
    found = []
    for line in _text(path).splitlines()[2:]:
        words = line.split()
        if words and words[0] == "X":
            try:
                found.append([float(x) for x in words[1:4]])
            except ValueError as error:
                raise InputError(f"{path}: the line {line.strip()!r} is not a centre") from error
    if len(found) != functions or any(len(row) != 3 for row in found):
        raise InputError(f"{path} holds {len(found)} centres; H has {functions} Wannier functions")
    return np.array(found)


def read_ws_vectors(path: str | Path) -> Int[np.ndarray, "t 9"] | None:
    """Superlattice vectors T of `seedname_wsvec.dat`, or None where it says `.false.`.

    Returns:
        Rows of R (three), m and n from zero, how many T share the element <m 0| H |n R> equally, and one T (three).

    Raises:
        InputError: a file that is missing or damaged.
    """
    path = Path(path)
    head, _, rest = _text(path).partition("\n")
    if "use_ws_distance=.false." in head.replace(" ", "").lower():
        return None
    try:
        numbers = [int(word) for word in rest.split()]
    except ValueError as error:
        raise InputError(f"{path} is not a _wsvec.dat file: {error}") from error
    starts, at = [], 0
    while at + 6 <= len(numbers) and numbers[at + 5] > 0:
        starts.append(at)
        at += 6 + 3 * numbers[at + 5]
    if at != len(numbers) or not starts:
        raise InputError(f"{path} is cut short or damaged after {len(starts)} elements")
    all_, start = np.array(numbers), np.array(starts)
    heads = all_[start[:, None] + np.arange(6)] - np.array([0, 0, 0, 1, 1, 0])
    counts = heads[:, 5]
    which = np.repeat(np.arange(len(start)), counts)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    shifts = all_[(start[which] + 6 + 3 * nth)[:, None] + np.arange(3)]
    return np.concatenate([heads[which], shifts], axis=1)


def read_win(path: str | Path) -> Input:
    """The crystal and keywords of `seedname.win`.

    Raises:
        InputError: a file that is missing, without lattice or atoms, or with units that are not known.
    """
    path = Path(path)
    keywords: dict[str, str] = {}
    blocks: dict[str, list[str]] = {}
    inside = ""
    for line in _text(path).splitlines():
        text = re.split(r"[!#]", line)[0].strip()
        words = text.lower().split()
        if not words:
            continue
        if words[0] == "begin":
            inside = words[1]
            blocks[inside] = []
        elif words[0] == "end":
            inside = ""
        elif inside:
            blocks[inside].append(text)
        else:
            name, value = [*re.split(r"\s*[=:]\s*|\s+", text, maxsplit=1), ""][:2]
            keywords[name.lower()] = value.strip()
    cell = _rows(blocks, "unit_cell_cart", path)
    names, positions = _atoms(blocks, cell, path)
    structure = Structure.create(positions, cell, [_atomic_number(n, path) for n in names])
    return Input(structure, _true(keywords.get("spinors", "")), keywords)


def _true(value: str) -> bool:
    return value.strip(". ").lower() in ("true", "t", "1")


def _number(word: str) -> float:
    """Also with a Fortran exponent, 1.0d0."""
    return float(word.lower().replace("d", "e"))


def _rows(blocks: dict[str, list[str]], name: str, path: Path) -> Float[np.ndarray, "3 3"]:
    if name not in blocks:
        raise InputError(f"{path} has no block {name}; the lattice of the crystal is needed")
    lines, unit = _units(blocks[name], name, path)
    try:
        return unit * np.array([[_number(x) for x in line.split()] for line in lines]).reshape(3, 3)
    except ValueError as error:
        raise InputError(f"{path}: {name} does not hold three vectors ({error})") from error


def _units(lines: list[str], name: str, path: Path) -> tuple[list[str], float]:
    """The lines without the one that names the unit, and its length in angstrom."""
    from ase.units import Bohr

    known = {"ang": 1.0, "angstrom": 1.0, "bohr": Bohr}
    if lines and len(lines[0].split()) == 1:
        unit = lines[0].lower()
        if unit not in known:
            raise InputError(f"{path}: unit {lines[0]!r} of {name} is not known; use ang or bohr")
        return lines[1:], known[unit]
    return lines, 1.0


def _atoms(blocks: dict[str, list[str]], cell: np.ndarray, path: Path) -> tuple[list[str], np.ndarray]:
    for name in ("atoms_frac", "atoms_cart"):
        if name in blocks:
            lines, unit = _units(blocks[name], name, path)
            try:
                positions = np.array([[_number(x) for x in line.split()[1:4]] for line in lines]).reshape(-1, 3)
            except ValueError as error:
                raise InputError(f"{path}: {name} does not hold a label and three numbers a line ({error})") from error
            positions = positions @ cell if name == "atoms_frac" else unit * positions
            return [line.split()[0] for line in lines], positions
    raise InputError(f"{path} has neither atoms_frac nor atoms_cart; the atoms of the crystal are needed")


def _atomic_number(label: str, path: Path) -> int:
    from ase.data import atomic_numbers

    letters = re.match(r"[A-Za-z]*", label)
    symbol = letters.group().capitalize() if letters else ""
    if symbol not in atomic_numbers:
        raise InputError(f"{path}: atom {label!r} is not a chemical symbol")
    return atomic_numbers[symbol]


def beside(path: Path, endings: Sequence[str]) -> dict[str, Path]:
    """Files with the same seedname in the same folder, by ending: those that exist."""
    seed = path.name.removesuffix("_hr.dat")
    found = {ending: path.with_name(seed + ending) for ending in endings}
    return {ending: file for ending, file in found.items() if file.is_file()}
