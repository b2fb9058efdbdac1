"""Frames of any code as displacements from a reference: atoms matched to its sites and unwrapped, rigid drift taken out.

Flows in: `ase.Atoms`, one a frame, and a structure at rest. Flows out: positions beside the sites of that structure, in its
order, for `Snapshots`. An atom that is nearer to another site than to its own has left it, and its frame is refused:
snapshots are vibrations about one crystal.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxepi.datasets.trajectory_files import FRAME
from jaxepi.errors import InputError
from jaxepi.structure import Structure

if TYPE_CHECKING:
    import ase

SAME_CELL = 1e-4
"""Cells that differ by less than this, relatively, are one; files round their vectors to six decimals or so."""

BREATHING = 0.05
"""Cells of a run at constant pressure stay within this of their mean, relatively; what changes more is another structure."""

MOST_STRAIN = 0.1
"""Strain of a crystal up to which a frame's cell is still one of its supercells."""

ROUNDED = 2e-6
"""Strain that comes from the digits of a file: then the crystal keeps its own cell."""

SMALL = 0.15
"""Displacements of this root mean square, over the distance of neighbours, are vibrations beyond doubt: no other order of
the atoms is tried then. Crystals melt at about this value (Lindemann)."""

_UNIT = np.eye(3)


def positions_of(images: "Sequence[ase.Atoms]") -> Float[np.ndarray, "f n 3"]:
    """Positions of frames of one cell and one composition, angstrom.

    Raises:
        InputError: no frames, other atoms or another cell than the first frame's, or NaN; names the frame, counted from zero.
    """
    from ase.data import chemical_symbols

    if not len(images):
        raise InputError("no frames: give at least one")
    first = images[0]
    scale = float(np.abs(first.cell.array).max()) or 1.0
    origin = called(first)
    for f, atoms in enumerate(images):
        name = called(atoms, f)
        unknown = [int(z) for z in atoms.numbers if not 0 < z < len(chemical_symbols)]
        if unknown:
            raise InputError(f"{name}: there is no element {unknown[0]}; repair the file, or name its elements")
        if len(atoms) != len(first):
            raise InputError(f"{name} has {len(atoms)} atoms, {origin} has {len(first)}; give frames of one crystal")
        if sorted(atoms.numbers) != sorted(first.numbers):
            raise InputError(
                f"{name} is {atoms.symbols}, {origin} is {first.symbols}; give frames of one crystal, with its elements"
            )
        if not np.isfinite(atoms.positions).all() or not np.isfinite(atoms.cell.array).all():
            raise InputError(f"{name}: positions or cell hold NaN or infinity; leave the frame out")
        change = float(np.abs(atoms.cell.array - first.cell.array).max()) / scale
        if change > SAME_CELL:
            raise InputError(
                f"{name}: its cell differs by {100 * change:.2g}% from that of {origin}; snapshots share one cell: choose "
                "frames of one cell"
            )
    return np.stack([np.asarray(atoms.positions, dtype=float) for atoms in images])


def at_mean_cell(images: "Sequence[ase.Atoms]") -> "list[ase.Atoms]":
    """Frames of a run at constant pressure in their mean cell, fractional coordinates kept, with a warning; others as they are.

    The mean cell has the thermal expansion of the run. What is lost is the breathing of the whole supercell about it, a strain
    whose effect on averages falls with the number of atoms.
    """
    images = list(images)
    cells = np.array([atoms.cell.array for atoms in images]).reshape(-1, 3, 3)
    scale = np.abs(cells).max(initial=0.0) or 1.0
    changes = np.abs(np.diff(cells, axis=0)).max(axis=(1, 2), initial=0.0) / scale
    mean = cells.mean(axis=0) if len(cells) else np.zeros((3, 3))
    largest = np.abs(cells - mean).max(initial=0.0) / scale
    if not (np.mean(changes > ROUNDED) if len(changes) else 0.0) > 0.5 or not SAME_CELL / 2 < largest <= BREATHING:
        return images
    lengths = " ".join(f"{length:.4f}" for length in np.linalg.norm(mean, axis=1))
    warnings.warn(
        f"the cell changes from frame to frame, by up to {100 * largest:.2g}% from its mean (vectors of {lengths} angstrom): "
        "a run at constant pressure; frames are taken in the mean cell, fractional coordinates kept",
        stacklevel=3,
    )
    found = [atoms.copy() for atoms in images]
    for atoms in found:
        atoms.set_cell(mean, scale_atoms=True)
    return found


def beside(
    positions: Float[np.ndarray, "n 3"], sites: Float[np.ndarray, "n 3"], structure: Structure
) -> Float[np.ndarray, "n 3"]:
    """Displacements from sites, atom by atom: the shortest of all periodic images, without their mean.

    Rigid motion is that of the first atom, then that of the mean: a crystal may have drifted through its cell.
    """
    away = positions - sites
    away = away - away[0]
    cell = np.asarray(structure.cell, dtype=float)
    fractional = away @ np.linalg.inv(cell)
    away -= np.where(structure.pbc, np.round(fractional), 0.0) @ cell
    return away - away.mean(axis=0)


