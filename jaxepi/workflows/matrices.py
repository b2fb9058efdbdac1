"""The training study of an equivariant Hamiltonian: data sets with H(R) to a model in one file, with its card and errors.

Flows in: settings (a TOML file whose [model] is of kind "equivariant"). Flows out: a folder with the model, its state while it
trains, measures of every epoch, errors by split and kind, and figures. The baseline is fitted first, in minutes; with
`interactions = 0` it is the model. A second call goes on where the first was stopped.
"""

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxepi import results
from jaxepi.datasets.dataset import Configurations
from jaxepi.errors import InputError
from jaxepi.hamiltonians import e3
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.hamiltonians.settings import EquivariantSettings
from jaxepi.settings import as_json, from_table
from jaxepi.training import TrainingSettings, reading
from jaxepi.training.core.loop import Fit, Row
from jaxepi.training.core.metrics import write_metrics
from jaxepi.training.energies.evaluation import SPLITS
from jaxepi.training.matrices import evaluation, labels, least_squares
from jaxepi.training.matrices.problem import BlockProblem
from jaxepi.training.settings import BlockLossSettings, SetSettings
from jaxepi.workflows import fitting

MODEL = "hamiltonian.npz"


@dataclasses.dataclass(frozen=True)
class TrainedBlocks:
    """What a training run leaves.

    Attributes:
        hamiltonian: with the parameters of the best epoch. card: what is written beside them.
        fit: history and the reason for the end, None for a baseline alone. rows: errors of H, meV. baseline: those of the
            baseline alone. files: what was written.
    """

    hamiltonian: Hamiltonian
    card: Mapping[str, Any]
    fit: Fit | None
    rows: list[dict[str, Any]]
    baseline: list[dict[str, Any]]
    files: tuple[Path, ...]


@dataclasses.dataclass(frozen=True)
class _Study:
    """The fixed objects of a training run: labels, baseline, and the module with its first parameters."""

    settings: TrainingSettings
    config: dict[str, Any]
    module: e3.Equivariant
    params: dict[str, Any]
    held: labels.Matrices
    fitted: least_squares.Fitted

    @classmethod
    def of(cls, settings: TrainingSettings, progress: bool) -> "_Study":
        """Read, fit the baseline, and refuse, before any training."""
        run = settings.run
        if not isinstance(settings.loss, BlockLossSettings):
            raise InputError("the loss is not one of blocks; read the settings with `workflows.hamiltonian.configured`")
        if run.start or run.presolve:
            raise InputError("[run] start and presolve are not of equivariant Hamiltonians; leave them out")
        if not jax.config.read("jax_enable_x64"):
            raise InputError("the baseline needs double precision: set jax_enable_x64 first (the command line does)")
        c = from_table(EquivariantSettings, settings.model, "model")
        if settings.loss.eigenbasis and not c.interactions:
            raise InputError(
                "[loss] eigenbasis is learned by the network, and [model] interactions = 0 has none; leave either out"
            )
        groups = [group for entry in settings.data.sets for group in _with_blocks(settings, entry)]
        overlap, tables, basis = _basis(groups)
        held = labels.gathered(groups, e3.configured(settings.model, basis, overlap), settings.data.level, progress)
        held = _thinned(held, settings.data.train, run.seed)
        for split in ("train", "validation"):
            if not len(held.rows(split)):
                raise InputError(
                    f"no configuration is for {split} ({len(held)} read); add data, or divide a set otherwise"
                )
        atoms = held.atoms("train")
        typical = tuple(max(float(t.mask[atoms].sum(axis=1).mean()), 1.0) for t in held.near)
        config = {**c.asdict(), "neighbours": c.neighbours or typical}
        module = e3.configured(config, basis, overlap)
        module = dataclasses.replace(module, minimum_distance=float(held.lengths[atoms[held.senders]].min()))
        fitted = least_squares.fit(module, held, c.baseline, c.ridge)
        params = module.init(run.seed, tables)
        params["baseline"] = fitted.params
        if c.interactions:
            params["spread"] = least_squares.spread(module, held, fitted)
        return cls(settings, as_json(config), module, params, held, fitted)

    def data_hash(self) -> str:
        """SHA-256 of everything that is learned from."""
        digest, h = hashlib.sha256(), self.held
        for array in (h.vectors, h.hopping, h.onsite, h.overlap):
            digest.update(np.ascontiguousarray(array).tobytes())
        digest.update(" ".join(h.split).encode())
        return digest.hexdigest()

    def hamiltonian(self, trained: Mapping[str, Any]) -> Hamiltonian:
        """The model with trained parameters."""
        return Hamiltonian(jax.tree.map(np.asarray, {**self.params, **trained}), self.module)

    def card(self, command: str, best: Row | None, rows: Sequence[Mapping[str, Any]] = (), data_hash: str = "") -> dict:
        """What a user of the model must know: data, errors, domain, provenance."""
        data, held = self.settings.data, self.held
        sets = ", ".join(sorted({Path(entry.path).name for entry in data.sets}))
        card: dict[str, Any] = {
            "citation": f"trained by jaxepi on H(R) of {sets} at level {data.level}",
            "level": data.level,
            "configurations": {s: len(held.rows(s)) for s in SPLITS},
            "atoms": {s: int(held.atoms(s).sum()) for s in SPLITS},
            "kinds": sorted(set(held.what.tolist())),
            "temperatures_kelvin": fitting.kelvin_range(held.temperature[held.split == "train"]),
            "minimum_distance_angstrom": self.module.minimum_distance,
            "zero_of_energy": "that of the labels, which no absolute potential fixes: compare H up to a multiple of S",
            "provenance": results.provenance(
                fitting.recorded(self.settings, self.config), {}, command, data_hash=data_hash
            ),
        }
        if best is not None:
            card["best_epoch"] = dict(best)
        if rows:
            card["errors_mev"] = {
                r["split"]: fitting.finite({n: v for n, v in r.items() if v == v})
                for r in rows
                if r["group"] == "all" and r["zero"] == "up to mu S"
            }
        return card


