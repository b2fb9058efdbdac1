"""Snapshots that a file holds in place of drawn ones: trajectories of any code, and what `jaxepi sample` and `md` wrote.

Flows in: settings that name a trajectory, and the crystal with its models. Flows out: the crystal at rest in the cell of the
trajectory, and `Snapshots`, one a temperature. The reference they vibrate about is that of the settings; else the crystal,
repeated and strained until it fills the cell of the frames; else what the file says it was; else the mean of the frames.
"""

import dataclasses
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxepi import results, symmetry
from jaxepi.datasets.structure_files import read_structure
from jaxepi.datasets.trajectory_files import FRAME, parse_slice, read_frames
from jaxepi.errors import InputError
from jaxepi.files import RESULTS
from jaxepi.materials import Material
from jaxepi.sampling import Snapshots, Statistics, Trajectory, frames
from jaxepi.structure import Structure
from jaxepi.workflows.settings import TrajectorySettings

if TYPE_CHECKING:
    import ase

NOTABLE = 1e-4
"""Strain of the crystal in a trajectory's cell that is worth a line."""

TOLERANCES = (0.01, 0.03, 0.1, 0.2)
"""Angstrom within which the mean of frames may have the symmetry of its crystal."""


def snapshots(settings: TrajectorySettings, crystal: Material) -> tuple[Material, tuple[Snapshots, ...]]:
    """The crystal at rest in the cell of a trajectory, and the snapshots of the file, one `Snapshots` a temperature.

    Args:
        crystal: of the settings, in their precision.

    Raises:
        InputError: a file that cannot be read, a frame that does not fit the crystal or the reference, no temperature, or
            temperatures with different numbers of frames; names the file and the frame.
    """
    path = settings.trajectory
    assert path is not None
    images, held = _images(settings)
    try:
        told_of = _temperatures(images, settings.temperatures)
        kept = [atoms for atoms, t in zip(images, told_of, strict=True) if t is not None]
        kelvin = [t for t in told_of if t is not None]
        kept = frames.at_mean_cell(kept) if len(set(kelvin)) == 1 else kept
        frames.positions_of(kept)  # refuses what is no crystal before it is compared with one
        crystal, reference = _at_rest(settings, crystal, kept, held)
        reference = reference.astype(crystal.primitive.positions.dtype)
        found = []
        for temperature in dict.fromkeys(kelvin):
            rows = [atoms for atoms, t in zip(kept, kelvin, strict=True) if t == temperature]
            told: Statistics | None = "classical" if settings.statistics == "classical" else None
            said = frames.common(rows, "statistics") or told
            groups = () if settings.independent else None
            found.append(Snapshots.from_ase(rows, reference, temperature, said, groups))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    counts = {f"{s.temperature:g} K": len(s) for s in found}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{n} at {name}" for name, n in counts.items())
        raise InputError(
            f"{path}: {shown} frames; choose equal numbers (--frames :N), or one temperature (--temperatures)"
        )
    return dataclasses.replace(crystal, structure=reference), tuple(found)


def _images(settings: TrajectorySettings) -> "tuple[list[ase.Atoms], Structure | None]":
    """Chosen frames, and the structure at rest where the file holds one."""
    path, chosen = Path(settings.trajectory or ""), parse_slice(settings.frames)
    if path.suffix not in RESULTS:
        return read_frames(path, chosen, _run_of), None
    contents = results.read(path).contents
    held = contents.get("trajectory")
    if isinstance(held, Trajectory):
        sets, of_runs = held.snapshots(), True
    else:
        sets, of_runs = list(contents.get("snapshots", ())), False
    if not sets or not all(isinstance(one, Snapshots) for one in sets):
        raise InputError(f"{path} holds no snapshots; give what `jaxepi sample` or `jaxepi md` wrote")
    images = []
    for one in sets:
        atoms = one.to_ase()
        for number, image in enumerate(atoms):
            image.info[FRAME] = f"{number} at {float(one.temperature):g} K"
        names = list(dict.fromkeys(a.info["group"] for a in atoms)) if of_runs else [None]
        for name in names:
            images += [a for a in atoms if name is None or a.info["group"] == name][chosen]
    if not images:
        raise InputError(f"{path}: of {len(sets[0])} frames a temperature none are chosen; give other --frames")
    return images, sets[0].structure


def _run_of(atoms: "ase.Atoms") -> Any:
    """What names the run of a frame: `jaxepi md` writes several into one file, one after the other."""
    return str(atoms.info.get("temperature")), str(atoms.info.get("replica"))


def _temperatures(images: "list[ase.Atoms]", given: tuple[float, ...]) -> list[float | None]:
    """Temperature of each frame, K; None for those that were not asked for.

    What jaxepi wrote says it. A number that differs between frames of other codes is that of the moment, not of the crystal.
    """
    numbers = [t for t in (atoms.info.get("temperature") for atoms in images) if isinstance(t, int | float | np.number)]
    said = [float(t) for t in numbers] if len(numbers) == len(images) else []
    if said and all("statistics" in atoms.info for atoms in images):
        known = sorted(set(said))
        missing = [t for t in given if t not in known]
        if missing:
            has = ", ".join(f"{t:g}" for t in known)
            raise InputError(f"no frames at {missing[0]:g} K: it holds frames at {has} K; give --temperatures of these")
        return [t if not given or t in given else None for t in said]
    if len(given) > 1:
        raise InputError(f"{len(given)} temperatures for one trajectory: give --temperatures one number")
    if given:
        return [given[0]] * len(images)
    if len(set(said)) == 1:
        return [*said]
    moving = [float(a.get_kinetic_energy()) for a in images if a.has("momenta")]
    if len(moving) < len(images) or not min(moving) > 0 or len(images[0]) < 2:
        raise InputError("it does not say its temperature; give it (--temperatures K)")
    from ase.units import kB

    mean = float(np.mean(moving)) / (1.5 * (len(images[0]) - 1) * kB)
    kelvin = round(mean, 1)
    warnings.warn(
        f"temperature {kelvin:g} K: the mean kinetic energy of the frames (--temperatures gives another)", stacklevel=4
    )
    return [kelvin] * len(images)


