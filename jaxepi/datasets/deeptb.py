"""Data sets in the layout of DeePTB: folders of structures, eigenvalues and blocks.

A folder (`prefix.0`, `prefix.1`, ...) holds

    info.json          nframes, natoms, pos_type ("ase", "cart", "frac"), pbc, bandinfo; or one for all in the folder above
    xdat.traj          structures as an ASE trajectory, or as text: cell.dat (3 rows, or 3 a frame), positions.dat (a row
                       an atom, frame by frame), atomic_numbers.dat (once, or for every frame); angstrom
    kpoints.npy        fractional, shape (k, 3) or (frames, k, 3)
    eigenvalues.npy    eV, shape (frames, k, bands), or (k, bands) of a single frame
    hamiltonians.h5, overlaps.h5, basis.dat    optional, see `deeptb_blocks`

`read` makes a `DataSet` of such folders and `write` the reverse, so that `datasets.write(deeptb.read(folder,
electrons={"Si": 4}), "set.h5")` converts one. Bands are counted from the lowest; those above `band_max` are left out.
Energy windows (emin, emax, from the lowest eigenvalue) and `band_min` concern the loss and are kept as provenance. A band
holds two electrons, or one where all bands come in pairs: those of a calculation with spin-orbit coupling. What the layout
has no place for (filled bands, weights of k points, temperatures, the level of theory, energies) `write` puts into
`jaxepi.json`, which DeePTB does not look at.
"""

import dataclasses
import glob
import json
import math
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ase
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from jaxepi import archive
from jaxepi.datasets import dataset, deeptb_blocks, deeptb_info
from jaxepi.datasets.dataset import Configurations, DataSet
from jaxepi.datasets.deeptb_blocks import Spec
from jaxepi.datasets.extxyz import to_ase
from jaxepi.errors import InputError, shown_words


class Options(NamedTuple):
    """What the caller of `read` says; None where the folder shall say it."""

    level: str | None
    theory: Mapping[str, Any] | None
    occupied: int | None
    electrons: Mapping[str, float | int] | None
    basis: Mapping[str, Spec] | None
    temperature: float | int | None
    whole: bool
    spinors: bool | None
    assumed: Mapping[str, float | int]


PAIRED = 1e-3
"""eV: bands that come in pairs closer than this at every k point, and are farther apart from pair to pair, are spinors."""


def read(
    folder: str | os.PathLike,
    *,
    level: str | None = None,
    theory: Mapping[str, Any] | None = None,
    occupied: int | None = None,
    electrons: Mapping[str, float | int] | None = None,
    basis: Mapping[str, Spec] | None = None,
    temperature: float | int | None = None,
    whole: bool = False,
    spinors: bool | None = None,
    name: str | None = None,
    assumed_level: str = "dft",
    assumed_electrons: Mapping[str, float | int] | None = None,
) -> DataSet:
    """A set from one folder of DeePTB's layout, or from all such folders inside `folder`.

    Args:
        level: name of the level of theory; by default what the folder says, or `assumed_level`.
        theory: its {code, version, settings}.
        occupied: number of filled bands of every frame; or electrons: of each species, {"Si": 4}. Without either, and
            without `occupied` in info.json, it is zero: not known, which training on eigenvalues refuses.
        basis: shells of each species, where there are blocks and no basis.dat (`deeptb_blocks.Spec`).
        temperature: kelvin; not known by default. whole: keep bands beyond `band_max`.
        spinors: whether a band holds one electron, not two; by default where all bands come in pairs, with a warning.
        assumed_electrons: of each species, where neither `electrons`, `occupied` nor the folder says how many bands are filled.

    Raises:
        InputError: names the file and what does not fit: frames, atoms, k points, bands or blocks that disagree, files
            that are missing, a window outside the data, an odd number of electrons.
    """
    root = Path(folder)
    if occupied is not None and electrons is not None:
        raise InputError("give occupied (filled bands) or electrons (of each species), not both")
    assumed = assumed_electrons or {}
    options = Options(level, theory, occupied, electrons, basis, temperature, whole, spinors, assumed)
    folders = [root] if _holds_structures(root) else sorted(d for d in root.glob("*") if _holds_structures(d))
    if not folders:
        raise InputError(
            f"{root} holds no data of DeePTB's layout: no .traj file or positions.dat there or one folder down"
        )
    parts: list[Configurations] = []
    levels: dict[str, Any] = {}
    provenance = {}
    given = True
    for where in folders:
        info, side = deeptb_info.info(where), deeptb_info.side(where)
        given &= "split" in side
        title = level or side.get("level", assumed_level)
        definition = theory or side.get("theory") or dict(dataset.UNKNOWN)
        dataset.refuse_other_definition(title, levels.setdefault(title, definition), definition)
        parts += _configurations(where, info, side, title, options)
        provenance[f"DeePTB folder {where.name}"] = json.dumps(info)
    found = dataset.gather(name or root.name, levels, parts, **provenance)
    return dataclasses.replace(found, splits_given=given)


