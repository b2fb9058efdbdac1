"""The training study of a Hamiltonian: data sets with eigenvalues to a model in one file, with its card, errors and figures.

An equivariant Hamiltonian, which learns from H(R), has a study of its own behind the same door (`matrices`).

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
from ase.data import chemical_symbols

from jaxepi import results
from jaxepi.checkpoint import read_checkpoint
from jaxepi.errors import InputError
from jaxepi.hamiltonians import learned
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.settings import EquivariantSettings, SlaterKosterSettings
from jaxepi.settings import read_toml
from jaxepi.training import TrainingSettings, reading
from jaxepi.training.bands import edges, evaluation, spectra
from jaxepi.training.bands.presolve import presolved
from jaxepi.training.core.loop import Fit, Row
from jaxepi.training.core.metrics import write_metrics
from jaxepi.training.energies.evaluation import SPLITS
from jaxepi.training.settings import BandLossSettings, BlockLossSettings
from jaxepi.workflows import fitting, matrices

MODEL = "hamiltonian.npz"


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
        InputError: as `fitting.configured`.
    """
    kind = read_toml(Path(path)).get("model", {})
    if isinstance(kind, dict) and kind.get("kind") == EquivariantSettings.kind:
        return fitting.configured(path, run, BlockLossSettings, EquivariantSettings)
    return fitting.configured(path, run, BandLossSettings, SlaterKosterSettings)


def train_hamiltonian(
    settings: TrainingSettings,
    output: str | os.PathLike,
    progress: bool = True,
    resume: bool = True,
    command: str = "",
) -> "TrainedHamiltonian | matrices.TrainedBlocks":
    """Train a Hamiltonian on eigenvalues (an equivariant one on H(R)), or go on with it, and measure it on all splits.

    Args:
        output: folder for all files; made where its parent stands. progress: bars on stderr.
        resume: False starts over. command: the command line, for the card.

    Raises:
        InputError: settings, data, a model or a checkpoint that cannot be used; a state of other settings.
            signals.Interrupted: stopped by a signal, state kept.
    """
    if isinstance(settings.loss, BlockLossSettings):
        return matrices.train_blocks(settings, output, progress, resume, command)
    folder = fitting.claimed(output, MODEL, resume)
    problem, config = prepare(settings, progress)

    def write_best(params: Any, row: Row) -> None:
        learned.write(_model(problem, params), config, folder / MODEL, _card(settings, config, problem, row, command))

    own = fitting.fingerprint(settings, config, data_hash(problem), _begun(settings, problem))
    with fitting.opened(folder, MODEL, resume):
        begun, steps = (folder / fitting.STATE).exists(), settings.run.presolve
        first = presolved(problem, steps, progress) if steps and not begun else problem.initial()
        fit, predict = fitting.fit(problem, first, settings, folder, own, write_best, progress)
        plans = [plan for split in SPLITS for plan in problem.plans(split)]
        outputs = jax.device_get([predict(fit.params, problem.arrays, plan) for plan in plans])
        found = problem.collect(plans, outputs)
        rows = evaluation.error_rows(problem, found, problem.terms(plans, outputs))
        write_metrics(folder / fitting.ERRORS, rows)
        hamiltonian = _model(problem, fit.params)
        card = _card(settings, config, problem, fit.best, command, rows)
        learned.write(hamiltonian, config, folder / MODEL, card)
        fitting.draw(folder, evaluation.parity(problem, found), fit.history)
    return TrainedHamiltonian(hamiltonian, card, fit, rows, problem, found, fitting.files(folder, MODEL))


def prepare(settings: TrainingSettings, progress: bool = False) -> tuple[spectra.BandProblem, dict[str, Any]]:
    """The data and the model to begin from, and the configuration of the model.

    Raises:
        InputError: what is refused of either.
    """
    if not isinstance(settings.loss, BandLossSettings):
        raise InputError("the loss is not one of bands; read the settings with `workflows.hamiltonian.configured`")
    run, loss = settings.run, settings.loss
    fitting.refuse_precision(run.dtype)
    if run.start:
        hamiltonian, config = learned.read(run.start)[0], dict(read_checkpoint(run.start).config["model"])
        asked = dict(settings.model)
        asked |= {"base": learned.complete(asked)["base"]} if asked.get("base") else {}
        fitting.refuse_other_model(run.start, config, asked)
    else:
        config = learned.complete(settings.model)
        hamiltonian = learned.build(config, jax.random.key(run.seed))
    groups = []
    electrons = {chemical_symbols[z]: n for z, n in hamiltonian.basis.electrons}
    for entry in settings.data.sets:
        found = reading.with_eigenvalues(entry, settings.data, electrons)
        for held in found:
            basics = (held, settings.data.level, entry.weight, hamiltonian)
            rest = edges.crystal_of(found, held, settings.data.level, "train") if loss.shifts else None
            groups.append(spectra.Group.of(*basics, loss.bands, progress, loss.matrices, entry.repeat, rest))
    module, params = learned.configured(config)
    published = Hamiltonian(params, module.base)
    problem = spectra.BandProblem(hamiltonian, groups, loss, run.batch_atoms, run.dtype, run.seed, published)
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
            np.array([group.weight, group.repeat]),
            group.held.weights,
            group.still,
            np.array([-1 if group.rest is None else group.rest]),
        ):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(" ".join(group.held.split).encode())
        for array in jax.tree.leaves(group.blocks):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def summary_lines(result: TrainedHamiltonian | matrices.TrainedBlocks) -> Iterator[str]:
    """What is printed at the end: errors, and how training went."""
    if isinstance(result, matrices.TrainedBlocks):
        yield from matrices.summary_lines(result)
        return
    yield from evaluation.error_lines(result.rows)
    yield from fitting.ending(result.fit, result.files)


def _begun(settings: TrainingSettings, problem: spectra.BandProblem) -> Hamiltonian | None:
    """The model of the checkpoint that training begins from, if there is one."""
    return problem.hamiltonian if settings.run.start else None


def _model(problem: spectra.BandProblem, params: Any) -> Hamiltonian:
    """The model with trained parameters."""
    return dataclasses.replace(problem.hamiltonian, params=jax.tree.map(np.asarray, params))


def _card(
    settings, config, problem, best: Row, command: str, rows: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """What a user of the model must know: data, errors, domain, provenance."""
    temperature = np.concatenate([g.held.temperature[problem.rows(g, "train")] for g in problem.groups])
    sets = ", ".join(sorted({Path(entry.path).name for entry in settings.data.sets}))
    begun = _begun(settings, problem)
    card: dict[str, Any] = {
        "citation": f"trained by jaxepi on {sets} at level {settings.data.level}, from {config['base']['name']}",
        "level": settings.data.level,
        "configurations": {s: sum(len(problem.rows(g, s)) for g in problem.groups) for s in SPLITS},
        "kinds": sorted({k for g in problem.groups for k in g.held.kind}),
        "temperatures_kelvin": fitting.kelvin_range(temperature),
        "zero_of_energy": "undetermined: spectra are compared relative to their filled bands",
        "best_epoch": dict(best),
        "provenance": results.provenance(
            fitting.recorded(settings, config), {"start": begun} if begun else {}, command, data_hash=data_hash(problem)
        ),
    }
    if rows is None:
        return card
    there = [{name: value for name, value in r.items() if value == value} for r in rows if r["group"] == "all"]
    return {**card, "errors_mev": {r["split"]: r for r in there}}
