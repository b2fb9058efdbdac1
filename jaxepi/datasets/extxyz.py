"""Data sets as extended XYZ, the format that ASE and most training codes read and write: one level of theory a file.

Energies, forces and stress go where ASE's calculators put them; the rest (level of theory, k points, eigenvalues,
split) into `info`. Flows in: a `DataSet` or a file. Flows out: a file or a `DataSet`.
"""

import json
import os
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
        InputError: a file that cannot be read, a frame without energy or level of theory, or two levels mixed.
    """
    try:
        frames = [*ase.io.iread(Path(path), index=":", format="extxyz")]
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(f"{path} cannot be read as extended XYZ: {error}") from error
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
        except ValueError as error:
            raise InputError(f"{where}: `theory` is not JSON ({error})") from error
    if not isinstance(theory, dict) or len(theory) != 1:
        raise InputError(f"{where}: info `theory` is missing; give {{level: {{code, version, settings}}}} as JSON")
    ((level, definition),) = theory.items()
    missing = [n for n in ("code", "version", "settings") if n not in definition]
    if missing:
        raise InputError(f"{where}: theory {level!r} lacks {', '.join(missing)}")
    return level, definition


def _configuration(atoms: ase.Atoms, level: str, where: str) -> Configurations:
    info, results = dict(atoms.info), atoms.calc.results if atoms.calc is not None else {}
    if "energy" not in results and not info.get(BARE):
        raise InputError(f"{where}: no energy; write frames with a calculator's results")
    labels = {n: np.asarray(results[n], dtype=float) for n in ("energy", "forces", "stress") if n in results}
    if "stress" in labels and labels["stress"].shape == (6,):
        xx, yy, zz, yz, xz, xy = labels["stress"]
        labels["stress"] = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    kpoints = np.reshape(info["kpoints"], (-1, 3)) if "kpoints" in info else None
    if "eigenvalues" in info and kpoints is not None:
        labels["eigenvalues"] = np.reshape(info["eigenvalues"], (len(kpoints), -1))
    known = {"theory", "kind", "around", "source", "split", "mesh", "occupied", "temperature", "strain"}
    known |= {"kpoints", "weights", "eigenvalues", BARE}
    try:
        return dataset.single(
            atoms.positions,
            atoms.cell.array,
            atoms.numbers.tolist(),
            {level: labels},
            kpoints=kpoints,
            weights=np.ravel(info["weights"]).astype(float) if kpoints is not None and "weights" in info else None,
            pbc=atoms.pbc.tolist(),
            mesh=np.ravel(info.get("mesh", [])).tolist(),
            occupied=int(info.get("occupied", 0)),
            temperature=float(info.get("temperature", np.nan)),
            strain=np.reshape(info["strain"], (3, 3)) if "strain" in info else None,
            extra={n: float(v) for n, v in info.items() if n not in known and isinstance(v, int | float)},
            kind=str(info.get("kind", "unknown")),
            around=str(info.get("around", "unknown")),
            source=str(info.get("source", "unknown")),
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
