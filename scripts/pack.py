"""Pack work folders of label.py into one data set (compressed HDF5, written whole or not at all).

    python scripts/pack.py silicon-hse06 experiments/silicon/data/hse06.h5 WORK/silicon-cubic WORK/imported-si_train_g

A set that stands is extended: its configurations are kept, new ones are added. Two definitions of one level of theory
are refused.
"""

import argparse
import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from refusals import refusing

from jaxepi import datasets
from jaxepi.datasets import dataset
from jaxepi.datasets.blocks import PairBlocks
from jaxepi.datasets.overlap import OverlapFunctions
from jaxepi.errors import InputError

TEXTS = ("kind", "around", "source")
GIVEN = (*TEXTS, "temperature", "strain", "mesh", "shift")


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
        tables = (data[f"blocks/{n}"] for n in ("orbital", "projector", "correction"))
        end, threshold = about["end"], about["threshold"]
        functions = OverlapFunctions(*tables, shells, tuple(about["projectors"]), end, (first, last), threshold)
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
            **{n: str(info.get(n, "unknown")) for n in TEXTS},
        )
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    return one, meta["levels"]


def collect(name: str, folders: list[Path]) -> tuple[dataset.DataSet, list[str]]:
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


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line; exits with 2 on input that is refused."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("output", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    new, failures = collect(options.name, options.folders)
    whole = datasets.read(options.output).merged(new) if options.output.exists() else new
    options.output.parent.mkdir(parents=True, exist_ok=True)
    datasets.write(whole, options.output)
    for failure in failures:
        print(f"left out: {failure}")
    counts = {s: len(whole.select(s)) for s in ("train", "validation", "test")}
    size = options.output.stat().st_size / 1e6
    print(f"{options.output}: {len(whole)} configurations {counts} in {len(whole.groups)} groups, {size:.2f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
