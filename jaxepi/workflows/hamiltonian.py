"""The training study of a Hamiltonian: data sets with eigenvalues to a model in one file, with its card, errors and figures.

Flows in: settings (a TOML file). Flows out: a folder with the model, its state while it trains, measures of every epoch,
errors by split and kind, and figures. A second call goes on where the first was stopped.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxepi import plotting, training
from jaxepi.errors import InputError
from jaxepi.hamiltonians import sk
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.io import store
from jaxepi.nn import read_checkpoint
from jaxepi.training import TrainingSettings, examples, spectra
from jaxepi.training.evaluation import SPLITS
from jaxepi.training.loop import Fit, Row
from jaxepi.training.metrics import write_metrics
from jaxepi.training.settings import BandLossSettings

MODEL, STATE, METRICS, ERRORS = "hamiltonian.npz", "state.npz", "metrics.csv", "errors.csv"
PARITY, CURVE = "parity.png", "learning-curve.png"


@dataclasses.dataclass(frozen=True)
class TrainedHamiltonian:
    """What a training run leaves.

    Attributes:
        hamiltonian: with the parameters of the best epoch. card: what is written beside them.
        fit: history and the reason for the end. rows: errors by split, k mesh, kind and temperature.
        problem: the data. found: eigenvalues of every group, eV, not aligned. files: what was written.
    """

    hamiltonian: Hamiltonian
    card: Mapping[str, Any]
    fit: Fit
    rows: list[dict[str, Any]]
    problem: spectra.BandProblem
    found: list[np.ndarray]
    files: tuple[Path, ...]


def configured(path: str | os.PathLike, run: Mapping[str, Any] | None = None) -> TrainingSettings:
    """Settings of a TOML file, with some of its `[run]` replaced.

    Raises:
        InputError: as `training.read_settings`, or a value that is refused.
    """
    settings = training.read_settings(Path(path), BandLossSettings)
    return dataclasses.replace(settings, run=dataclasses.replace(settings.run, **(run or {})))


def train_hamiltonian(
    settings: TrainingSettings,
    output: str | os.PathLike,
    progress: bool = True,
    resume: bool = True,
    command: str = "",
) -> TrainedHamiltonian:
    """Train a Hamiltonian on eigenvalues, or go on with it, and measure it on all splits.

    Args:
        output: folder for all files; made where its parent stands. progress: bars on stderr.
        resume: False starts over. command: the command line, for the card.

    Raises:
        InputError: settings, data, a model or a checkpoint that cannot be used; a state of other settings.
            training.Interrupted: stopped by a signal, state kept.
    """
    folder = Path(output)
    if not folder.parent.is_dir():
        raise InputError(f"{folder.parent} is not a folder; make it, or give another --output")
    problem, config = prepare(settings, progress)
    folder.mkdir(exist_ok=True)
    if not resume:
        for name in (STATE, METRICS, ERRORS, MODEL):
            (folder / name).unlink(missing_ok=True)
    predict = training.predictor(problem)
    own = {**settings.asdict(), "model": config, "data_hash": data_hash(problem)}
    own["data"] = {n: v for n, v in own["data"].items() if n != "sets"}
    own["run"] = {n: v for n, v in own["run"].items() if n in ("seed", "dtype", "batch_atoms")}

    def write_best(params: Any, row: Row) -> None:
        sk.write(_model(problem, params), config, folder / MODEL, _card(settings, config, problem, row, command))

    fit = training.fit(
        problem,
        problem.initial(),
        settings.optimizer,
        settings.run,
        state=folder / STATE,
        metrics=folder / METRICS,
        fingerprint=own,
        predict=predict,
        on_best=write_best,
        progress=progress,
    )
    plans = [plan for split in SPLITS for plan in problem.plans(split)]
    found = problem.collect(plans, jax.device_get([predict(fit.params, problem.arrays, plan) for plan in plans]))
    rows = error_rows(problem, found)
    write_metrics(folder / ERRORS, rows)
    hamiltonian = _model(problem, fit.params)
    card = _card(settings, config, problem, fit.best, command, rows)
    sk.write(hamiltonian, config, folder / MODEL, card)
    files = tuple(folder / name for name in (MODEL, METRICS, ERRORS, STATE, PARITY, CURVE))
    plotting.save(plotting.parity(parity(problem, found), folder.name), folder / PARITY)
    plotting.save(plotting.learning_curve(fit.history, folder.name), folder / CURVE)
    return TrainedHamiltonian(hamiltonian, card, fit, rows, problem, found, files)


def prepare(settings: TrainingSettings, progress: bool = False) -> tuple[spectra.BandProblem, dict[str, Any]]:
    """The data and the model to begin from, and the configuration of the model.

    Raises:
        InputError: what is refused of either.
    """
    if not isinstance(settings.loss, BandLossSettings):
        raise InputError("the loss is not one of bands; read the settings with `workflows.hamiltonian.configured`")
    run, loss = settings.run, settings.loss
    if run.dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise InputError("dtype float64: JAX is set to single precision; set jax_enable_x64 first, or ask for float32")
    if run.start:
        hamiltonian, config = sk.read(run.start)[0], dict(read_checkpoint(run.start).config["model"])
    else:
        config = {**sk.DEFAULTS, **settings.model}
        hamiltonian = sk.build(config, jax.random.key(run.seed))
    groups = []
    for entry in settings.data.sets:
        for held in examples.with_eigenvalues(entry, settings.data.level):
            groups.append(spectra.Group.of(held, settings.data.level, entry.weight, hamiltonian, loss.bands, progress))
    problem = spectra.BandProblem(hamiltonian, groups, loss, run.batch_atoms, run.dtype, run.seed)
    return problem, config


def data_hash(problem: spectra.BandProblem) -> str:
    """SHA-256 of everything that is learned from."""
    digest = hashlib.sha256()
    for group in problem.groups:
        for array in (
            group.held.positions,
            group.held.cell,
            group.held.kpoints,
            group.energies,
            np.array(group.weight),
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(" ".join(group.held.split).encode())
    return digest.hexdigest()


def error_rows(problem: spectra.BandProblem, found: list[np.ndarray]) -> list[dict[str, Any]]:
    """Errors of every split: all, and by number of atoms with k mesh, kind and temperature, meV."""
    keys, values = [], []
    for group, energies in zip(problem.groups, found, strict=True):
        held = group.held
        errors = spectra.band_errors(group, energies, np.arange(len(held)), problem.settings)
        mesh = f"{len(held.species)} atoms, {examples.mesh_name(held)}"
        for row in range(len(held)):
            kelvin = "none" if np.isnan(held.temperature[row]) else f"{held.temperature[row]:g} K"
            keys.append((held.split[row], {"all": "all", "mesh": mesh, "kind": held.kind[row], "temperature": kelvin}))
            values.append([errors[n][row] for n in ("bands", "near", "gap")])
    table, rows = np.array(values), []
    for split in SPLITS:
        for by in ("all", "mesh", "kind", "temperature"):
            for member in sorted({names[by] for s, names in keys if s == split}):
                chosen = table[[s == split and names[by] == member for s, names in keys]]
                rows.append(
                    {"split": split, "group": by, "member": member, "configurations": len(chosen), **_errors(chosen)}
                )
    return rows


def _errors(table: np.ndarray) -> dict[str, float]:
    """Measures of some configurations, meV, from mean squares and gap errors in eV."""
    bands, near, gap = table.T
    roots = [1e3 * float(np.sqrt(x.mean())) for x in (bands, near)]
    return {
        "bands_rmse": roots[0],
        "near_rmse": roots[1],
        "gap_bias": 1e3 * float(gap.mean()),
        "gap_scatter": 1e3 * float(gap.std()),
        "gap_largest": 1e3 * float(np.abs(gap).max()),
    }


def parity(
    problem: spectra.BandProblem, found: list[np.ndarray]
) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Aligned eigenvalues and gaps of labels and model by split, eV."""
    out: dict[str, dict[str, list[tuple[np.ndarray, np.ndarray]]]] = {"eigenvalues": {}, "gap": {}}
    how = problem.settings.align
    for group, energies in zip(problem.groups, found, strict=True):
        occupied = group.occupied
        inside = spectra.importance(group, problem.settings) > 0
        for split in SPLITS:
            rows = problem.rows(group, split)
            if not len(rows):
                continue
            pair = [spectra.aligned(x[rows], occupied, how)[inside[rows]] for x in (group.energies, energies)]
            out["eigenvalues"].setdefault(split, []).append((pair[0], pair[1]))
            gaps = [spectra.gap(x[rows], occupied) for x in (group.energies, energies)]
            out["gap"].setdefault(split, []).append((gaps[0], gaps[1]))
    joined: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name, splits in out.items():
        for split, parts in splits.items():
            labels, model = (np.concatenate(x) for x in zip(*parts, strict=True))
            joined.setdefault(name, {})[split] = (labels, model)
    return joined