def train_blocks(
    settings: TrainingSettings,
    output: str | os.PathLike,
    progress: bool = True,
    resume: bool = True,
    command: str = "",
) -> TrainedBlocks:
    """Train an equivariant Hamiltonian on H(R), or go on with it, and measure it on all splits.

    Args:
        output: folder for all files; made where its parent stands. progress: bars on stderr.
        resume: False starts over. command: the command line, for the card.

    Raises:
        InputError: settings, data or a state that cannot be used. signals.Interrupted: stopped by a signal, state kept.
    """
    folder = fitting.claimed(output, MODEL, resume)
    study = _Study.of(settings, progress)
    baseline = evaluation.error_rows(study.held, study.fitted.onsite, study.fitted.hopping)
    digest = study.data_hash()
    with fitting.opened(folder, MODEL, resume):
        if study.module.atoms is None:
            fit, trained, rows = None, dict[str, Any](), baseline
            blocks = (study.fitted.onsite, study.fitted.hopping)
        else:
            fit, trained, blocks = _trained(study, folder, digest, command, progress)
            rows = evaluation.error_rows(study.held, *blocks)
        write_metrics(folder / fitting.ERRORS, rows)
        hamiltonian = study.hamiltonian(trained)
        card = study.card(command, fit.best if fit else None, rows, digest)
        e3.write(hamiltonian, study.config, folder / MODEL, card)
        if fit is not None:
            fitting.draw(folder, evaluation.parity(study.held, *blocks), fit.history)
    written = tuple(path for path in fitting.files(folder, MODEL) if path.exists())
    return TrainedBlocks(hamiltonian, card, fit, rows, baseline, written)


