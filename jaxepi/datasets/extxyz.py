"""Data sets as extended XYZ, the format that ASE and most training codes read and write: one level of theory a file.

Energies, forces and stress go where ASE's calculators put them; the rest (level of theory, k points, eigenvalues,
split) into `info`. Where a file has a `virial` (or `virials`, eV) in place of a stress, stress = -virial/volume, as QUIP,
GPUMD and MACE have it. Flows in: a `DataSet` or a file. Flows out: a file or a `DataSet`.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ase
import ase.io
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
    with whole(path) as temporary:
        ase.io.write(temporary, to_ase(data, level), format="extxyz")


def read(path: str | os.PathLike, name: str | None = None) -> DataSet:
    """A set from extended XYZ. Every frame needs `theory` in its `info`: JSON {level: {code, version, settings}}.

    Raises:
        InputError: a file that cannot be read, a frame without energy or level of theory or with entries of another type
            or shape, two levels mixed, or a stress and a virial that disagree.
    """
    frames: list[ase.Atoms] = []
    try:
        for atoms in ase.io.iread(Path(path), index=":", format="extxyz"):
            frames.append(atoms)
    except Exception as error:  # whatever ASE meets in a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}, frame {len(frames)}: cannot be read as extended XYZ: {reason}") from error
    if not frames:
        raise InputError(f"{path} holds no configurations")
    levels: dict[str, Any] = {}
    parts = []
    for i, atoms in enumerate(frames):
        where = f"{path}, frame {i}"
        level, definition = _theory(atoms, where)
        if levels and level not in levels:
            raise InputError(f"{where} is at level {level!r}, earlier frames at {next(iter(levels))!r}; split the file")
        dataset.refuse_other_definition(level, levels.setdefault(level, definition), definition)
        parts.append(_configuration(atoms, level, where))
    return dataset.gather(name or Path(path).stem, levels, parts)


def _theory(atoms: ase.Atoms, where: str) -> tuple[str, dict[str, Any]]:
    theory = atoms.info.get("theory")
    if isinstance(theory, str):
        try:
            theory = json.loads(theory)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: `theory` is not JSON ({error})") from error
    if not isinstance(theory, dict) or len(theory) != 1:
        raise InputError(f"{where}: info `theory` is missing; give {{level: {{code, version, settings}}}} as JSON")
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


def _configuration(atoms: ase.Atoms, level: str, where: str) -> Configurations:
    info, results = dict(atoms.info), atoms.calc.results if atoms.calc is not None else {}
    if "energy" not in results and not info.get(BARE):
        raise InputError(f"{where}: no energy; write frames with a calculator's results")
    labels = {n: _numbers(results, n, None, where) for n in ("energy", "forces") if n in results}
    stress = _stress(atoms, results, where)
    labels |= {} if stress is None else {"stress": stress}
    kpoints = _numbers(info, "kpoints", (-1, 3), where) if "kpoints" in info else None
    if "eigenvalues" in info and kpoints is not None:
        labels["eigenvalues"] = _numbers(info, "eigenvalues", (len(kpoints), -1), where)
    known = {*KNOWN, *VIRIALS, "eigenvalues", BARE}
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
            kind=str(info.get("kind", "unknown")),
            around=str(info.get("around", "unknown")),
            source=str(info.get("source", "unknown")),
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


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


def _stress(atoms: ase.Atoms, results: Mapping[str, Any], where: str) -> np.ndarray | None:
    """Stress of a frame (3, 3), eV/angstrom^3, positive for tension: its own, or that of its virial.

    Raises:
        InputError: a virial without a cell, or one that is not symmetric or contradicts the stress.
    """
    stress = _tensor(results, "stress", where) if "stress" in results else None
    for name in VIRIALS:
        if name not in atoms.info:
            continue
        virial, volume = _tensor(atoms.info, name, where), abs(float(np.linalg.det(atoms.cell.array)))
        if volume < 1e-6:
            raise InputError(f"{where}: {name} = ... of a frame without a cell; give the cell, or leave {name} out")
        found = -virial / volume
        if stress is not None and not np.allclose(found, stress, rtol=1e-3, atol=1e-6):
            raise InputError(
                f"{where}: stress and -{name}/volume differ by {np.abs(found - stress).max():.2e} eV/angstrom^3 (stress is "
                "positive for tension, the virial for compression); keep the one that is right"
            )
        stress = found if stress is None else stress
    return stress


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