def summary_lines(result: TrainedHamiltonian) -> Iterator[str]:
    """What is printed at the end: errors, and how training went."""
    yield f"{'meV':44} {'count':>6} {'bands':>8} {'near gap':>9} {'gap bias':>9} {'scatter':>8}"
    for row in result.rows:
        if row["group"] != "all" and row["split"] != "test":
            continue
        name = row["split"] if row["group"] == "all" else f"  {row['split']}, {row['member']}"
        numbers = " ".join(f"{row[n]:8.1f}" for n in ("bands_rmse", "near_rmse", "gap_bias", "gap_scatter"))
        yield f"{name:44} {row['configurations']:6d} {numbers}"
    fit = result.fit
    yield ""
    yield (
        f"Training ended after {len(fit.history)} epochs and {fit.seconds / 60:.1f} minutes because {fit.reason}; the "
        f"lowest validation loss was that of epoch {fit.best['epoch']:g}. Compilations: {fit.compilations}."
    )
    yield f"Written: {', '.join(str(path) for path in result.files)}"


def _model(problem: spectra.BandProblem, params: Any) -> Hamiltonian:
    """The model with trained parameters."""
    return dataclasses.replace(problem.hamiltonian, params=jax.tree.map(np.asarray, params))


def _card(
    settings, config, problem, best: Row, command: str, rows: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """What a user of the model must know: data, errors, domain, provenance."""
    temperature = np.concatenate([g.held.temperature[problem.rows(g, "train")] for g in problem.groups])
    known = temperature[np.isfinite(temperature)]
    plain = settings.asdict()
    plain["data"]["sets"] = [{**s, "path": Path(s["path"]).name} for s in plain["data"]["sets"]]
    plain["run"] = {n: str(v) if v == float("inf") else v for n, v in plain["run"].items()}
    plain["run"]["start"] = Path(plain["run"]["start"]).name
    plain["loss"] = {n: str(v) if n == "window" else v for n, v in plain["loss"].items()}
    sets = ", ".join(sorted({Path(entry.path).name for entry in settings.data.sets}))
    card: dict[str, Any] = {
        "citation": f"trained by jaxepi on {sets} at level {settings.data.level}, from {config['base']}",
        "level": settings.data.level,
        "configurations": {s: sum(len(problem.rows(g, s)) for g in problem.groups) for s in SPLITS},
        "kinds": sorted({k for g in problem.groups for k in g.held.kind}),
        "temperatures_kelvin": [float(known.min()), float(known.max())] if known.size else [],
        "zero_of_energy": "undetermined: spectra are compared relative to their filled bands",
        "best_epoch": dict(best),
        "provenance": store.provenance({**plain, "model": config}, {}, command, data_hash=data_hash(problem)),
    }
    return card if rows is None else {**card, "errors_mev": {r["split"]: r for r in rows if r["group"] == "all"}}
