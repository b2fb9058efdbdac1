"""Force constants from the forces of any calculator, by displacing as few atoms along as few directions as symmetry allows.

Flows in: an ASE calculator and a supercell at rest. Flows out: rows of the Hessian that belong to the first base cell. Each
operation of the crystal that also leaves the supercell as it is turns known forces into those of another displacement; an
atom's 3 x 3 blocks follow from all of them by least squares, those of its equivalents by rotation.
"""

import hashlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxepi import archive, symmetry
from jaxepi.errors import InputError
from jaxepi.guards import number
from jaxepi.progress import progress_bar
from jaxepi.structure import Structure

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


HARMONIC = 0.05
"""Angstrom: larger displacements leave the parabola in most crystals (thermal ones of silicon at 300 K: 0.13)."""


class Operation(NamedTuple):
    """An operation of the supercell: Cartesian rotation (on columns), and where each atom goes."""

    rotation: Float[np.ndarray, "3 3"]
    images: Int[np.ndarray, " n"]


class Displacement(NamedTuple):
    """A direction along which an atom is moved, and the operation that turns it round, where there is one."""

    atom: int
    direction: Float[np.ndarray, "3"]
    turned: Operation | None


class Kept(NamedTuple):
    """What the calculator is called, and the folder that keeps its forces, if any."""

    name: str
    folder: str | os.PathLike | None


def rows(
    calculator: "Calculator",
    supercell: Structure,
    displacement: float,
    kept: Kept,
    progress: bool,
    force_tolerance: float,
) -> Float[np.ndarray, "b 3 r b 3"]:
    """Hessian rows in the layout of `ForceConstants.matrix`, eV/angstrom^2; see `ForceConstants.from_ase`.

    Raises:
        InputError: a displacement that is none, a structure that is not at rest, forces that are no numbers, a folder of
            another calculation.
    """
    if not 0 < float(number("displacement", displacement, "angstrom")) <= 0.5:
        raise InputError(f"displacement {displacement} angstrom: give 0.005 to 0.05")
    if displacement > HARMONIC:
        warnings.warn(
            f"displacement {displacement:g} angstrom: beyond {HARMONIC:g} forces are hardly harmonic; frequencies may be off",
            stacklevel=3,
        )
    b = len(supercell) // int(np.prod(supercell.repeats))
    found = list(operations(supercell))
    parents = np.array([min(int(o.images[i]) % b for o in found) for i in range(b)])
    planned = [d for atom in np.unique(parents) for d in directions(supercell, int(atom), found)]
    slopes = _slopes(calculator, supercell, planned, displacement, kept, progress, force_tolerance)
    matrix = np.empty((b, 3, len(supercell), 3))
    for atom in np.unique(parents):
        blocks = _blocks(int(atom), planned, slopes, found)
        for other in np.flatnonzero(parents == atom):
            o = next(o for o in found if o.images[atom] == other)
            moved = np.empty_like(blocks)
            moved[o.images] = o.rotation @ blocks @ o.rotation.T
            matrix[other] = moved.transpose(2, 0, 1)
    return matrix.reshape(b, 3, -1, b, 3)


def operations(supercell: Structure) -> Iterator[Operation]:
    """Operations of the base cell that leave the supercell's lattice as it is, each followed by the lattice translations that
    bring an atom of the first base cell back into it."""
    repeats = np.asarray(supercell.repeats)
    base = supercell.base
    b, group = len(base), symmetry.operations(base)
    lattice = np.asarray(base.cell, dtype=float)
    x = np.asarray(supercell.positions, dtype=float) @ np.linalg.inv(lattice)
    for rotation, translation, cartesian in zip(group.rotations, group.translations, group.cartesian, strict=True):
        kept = rotation * repeats / repeats[:, None]
        if np.abs(kept - np.rint(kept)).max() > 1e-9:
            continue
        moved = x @ rotation.T + translation
        between = moved[:, None] - x[:b]
        offset = np.linalg.norm((between - np.rint(between)) @ lattice, axis=-1)
        atom = offset.argmin(axis=1)
        cells = np.rint(between[np.arange(len(x)), atom]).astype(int)
        for home in np.unique(cells[:b], axis=0):
            place = np.ravel_multi_index(tuple(((cells - home) % repeats).T), tuple(repeats))
            yield Operation(cartesian, place * b + atom)