def _holds_structures(folder: Path) -> bool:
    names = ("*.traj", "positions.dat", "position.dat")
    return folder.is_dir() and any(glob.glob(str(folder / name)) for name in names)


def _frames(folder: Path, info: Mapping[str, Any]) -> list[ase.Atoms]:
    """Structures of all frames, checked against info.json."""
    trajectories = sorted(folder.glob("*.traj"))
    kind = info.get("pos_type", "ase" if trajectories else "cart")
    if kind == "ase" and trajectories:
        if len(trajectories) > 1:
            raise InputError(f"{folder} holds {len(trajectories)} .traj files; expected one")
        try:
            from ase.io import Trajectory  # takes half a second

            with Trajectory(trajectories[0]) as found:
                frames = [*found]
        except Exception as error:  # whatever ASE meets in a damaged file
            raise InputError(f"{trajectories[0]} cannot be read as an ASE trajectory: {error}") from error
    else:
        frames = _text_frames(folder, info, kind)
    for name, held in (("nframes", len(frames)), ("natoms", len(frames[0]) if frames else 0)):
        stated = int(info.get(name, -1))
        if stated >= 0 and stated != held:
            raise InputError(f"{folder}: info.json has {name} {stated}, the structures have {held}")
    if not frames or len({len(atoms) for atoms in frames}) > 1:
        raise InputError(f"{folder}: frames have {sorted({len(a) for a in frames})} atoms; expected one number for all")
    if "pbc" in info:
        pbc = [info["pbc"]] * 3 if isinstance(info["pbc"], bool) else list(info["pbc"])
        if any(atoms.pbc.tolist() != pbc for atoms in frames):
            warnings.warn(f"{folder}: pbc {pbc} of info.json is used; the trajectory says otherwise", stacklevel=4)
        for atoms in frames:
            atoms.pbc = pbc
    flat = next((i for i, atoms in enumerate(frames) if abs(atoms.cell.volume) < 1e-6), None)
    if flat is not None:
        raise InputError(f"{folder}, frame {flat}: no cell; give one with vacuum in directions that are not periodic")
    return frames