def _at_rest(
    settings: TrajectorySettings, crystal: Material, images: "list[ase.Atoms]", held: Structure | None
) -> tuple[Material, Structure]:
    """The crystal with its primitive cell in the cell of the frames, and the reference."""
    own = crystal.primitive
    reference = read_structure(settings.reference) if settings.reference else held
    _give_cells(images, crystal.structure if reference is None else reference)
    if reference is None:
        _refuse_other_elements(images[0], crystal)
    found = frames.filled(own, images[0].cell.array)
    if found is not None and frames.match(*_atoms(reference, images[0]), found.supercell) is None:
        found = None
    if found is not None and (reference is None or _size(reference, found.supercell) < TOLERANCES[0]):
        strain = np.abs(np.linalg.solve(np.asarray(own.cell), np.asarray(found.base.cell)) - np.eye(3)).max()
        if strain > NOTABLE:
            warnings.warn(
                f"{settings.trajectory}: its cell is that of {crystal.name}, repeated and strained by up to "
                f"{100 * strain:.2g}%; the crystal at rest is taken in that cell",
                stacklevel=4,
            )
        return dataclasses.replace(crystal, primitive=found.base), reference or found.supercell
    if reference is not None:
        return dataclasses.replace(crystal, primitive=_reduced(reference)), reference
    base, reference = _averaged(frames.mean_structure(images), len(own), crystal.name)
    warnings.warn(
        f"{settings.trajectory}: the reference is the mean of its {len(images)} frames, for {crystal.name} does not fill its "
        "cell in this orientation (--reference gives another)",
        stacklevel=4,
    )
    return dataclasses.replace(crystal, primitive=base), reference


def _atoms(reference: Structure | None, first: "ase.Atoms") -> tuple[np.ndarray, np.ndarray]:
    """Positions and elements of the reference, or of the first frame where there is none."""
    if reference is None:
        return first.positions, first.numbers
    return np.asarray(reference.positions, dtype=float), np.asarray(reference.species)


def _size(reference: Structure, supercell: Structure) -> float:
    """Largest distance of an atom of a reference from the site of a perfect supercell it belongs to, angstrom."""
    away = frames.displacements([reference.to_ase()], supercell)
    return float(np.linalg.norm(away, axis=-1).max())


def _reduced(reference: Structure) -> Structure:
    """The primitive cell of a reference, or itself where there is no smaller one."""
    try:
        return symmetry.primitive(reference)
    except InputError:
        return reference


def _averaged(mean: Structure, atoms: int, name: str) -> tuple[Structure, Structure]:
    """A primitive cell of so many atoms, and its repetition, from the mean of frames: averaged over its copies."""
    if len(mean) == atoms:
        return mean, mean
    for tolerance in TOLERANCES:
        try:
            small = symmetry.primitive(mean, tolerance)
        except InputError:
            continue
        found = frames.filled(small, np.asarray(mean.cell)) if len(small) == atoms else None
        order = None if found is None else frames.match(*_atoms(mean, mean.to_ase()), found.supercell)
        if found is None or order is None:
            continue
        away = frames.beside(
            np.asarray(mean.positions)[order], np.asarray(found.supercell.positions, dtype=float), found.supercell
        )
        shift = np.stack([away[found.owner == atom].mean(axis=0) for atom in range(atoms)])
        base = found.base.with_positions(np.asarray(found.base.positions) + shift)
        many = np.asarray(found.supercell.positions) + shift[found.owner]
        return base, found.supercell.with_positions(many)
    raise InputError(
        f"the frames fit no repetition of {name} (strained by {100 * frames.MOST_STRAIN:g}% at most), nor shows their mean a "
        f"cell of {atoms} atoms; give the crystal at rest in the cell of the trajectory (--reference FILE)"
    )


def _give_cells(images: "list[ase.Atoms]", rest: Structure) -> None:
    """Frames of plain XYZ have no cell: that of the crystal at rest is theirs, where that has as many atoms."""
    for f, atoms in enumerate(images):
        if atoms.cell.rank > 0:
            continue
        if len(atoms) != len(rest):
            raise InputError(
                f"{frames.called(atoms, f)} has no cell; give the crystal at rest in the cell of the trajectory, "
                f"{len(atoms)} atoms (--reference FILE)"
            )
        atoms.cell, atoms.pbc = np.asarray(rest.cell), rest.pbc


def _refuse_other_elements(first: "ase.Atoms", crystal: Material) -> None:
    """Refuse frames that are no whole number of the crystal's formula."""
    counts, own = Counter(first.numbers.tolist()), Counter(crystal.primitive.species)
    if any(counts[z] * len(crystal.primitive) != own[z] * len(first) for z in counts | own):
        raise InputError(
            f"{frames.called(first)} is {first.symbols}, {crystal.name} is {crystal.primitive.to_ase().symbols}; give the "
            "crystal of the trajectory, or its structure at rest (--reference FILE)"
        )
