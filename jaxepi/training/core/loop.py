"""The training loop: one for all models. It knows batches, losses and parameters, and nothing of what they describe.

Flows in: a `Problem` and initial parameters. Flows out: the parameters (moving average) with the lowest validation loss,
and the history. Everything a step needs stays on the device; the order of batches follows from the seed and the epoch, so
a run that was killed goes on exactly where its state was kept, in the middle of an epoch if need be.
"""

import dataclasses
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from jaxepi import signals
from jaxepi.errors import InputError
from jaxepi.progress import progress_bar
from jaxepi.training.core import state as states
from jaxepi.training.core.metrics import write_metrics
from jaxepi.training.core.schedule import Schedule
from jaxepi.training.core.soap import scale_by_soap
from jaxepi.training.settings import OptimizerSettings, RunSettings

Row = Mapping[str, float | int]
"""Measures by name."""

SECONDS = 5.0
"""The state is kept at the end of an epoch when the last time is longer ago."""

AHEAD = 2
"""Steps that may wait on the device while the host prepares more."""


@runtime_checkable
class Problem(Protocol):
    """What is learned: batches, a loss and the measures of success.

    A plan is a small pytree of host arrays that names the members of a batch; loss and outputs gather them from `arrays`,
    which lie on the device, inside jit. Plans of equal shapes are compiled once. A scalar "progress" among the arrays is
    set to the part of all epochs that has passed.
    """

    @property
    def arrays(self) -> Any: ...

    def plans(self, split: str, epoch: int | None = None) -> Sequence[Any]:
        """Batches of a split; shuffled by the epoch, in fixed order without one."""
        ...

    def loss(self, params: Any, arrays: Any, plan: Any) -> tuple[jax.Array, Mapping[str, jax.Array]]:
        """Loss of a batch (the loss of an epoch is the mean over its batches), and sums to be added up."""
        ...

    def outputs(self, params: Any, arrays: Any, plan: Any) -> Any:
        """Predictions for a batch."""
        ...

    def summary(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Measures of a training epoch from its sums."""
        ...

    def scores(self, split: str, plans: Sequence[Any], outputs: Sequence[Any]) -> dict[str, float]:
        """Measures of a split from its predictions; "loss" decides which parameters are best."""
        ...


class Compiled:
    """A jitted function that counts how often it was traced, which is how often it was compiled."""

    def __init__(self, function: Callable, donate: tuple[int, ...] = ()):
        def counted(*arguments):
            self.count += 1
            return function(*arguments)

        self.count = 0
        self._call = jax.jit(counted, donate_argnums=donate)

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)


def predictor(problem: Problem) -> Compiled:
    """The compiled `outputs` of a problem, to be shared by validation and the tests after it."""
    return Compiled(problem.outputs)


@dataclasses.dataclass(frozen=True)
class Fit:
    """What a training run found.

    Attributes:
        params: moving average at the lowest validation loss. best: its epoch and measures. history: one row an epoch.
        reason: why it ended. compilations: of steps and predictions. seconds: of all calls together.
    """

    params: Any
    best: Row
    history: tuple[Row, ...]
    reason: str
    compilations: int
    seconds: float


def fit(
    problem: Problem,
    params: Any,
    optimizer: OptimizerSettings,
    run: RunSettings,
    *,
    state: Path | None = None,
    metrics: Path | None = None,
    fingerprint: Mapping[str, Any] | None = None,
    predict: Compiled | None = None,
    on_best: Callable[[Any, Row], None] | None = None,
    progress: bool = True,
) -> Fit:
    """Train, or go on where `state` says.

    Args:
        params: pytree of floating-point arrays, all of them trained.
        state: file that keeps the run; none keeps nothing. metrics: CSV, a row an epoch.
        fingerprint: what must not differ when a run goes on (settings, data; JSON types).
        on_best: called with parameters and measures of the lowest validation loss so far, whenever the state is kept.

    Raises:
        InputError: an empty split, a state of other settings, or a loss that is not finite. signals.Interrupted: on
            SIGINT and SIGTERM, once the state is kept.
    """
    loop = _Loop(problem, params, optimizer, run, state, fingerprint or {}, predict or predictor(problem), on_best)
    with signals.postponed(), progress_bar(total=run.epochs, unit="epoch", shown=progress, bar_format=_BAR) as bar:
        bar.set_description("compiling")
        if state is not None and not state.exists():
            loop.keep()  # from here on the folder is known to be this run's
        while not (reason := loop.schedule.over(loop.epoch)):
            reason = loop.train(bar)
            if reason:
                break
            loop.validate(metrics, bar)
        if signals.pending():
            loop.keep()
            signals.check()
    loop.keep()
    if metrics is not None:
        write_metrics(metrics, loop.history)
    if loop.best is None:
        raise InputError(f"{reason} before the first epoch was validated; allow more max_minutes")
    return Fit(loop.best_params, loop.best, tuple(loop.history), reason, loop.compilations, loop.seconds)


_BAR = "{desc} {percentage:3.0f}%|{bar}| {n:.2f}/{total} [{elapsed}<{remaining}{postfix}]"


class _Loop:
    """The state of a run, on the device (`device`: parameters, optimizer, average) and on the host."""

    def __init__(self, problem, params, optimizer, run, path, fingerprint, predict, on_best):
        self.problem, self.run, self.path, self.fingerprint = problem, run, path, fingerprint
        self.transform, self.average = transformation(optimizer), optimizer.average
        self.schedule = Schedule(optimizer, run.epochs)
        self.predict, self.arrays = predict, problem.arrays
        self.validation = problem.plans("validation")
        first = problem.plans("train", 0)
        for name, plans in (("training", first), ("validation", self.validation)):
            if not plans:
                raise InputError(f"the {name} set is empty; give data sets that hold some of it")
        self.dtype = np.result_type(*(np.asarray(x).dtype for x in jax.tree.leaves(params)))
        self.step = Compiled(self._step, donate=(0, 1))
        shapes = jax.eval_shape(problem.loss, params, self.arrays, first[0])[1]
        self.zero = {**{n: np.zeros(x.shape, x.dtype) for n, x in shapes.items()}, "loss": np.zeros((), self.dtype)}
        params = jax.tree.map(np.array, params)
        held = {"params": params, "optimizer": self.transform.init(params), "average": params}
        self.device: Any = jax.tree.map(np.array, {**held, "steps": np.zeros((), np.int32)})
        self.sums, self.best_params, self.best = self.zero, jax.tree.map(np.zeros_like, params), None
        self.on_best, self.announced = on_best, True
        self.epoch = self.position = 0
        self.seconds, self.history = 0.0, []
        self.started = self.saved = self.mark = time.monotonic()
        if path is not None and path.exists():
            self._restore()

    @property
    def compilations(self) -> int:
        return self.step.count + self.predict.count

    def _step(self, device, sums, arrays, plan, rate):
        """One update; compiled once for every shape of plan."""
        value = jax.value_and_grad(self.problem.loss, has_aux=True)
        (loss, added), gradient = value(device["params"], arrays, plan)
        updates, optimizer = self.transform.update(gradient, device["optimizer"], device["params"])
        params = jax.tree.map(lambda p, u: p - rate.astype(p.dtype) * u, device["params"], updates)
        steps = device["steps"] + 1
        # The average forgets its beginning quickly, then has the decay that was asked for.
        decay = jnp.minimum(self.average, steps.astype(rate.dtype) / (steps.astype(rate.dtype) + 9.0))
        average = jax.tree.map(lambda a, p: p + decay.astype(p.dtype) * (a - p), device["average"], params)
        sums = jax.tree.map(lambda s, x: s + x, sums, {**added, "loss": loss})
        return {"params": params, "optimizer": optimizer, "average": average, "steps": steps}, sums, loss

    def train(self, bar: tqdm) -> str:
        """The rest of an epoch; why it was left early, or nothing."""
        plans = self.problem.plans("train", self.epoch)
        waiting: deque = deque()
        while self.position < len(plans):
            reason = "interrupted" if signals.pending() else "the time is over" if self._late() else ""
            if reason:
                self.keep()
                return reason
            passed = self.epoch + self.position / len(plans)
            rate, arrays = np.asarray(self.schedule.rate(passed), self.dtype), self.arrays
            if isinstance(arrays, Mapping) and "progress" in arrays:
                arrays = {**arrays, "progress": np.asarray(passed / self.run.epochs, self.dtype)}
            self.device, self.sums, token = self.step(self.device, self.sums, arrays, plans[self.position], rate)
            waiting.append(token)
            if len(waiting) > AHEAD:
                waiting.popleft().block_until_ready()
            self.position += 1
            bar.update(round(self.epoch + self.position / len(plans), 2) - bar.n)
            if time.monotonic() - self.saved > 60 * self.run.save_minutes:
                self.keep()
        return ""

    def validate(self, metrics: Path | None, bar: tqdm) -> None:
        """The end of an epoch: measures, the best parameters, the schedule, the state."""
        sums = {n: float(x) for n, x in jax.device_get(self.sums).items()}
        loss = sums.pop("loss") / self.position
        if not np.isfinite(loss):
            raise InputError(
                f"the loss is not finite in epoch {self.epoch + 1}; lower learning_rate or clip, or train in float64"
            )
        rate = self.schedule.rate(self.epoch + 1.0)
        scores = self.scores("validation", self.device["average"])
        self._clock()
        row: dict[str, float | int] = {
            "epoch": self.epoch + 1,
            "learning_rate": rate,
            "seconds": self.seconds,
            "loss": loss,
        }
        row |= self.problem.summary(sums) | {f"validation_{n}": v for n, v in scores.items()}
        self.history.append(row)
        if self.schedule.after(self.epoch, scores["loss"]):
            # A copy: the average itself is given away in the next step.
            self.best, self.best_params = row, jax.tree.map(lambda x: np.array(x, copy=True), self.device["average"])
            self.announced = False
        self.epoch, self.position, self.sums = self.epoch + 1, 0, self.zero
        if metrics is not None:
            write_metrics(metrics, self.history)
        if time.monotonic() - self.saved > SECONDS:
            self.keep()
        shown = {n.removeprefix("validation_"): f"{v:.4g}" for n, v in row.items() if n.startswith("validation_")}
        bar.set_description("training")
        bar.set_postfix(shown)

    def scores(self, split: str, params: Any) -> dict[str, float]:
        """Measures of a split; nothing waits for the device between its batches."""
        plans = self.validation if split == "validation" else self.problem.plans(split)
        outputs = [self.predict(params, self.arrays, plan) for plan in plans]
        return self.problem.scores(split, plans, jax.device_get(outputs))

    def _late(self) -> bool:
        return time.monotonic() - self.started > 60 * self.run.max_minutes

    def _clock(self) -> None:
        now = time.monotonic()
        self.seconds, self.mark = self.seconds + now - self.mark, now

    def keep(self) -> None:
        """Write the state, unless it holds nonsense, and hand out the best parameters if they are new."""
        self._clock()
        if self.on_best is not None and not self.announced:
            self.on_best(self.best_params, self.best)
            self.announced = True
        if self.path is None or not np.isfinite(float(self.sums["loss"])):
            return
        counters: dict[str, Any] = {"epoch": self.epoch, "position": self.position, "seconds": self.seconds}
        counters |= {"best": self.best, "history": self.history, "schedule": self.schedule.memory()}
        arrays = {"device": self.device, "sums": self.sums, "best": self.best_params}
        states.save(self.path, self.fingerprint, counters, jax.device_get(arrays))
        self.saved = time.monotonic()

    def _restore(self) -> None:
        like = {"device": self.device, "sums": self.sums, "best": self.best_params}
        counters, arrays = states.load(self.path, self.fingerprint, like)
        self.device, self.sums, self.best_params = arrays["device"], arrays["sums"], arrays["best"]
        for name in ("epoch", "position", "seconds", "best", "history"):
            setattr(self, name, counters[name])
        for name, value in counters["schedule"].items():
            setattr(self.schedule, name, value)


def transformation(settings: OptimizerSettings) -> optax.GradientTransformation:
    """From gradients to directions (to be multiplied by the learning rate and subtracted): clipping, the algorithm, decay."""
    moments = {"adamw": optax.scale_by_adam, "amsgrad": optax.scale_by_amsgrad, "soap": scale_by_soap}[
        settings.algorithm
    ]
    matrices = partial(jax.tree.map, lambda x: np.ndim(x) > 1)
    decay = optax.add_decayed_weights(settings.weight_decay, matrices)
    chain = optax.chain(optax.clip_by_global_norm(settings.clip), moments(), decay)

    def update(*arguments: Any) -> tuple[Any, Any]:
        with jax.numpy_dtype_promotion("standard"):  # optax raises floats to whole numbers
            return chain.update(*arguments)

    return optax.GradientTransformation(chain.init, update)