def _text_frames(folder: Path, info: Mapping[str, Any], kind: str) -> list[ase.Atoms]:
    fractional = {"ase": False, "cart": False, "frac": True, "dirc": True, "direct": True}
    if kind not in fractional:
        raise InputError(f"{folder}: pos_type {kind!r} is not known; use ase, cart or frac")
    cell, positions = _table(folder, "cell.dat", 3), _table(folder, "positions.dat", 3)
    numbers = _table(folder, "atomic_numbers.dat", 1).astype(int).ravel()
    frames = int(info.get("nframes", len(positions) // len(numbers)))
    atoms, rest = divmod(len(positions), max(frames, 1))
    if frames < 1 or rest:
        raise InputError(
            f"{folder}: positions.dat has {len(positions)} rows, which {frames} frames do not share equally"
        )
    if len(cell) not in (3, 3 * frames):
        raise InputError(f"{folder}: cell.dat has {len(cell)} rows; expected 3, or 3 for each of {frames} frames")
    if len(numbers) not in (atoms, atoms * frames):
        raise InputError(
            f"{folder}: atomic_numbers.dat has {len(numbers)} entries for {frames} frames of {atoms} atoms"
        )
    cells = np.broadcast_to(cell.reshape(-1, 3, 3), (frames, 3, 3))
    species = np.broadcast_to(numbers.reshape(-1, atoms), (frames, atoms))
    x = positions.reshape(frames, atoms, 3)
    x = x @ cells if fractional[kind] else x
    return [ase.Atoms(z, positions=p, cell=c, pbc=True) for z, p, c in zip(species, x, cells, strict=True)]


def _table(folder: Path, name: str, columns: int) -> np.ndarray:
    """A text file, under DeePTB's name or (without the plural s) that of the converter dftio."""
    path = next((p for p in (folder / name, folder / name.replace("s.dat", ".dat")) if p.is_file()), None)
    if path is None:
        raise InputError(f"{folder} has no {name}, nor an ASE trajectory with pos_type ase")
    try:
        return np.loadtxt(path, dtype=np.float64).reshape(-1, columns)
    except ValueError as error:
        raise InputError(f"{path} is not a table of {columns} columns: {error}") from error


def _array(folder: Path, name: str) -> np.ndarray | None:
    path = next((p for p in (folder / name, folder / name.replace("s.npy", ".npy")) if p.is_file()), None)
    if path is None:
        return None
    try:
        with path.open("rb") as file:  # its header first, so that memory is taken for what is there alone
            shape, dtype = archive.npy_header(file)
            if math.prod(shape) * dtype.itemsize > path.stat().st_size or dtype.kind not in archive.KINDS:
                raise ValueError(f"shape {shape} of {dtype} in {path.stat().st_size} bytes")
            file.seek(0)
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False), dtype=np.float64)
    except Exception as error:  # whatever NumPy meets in a damaged file
        raise InputError(f"{path} cannot be read as an array of numbers: {shown_words(str(error))}") from error


def _bands(folder: Path, info: Mapping[str, Any], frames: int, whole: bool) -> tuple[np.ndarray, np.ndarray] | None:
    """k points (frames, k, 3) and eigenvalues (frames, k, bands) in ascending order, or None where there are none."""
    points, energies = _array(folder, "kpoints.npy"), _array(folder, "eigenvalues.npy")
    if energies is None:
        return None
    if points is None:
        raise InputError(f"{folder} has eigenvalues.npy but no kpoints.npy")
    if points.ndim == 2:
        points = np.broadcast_to(points, (frames, *points.shape))
    if points.ndim != 3 or points.shape[0] != frames or points.shape[2] != 3:
        raise InputError(f"{folder}: kpoints.npy has shape {points.shape}; expected (k, 3) or ({frames}, k, 3)")
    if energies.ndim == 2 and len(energies) == frames * points.shape[1]:
        energies = energies.reshape(frames, points.shape[1], -1)
    if energies.ndim != 3 or energies.shape[:2] != points.shape[:2]:
        raise InputError(
            f"{folder}: eigenvalues.npy has shape {energies.shape}; {frames} frames on {points.shape[1]} k points need "
            f"({frames}, {points.shape[1]}, bands)"
        )
    for name, array in (("kpoints.npy", points), ("eigenvalues.npy", energies)):
        if not np.isfinite(array).all():
            frame, k = np.argwhere(~np.isfinite(array))[0, :2]
            raise InputError(f"{folder}: {name} holds NaN or infinity (first in frame {frame}, k point {k})")
    energies = np.sort(energies, axis=2)
    last = _window(folder, info.get("bandinfo") or {}, energies)
    return points, energies if whole else energies[:, :, :last]


def _window(folder: Path, window: Mapping[str, Any], energies: np.ndarray) -> int:
    """How many bands count, from `bandinfo`."""
    bands = energies.shape[2]
    first, last = int(window.get("band_min") or 0), window.get("band_max")
    last = bands if last is None else int(last)
    if not 0 <= first < last <= bands:
        raise InputError(f"{folder}: bandinfo asks for bands {first} to {last}; the eigenvalues hold 0 to {bands}")
    low, high = window.get("emin"), window.get("emax")
    inside = energies[:, :, first:last] - energies[:, :, first:last].min(axis=(1, 2), keepdims=True)
    low, high = -np.inf if low is None else float(low), np.inf if high is None else float(high)
    if not ((inside >= low) & (inside <= high)).any(axis=(1, 2)).all():
        raise InputError(
            f"{folder}: the window of bandinfo, {low:g} to {high:g} eV above the lowest eigenvalue, is empty; these bands "
            f"reach up to {inside.max():.1f} eV"
        )
    return last


