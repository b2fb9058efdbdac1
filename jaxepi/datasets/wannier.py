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

LARGEST = 1e6
"""No lattice translation, index or energy (eV) of a file is larger."""


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
    """What is used of `seedname.win`.

    Attributes:
        path: of the file. structure: the crystal. keywords: all of them, as text.
    """

    path: Path
    structure: Structure
    keywords: dict[str, str]

    def flag(self, name: str) -> bool | None:
        """A logical keyword as Wannier90 reads it, or None where the file does not have it.

        Raises:
            InputError: neither true nor false.
        """
        value = self.keywords.get(name)
        if value is not None and not set(value.lower()) & {"t", "f"}:
            raise InputError(f"{self.path}: {name} = {value!r}; give true or false")
        return None if value is None else "t" in value.lower()

    def wholes(self, name: str, count: int = 1, least: int = 0) -> list[int] | None:
        """Whole numbers of a keyword, or None where the file does not have it.

        Raises:
            InputError: other than `count` whole numbers of at least `least`.
        """
        value = self.keywords.get(name)
        if value is None:
            return None
        words = value.replace(",", " ").split()
        if len(words) < count or not all(re.fullmatch(r"\+?[0-9]{1,9}", w) and int(w) >= least for w in words[:count]):
            expected = "a whole number" if count == 1 else f"{count} whole numbers"
            raise InputError(f"{self.path}: {name} = {value!r}; give {expected} of at least {least}")
        return [int(word) for word in words[:count]]


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def read_table(path: Path, lines: list[str], columns: int) -> np.ndarray:
    """The first numbers of each line; what follows them is a comment, as it is to Fortran."""
    try:
        return np.loadtxt(lines, np.float64, usecols=range(columns), ndmin=2)
    except ValueError:
        pass
    try:  # slowly: Fortran's exponents (1.0D-3)
        return np.array([[_number(word) for word in line.split(None, columns)[:columns]] for line in lines])
    except ValueError as error:
        raise InputError(f"{path} does not hold {columns} numbers on every line ({error}); it is damaged") from error


def read_hr(path: str | Path) -> Hoppings:
    """H(R) from `seedname_hr.dat`. Text behind the numbers of a line is a comment, as it is to Wannier90.

    Raises:
        InputError: a file that is missing, cut short, damaged, or that lists an element twice.
    """
    path = Path(path)
    comment, _, rest = read_text(path).partition("\n")
    held = [row for line in rest.splitlines() if (row := line.partition("!")[0].partition("#")[0]).strip()]
    try:
        functions, count = (int(row.split()[0]) for row in held[:2])
        taken, words = 2, list[str]()
        while len(words) < count:
            words += held[taken].split()
            taken += 1
        degeneracies = np.array([int(word) for word in words[: max(count, 0)]], dtype=np.int32)
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(
            f"{path} is not an _hr.dat file ({error}); expected a comment, the number of Wannier functions, that of "
            "lattice vectors, their degeneracies, and lines of R, m, n, Re H, Im H"
        ) from error
    lines = functions**2 * count
    short = next((row for row in held[taken:] if len(row.split()) < 7), None)
    if functions < 1 or count < 1 or len(held) - taken != lines or short is not None:
        raise InputError(
            f"{path}: {functions} Wannier functions and {count} lattice vectors need {lines} lines of 7 numbers; the file "
            f"holds {len(held) - taken}{f', one of them {short.strip()!r}' if short else ''}; it is cut short or damaged"
        )
    table = read_table(path, held[taken:], 7)
    if (degeneracies < 1).any():
        raise InputError(f"{path}: degeneracy {degeneracies.min()} of a lattice vector; expected positive integers")
    strange = (table[:, :5] != np.round(table[:, :5])).any(axis=1) | ~(np.abs(table) <= LARGEST).all(axis=1)
    if strange.any():
        worst = int(strange.argmax())
        raise InputError(
            f"{path}: line {worst + 1} of H, {held[taken + worst].strip()!r}, does not hold five whole numbers and an energy, "
            f"all finite and below {LARGEST:g}; the file is damaged"
        )
    labels = table[:, :5].astype(int)
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
    for line in read_text(path).splitlines()[2:]:
        words = line.split()
        if words and words[0] == "X":
            try:
                found.append([_number(x) for x in words[1:4]])
            except ValueError as error:
                raise InputError(f"{path}: the line {line.strip()!r} is not a centre") from error
    if len(found) != functions or any(len(row) != 3 for row in found):
        raise InputError(f"{path} holds {len(found)} centres; H has {functions} Wannier functions")
    if not (np.abs(found) < LARGEST).all():
        raise InputError(f"{path}: the centres hold NaN or numbers beyond {LARGEST:g} angstrom; write the file again")
    return np.array(found)


