"""Silicon labels made beforehand (one .npz a mesh), imported into work folders as if they had been labelled here.

Keys and units of the files are those of the README beside them. The HSE06 stress in them is wrong by 3 GPa and is left
out. The files do not give k points in fractional coordinates; the two meshes are recognised by their number of points.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import ase
import numpy as np

from jaxepi.errors import InputError
from jaxepi.labelling import engines
from jaxepi.labelling.labels import name_of, save
from jaxepi.labelling.recipes import RECIPES

LATTICE = 5.43
"""Angstrom: the lattice that the displaced and strained cells were made around."""

KPOINTS = {
    8: ([2, 2, 2], [0.0, 0.0, 0.0], [[a, b, c] for a in (0, 0.5) for b in (0, 0.5) for c in (0, 0.5)]),
    4: ([2, 2, 2], [0.5, 0.5, 0.5], [[0.25, b, c] for b in (0.25, -0.25) for c in (0.25, -0.25)]),
}
"""Number of k points -> divisions, shift, fractional points (of equal weight)."""

LEVELS = {"pbe": "pbe", "hse": "hse06"}


def records(path: Path) -> Iterator[tuple[ase.Atoms, dict[str, np.ndarray]]]:
    """The configurations of one file: atoms with their description, and the labels keyed `level/quantity`.

    Raises:
        InputError: the file cannot be read or lacks an array.
    """
    try:
        with np.load(path) as file:
            data = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as npz: {error}") from error
    needed = ["T", "pos", "cell", *(f"{q}_{x}" for x in LEVELS for q in ("E", "F", "eig")), "S_pbe"]
    missing = [name for name in needed if name not in data]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}")
    count = data["eig_pbe"].shape[1]
    if count not in KPOINTS:
        raise InputError(f"{path} has {count} k points; the meshes that are known have {', '.join(map(str, KPOINTS))}")
    divisions, shift, points = KPOINTS[count]
    for i in range(len(data["T"])):
        atoms = ase.Atoms("Si8", positions=data["pos"][i], cell=data["cell"][i], pbc=True)
        strain = data["cell"][i] / LATTICE - np.eye(3)
        bent = bool(np.abs(strain).max() > 1e-9)
        atoms.info = {
            "kind": "thermal-quantum" + ("-strained" if bent else ""),
            "around": "measured",
            "temperature": float(data["T"][i]),
            "mesh": divisions,
            "shift": shift,
            "source": f"made beforehand, {path.name}",
        }
        if bent:
            atoms.info["strain"] = strain.ravel().tolist()
        result = {"kpoints": np.array(points, float), "weights": np.full(len(points), 1 / len(points))}
        result["occupied"] = np.array(16)
        for theirs, level in LEVELS.items():
            result[f"{level}/energy"] = np.array(data[f"E_{theirs}"][i])
            result[f"{level}/forces"] = data[f"F_{theirs}"][i]
            result[f"{level}/eigenvalues"] = data[f"eig_{theirs}"][i]
        result["pbe/stress"] = data["S_pbe"][i]
        yield atoms, result


def import_files(files: Sequence[Path], work: Path) -> dict[Path, Path]:
    """Write the labels of each file into a work folder of its own: file -> folder.

    Raises:
        InputError: what `records` refuses, or no pw.x, whose version defines the level of theory.
    """
    name, recipe = RECIPES["silicon-hse06"]
    levels = json.loads(json.dumps(dict(engines.get(name, recipe).levels)))
    out = {}
    for path in files:
        folder = work / f"imported-{path.stem}"
        folder.mkdir(parents=True, exist_ok=True)
        for atoms, result in records(path):
            save(folder / name_of(atoms), atoms, levels, result)
        out[path] = folder
    return out
