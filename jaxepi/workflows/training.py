"""The training study: data sets to a potential in one file, with its card, errors and figures.

Flows in: settings (a TOML file). Flows out: a folder with the model, its state while it trains, measures of every epoch,
errors by split and kind, predictions for the figures. A second call goes on where the first was stopped.
"""

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ase.data import chemical_symbols

from jaxepi import results, training
from jaxepi.checkpoint import read_checkpoint
from jaxepi.errors import InputError
from jaxepi.potentials import learned
from jaxepi.potentials.base import Potential
from jaxepi.training import TrainingSettings
from jaxepi.training.core.loop import Compiled, Fit, Row
from jaxepi.training.core.metrics import write_metrics
from jaxepi.training.energies import evaluation, references
from jaxepi.training.energies.domain import domain
from jaxepi.training.energies.problem import EnergyProblem, Prediction
from jaxepi.training.energies.references import References
from jaxepi.training.examples import Examples
from jaxepi.workflows import fitting
from jaxepi.workflows.fitting import configured

__all__ = ["TrainedPotential", "TrainingSettings", "configured", "summary_lines", "train_potential"]

MODEL = "potential.npz"


@dataclasses.dataclass(frozen=True)
class TrainedPotential:
    """What a training run leaves.

    Attributes:
        potential: with the parameters of the best epoch. card: what is written beside them.
        fit: history and the reason for the end. rows: errors by split and kind.
        examples: all configurations, labels as in the data sets. errors: predictions less labels.
        offsets: eV an atom, by mesh; subtracted from the labels. files: what was written.
    """

    potential: Potential
    card: Mapping[str, Any]
    fit: Fit
    rows: list[evaluation.ErrorRow]
    examples: Examples
    errors: Prediction
    offsets: Mapping[str, float]
    files: tuple[Path, ...]

    def parity(self) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
        """Labels and predictions by quantity and split: eV an atom (offsets subtracted), eV/angstrom, eV/angstrom^3."""
        e, errors = self.examples, self.errors
        offset = np.array([self.offsets[m] for m in e.mesh])
        labels = {"energy": e.energy / e.sizes - offset, "forces": e.forces, "stress": e.stress}
        out: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        for i, (name, label) in enumerate(labels.items()):
            error = getattr(errors, name)
            for split in evaluation.SPLITS:
                chosen = (e.split == split) & (e.weights[:, i] > 0)
                chosen = np.repeat(chosen, e.sizes) if name == "forces" else chosen
                if chosen.any():
                    out.setdefault(name, {})[split] = (label[chosen].ravel(), (label + error)[chosen].ravel())
        return out


def train_potential(
    settings: TrainingSettings,
    output: str | os.PathLike,
    progress: bool = True,
    resume: bool = True,
    command: str = "",
) -> TrainedPotential:
    """Train a potential, or go on with it, and measure it on all splits.

    Args:
        output: folder for all files; made where its parent stands. progress: bars on stderr.
        resume: False starts over. command: the command line, for the card.

    Raises:
        InputError: settings, data, a model or a checkpoint that cannot be used; a state of other settings.
            signals.Interrupted: stopped by a signal, state kept.
    """
    folder = fitting.claimed(output, MODEL, resume)
    study = _Study.of(settings, progress)

    def write_best(params: Any, row: Row) -> None:
        learned.write(study.potential(params), study.config, folder / MODEL, study.card(params, row, command))

    own = fitting.fingerprint(settings, study.config, study.data_hash, study.kept)
    with fitting.opened(folder, MODEL, resume):
        fit, predict = fitting.fit(study.problem, study.start, settings, folder, own, write_best, progress)
        before = predict.count
        errors = study.errors(fit.params, predict)
        fit = dataclasses.replace(fit, compilations=fit.compilations + predict.count - before)
        rows = evaluation.error_rows(study.examples, errors)
        write_metrics(folder / fitting.ERRORS, [dataclasses.asdict(row) for row in rows])
        potential = study.potential(fit.params, with_domain=True)
        card = study.card(fit.params, fit.best, command, rows, fit)
        learned.write(potential, study.config, folder / MODEL, card)
        written = fitting.files(folder, MODEL)
        result = TrainedPotential(
            potential, card, fit, rows, study.examples, errors, study.offsets(fit.params), written
        )
        fitting.draw(folder, result.parity(), fit.history)
    return result


def summary_lines(result: TrainedPotential) -> Iterator[str]:
    """What is printed at the end: errors, offsets, and how training went."""
    yield from evaluation.error_lines(result.rows)
    if any(result.offsets.values()):
        yield ""
        yield "Offsets of k meshes, meV/atom: " + ", ".join(f"{n} {1e3 * v:.2f}" for n, v in result.offsets.items())
    yield from fitting.ending(result.fit, result.files)