def read_ws_vectors(path: str | Path) -> Int[np.ndarray, "t 9"] | None:
    """Superlattice vectors T of `seedname_wsvec.dat`, or None where it says `.false.`.

    Returns:
        Rows of R (three), m and n from zero, how many T share the element <m 0| H |n R> equally, and one T (three).

    Raises:
        InputError: a file that is missing or damaged.
    """
    path = Path(path)
    head, _, rest = read_text(path).partition("\n")
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
    if at != len(numbers) or not starts or max(map(abs, numbers)) > LARGEST:
        raise InputError(f"{path} is cut short or damaged after {len(starts)} elements")
    all_, start = np.array(numbers), np.array(starts)
    heads = all_[start[:, None] + np.arange(6)] - np.array([0, 0, 0, 1, 1, 0])
    counts = heads[:, 5]
    which = np.repeat(np.arange(len(start)), counts)
    nth = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    shifts = all_[(start[which] + 6 + 3 * nth)[:, None] + np.arange(3)]
    return np.concatenate([heads[which], shifts], axis=1)


def minimal_images(
    cell: Float[np.ndarray, "3 3"],
    mesh: Sequence[int],
    vectors: Int[np.ndarray, "r 3"],
    centres: Float[np.ndarray, "w 3"],
    tolerance: float = 1e-5,
) -> Int[np.ndarray, "t 9"]:
    """What `seedname_wsvec.dat` holds, made again: the T that bring r_n + R + T closest to r_m, all that do so equally.

    Args:
        mesh: divisions of the k points (`mp_grid`), whose supercell's vectors T are. centres: r, angstrom.
        tolerance: distances that differ by less are equal, angstrom (Wannier90's `ws_distance_tol`).

    Returns:
        As `read_ws_vectors`.
    """
    period = np.array(mesh) * (np.indices((5, 5, 5)).reshape(3, -1).T - 2)
    away = period @ cell
    between = (centres[None] - centres[:, None]) @ np.linalg.inv(cell)
    out = []
    for vector in vectors:
        near = -np.round((vector + between) / mesh).astype(int) * mesh
        x = (vector + between + near) @ cell
        square = (x**2).sum(axis=2)[:, :, None] + 2 * x @ away.T + (away**2).sum(axis=1)  # |x + T|^2
        length = np.sqrt(np.maximum(square, 0.0))
        equal = length < length.min(axis=2, keepdims=True) + tolerance
        m, n, which = np.nonzero(equal)
        counts = equal.sum(axis=2)[m, n]
        out.append(np.column_stack([np.tile(vector, (len(m), 1)), m, n, counts, near[m, n] + period[which]]))
    return np.concatenate(out)


def spread(
    found: Hoppings, shared: Int[np.ndarray, "t 9"] | None, path: str | Path
) -> tuple[Int[np.ndarray, "r 3"], Complex[np.ndarray, "r w w"]]:
    """Lattice vectors and H(R) with degeneracies divided out and elements shared among R + T, to be summed with exp(ik.R).

    Args:
        shared: as `read_ws_vectors` gives it; None leaves H(R) as it stands. path: of the file, for the message.

    Raises:
        InputError: vectors T of other elements than those of H(R).
    """
    matrices = found.matrices / found.degeneracies[:, None, None]
    if shared is None:
        return found.vectors, matrices
    size = matrices.shape[1]
    every = np.concatenate([found.vectors, shared[:, :3]])
    place = np.unique(every, axis=0, return_inverse=True)[1].ravel()
    row = np.full(int(place.max()) + 1, -1)
    row[place[: len(found.vectors)]] = np.arange(len(found.vectors))
    r, m, n, count = row[place[len(found.vectors) :]], *shared[:, 3:6].T
    within = (r >= 0) & (m >= 0) & (m < size) & (n >= 0) & (n < size)
    if not within.all() or len(np.unique(np.stack([r, m, n]), axis=1).T) != matrices.size:
        raise InputError(
            f"{path}: its _wsvec.dat is of other lattice vectors or functions; write both files again, or remove that one"
        )
    vectors, there = np.unique(shared[:, :3] + shared[:, 6:], axis=0, return_inverse=True)
    out = np.zeros((len(vectors), size, size), dtype=complex)
    np.add.at(out, (there.ravel(), m, n), matrices[r, m, n] / count)
    return vectors, out


