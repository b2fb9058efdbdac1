"""Pack work folders of labels into one data set (compressed HDF5, written whole or not at all).

A set that stands is extended: its configurations are kept, new ones are added. Two definitions of one level of theory
are refused.
"""

import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi import datasets
from jaxepi.datasets import dataset
from jaxepi.datasets.blocks import PairBlocks
from jaxepi.datasets.overlap import OverlapFunctions
from jaxepi.errors import InputError

TEXTS = ("kind", "around", "source")
GIVEN = (*TEXTS, "temperature", "strain", "mesh", "shift", "split")


def load(path: Path) -> tuple[dataset.Configurations, dict[str, Any]]:
    """One labelled configuration, and the definitions of its levels of theory.

    Raises:
        InputError: a damaged file.
    """
    try:
        with np.load(path) as file:
            data = {name: file[name] for name in file.files}
        meta = json.loads(str(data.pop("meta")))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read as a labelled configuration: {error}") from error
    info = meta["info"]
    labels: dict[str, dict[str, np.ndarray]] = {}
    seconds = []
    for name in [n for n in data if "/" in n and not n.startswith(("blocks/", "extra/"))]:
        level, quantity = name.split("/")
        if quantity == "seconds":
            seconds.append(float(data[name]))
        else:
            labels.setdefault(level, {})[quantity] = data[name]
    extra = {n: float(v) for n, v in info.items() if n not in GIVEN}
    extra |= {n.removeprefix("extra/"): float(v) for n, v in data.items() if n.startswith("extra/")}
    blocks = None
    if "blocks/pairs" in data:
        about = json.loads(str(data["blocks/about"]))
        pairs, hopping, overlap = (data[f"blocks/{n}"] for n in ("pairs", "hamiltonian", "overlap"))
        shells, offsets = tuple(about["shells"]), np.array([0, len(pairs)])
        first, last = about["functions_reach"]
        orbital, projector, correction = (data[f"blocks/{n}"] for n in ("orbital", "projector", "correction"))
        projectors, end, threshold = tuple(about["projectors"]), about["end"], about["threshold"]
        functions = OverlapFunctions(orbital, projector, correction, shells, projectors, end, (first, last), threshold)
        blocks = PairBlocks(offsets, pairs, hopping, overlap, shells, about["reach"], about["level"], functions)
    try:
        one = dataset.single(
            data["positions"],
            data["cell"],
            data["numbers"].tolist(),
            labels,
            kpoints=data.get("kpoints"),
            weights=data.get("weights"),
            pbc=data["pbc"].tolist(),
            mesh=[*info["mesh"], *info.get("shift", [0, 0, 0])],
            occupied=int(data.get("occupied", 0)),
            temperature=float(info.get("temperature", np.nan)),
            seconds=sum(seconds) if seconds else float("nan"),
            strain=np.reshape(info["strain"], (3, 3)) if "strain" in info else None,
            extra=extra,
            blocks=blocks,
            split=info.get("split"),
            **{n: str(info.get(n, "unknown")) for n in TEXTS},
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return one, meta["levels"]


def collect(name: str, folders: Sequence[Path]) -> tuple[dataset.DataSet, list[str]]:
    """All labelled configurations of the folders as one set, and the reasons of those that failed.

    Raises:
        InputError: a damaged file, or one level of theory with two definitions.
    """
    whole = dataset.DataSet(name, {}, ())
    failures = []
    for folder in folders:
        levels: dict[str, Any] = {}

        def parts(folder: Path = folder, levels: dict = levels) -> Iterator[dataset.Configurations]:
            for path in sorted(folder.glob("*.npz")):
                one, found = load(path)
                for level, definition in found.items():
                    dataset.refuse_other_definition(level, levels.setdefault(level, definition), definition)
                yield one

        part = dataset.gather(name, levels, parts())
        whole = whole.merged(dataset.DataSet(name, levels, part.groups))
        failures += [
            f"{folder.name}/{p.name}: {json.loads(p.read_text())['reason']}" for p in folder.glob("*.failed.json")
        ]
    return whole, failures


def pack(name: str, output: Path, folders: Sequence[Path]) -> tuple[dataset.DataSet, list[str]]:
    """Write, or extend, the data set of some work folders.

    Returns:
        The whole set, and the reasons of the configurations that failed, which are left out.

    Raises:
        InputError: a folder that is not there, nothing in them, a damaged file, or one level of theory with two definitions.
    """
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"there is no work folder {folder}; `jaxepi label run` makes one")
    new, failures = collect(name, folders)
    if not len(new):
        raise InputError(
            f"no labelled configuration in {', '.join(map(str, folders))}"
            + (f"; {len(failures)} failed, the first because of {failures[0]}" if failures else "")
        )
    found = datasets.read(output).merged(new) if output.exists() else new
    datasets.write(found, output)
    return found, failures