def paired(energies: Float[np.ndarray, "s k b"]) -> float | None:
    """The largest splitting (eV) of bands that all come in pairs, or None where they do not."""
    if energies.shape[2] < 4 or energies.shape[2] % 2:
        return None
    steps = np.diff(energies, axis=2)
    split, apart = float(steps[..., ::2].max()), float(steps[..., 1::2].max())
    return split if split < PAIRED < apart / 10 else None


def _spinors(folder: Path, energies: np.ndarray | None, options: Options) -> bool:
    """Whether a band holds one electron: what the caller says, or what the bands look like."""
    split = None if energies is None or options.spinors is not None else paired(energies)
    if split is None:
        return bool(options.spinors)
    warnings.warn(
        f"{folder}: all bands come in pairs within {1e3 * split:.2f} meV, so that each is taken to hold one electron "
        "(spin-orbit coupling); give spinors=False where each holds two",
        stacklevel=5,
    )
    return True


def _occupied(folder: Path, stated: int | None, options: Options, species: tuple[int, ...], spinors: bool) -> int:
    electrons = options.electrons
    if electrons is None:
        if options.occupied is not None or stated or not options.assumed:
            return int(options.occupied if options.occupied is not None else stated or 0)
        electrons = options.assumed
    missing = sorted({chemical_symbols[z] for z in species} - set(electrons))
    if missing:
        raise InputError(f"{folder}: electrons of {', '.join(missing)} are not given")
    filled = sum(electrons[chemical_symbols[z]] for z in species) / (1 if spinors else 2)
    if abs(filled - round(filled)) > 1e-9:
        raise InputError(
            f"{folder}: {filled * (1 if spinors else 2):g} electrons do not fill whole bands; check electrons, or give occupied"
        )
    return round(filled)


def _configurations(
    folder: Path, info: Mapping[str, Any], side: Mapping[str, Any], level: str, options: Options
) -> list[Configurations]:
    """Every frame of one folder."""
    frames = _frames(folder, info)
    bands = _bands(folder, info, len(frames), options.whole)
    species = tuple(int(z) for z in frames[0].numbers)
    geometry = np.stack([a.positions for a in frames]), np.stack([a.cell.array for a in frames])
    blocks = deeptb_blocks.read(folder, options.basis, species, *geometry, level)
    for name in ("temperature", "seconds", "strain", *deeptb_info.SIDE_TEXTS):
        if name in side and len(side[name]) != len(frames):
            raise InputError(
                f"{folder / deeptb_info.SIDE} holds {len(side[name])} entries of {name} for {len(frames)} frames"
            )
    spinors = _spinors(folder, None if bands is None else bands[1], options)
    out = []
    for i, atoms in enumerate(frames):
        labels: dict[str, Any] = _energies(atoms) if side.get("energies") else {}
        numbers = tuple(int(z) for z in atoms.numbers)
        if blocks is not None and numbers != species:
            raise InputError(f"{folder}, frame {i}: blocks need the same atoms in every frame")
        about: dict[str, Any] = {n: side[n][i] for n in deeptb_info.SIDE_TEXTS if n in side} or {"kind": folder.name}
        about |= {n: side[n][i] for n in ("temperature", "seconds") if n in side and side[n][i] is not None}
        about |= {} if options.temperature is None else {"temperature": options.temperature}
        about |= {"strain": np.array(side["strain"][i])} if "strain" in side else {}
        about |= {"extra": {n: v[i] for n, v in side.get("extra", {}).items()}, "mesh": side.get("mesh", ())}
        about["occupied"] = _occupied(folder, side.get("occupied", info.get("occupied")), options, numbers, spinors)
        if bands is not None:
            points, labels["eigenvalues"] = bands[0][i], bands[1][i]
            weights = np.asarray(side.get("weights", np.full(len(points), 1 / len(points))), dtype=np.float64)
            about |= {"kpoints": points, "weights": weights}
            if about["occupied"] > labels["eigenvalues"].shape[1]:
                raise InputError(
                    f"{folder}: {about['occupied']} filled bands, but only {labels['eigenvalues'].shape[1]} bands"
                )
        if blocks is not None:
            about["blocks"] = blocks[i]
        elif not labels:
            raise InputError(f"{folder} holds neither eigenvalues.npy nor hamiltonians.h5: nothing to learn from")
        try:
            one = dataset.single(
                atoms.positions, atoms.cell.array, numbers, {level: labels}, pbc=atoms.pbc.tolist(), **about
            )
        except InputError as error:
            raise InputError(f"{folder}, frame {i}: {error}") from error
        out.append(one)
    return out