def shortest(structure: Structure) -> float:
    """Shortest distance of two atoms, images included, angstrom; at most three times the typical one."""
    from vesin import NeighborList

    cell = np.asarray(structure.cell, dtype=float)
    radius = 3.0 * max(1.0, (abs(np.linalg.det(cell)) / len(structure)) ** (1 / 3))
    x = np.asarray(structure.positions, dtype=float)
    finder = NeighborList(cutoff=radius, full_list=False)
    (distances,) = finder.compute(points=x, box=cell, periodic=np.asarray(structure.pbc), quantities="d")
    return float(np.min(distances, initial=radius))


def match(
    positions: Float[np.ndarray, "n 3"], species: Int[np.ndarray, "n"], reference: Structure
) -> Int[np.ndarray, "n"] | None:
    """Which atom sits at each site of a reference, wherever the origin is; None where they do not fit each other.

    The origin is tried where an atom of the rarest element falls on each site of that element, the nearest first.
    """
    wanted = np.asarray(reference.species)
    if len(species) != len(wanted) or sorted(species) != sorted(wanted):
        return None
    sites, cell = np.asarray(reference.positions, dtype=float), np.asarray(reference.cell, dtype=float)
    nearest = _Sites(reference)
    kinds, counts = np.unique(wanted, return_counts=True)
    rare = kinds[counts.argmin()]
    shifts = sites[wanted == rare] - positions[np.flatnonzero(species == rare)[0]]
    shifts -= np.where(reference.pbc, np.round(shifts @ np.linalg.inv(cell)), 0.0) @ cell
    best, least = None, np.inf
    for shift in shifts[np.argsort(np.linalg.norm(shifts, axis=1), kind="stable")]:
        _, away = nearest(positions + shift)
        site, away = nearest(positions + shift - away.mean(axis=0))
        if (site >= 0).all() and len(set(site)) == len(site) and (wanted[site] == species).all():
            size = _size(away - away.mean(axis=0))
            best, least = (np.argsort(site), size) if size < least else (best, least)
            if least < SMALL * nearest.reach:
                break
    return best


def _size(away: np.ndarray) -> float:
    return float(np.sqrt((away**2).sum(axis=-1).mean()))


