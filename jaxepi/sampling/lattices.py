"""Lattices in each other: supercells of any shape as repeats of a cell, and which atoms of two crystals are the same.

On the host, rows are lattice vectors. Flows in: cells and structures. Flows out: integers.
"""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from jaxepi.errors import InputError
from jaxepi.structure import Structure

STRAIN = 0.03
"""Relative difference of two cells beyond which they are other crystals, and not one at two lattice constants."""

NOTED = 2e-3
"""Relative difference of two cells that is worth a word."""

MATCHED = 0.2
"""Angstrom between the sites of an atom in two descriptions of one crystal."""


class Diagonal(NamedTuple):
    """left @ matrix @ right = diag(counts): both factors have determinant one, counts are positive."""

    left: Int[np.ndarray, "3 3"]
    counts: tuple[int, int, int]
    right: Int[np.ndarray, "3 3"]


def diagonal(matrix) -> Diagonal:
    """A supercell `matrix @ cell` as repeats `counts` of another cell of the same lattice, `inverse(right) @ cell`.

    By row and column operations, as for the Smith normal form (whose divisibility is not needed); a diagonal matrix with
    positive entries is left as it is.

    Args:
        matrix: integers, shape (3, 3), of positive determinant.
    """
    a = np.array(matrix, dtype=np.int64)
    left, right = np.eye(3, dtype=np.int64), np.eye(3, dtype=np.int64)
    for k in range(3):
        while a[k, k + 1 :].any() or a[k + 1 :, k].any() or a[k, k] == 0:
            rows, columns = np.nonzero(a[k:, k:])
            smallest = np.abs(a[k:, k:][rows, columns]).argmin()
            row, column = int(k + rows[smallest]), int(k + columns[smallest])
            a[[k, row]], left[[k, row]] = a[[row, k]], left[[row, k]]
            a[:, [k, column]], right[:, [k, column]] = a[:, [column, k]], right[:, [column, k]]
            for n in range(k + 1, 3):
                times = a[n, k] // a[k, k]
                a[n], left[n] = a[n] - times * a[k], left[n] - times * left[k]
                times = a[k, n] // a[k, k]
                a[:, n], right[:, n] = a[:, n] - times * a[:, k], right[:, n] - times * right[:, k]
    signs = np.sign(np.diag(a))[:, None]
    a, left = signs * a, signs * left
    if np.linalg.det(right) < 0:
        left[0], right[:, 0] = -left[0], -right[:, 0]
    return Diagonal(left, (int(a[0, 0]), int(a[1, 1]), int(a[2, 2])), right)


class Sites(NamedTuple):
    """Where the atoms of a crystal are in another description of it.

    Attributes:
        atom: of each, the same one in the other's cell, shape (n,). translation: and the cell it stands in there, shape
            (n, 3), in the other's lattice vectors. matrix: the cell, in these. strain: largest relative difference of cells.
    """

    atom: Int[np.ndarray, " n"]
    translation: Int[np.ndarray, "n 3"]
    matrix: Int[np.ndarray, "3 3"]
    strain: float