def _energies(atoms: ase.Atoms) -> dict[str, np.ndarray]:
    """Energy, forces and stress (3, 3) that a frame carries."""
    from ase.stress import voigt_6_to_full_3x3_stress

    found = dict(atoms.calc.results) if atoms.calc is not None else {}
    if "stress" in found and np.shape(found["stress"]) == (6,):
        found["stress"] = voigt_6_to_full_3x3_stress(found["stress"])
    return {n: np.asarray(found[n], dtype=np.float64) for n in ("energy", "forces", "stress") if n in found}


def write(data: DataSet, folder: str | os.PathLike, level: str, prefix: str = "set") -> list[Path]:
    """Write one level of a set as folders `prefix.0`, `prefix.1`, ..., one a group of equal shape; whole or not at all.

    Returns:
        The folders.

    Raises:
        InputError: a level that the set does not define or label, or folders that exist.
    """
    if level not in data.levels:
        raise InputError(f"data set {data.name!r} has no level {level!r}; it has {', '.join(sorted(data.levels))}")
    groups = [group for group in data.groups if level in group.labels]
    paths = [Path(folder) / f"{prefix}.{i}" for i in range(len(groups))]
    there = [path for path in paths if path.exists()]
    if there or not paths:
        raise InputError(f"{there[0]} exists; choose another prefix" if there else f"nothing is labelled at {level!r}")
    made = [path.with_name(f".{path.name}.{os.getpid()}.tmp") for path in paths]
    try:
        for group, path in zip(groups, made, strict=True):
            path.mkdir(parents=True)
            _write_group(data, group, level, path)
        for temporary, path in zip(made, paths, strict=True):
            temporary.rename(path)
    finally:
        for temporary in made:
            shutil.rmtree(temporary, ignore_errors=True)
    return paths


def _write_group(data: DataSet, group: Configurations, level: str, folder: Path) -> None:
    labels = group.labels[level]
    pbc = group.pbc[0] if len(set(group.pbc)) == 1 else list(group.pbc)
    info: dict[str, Any] = {"nframes": len(group), "natoms": len(group.species), "pos_type": "ase", "pbc": pbc}
    side = {n: getattr(group, n) for n in deeptb_info.SIDE_TEXTS} | {
        "strain": group.strain.tolist(),
        "version": deeptb_info.VERSION,
    }
    for name in ("temperature", "seconds"):
        side[name] = [float(v) if np.isfinite(v) else None for v in getattr(group, name)]
    side |= {"extra": {n: v.tolist() for n, v in group.extra.items()}, "mesh": group.mesh, "occupied": group.occupied}
    side |= {"level": level, "theory": dict(data.levels[level]), "energies": "energy" in labels}
    if "eigenvalues" in labels:
        info["bandinfo"] = {"band_min": 0, "band_max": labels["eigenvalues"].shape[2], "emin": None, "emax": None}
        side["weights"] = group.weights.tolist()
        np.save(folder / "kpoints.npy", group.kpoints)
        np.save(folder / "eigenvalues.npy", labels["eigenvalues"])
    from ase.io import Trajectory  # takes half a second

    with Trajectory(folder / "xdat.traj", "w") as file:
        for atoms in to_ase(DataSet(data.name, data.levels, (group,)), level):
            atoms.info = {}
            file.write(atoms)
    if group.blocks is not None and group.blocks.level == level:
        deeptb_blocks.write(group.blocks, folder, group.species)
    (folder / "info.json").write_text(json.dumps(info, indent=4) + "\n")
    (folder / deeptb_info.SIDE).write_text(json.dumps(side, indent=1) + "\n")
