"""What the training studies share: settings, the folder of a run, what it may go on from, and what is said at its end."""

import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxepi import plotting, results, training
from jaxepi.errors import InputError
from jaxepi.files import Output, claim
from jaxepi.potentials.settings import MaceSettings
from jaxepi.settings import Settings
from jaxepi.training import LossSettings, TrainingSettings
from jaxepi.training.core.loop import Compiled, Fit, Problem, Row
from jaxepi.training.settings import AnyLoss
from jaxepi.workflows.study import alone

STATE, METRICS, ERRORS, PARITY, CURVE = "state.npz", "metrics.csv", "errors.csv", "parity.png", "learning-curve.png"


def configured(
    path: str | os.PathLike,
    run: Mapping[str, Any] | None = None,
    loss: type[AnyLoss] = LossSettings,
    model: type[Settings] = MaceSettings,
) -> TrainingSettings:
    """Settings of a TOML file, with some of its `[run]` replaced.

    Args:
        loss, model: what [loss] and [model] are read into.

    Raises:
        InputError: as `training.read_settings`, or a value that is refused.
    """
    settings = training.read_settings(Path(path), loss, model)
    if settings.run.presolve and loss is LossSettings:
        raise InputError(f"{path}: [run] presolve is of Hamiltonians; leave it out of the configuration of a potential")
    return dataclasses.replace(settings, run=dataclasses.replace(settings.run, **(run or {})))


def claimed(output: str | os.PathLike, model: str, resume: bool) -> Path:
    """The folder of a run, which need not be there yet; tried before the work.

    Raises:
        InputError: it cannot be made, or holds files that no training left there.
    """
    folder = Path(output)
    if not folder.is_dir():
        claim([Output("--output", folder)])
        return folder
    # A state is that of a training, or refused when it is read.
    own = (folder / STATE).exists()
    claim([Output("--output", path, own=own) for path in files(folder, model)], overwrite=not resume)
    return folder


@contextmanager
def opened(folder: Path, model: str, resume: bool) -> Iterator[None]:
    """Make the folder and work in it alone; without `resume`, forget what an earlier run left there.

    Raises:
        InputError: another run is at it.
    """
    with alone(folder, folder, f"the state is kept in {folder}", resume):
        if not resume:
            for path in files(folder, model):
                path.unlink(missing_ok=True)
        yield


def refuse_precision(dtype: str) -> None:
    """Refuse double precision where JAX is set to single.

    Raises:
        InputError: names the remedy.
    """
    if dtype == "float64" and not jax.config.read("jax_enable_x64"):
        raise InputError("dtype float64: JAX is set to single precision; set jax_enable_x64 first, or ask for float32")


def refuse_other_model(path: str, held: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Refuse a checkpoint to begin from that is of another configuration than [model] asks for.

    Raises:
        InputError: names the option.
    """
    for name, value in asked.items():
        if held.get(name) != value:
            raise InputError(
                f"{path} has {name} = {_named(held.get(name))!r} and [model] asks for {_named(value)!r}; leave it out, or "
                "start from another checkpoint"
            )


def _named(value: Any) -> Any:
    """A published set by its name, anything else as it is."""
    return value.get("name") if isinstance(value, Mapping) else value


def fingerprint(settings: TrainingSettings, config: Mapping[str, Any], data_hash: str, start: Any) -> dict[str, Any]:
    """What a run must share to go on from a state: all but how long it may take and where the files are.

    The number of epochs decides the learning rates of a cosine schedule and weights of a loss that grows, and nothing else.

    Args:
        start: the model of the checkpoint to begin from, or None: the initial parameters then follow from the seed.
    """
    own = settings.asdict()
    free = ["max_minutes", "save_minutes"]
    free += ["epochs"] if settings.optimizer.schedule == "plateau" and not settings.loss.grows else []
    own["run"]["start"] = "" if start is None else results.fingerprint(start)
    own["run"] = {n: v for n, v in own["run"].items() if n not in free}
    own["data"] = {n: v for n, v in own["data"].items() if n != "sets"}
    return finite({**own, "model": dict(config), "data_hash": data_hash})


def recorded(settings: TrainingSettings, config: Mapping[str, Any]) -> dict[str, Any]:
    """All settings for a card: names of files in the place of paths, no infinite numbers."""
    own = settings.asdict()
    own["data"]["sets"] = [{**s, "path": Path(s["path"]).name} for s in own["data"]["sets"]]
    own["run"]["start"] = Path(own["run"]["start"]).name
    return finite({**own, "model": {name: _named(value) for name, value in config.items()}})


def finite(value: Any) -> Any:
    """The same nested value with numbers that JSON lacks as words."""
    if isinstance(value, Mapping):
        return {name: finite(v) for name, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def kelvin_range(temperatures: np.ndarray) -> list[float]:
    """Lowest and highest temperature of some configurations; empty where none has one."""
    known = temperatures[np.isfinite(temperatures)]
    return [float(known.min()), float(known.max())] if known.size else []


def fit(
    problem: Problem,
    start: Any,
    settings: TrainingSettings,
    folder: Path,
    own: Mapping[str, Any],
    write_best: Callable[[Any, Row], None],
    progress: bool,
) -> tuple[Fit, Compiled]:
    """Train, or go on from what the folder holds: the fit, and the compiled predictions for the tests after it.

    Args:
        start: parameters. own: of `fingerprint`. write_best, progress: see `training.fit`.
    """
    predict = training.predictor(problem)
    found = training.fit(
        problem,
        start,
        settings.optimizer,
        settings.run,
        state=folder / STATE,
        metrics=folder / METRICS,
        fingerprint=own,
        predict=predict,
        on_best=write_best,
        progress=progress,
    )
    return found, predict


def draw(folder: Path, pairs: Mapping[str, Any], history: tuple[Row, ...]) -> None:
    """The figures of a run."""
    plotting.save(plotting.parity(pairs, folder.name), folder / PARITY)
    plotting.save(plotting.learning_curve(history, folder.name), folder / CURVE)


def files(folder: Path, model: str) -> tuple[Path, ...]:
    """Everything that a run leaves."""
    return tuple(folder / name for name in (model, METRICS, ERRORS, STATE, PARITY, CURVE))


def ending(fit: Fit, written: tuple[Path, ...]) -> Iterator[str]:
    """How training went, and what was written."""
    yield ""
    yield (
        f"Training ended after {len(fit.history)} epochs and {fit.seconds / 60:.1f} minutes because {fit.reason}; the "
        f"lowest validation loss was that of epoch {fit.best['epoch']:g}. Compilations: {fit.compilations}."
    )
    yield f"Written: {', '.join(str(path) for path in written)}"
