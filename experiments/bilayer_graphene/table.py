"""Table 2 of the HedgeNet-Electron paper with our own labels: errors of H of bilayers and of twisted cells, model by model.

    python experiments/bilayer_graphene/table.py graphene-pbe-lcao WORK/homogeneous-0 WORK/layers-0 WORK/layers-1 WORK/layers-2

Takes folders of `jaxepi train hamiltonian`, files of models and shipped ones, as many as there are. What a model is, its card
says: its network and baseline, the seed, and how many environments it learned from; runs that differ by their seed alone are
one line, with mean and spread. Mean absolute errors of H, meV, up to the best multiple of S of every configuration
(`--as-it-is`: without), of the test's bilayers and of twisted cells, which no model learns from; and their quotient.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from jaxepi import datasets, hamiltonians  # noqa: E402
from jaxepi.errors import InputError  # noqa: E402
from jaxepi.hamiltonians import e3  # noqa: E402
from jaxepi.training.matrices import evaluation, labels  # noqa: E402
from jaxepi.workflows.matrices import MODEL  # noqa: E402

HERE = Path(__file__).parent
SETS = {"bilayer": HERE / "data" / "lcao.h5", "twisted": HERE / "data" / "twisted.h5"}
HEDGENET = {
    "one kind of edges, 3 blocks": (0.395, 0.285),
    "one kind of edges, 6 blocks": (0.310, 0.239),
    "two kinds of edges, 3 + 3 blocks": (0.303, 0.206),
}
"""HedgeNet-Electron (arXiv:2602.23084, Table 2): bilayer and twisted, meV."""

COLUMNS = ("labels", "all", "onsite", "hopping")
"""Of `evaluation.error_rows`: all pairs of the labels, those within the basis' reach, and these two parts of the latter."""


def file_of(name: str) -> Path:
    """The file of a model.

    Raises:
        InputError: there is none.
    """
    places = (Path(name) / MODEL, Path(name), Path(hamiltonians.__file__).parent / "models" / f"{name}.npz")
    for place in places:
        if place.is_file():
            return place
    raise InputError(f"no model {name}: give a folder that holds {MODEL}, a file, or one of the shipped models")


def described(card: Mapping[str, Any]) -> tuple[str, int, str]:
    """What a model is in words, its seed, and all else that it was trained by."""
    settings = card["provenance"]["settings"]
    model, run = settings["model"], settings["run"]
    rest = {**settings, "run": {k: v for k, v in run.items() if k != "seed"}}
    recipe = json.dumps([rest, card["provenance"]["data_hash"]], sort_keys=True)
    baseline = {"levels": "no baseline", "two-centre": "two-centre baseline", "linear": "baseline"}[model["baseline"]]
    if not model["interactions"]:
        return f"{baseline} alone", int(run["seed"]), recipe
    weights = "edges within and between layers" if model["relations"] == "layers" else "one kind of edges"
    rounds = f"{model['interactions']} interaction" + "s" * (model["interactions"] > 1)
    words = f"{weights}, {rounds}, {model['channels']} channels, {run['epochs']} epochs, {baseline}"
    return words, int(run["seed"]), recipe


def measured(path: Path, level: str, zero: str) -> dict[str, Any]:
    """One model: what it is, its size, and its errors on both sets."""
    model, card = e3.read(path)
    module = model.module
    assert isinstance(module, e3.Equivariant)
    name, seed, recipe = described(card)
    found: dict[str, Any] = {"name": name, "seed": seed, "recipe": recipe, "environments": card["atoms"]["train"]}
    trained = {k: v for k, v in model.params.items() if k != "overlap"}
    found["parameters"] = sum(np.size(x) for x in jax.tree.leaves(trained))
    for which, file in SETS.items():
        held = labels.gathered(datasets.read(file).groups, module, level)
        rows = evaluation.error_rows(held, *evaluation.predicted(model, held))
        found[which] = evaluation.of_bilayers(rows, zero)
    return found


def line(name: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """Mean and, of several, standard deviation over runs that differ by the seed."""

    def shown(values: Sequence[float], digits: int = 3) -> str:
        spread = f" +- {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
        return f"{np.mean(values):.{digits}f}{spread}"

    parts = [name, str(len(runs)), str(runs[0]["environments"]), str(runs[0]["parameters"])]
    parts += [shown([run[which][c] for run in runs]) for which in SETS for c in COLUMNS]
    ratios = [run["twisted"]["labels"] / run["bilayer"]["labels"] for run in runs]
    return "| " + " | ".join([*parts, shown(ratios, 2)]) + " |"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", help="folder of a training run, file, or shipped model")
    parser.add_argument("--level", default="pbe-d3")
    parser.add_argument("--as-it-is", action="store_true", help="leave the multiple of S in")
    options = parser.parse_args()
    zero = "as it is" if options.as_it_is else "up to mu S"
    runs: dict[str, list[dict[str, Any]]] = {}
    for name in options.models:
        run = measured(file_of(name), options.level, zero)
        same = runs.setdefault(run["recipe"], [])
        if run["seed"] in [other["seed"] for other in same]:
            raise InputError(
                f"{name}: a model of the same settings and seed {run['seed']} is there already; give it once"
            )
        same.append(run)
    heads = ["model", "seeds", "environments", "parameters"]
    heads += [f"{which}: {column}" for which in SETS for column in COLUMNS] + ["twisted/bilayer"]
    print(f"Mean absolute errors of H, meV, {zero}; test's bilayers, and twisted cells that no model learns from\n")
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads))
    for found in runs.values():
        print(line(found[0]["name"], found))
    for word, (bilayer, twisted) in HEDGENET.items():
        cells = [f"HedgeNet-Electron: {word}", "", "about 11,500", "", f"{bilayer:.3f}", "", "", ""]
        print("| " + " | ".join([*cells, f"{twisted:.3f}", "", "", "", f"{twisted / bilayer:.2f}"]) + " |")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        sys.exit(f"error: {error}")