@dataclasses.dataclass(frozen=True)
class _Study:
    """The fixed objects of a training run.

    Attributes:
        module, config: the energy module with its pair terms, and what builds it. examples: labels as read.
        problem: labels less references and pair terms. start: parameters to begin from.
        kept: the checkpoint they are of, if any.
    """

    settings: TrainingSettings
    module: Any
    config: dict[str, Any]
    examples: Examples
    references: References
    problem: EnergyProblem
    start: Any
    kept: Potential | None

    @classmethod
    def of(cls, settings: TrainingSettings, progress: bool) -> "_Study":
        """Read, build and refuse, before any training."""
        run = settings.run
        fitting.refuse_precision(run.dtype)
        learned.build(settings.model, (1,))  # refuses unknown options before any data set is read
        examples = training.read_examples(settings.data, settings.loss, run.seed)
        kept, config = _checkpoint(settings)
        species = _species(examples) if kept is None else kept.module.species
        module = learned.build(config, species)
        refuse_other_species(examples, species)
        examples = examples.connect(module.relations, progress)
        if settings.data.relative_to:
            described = {n: x for n, x in _described(kept, settings).params.items() if n != "domain"}
            examples = references.with_model(module, described, examples, run.dtype)
        if config.get("neighbours") is None:
            config["neighbours"] = _neighbours(examples, len(module.network.relations))
            module = learned.build(config, species)
        module = dataclasses.replace(module, minimum_distance=_shortest(examples))
        return cls._prepared(settings, module, config, _comparable(examples, settings), kept)

    @classmethod
    def _prepared(
        cls, settings: TrainingSettings, module: Any, config: dict[str, Any], examples: Examples, kept: Potential | None
    ) -> "_Study":
        """References, packing and initial parameters."""
        run, offsets = settings.run, settings.data.energy_offsets_per_mesh
        bare, rest = references.without_terms(module, examples, run.dtype)
        params = kept.params if kept is not None else module.init(jax.random.key(run.seed))
        nothing, left = np.zeros(len(module.species)), rest
        if kept is not None:
            # References are what its network leaves: another level of theory moves all energies.
            network = {n: x for n, x in params.items() if n != "domain"}
            left = references.without_model(bare, {**network, "reference": nothing}, rest, run.dtype)
        found = references.fit_references(left, module.species, offsets != "none")
        if kept is not None and not (rest.weights[rest.rows("train"), 0] > 0).any():
            found = dataclasses.replace(found, energies=np.asarray(params["reference"]))
        rest = references.without_references(rest, found, module.species)
        fixed = {"reference": nothing, "scale": np.asarray(found.scale if kept is None else params["scale"])}
        packing = training.pack(rest.sizes, rest.widths(), run.batch_atoms)
        loss = settings.loss
        ramp = loss.energy_start / loss.energy if loss.energy_start else 1.0
        problem = EnergyProblem(
            bare, fixed, rest, packing, found.offsets, found.free, run.dtype, run.seed, ramp, loss.huber
        )
        start = problem.initial(params, offsets == "trained")
        return cls(settings, module, config, examples, found, problem, start, kept)

    @cached_property
    def data_hash(self) -> str:
        """SHA-256 of everything that is learned from."""
        digest, e = hashlib.sha256(), self.examples
        for name in ("positions", "numbers", "forces", "first", "cell", "energy", "stress", "weights"):
            digest.update(np.ascontiguousarray(getattr(e, name)).tobytes())
        digest.update(" ".join([*e.split, *e.mesh]).encode())
        return digest.hexdigest()

    def potential(self, params: Any, with_domain: bool = False) -> Potential:
        """The whole potential from trained parameters."""
        whole = {**params["model"], "reference": self.references.energies, "scale": self.problem.fixed["scale"]}
        if with_domain:
            whole |= domain(self.problem, params["model"])
        # Reference energies are large: they keep double precision in the file, whatever the network was trained in.
        return Potential(jax.tree.map(np.asarray, whole), self.module)

    def errors(self, params: Any, predict: Compiled) -> Prediction:
        """Predictions less labels of all configurations."""
        plans = [plan for split in evaluation.SPLITS for plan in self.problem.plans(split)]
        outputs = [predict(params, self.problem.arrays, plan) for plan in plans]
        return self.problem.errors(self.problem.collect(plans, jax.device_get(outputs)))

    def offsets(self, params: Any) -> dict[str, float]:
        """Offsets of the meshes, eV an atom."""
        return dict(zip(self.references.meshes, self.problem.found_offsets(params).tolist(), strict=True))

    def card(
        self,
        params: Any,
        best: Row,
        command: str,
        rows: list[evaluation.ErrorRow] | None = None,
        fit: Fit | None = None,
    ) -> dict[str, Any]:
        """What a user of the model must know: data, errors, domain, provenance."""
        e, data = self.examples, self.settings.data
        counts = {split: int((e.split == split).sum()) for split in evaluation.SPLITS}
        principal = np.linalg.eigvalsh(e.strain[e.split == "train"])
        sets = ", ".join(sorted(set(e.source)))
        other = f", less {data.relative_to}, on {Path(self.settings.run.start).name}" if data.relative_to else ""
        card: dict[str, Any] = {
            "citation": f"trained by jaxepi on {sets} at level {data.level} ({e.theory.get('code')}){other}",
            "level": {data.level: dict(e.theory)},
            "configurations": counts,
            "sets": sorted(set(e.source)),
            "kinds": sorted(set(e.kind)),
            "atoms": sorted({int(n) for n in e.sizes}),
            "temperatures_kelvin": fitting.kelvin_range(e.temperature[e.split == "train"]),
            "principal_strains": [float(principal.min(initial=0.0)), float(principal.max(initial=0.0))],
            "minimum_distance_angstrom": self.module.minimum_distance,
            "energy_offsets_ev_per_atom": self.offsets(params),
            "best_epoch": _numbers(best),
            "provenance": results.provenance(
                fitting.recorded(self.settings, self.config),
                {} if self.kept is None else {"start": self.kept},
                command,
                data_hash=self.data_hash,
            ),
        }
        if rows is not None:
            card["errors"] = {r.split: _numbers(dataclasses.asdict(r)) for r in rows if r.group == "all"}
        return card if fit is None else {**card, "ended": fit.reason, "epochs": len(fit.history)}


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a row, in JSON types."""
    numbers = {n: v for n, v in row.items() if not isinstance(v, str)}
    return {n: None if np.isnan(v) else v for n, v in numbers.items()}


def _checkpoint(settings: TrainingSettings) -> tuple[Potential | None, dict[str, Any]]:
    """The potential to begin from, if any, and the configuration of the model.

    Raises:
        InputError: the checkpoint is refused, or is of another configuration than [model] asks for.
    """
    asked, path = dict(settings.model), settings.run.start
    if not path:
        return None, asked
    kept = learned.read(path)[0]
    config = dict(read_checkpoint(path).config["model"])
    fitting.refuse_other_model(path, config, asked)
    return kept, config


def _described(kept: Potential | None, settings: TrainingSettings) -> Potential:
    """The potential of the level that the labels are relative to.

    Raises:
        InputError: there is none, or its card says another level.
    """
    other = settings.data.relative_to
    if kept is None:
        raise InputError(f"[data] relative_to = {other!r} needs a potential of that level; give [run] start")
    levels = read_checkpoint(settings.run.start).card.get("level", {})
    if levels and other not in levels:
        raise InputError(
            f"{settings.run.start} is of level {', '.join(levels)}, and [data] relative_to is {other!r}; give one of both"
        )
    return kept


def _species(examples: Examples) -> tuple[int, ...]:
    """Elements of the training configurations."""
    return tuple(int(z) for z in np.unique(examples.numbers[np.repeat(examples.split == "train", examples.sizes)]))


def refuse_other_species(examples: Examples, species: tuple[int, ...]) -> None:
    """Refuse configurations with an element that the model does not have.

    Raises:
        InputError: names the element, the set and the split.
    """
    for z in examples.species:
        if z not in species:
            atom = int(np.flatnonzero(examples.numbers == z)[0])
            c = int(np.searchsorted(examples.first, atom, side="right")) - 1
            raise InputError(
                f"a {examples.split[c]} configuration of {examples.source[c]!r} holds {chemical_symbols[z]}, and the model "
                f"knows {', '.join(chemical_symbols[s] for s in species)}; add training data, or leave it out"
            )


def _neighbours(examples: Examples, relations: int) -> list[float]:
    """Mean number of neighbours of a training atom, by relation of the network."""
    mine = np.repeat(examples.split == "train", examples.sizes)
    return [round(max(float(t.mask[mine].sum(axis=1).mean()), 1.0), 3) for t in examples.tables[:relations]]


def _shortest(examples: Examples) -> float:
    """Shortest distance of two atoms in the training set, angstrom."""
    shortest = np.inf
    configuration = np.repeat(np.arange(len(examples)), examples.sizes)
    start = examples.first[configuration]
    mine = examples.split[configuration] == "train"
    for receivers, shifts, mask in examples.tables:
        there = examples.positions[receivers + start[:, None]] + np.einsum(
            "ims,isb->imb", shifts.astype(float), examples.cell[configuration]
        )
        length = np.linalg.norm(there - examples.positions[:, None], axis=2)
        shortest = min(shortest, float(np.min(length, where=mask & mine[:, None], initial=np.inf)))
    return 0.0 if np.isinf(shortest) else round(shortest, 4)


def _comparable(examples: Examples, settings: TrainingSettings) -> Examples:
    """Without the energies of meshes whose offset nothing in the training set fixes."""
    if settings.data.energy_offsets_per_mesh == "none":
        return examples
    unseen = references.unseen_meshes(examples)
    if unseen.any():
        names = ", ".join(sorted(set(examples.mesh[unseen])))
        warnings.warn(f"energies on {names} are left out: no training configuration fixes their offset", stacklevel=2)
    weights = examples.weights.copy()
    weights[unseen, 0] = 0.0
    return dataclasses.replace(examples, weights=weights)