def read_win(path: str | Path) -> Input:
    """The crystal and keywords of `seedname.win`.

    Raises:
        InputError: a file that is missing, damaged, without lattice or atoms, or with units that are not known.
    """
    path = Path(path)
    keywords, blocks = _sections(path)
    cell = _rows(blocks, "unit_cell_cart", path)
    names, positions = _atoms(blocks, cell, path)
    numbers = [_atomic_number(n, path) for n in names]
    try:
        return Input(path, Structure.create(positions, cell, numbers), keywords)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _sections(path: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Keywords and blocks. As Wannier90 has it, a line that begins with "begin" or "end" and holds the name of a block opens
    or closes it, with or without a space, a colon or an underscore between."""
    keywords: dict[str, str] = {}
    blocks: dict[str, list[str]] = {}
    inside = ""
    for line in read_text(path).splitlines():
        text = re.split(r"[!#]", line)[0].strip()
        lower = text.lower()
        opened = re.match(r"begin[\s_:=]*(\w+)", lower)
        if inside and lower.startswith("end") and inside in lower:
            inside = ""
        elif inside and (opened or lower.startswith("end")):
            raise InputError(f"{path}: the block {inside} has no end before {text!r}; close it with 'end {inside}'")
        elif opened:
            inside = opened.group(1)
            if inside in blocks:
                raise InputError(f"{path} holds the block {inside} twice; keep one")
            blocks[inside] = []
        elif inside:
            blocks[inside] += [text] if text else []
        elif text:
            name, value = [*re.split(r"\s*[=:]\s*|\s+", text, maxsplit=1), ""][:2]
            if keywords.setdefault(name.lower(), value.strip()) != value.strip():
                raise InputError(f"{path} holds the keyword {name} twice; keep one")
    if inside:
        raise InputError(f"{path}: the block {inside} has no end; close it with 'end {inside}'")
    return keywords, blocks


def _number(word: str) -> float:
    """Also with a Fortran exponent, 1.0d0."""
    return float(re.sub(r"(?<=[0-9.])[dD](?=[-+]?[0-9])", "e", word))


def _numbers(path: Path, name: str, lines: list[list[str]]) -> Float[np.ndarray, "n 3"]:
    """The first three numbers of every line."""
    try:
        found = np.array([[_number(word) for word in line[:3]] for line in lines]).reshape(-1, 3)
    except ValueError as error:
        raise InputError(f"{path}: {name} does not hold three numbers a line ({error})") from error
    if len(found) != len(lines):
        raise InputError(f"{path}: {name} does not hold three numbers a line")
    return found


def _rows(blocks: dict[str, list[str]], name: str, path: Path) -> Float[np.ndarray, "3 3"]:
    if name not in blocks:
        raise InputError(f"{path} has no block {name}; the lattice of the crystal is needed")
    lines, unit = _units(blocks[name], name, path)
    found = unit * _numbers(path, name, lines)
    if len(found) != 3:
        raise InputError(f"{path}: {name} holds {len(found)} vectors; expected three")
    return found


def _units(lines: list[str], name: str, path: Path) -> tuple[list[list[str]], float]:
    """The words of the lines without the one that names the unit, and its length in angstrom."""
    from ase.units import Bohr

    words = [line.replace(",", " ").split() for line in lines]
    if words and len(words[0]) == 1:
        unit = words[0][0].lower()
        found = next((size for known, size in {"ang": 1.0, "bohr": Bohr}.items() if known in unit), None)
        if found is None:
            raise InputError(f"{path}: unit {words[0][0]!r} of {name} is not known; use ang or bohr")
        return words[1:], found
    return words, 1.0


def _atoms(blocks: dict[str, list[str]], cell: np.ndarray, path: Path) -> tuple[list[str], np.ndarray]:
    for name in ("atoms_frac", "atoms_cart"):
        if name in blocks:
            lines, unit = _units(blocks[name], name, path)
            positions = _numbers(path, name, [line[1:] for line in lines])
            positions = positions @ cell if name == "atoms_frac" else unit * positions
            return [line[0] for line in lines], positions
    raise InputError(f"{path} has neither atoms_frac nor atoms_cart; the atoms of the crystal are needed")


def _atomic_number(label: str, path: Path) -> int:
    from ase.data import atomic_numbers

    letters = re.match(r"[A-Za-z]*", label)
    symbol = letters.group().capitalize() if letters else ""
    if not atomic_numbers.get(symbol):
        raise InputError(f"{path}: atom {label!r} is not a chemical symbol")
    return atomic_numbers[symbol]


def beside(path: Path, endings: Sequence[str]) -> dict[str, Path]:
    """Files with the same seedname in the same folder, by ending: those that exist."""
    seed = path.name.removesuffix("_hr.dat").removesuffix("_tb.dat")
    found = {ending: path.with_name(seed + ending) for ending in endings}
    return {ending: file for ending, file in found.items() if file.is_file()}
