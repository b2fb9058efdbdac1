"""Data sets as extended XYZ, the format that ASE and most training codes read and write: one level of theory a file.

Energies, forces and stress go where ASE's calculators put them; the rest (level of theory, k points, eigenvalues,
split) into `info`. Files of others need none of that: an energy a frame, under ASE's name, that of MACE (REF_energy, and so
on) or one that the caller gives (`keys`). Where a file has a `virial` (or `virials`, eV) in place of a stress, stress =
-virial/volume, as QUIP, GPUMD and MACE have it. Flows in: a `DataSet` or a file. Flows out: a file or a `DataSet`.
"""

import dataclasses
import json
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator

from jaxepi.datasets import dataset
from jaxepi.datasets.dataset import Configurations, DataSet
from jaxepi.errors import InputError
from jaxepi.files import whole

BARE = "without_energy"
"""In the `info` of frames that were written without an energy, so that one which lost it is still refused."""


def to_ase(data: DataSet, level: str) -> list[ase.Atoms]:
    """All configurations labelled at `level`, as `ase.Atoms` with their results attached.

    Raises:
        InputError: a level that the set does not define.
    """
    if level not in data.levels:
        raise InputError(f"data set {data.name!r} has no level {level!r}; it has {', '.join(sorted(data.levels))}")
    theory = json.dumps({level: data.levels[level]}, sort_keys=True)
    return [
        _atoms(group, row, level, theory) for group in data.groups if level in group.labels for row in range(len(group))
    ]


def _atoms(group: Configurations, row: int, level: str, theory: str) -> ase.Atoms:
    atoms = ase.Atoms(group.species, positions=group.positions[row], cell=group.cell[row], pbc=group.pbc)
    labels = {name: value[row] for name, value in group.labels[level].items()}
    results: dict[str, Any] = {name: labels[name] for name in ("energy", "forces", "stress") if name in labels}
    atoms.info = {name: getattr(group, name)[row] for name in ("kind", "around", "source", "split")}
    atoms.info |= {"theory": theory, "mesh": np.array(group.mesh), "occupied": group.occupied}
    atoms.info |= {name: float(value[row]) for name, value in group.extra.items()}
    if np.isfinite(group.temperature[row]):
        atoms.info["temperature"] = float(group.temperature[row])
    if group.strain[row].any():
        atoms.info["strain"] = group.strain[row].ravel()
    if "eigenvalues" in labels:
        atoms.info |= {"kpoints": group.kpoints.ravel(), "weights": group.weights}
        atoms.info["eigenvalues"] = labels["eigenvalues"].ravel()
    if "energy" not in labels:
        atoms.info[BARE] = True
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def write(data: DataSet, level: str, path: str | os.PathLike) -> None:
    """Write one level of a set as extended XYZ, whole or not at all.

    Raises:
        InputError: a level that the set does not define.
    """
    from ase.io import write as write_frames  # takes half a second

    with whole(path) as temporary:
        write_frames(temporary, to_ase(data, level), format="extxyz")


def read(
    path: str | os.PathLike,
    name: str | None = None,
    level: str | None = None,
    keys: Mapping[str, str] | None = None,
) -> DataSet:
    """A set from extended XYZ. Frames say their level as `theory` in `info`: JSON {level: {code, version, settings}}.

    Args:
        level: name of the level of theory of a file whose frames do not say it.
        keys: names of `energy`, `forces`, `stress`, `virial` in this file, where they are others than ASE's and MACE's.

    Raises:
        InputError: a file that cannot be read, a frame without energy or level of theory or with entries of another type
            or shape, labels under two names that disagree, two levels mixed, some frames with a split and some without, a
            stress and a virial that disagree, or different frames that all have the same forces.
    """
    frames = _frames(Path(path))
    levels: dict[str, Any] = {}
    parts, given = [], []
    for i, atoms in enumerate(frames):
        where = f"{path}, frame {i}"
        if str(atoms.info.get("config_type", "")).lower() == ISOLATED:
            warnings.warn(f"{where}: an isolated atom is left out; energies of atoms are fitted", stacklevel=2)
            continue
        title, definition = _theory(atoms, where, level)
        if levels and title not in levels:
            raise InputError(f"{where} is at level {title!r}, earlier frames at {next(iter(levels))!r}; split the file")
        dataset.refuse_other_definition(title, levels.setdefault(title, definition), definition)
        parts.append(_configuration(atoms, title, where, keys or {}))
        given.append("split" in atoms.info)
    if len(set(given)) == 2:
        missing = given.index(False)
        raise InputError(f"{path}, frame {missing}: no split, and other frames have one; give all one, or none")
    _refuse_one_label(path, [next(iter(part.labels.values())) for part in parts], [part.positions for part in parts])
    return dataclasses.replace(dataset.gather(name or Path(path).stem, levels, parts), splits_given=all(given))