def directions(supercell: Structure, atom: int, found: list[Operation]) -> list[Displacement]:
    """Directions whose images under the operations that leave an atom in place span space, as few as it takes."""
    site = [o for o in found if o.images[atom] == atom]
    lattice = np.asarray(supercell.cell, dtype=float)
    candidates = [*np.eye(3), *(lattice / np.linalg.norm(lattice, axis=1)[:, None])]
    spanned: list[np.ndarray] = []
    chosen: list[Displacement] = []
    while _rank(spanned) < 3:
        gains = [_rank([*spanned, *(o.rotation @ d for o in site)]) for d in candidates]
        direction = candidates[int(np.argmax(gains))]
        images = [o.rotation @ direction for o in site]
        turned = next((o for o, image in zip(site, images, strict=True) if np.allclose(image, -direction)), None)
        chosen.append(Displacement(atom, direction, turned))
        spanned += images
    return chosen


def _rank(vectors: list[np.ndarray]) -> int:
    return int(np.linalg.matrix_rank(np.array(vectors), tol=1e-2)) if vectors else 0


def _blocks(atom: int, planned: list[Displacement], slopes: list[np.ndarray], found: list[Operation]) -> np.ndarray:
    """d2E/du(n) du(atom) of all atoms n, shape (n, 3, 3), from the slopes of forces along all images of its directions."""
    site = [o for o in found if o.images[atom] == atom]
    left, right = np.zeros((len(site[0].images), 3, 3)), np.zeros((3, 3))
    for planned_one, slope in zip(planned, slopes, strict=True):
        if planned_one.atom != atom:
            continue
        for o in site:
            direction = o.rotation @ planned_one.direction
            left[o.images] -= (slope @ o.rotation.T)[:, :, None] * direction
            right += np.outer(direction, direction)
    return left @ np.linalg.inv(right)


def _slopes(
    calculator: "Calculator",
    supercell: Structure,
    planned: list[Displacement],
    displacement: float,
    kept: Kept,
    progress: bool,
    force_tolerance: float,
) -> list[np.ndarray]:
    """Derivatives of all forces along each planned displacement, eV/angstrom^2, shape (n, 3)."""
    x, atoms = np.asarray(supercell.positions, dtype=float), supercell.to_ase()
    total = 1 + sum(1 if one.turned else 2 for one in planned)
    with progress_bar(total=total, unit="supercell", shown=progress) as bar:

        def forces(name: str, atom: int, move: Any) -> np.ndarray:
            atoms.positions = x
            atoms.positions[atom] += move
            found = _forces(kept, name, atoms, calculator)
            bar.update()
            return found

        rest = forces("rest", 0, np.zeros(3))
        largest = float(np.abs(rest).max())
        if not largest <= force_tolerance:
            raise InputError(
                f"the supercell is not at rest: the largest force is {largest:.3g} eV/angstrom (accepted: "
                f"{force_tolerance:g}); relax the structure with this calculator first"
            )
        slopes = []
        for n, one in enumerate(planned):
            move = displacement * one.direction
            forward = forces(f"displacement-{n:03d}-plus", one.atom, move)
            if one.turned is None:
                backward = forces(f"displacement-{n:03d}-minus", one.atom, -move)
            else:
                backward = np.empty_like(forward)
                backward[one.turned.images] = forward @ one.turned.rotation.T
            slopes.append((forward - backward) / (2 * displacement))
    return slopes


def _forces(kept: Kept, name: str, atoms: Any, calculator: "Calculator") -> np.ndarray:
    """Forces on a supercell, eV/angstrom: from the file of an earlier call, or computed, and kept where there is a folder."""
    path = None if kept.folder is None else Path(kept.folder) / f"{name}.npz"
    held = [atoms.positions, atoms.cell.array, atoms.numbers, atoms.pbc]
    origin = hashlib.sha256(
        b"".join((np.round(np.asarray(a, dtype=float), 8) + 0.0).tobytes() for a in held)
    ).hexdigest()[:16]
    header = {"supercell": origin, "calculator": kept.name, "unit": "eV/angstrom"}
    if path is not None and path.exists():
        try:
            with archive.opened(path) as file:
                if file.header == header:
                    return file.array("forces", (len(atoms), 3))
                other = file.header.get("calculator")
        except archive.DamagedError as error:
            raise InputError(f"{path} is damaged ({error}); remove it, and it is computed again") from error
        raise InputError(
            f"{path} holds forces of another supercell, displacement or calculator ({other}); give another folder (--forces), "
            "or remove it"
        )
    atoms.calc = calculator
    forces = np.asarray(atoms.get_forces(), dtype=float)
    if forces.shape != (len(atoms), 3) or not np.isfinite(forces).all():
        raise InputError(f"{kept.name} gives forces that are no numbers for {name} of {atoms.symbols}")
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        archive.write(path, header, {"forces": forces})
    return forces