class _Sites:
    """The nearest site of points, by a tree of the sites and of their images about the cell; none as far as the next site."""

    def __init__(self, reference: Structure) -> None:
        from scipy.spatial import cKDTree

        self.cell, self.pbc = np.asarray(reference.cell, dtype=float), np.asarray(reference.pbc)
        self.inverse, self.reach = np.linalg.inv(self.cell), shortest(reference)
        inside = self._wrapped(np.asarray(reference.positions, dtype=float))
        margin = self.reach * np.linalg.norm(self.inverse, axis=0) + 1e-9
        furthest = np.where(self.pbc, np.ceil(margin).astype(int), 0)
        steps = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in furthest), indexing="ij"), axis=-1).reshape(-1, 3)
        images = (inside[None] + steps[:, None]).reshape(-1, 3)
        kept = (((images >= -margin) & (images <= 1 + margin)) | ~self.pbc).all(axis=1)
        self.owner = np.tile(np.arange(len(inside)), len(steps))[kept]
        self.tree = cKDTree(images[kept] @ self.cell)

    def _wrapped(self, positions: np.ndarray) -> np.ndarray:
        fractional = positions @ self.inverse
        return np.where(self.pbc, fractional - np.floor(fractional), fractional)

    def __call__(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Number of the site next to each point, -1 where none is within reach, and the way from there (0 for none)."""
        x = self._wrapped(positions) @ self.cell
        distance, row = self.tree.query(x, distance_upper_bound=self.reach)
        found = np.isfinite(distance)
        row = np.where(found, row, 0)
        away = np.where(found[:, None], x - self.tree.data[row], 0.0)
        return np.where(found, self.owner[row], -1), away


def mean_structure(images: "Sequence[ase.Atoms]") -> Structure:
    """The mean of frames in the order of the first, unwrapped against it: a reference where nobody gives one.

    Raises:
        InputError: as `positions_of`, atoms that move by more than half a distance of neighbours or change their order (names
            the frame), or a cell that is none.
    """
    x = positions_of(images)
    start = Structure.create(x[0], images[0].cell.array, images[0].numbers.tolist(), tuple(images[0].pbc))
    away = displacements(images, start, x)
    return start.with_positions(np.asarray(start.positions) + away.mean(axis=0))


def displacements(
    images: "Sequence[ase.Atoms]", reference: Structure, positions: Float[np.ndarray, "f n 3"] | None = None
) -> Float[np.ndarray, "f n 3"]:
    """Displacements of all frames from the sites of a reference, in its order, without rigid drift, angstrom.

    Args:
        positions: `positions_of(images)`, where it is known.

    Raises:
        InputError: as `positions_of`; a frame whose atoms, cell or places are not those of the reference; names it.
    """
    x = positions_of(images) if positions is None else positions
    _refuse_other(images[0], reference)
    wanted, sites = np.asarray(reference.species), np.asarray(reference.positions, dtype=float)
    nearest, rows = _Sites(reference), np.arange(len(wanted))
    order, found = rows, np.empty_like(x)
    for f, atoms in enumerate(images):
        tried = []
        for again in (False, True):
            other = match(x[f], atoms.numbers, reference) if again else order
            if other is None or not (atoms.numbers[other] == wanted).all():
                continue
            away = beside(x[f][other], sites, reference)
            if (nearest(sites + away)[0] == rows).all():
                tried.append((_size(away), again, other, away))
                if _size(away) < SMALL * nearest.reach:
                    break
        if not tried:
            raise InputError(_misfit(called(atoms, f), x[f], atoms.numbers, reference))
        _, _, order, found[f] = min(tried, key=lambda one: one[:2])
    return found


def _misfit(name: str, positions: np.ndarray, species: np.ndarray, reference: Structure) -> str:
    """What does not fit of a frame that no order of its atoms makes fit."""
    if not (species == np.asarray(reference.species)).all():
        return (
            f"{name}: its atoms do not sit at the sites of the reference in any order; give the structure at rest that "
            "the trajectory vibrates about"
        )
    away = np.linalg.norm(beside(positions, np.asarray(reference.positions, dtype=float), reference), axis=1)
    atom = int(away.argmax())
    return (
        f"{name}: atom {atom} is {away[atom]:.2f} angstrom from its site and nearer to another (sites are "
        f"{shortest(reference):.2f} apart), and no order of the atoms fits: the crystal melts, atoms have left their sites, "
        "or the reference is another structure; give frames that vibrate about one crystal, and that crystal at rest"
    )


def _refuse_other(first: "ase.Atoms", reference: Structure) -> None:
    """Refuse a reference of other atoms, or of another cell along what is periodic."""
    if len(first) != len(reference):
        raise InputError(
            f"{called(first)} has {len(first)} atoms, the reference {len(reference)}; give the cell of the frames at rest"
        )
    if sorted(first.numbers) != sorted(reference.species):
        raise InputError(
            f"{called(first)} is {first.symbols}, the reference {reference.to_ase().symbols}; give the same elements"
        )
    cell, own = np.asarray(reference.cell, dtype=float), first.cell.array
    periodic = np.asarray(reference.pbc)
    change = float(np.abs((own - cell)[periodic]).max(initial=0.0)) / float(np.abs(cell).max())
    if change > SAME_CELL:
        raise InputError(
            f"{called(first)}: its cell differs by {100 * change:.2g}% from that of the reference; give a reference in the "
            "cell of the trajectory"
        )


class Filled(NamedTuple):
    """A crystal that fills a cell: its own cell, strained to fit, the repetition, and which of its own atoms each one is."""

    base: Structure
    supercell: Structure
    owner: Int[np.ndarray, "n"]


def filled(primitive: Structure, cell: Float[np.ndarray, "3 3"]) -> Filled | None:
    """A crystal repeated until it fills a cell of its orientation, with any integers; None where none make one of the other
    within `MOST_STRAIN`.

    Args:
        primitive: any cell of the crystal. cell: of the frames, angstrom; only its periodic vectors count.
    """
    from ase.build import make_supercell

    own, periodic = np.asarray(primitive.cell, dtype=float), np.asarray(primitive.pbc)
    goal = np.where(periodic[:, None], cell, own)
    counts = np.round(goal @ np.linalg.inv(own))
    if np.linalg.det(counts) < 0.5:
        return None
    deformation = np.linalg.solve(own, np.linalg.solve(counts, goal))
    if np.abs(deformation - _UNIT).max() > MOST_STRAIN:
        return None
    if np.abs(deformation - _UNIT).max() < ROUNDED:
        deformation, goal = _UNIT, counts @ own
    base = primitive.strained(deformation - _UNIT)
    atoms = base.to_ase()
    atoms.set_tags(range(len(atoms)))
    many = make_supercell(atoms, counts.astype(int))
    return Filled(base, Structure.create(many.positions, goal, many.numbers.tolist(), primitive.pbc), many.get_tags())


def called(atoms: "ase.Atoms", number: int = 0) -> str:
    """A frame in messages: by its number in its file, where it came from one."""
    return f"frame {atoms.info.get(FRAME, number)}"


def common(images: "Sequence[ase.Atoms]", name: str) -> Any:
    """A text or number of `info` that is the same in all frames; None where it is missing or differs."""
    values = [atoms.info.get(name) for atoms in images]
    plain = all(isinstance(value, str | int | float | np.number) for value in values)
    return values[0] if plain and len(set(values)) == 1 else None


def groups_of(images: "Sequence[ase.Atoms]") -> tuple[int, ...]:
    """Groups that the frames name in `info`; one for all where they do not: nobody says that they are independent."""
    named = [atoms.info.get("group") for atoms in images]
    return (0,) * len(images) if None in named else tuple(int(n) for n in named if n is not None)


def weights_of(images: "Sequence[ase.Atoms]") -> Float[np.ndarray, "f"] | None:
    """Weights that all frames name in `info`, or None."""
    named = [atoms.info.get("weight") for atoms in images]
    return None if None in named else np.array(named, dtype=float)