def _trained(
    study: _Study, folder: Path, digest: str, command: str, progress: bool
) -> tuple[Fit | None, dict[str, Any], tuple[np.ndarray, np.ndarray]]:
    """The network: how training went, its parameters, and the blocks of all configurations."""
    settings = study.settings
    run = settings.run
    problem = BlockProblem(
        study.module, study.params, study.held, study.fitted, settings.loss, run.batch_atoms, run.dtype, run.seed
    )

    def write_best(params: Any, row: Row) -> None:
        e3.write(study.hamiltonian(params), study.config, folder / MODEL, study.card(command, row, data_hash=digest))

    own = fitting.fingerprint(settings, study.config, digest, None)
    begun = (folder / fitting.STATE).exists()
    first = problem.initial() if begun else problem.calibrated()
    fit, predict = fitting.fit(problem, first, settings, folder, own, write_best, progress)
    plans = [plan for split in SPLITS for plan in problem.plans(split)]
    outputs = [jax.device_get(predict(fit.params, problem.arrays, plan)) for plan in plans]
    return fit, fit.params, problem.collect(plans, outputs)


def summary_lines(result: TrainedBlocks) -> Iterator[str]:
    """What is printed at the end: errors of the baseline and of the whole, and how training went."""
    if result.fit is not None:
        yield "Baseline alone"
        yield from evaluation.lines(result.baseline, ("all",))
        yield ""
        yield "With the network"
    yield from evaluation.lines(result.rows)
    if result.fit is None:
        yield ""
        yield f"Written: {', '.join(str(path) for path in result.files)}"
    else:
        yield from fitting.ending(result.fit, result.files)


def _with_blocks(settings: TrainingSettings, entry: Any) -> list[Configurations]:
    """Groups of a set that hold blocks at the level.

    Raises:
        InputError: there are none.
    """
    for name in ("weight", "repeat", "points"):
        if getattr(entry, name) != getattr(SetSettings, name):
            raise InputError(
                f"{entry.path}: {name} is not of equivariant Hamiltonians, whose configurations count alike; leave it out"
            )
    found = reading.with_labels(entry, settings.data)
    groups = [g for g in found if g.blocks is not None and g.blocks.level == settings.data.level]
    if not groups:
        raise InputError(
            f"{entry.path} holds no H(R) at level {settings.data.level!r}; give a set with blocks, or a [model] of kind "
            '"slater-koster", which learns from eigenvalues'
        )
    return groups


def _basis(groups: Sequence[Configurations]) -> tuple[Overlap, dict[str, Any], Any]:
    """Overlap, its tables and the basis that all groups share.

    Raises:
        InputError: several elements, several bases, or an S that no tables make.
    """
    numbers = sorted({z for group in groups for z in group.species})
    if len(numbers) > 1:
        raise InputError(f"atomic numbers {numbers}: tables of the overlap are of one element; train on sets of one")
    first = groups[0].blocks
    assert first is not None
    for group in groups:
        assert group.blocks is not None
        if group.blocks.functions is None or first.functions is None:
            raise InputError(
                "the data holds S(R) itself and no functions that make it; an equivariant Hamiltonian carries them: label "
                "with overlap_functions"
            )
        same = group.blocks.functions.digest == first.functions.digest or group.blocks.functions.agrees(first.functions)
        if group.blocks.shells != first.shells or not same:
            raise InputError("the sets hold blocks of several bases; train on those of one")
    assert first.functions is not None
    overlap, tables = Overlap.of(first.functions)
    electrons = 2.0 * groups[0].occupied / len(groups[0].species)
    return overlap, tables, e3.carried(overlap, first.shells, numbers[0], electrons)


def _thinned(held: labels.Matrices, train: int, seed: int) -> labels.Matrices:
    """Only so many training configurations, drawn by the seed; the others are of no split. All for 0."""
    rows = held.rows("train")
    if not 0 < train < len(rows):
        return held
    split = held.split.astype(object)
    split[np.random.default_rng((seed, 1)).permutation(rows)[train:]] = "left out"
    return dataclasses.replace(held, split=split)