def _refuse_one_label(
    path: str | os.PathLike, labels: list[Mapping[str, np.ndarray]], positions: list[np.ndarray]
) -> None:
    """Refuse different frames that all have the forces of one: ASE writes the last results of a calculator they share."""
    forces = [held.get("forces") for held in labels]
    if len(forces) < 2 or forces[0] is None or not np.any(forces[0]):
        return
    one = all(other is not None and np.array_equal(other, forces[0]) for other in forces)
    if one and not all(np.array_equal(other, positions[0]) for other in positions):
        raise InputError(
            f"{path}: all {len(forces)} frames have the same forces and not the same positions: ASE writes the last results of "
            "a calculator that frames share; give each its own (ase.calculators.singlepoint.SinglePointCalculator)"
        )


def _frames(path: Path) -> list[ase.Atoms]:
    """All frames of a file."""
    from ase.io import iread  # takes half a second

    frames: list[ase.Atoms] = []
    try:
        for atoms in iread(path, index=":", format="extxyz"):
            frames.append(atoms)
    except Exception as error:  # whatever ASE meets in a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}, frame {len(frames)}: cannot be read as extended XYZ: {reason}") from error
    if not frames:
        raise InputError(f"{path} holds no configurations")
    return frames


def _theory(atoms: ase.Atoms, where: str, level: str | None) -> tuple[str, dict[str, Any]]:
    theory = atoms.info.get("theory")
    if theory is None and level is not None:
        return level, dict(dataset.UNKNOWN)
    if isinstance(theory, str):
        try:
            theory = json.loads(theory)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: `theory` is not JSON ({error})") from error
    if not isinstance(theory, dict) or len(theory) != 1:
        raise InputError(
            f"{where}: info `theory` is missing; give {{level: {{code, version, settings}}}} as JSON, or a level"
        )
    ((level, definition),) = theory.items()
    missing = [n for n in ("code", "version", "settings") if not isinstance(definition, dict) or n not in definition]
    if missing:
        raise InputError(f"{where}: theory {level!r} lacks {', '.join(missing)}")
    return level, definition


KNOWN = {
    "theory",
    "kind",
    "around",
    "source",
    "split",
    "mesh",
    "occupied",
    "temperature",
    "strain",
    "kpoints",
    "weights",
}
"""Entries of `info` with a meaning of their own; other numbers are extra."""

VIRIALS = ("virial", "virials")
NAMES = {
    "energy": ("energy", "REF_energy"),
    "forces": ("forces", "REF_forces"),
    "stress": ("stress", "REF_stress"),
    "virial": (*VIRIALS, "REF_virial", "REF_virials"),
}
"""What labels are called: by ASE's calculators and by MACE."""

ISOLATED = "isolatedatom"
"""The `config_type` of frames that MACE takes energies of atoms from."""


