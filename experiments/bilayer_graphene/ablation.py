"""Do layers need weights of their own? The HedgeNet paper's ablation on our own data.

    python experiments/bilayer_graphene/ablation.py [--quick] [--work WORK]

Trains three networks on the data of ablation.toml, three seeds each (of initial weights and of the order of batches), with
the same data, batches, epochs and schedule: one kind of edges with two layers of interactions, the same with four, and
separate weights for edges within and between layers with two. Prints their errors on the test set, and writes them with
mean and spread over seeds to ablation.csv beside this file. Resumable: every run keeps its state in WORK. `--quick` trains
one seed of smaller networks on a few configurations for minutes, and writes its table to WORK.
"""

import argparse
import dataclasses
import os
import platform
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxepi.training import TrainingSettings
from jaxepi.training.core.metrics import write_metrics
from jaxepi.workflows.training import TrainedPotential, configured, train_potential

HERE = Path(__file__).parent
MODELS: dict[str, dict[str, Any]] = {
    "homogeneous-2": {"relations": "homogeneous", "interactions": 2},
    "homogeneous-4": {"relations": "homogeneous", "interactions": 4},
    "heterogeneous-2": {"relations": "layers", "interactions": 2},
}
SEEDS = (0, 1, 2)
QUICK: dict[str, Any] = {"epochs": 6, "channels": 4, "train": 24}
MEASURES = ("energy_rmse", "energy_mae", "forces_rmse", "forces_mae")
"""meV an atom and meV/angstrom, on the test set."""

PAPER = "HedgeNet paper (1620 training structures, PBE-D2): 0.1 and 9.5, 0.1 and 9.2, 0.0639 and 8.686"


def settings(base: TrainingSettings, model: str, seed: int, epochs: int, channels: int, train: int) -> TrainingSettings:
    """Those of one run: what the ablation varies, and the budget that all share."""
    return dataclasses.replace(
        base,
        data=dataclasses.replace(base.data, train=train),
        model={**base.model, "channels": channels, **MODELS[model]},
        run=dataclasses.replace(base.run, seed=seed, epochs=epochs),
    )


def row(model: str, seed: int, run: TrainedPotential) -> dict[str, Any]:
    """Size, cost and test errors of a run."""
    (test,) = (r for r in run.rows if (r.split, r.group) == ("test", "all"))
    configurations = run.card["configurations"]
    return {
        "model": model,
        "seed": seed,
        "parameters": sum(np.size(x) for x in jax.tree.leaves(run.potential.params["network"])),
        "epochs": len(run.fit.history),
        "minutes": run.fit.seconds / 60,
        "train_configurations": configurations["train"],
        "test_configurations": configurations["test"],
        **{name: getattr(test, name) for name in MEASURES},
    }


def summaries(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Mean and spread (standard deviation of the seeds) of every model, below its rows."""
    out: list[dict[str, Any]] = []
    rows = list(rows)
    for model in MODELS:
        mine = [dict(r) for r in rows if r["model"] == model]
        out += mine
        if len(mine) > 1:
            values = {name: np.array([r[name] for r in mine], float) for name in ("minutes", *MEASURES)}
            out.append({**mine[0], "seed": "mean", **{n: float(v.mean()) for n, v in values.items()}})
            out.append({**mine[0], "seed": "spread", **{n: float(v.std(ddof=1)) for n, v in values.items()}})
    return out


def printed(r: Mapping[str, Any]) -> str:
    """A line of the table."""
    errors = "".join(f"{r[name]:13.3f}" for name in MEASURES)
    return f"{r['model']:16s} {r['seed']!s:>6s} {r['parameters']:10d} {r['minutes']:8.1f}{errors}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=HERE / "ablation.toml", help="data, loss and budget")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder of the runs (default: beside this)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--quick", action="store_true", help="one seed, small, minutes")
    options = parser.parse_args(arguments)
    base = configured(options.config)
    budget = {"epochs": base.run.epochs, "channels": base.model["channels"], "train": 0}
    budget, seeds, kind = (QUICK, [0], "quick") if options.quick else (budget, options.seeds, "run")
    options.work.mkdir(parents=True, exist_ok=True)
    table = (options.work if options.quick else HERE) / "ablation.csv"
    print(
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, jax "
        f"{jax.__version__}; {budget['epochs']} epochs, {budget['channels']} channels; meV/atom and meV/angstrom on the "
        f"test set\n{PAPER}"
    )
    print(f"{'model':16s} {'seed':>6s} {'parameters':>10s} {'minutes':>8s}" + "".join(f"{n:>13s}" for n in MEASURES))
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        for model in MODELS:
            folder = options.work / f"{kind}-{model}-{seed}"
            found = train_potential(settings(base, model, seed, **budget), folder, command=Path(__file__).name)
            rows.append(row(model, seed, found))
            print(printed(rows[-1]), flush=True)
            write_metrics(table, summaries(rows))
    for one in summaries(rows):
        if one["seed"] in ("mean", "spread"):
            print(printed(one))
    print(f"written: {table.name}")


if __name__ == "__main__":
    main()