def sites(structure: Structure, base: Structure, name: str = "the force constants") -> Sites:
    """Which atoms of `base`, and in which of its cells, the atoms of a structure are: another cell of the same crystal, with
    atoms in any order, perhaps at a slightly different lattice constant. Along directions that are not periodic in
    the structure its box may be another.

    Args:
        name: of where `base` comes from, for messages.

    Raises:
        InputError: the lattices differ, or atoms that have no counterpart; names both.
    """
    if set(structure.species) != set(base.species):
        raise InputError(
            f"{name}: of {_formula(base)}, and the structure is {_formula(structure)}; give the crystal that they were "
            "computed for"
        )
    cell, x, lattice = _boxed(structure, base, name)
    ratio = cell @ np.linalg.inv(lattice)
    matrix = np.rint(ratio).astype(np.int64)
    count = round(abs(np.linalg.det(matrix)))
    strain = np.inf if count == 0 else float(np.abs(np.linalg.inv(matrix) @ ratio - np.eye(3)).max())
    if not strain < STRAIN or np.linalg.det(matrix) < 0:
        raise InputError(
            f"{name}: of a crystal with lattice vectors {_rows(base.cell)} angstrom, and no supercell of it is the cell "
            f"{_rows(structure.cell)} angstrom (within {STRAIN:.0%}; orientations must agree); give the crystal that they "
            "were computed for"
        )
    own = np.asarray(base.positions, dtype=float) @ np.linalg.inv(lattice)
    given = x @ np.linalg.inv(cell) @ matrix
    if len(given) != count * len(own):
        raise InputError(
            f"{name}: of a crystal with {len(own)} atoms in a cell, so that {count} cells have {count * len(own)}; the "
            f"structure has {len(given)} there; give the crystal that they were computed for"
        )
    species, known = np.asarray(structure.species), np.asarray(base.species)
    if not np.array_equal(np.sort(species), np.sort(np.tile(known, count))):
        raise InputError(
            f"{name}: of {_formula(base)}, and the structure is {_formula(structure)}; give the crystal that they were "
            "computed for"
        )
    starts = [given[0] - own[i] for i in np.flatnonzero(known == species[0])]
    found = [_counterparts(given - start, own, species, known, lattice) for start in starts]
    atom, away = min(found, key=lambda pair: pair[1].max())
    start = starts[min(range(len(found)), key=lambda n: found[n][1].max())]
    if away.max() > MATCHED:
        worst = int(away.argmax())
        raise InputError(
            f"atom {worst} ({_symbol(int(species[worst]))}) of the structure has no counterpart in {name}: the nearest site is "
            f"{away[worst]:.2f} angstrom away; give the crystal that they were computed for"
        )
    offset = given - start - own[atom]
    shift = np.mean(offset - np.rint(offset), axis=0)
    translation = np.rint(offset - shift).astype(np.int64)
    return Sites(atom, translation - translation[0], matrix, strain)


def warn_of_strain(found: Sites, name: str) -> None:
    """Warn of a crystal at another lattice constant."""
    if found.strain > NOTED:
        warnings.warn(f"{name}: the lattice constant differs by {found.strain:.2%} from the crystal's", stacklevel=3)


def _counterparts(given, own, species, known, lattice) -> tuple[np.ndarray, np.ndarray]:
    """The nearest site of the same element of every atom, and how far it is, angstrom."""
    from ase.geometry import find_mic

    between = (given[:, None] - own) @ lattice
    away = find_mic(between.reshape(-1, 3), lattice)[1].reshape(len(given), len(own))
    away = np.where(species[:, None] == known, away, np.inf)
    return away.argmin(axis=1), away.min(axis=1)


def _boxed(structure: Structure, base: Structure, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cell and positions of a structure, with the box of `base` along directions that have no period; the lattice of that."""
    cell, x = np.array(structure.cell, dtype=float), np.asarray(structure.positions, dtype=float)
    lattice = np.asarray(base.cell, dtype=float)
    for axis in np.flatnonzero(~np.asarray(structure.pbc)):
        upright = lattice @ cell[axis] / np.linalg.norm(cell[axis]) / np.linalg.norm(lattice, axis=1)
        along = int(np.abs(upright).argmax())
        if not abs(upright[along]) > 0.99:
            raise InputError(
                f"the structure has no period along its lattice vector {axis}, and no lattice vector of {name} is parallel to "
                "it: give the crystal that they were computed for"
            )
        cell[axis] = np.sign(upright[along]) * lattice[along]
    return cell, x, lattice


def _rows(cell) -> str:
    return np.array2string(np.asarray(cell, dtype=float), precision=3, separator=", ").replace("\n", "")


def _symbol(number: int) -> str:
    from ase.data import chemical_symbols

    return chemical_symbols[number]


def _formula(structure: Structure) -> str:
    return structure.to_ase().get_chemical_formula(empirical=True)