def _configuration(atoms: ase.Atoms, level: str, where: str, keys: Mapping[str, str]) -> Configurations:
    info, found = dict(atoms.info), _labels(atoms, keys, where)
    if "energy" not in found and not info.get(BARE):
        there = ", ".join(sorted([*info, *set(atoms.arrays) - {"numbers", "positions"}])) or "nothing"
        raise InputError(
            f"{where}: no energy under {' or '.join(NAMES['energy'])}; the frame has {there}: write it with a calculator's "
            'results, or name its labels: keys = { energy = "...", forces = "..." }'
        )
    held = _held(atoms)
    labels: dict[str, Any] = {n: _numbers(held, found[n], None, where) for n in ("energy", "forces") if n in found}
    stress = _stress(atoms, held, found, where)
    labels |= {} if stress is None else {"stress": stress}
    kpoints = _numbers(info, "kpoints", (-1, 3), where) if "kpoints" in info else None
    if "eigenvalues" in info and kpoints is not None:
        labels["eigenvalues"] = _numbers(info, "eigenvalues", (len(kpoints), -1), where)
    known = {*KNOWN, *keys.values(), *(name for names in NAMES.values() for name in names), "eigenvalues", BARE}
    try:
        return dataset.single(
            atoms.positions,
            atoms.cell.array,
            atoms.numbers.tolist(),
            {level: labels},
            kpoints=kpoints,
            weights=_numbers(info, "weights", (-1,), where) if kpoints is not None and "weights" in info else None,
            pbc=atoms.pbc.tolist(),
            mesh=_numbers(info, "mesh", (-1,), where).tolist() if "mesh" in info else (),
            occupied=int(_numbers(info, "occupied", (), where)) if "occupied" in info else 0,
            temperature=float(_numbers(info, "temperature", (), where)) if "temperature" in info else np.nan,
            strain=_numbers(info, "strain", (3, 3), where) if "strain" in info else None,
            extra={n: float(v) for n, v in info.items() if n not in known and isinstance(v, int | float)},
            kind=str(info.get("kind", info.get("config_type", "unknown"))),
            around=str(info.get("around", "unknown")),
            source=str(info.get("source", "unknown")),
            split=str(info["split"]) if "split" in info else None,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _held(atoms: ase.Atoms) -> dict[str, Any]:
    """Everything that a frame says of itself and its atoms, by name."""
    return {**atoms.info, **atoms.arrays, **(atoms.calc.results if atoms.calc is not None else {})}


def _labels(atoms: ase.Atoms, keys: Mapping[str, str], where: str) -> dict[str, str]:
    """What energy, forces, stress and virial of a frame are called: as `keys` say, or else one of `NAMES`.

    Raises:
        InputError: a name of `keys` that the frame lacks, or two names that hold different numbers.
    """
    held, found = _held(atoms), {}
    for label, names in NAMES.items():
        asked = keys.get(label)
        if asked and asked not in held:
            raise InputError(f"{where}: no {asked}, which keys names for {label}; it has {', '.join(sorted(held))}")
        there = [asked] if asked else [name for name in names if name in held]
        for other in there[1:]:
            one, two = (np.ravel(_numbers(held, name, None, where)) for name in (there[0], other))
            if one.shape != two.shape or not np.allclose(one, two, rtol=1e-6, atol=1e-6):
                raise InputError(
                    f'{where}: {there[0]} and {other} hold different numbers; say which: keys = {{ {label} = "{other}" }}'
                )
        if there:
            found[label] = there[0]
    return found


def _numbers(table: Mapping[str, Any], name: str, shape: tuple[int, ...] | None, where: str) -> np.ndarray:
    """An entry as finite numbers in a shape.

    Raises:
        InputError: it is something else.
    """
    try:
        found = np.asarray(table[name], dtype=np.float64)
        found = found if shape is None else found.reshape(shape)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: {name} does not hold numbers of the expected shape ({error}); repair it") from error
    if not np.isfinite(found).all():
        raise InputError(f"{where}: {name} holds NaN or infinity; leave the frame out, or label it again")
    return found


def _stress(atoms: ase.Atoms, held: Mapping[str, Any], names: Mapping[str, str], where: str) -> np.ndarray | None:
    """Stress of a frame (3, 3), eV/angstrom^3, positive for tension: its own, or that of its virial.

    Raises:
        InputError: a virial without a cell, or one that is not symmetric or contradicts the stress.
    """
    stress = _tensor(held, names["stress"], where) if "stress" in names else None
    name = names.get("virial")
    if name is None:
        return stress
    virial, volume = _tensor(held, name, where), abs(float(np.linalg.det(atoms.cell.array)))
    if volume < 1e-6:
        raise InputError(f"{where}: {name} = ... of a frame without a cell; give the cell, or leave {name} out")
    found = -virial / volume
    if stress is not None and not np.allclose(found, stress, rtol=1e-3, atol=1e-6):
        raise InputError(
            f"{where}: stress and -{name}/volume differ by {np.abs(found - stress).max():.2e} eV/angstrom^3 (stress is "
            "positive for tension, the virial for compression); keep the one that is right"
        )
    return found if stress is None else stress


def _tensor(table: Mapping[str, Any], name: str, where: str) -> np.ndarray:
    """A symmetric tensor of nine numbers, or of six in the order of Voigt (xx, yy, zz, yz, xz, xy)."""
    found = _numbers(table, name, (-1,), where)
    if found.shape == (6,):
        return found[[[0, 5, 4], [5, 1, 3], [4, 3, 2]]]
    if found.shape != (9,):
        raise InputError(f"{where}: {name} holds {len(found)} numbers; give nine, or six in the order of Voigt")
    found = found.reshape(3, 3)
    if not np.allclose(found, found.T, rtol=1e-3, atol=1e-6 * max(1.0, float(np.abs(found).max()))):
        raise InputError(f"{where}: {name} is not symmetric; repair it")
    return found
