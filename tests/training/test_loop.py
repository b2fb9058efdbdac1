"""The loop by itself: it learns, stops, and goes on after a kill as if nothing had happened."""

import json
import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.errors import InputError
from jaxepi.signals import Interrupted
from jaxepi.training import OptimizerSettings, RunSettings, fit
from jaxepi.training.core.loop import Compiled, transformation
from jaxepi.training.core.schedule import Schedule
from jaxepi.training.settings import OptimizerSettings as Optimizer


class Line:
    """A straight line through points: the smallest problem there is. Plans are indices of points."""

    def __init__(self, batches=5, slope=2.0, noise=0.0, seed=0, dtype="float64"):
        random = np.random.default_rng(0)
        x = random.normal(size=40)
        self.arrays = {
            "x": jnp.asarray(x, dtype),
            "y": jnp.asarray(slope * x + 1 + noise * random.normal(size=40), dtype),
        }
        self.batches, self.seed, self.at = batches, seed, None

    def plans(self, split, epoch=None):
        if split == "validation":
            return [np.arange(30, 40)]
        order = np.random.default_rng((self.seed, epoch)).permutation(30)
        return self._watched(np.split(order, self.batches), epoch) if self.at else np.split(order, self.batches)

    def _watched(self, plans, epoch):
        """Interrupts where `at` (epoch, batch) says."""
        problem = self

        class Plans(list):
            def __getitem__(self, i):
                if (epoch, i) == problem.at:
                    os.kill(os.getpid(), signal.SIGINT)
                return list.__getitem__(self, i)

        return Plans(plans)

    def loss(self, params, arrays, plan):
        error = params["a"] * arrays["x"][plan] + params["b"] - arrays["y"][plan]
        return jnp.mean(error**2), {"squares": jnp.sum(error**2)}

    def outputs(self, params, arrays, plan):
        return self.loss(params, arrays, plan)[0]

    def summary(self, sums):
        return {"rmse": float(np.sqrt(sums["squares"] / 30))}

    def scores(self, split, plans, outputs):
        return {"loss": float(np.mean(outputs))}


START = {"a": np.zeros(()), "b": np.zeros(())}
QUICK = {"learning_rate": 0.05, "stop": 1000}


def run(problem, epochs=12, optimizer=None, params=START, **more):
    settings = RunSettings(epochs=epochs, dtype="float64", **more.pop("settings", {}))
    return fit(problem, params, optimizer or OptimizerSettings(**QUICK), settings, progress=False, **more)


def curve(found):
    return [{n: v for n, v in row.items() if n != "seconds"} for row in found.history]


@pytest.mark.parametrize("algorithm", ["adamw", "amsgrad", "soap"])
@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
def test_it_finds_the_line(algorithm, schedule):
    optimizer = Optimizer(algorithm=algorithm, schedule=schedule, **{**QUICK, "learning_rate": 0.2, "stop": 40})
    found = run(Line(), 150, optimizer)
    np.testing.assert_allclose([found.params["a"], found.params["b"]], [2.0, 1.0], atol=2e-3)
    assert found.best["validation_loss"] == min(row["validation_loss"] for row in found.history)


@pytest.mark.parametrize("algorithm", ["amsgrad", "soap"])
@pytest.mark.parametrize("schedule", ["plateau", "cosine"])
@pytest.mark.parametrize("at", [(3, 0), (4, 2)])
def test_an_interrupted_run_goes_on_to_the_same_curve(tmp_path, at, schedule, algorithm):
    optimizer = Optimizer(**{**QUICK, "patience": 1, "schedule": schedule, "warmup": 2.5, "algorithm": algorithm})
    whole = run(Line(noise=0.3), 9, optimizer)
    problem, files = Line(noise=0.3), {"state": tmp_path / "state.npz", "metrics": tmp_path / "metrics.csv"}
    problem.at = at
    with pytest.raises(Interrupted):
        run(problem, 9, optimizer, **files)
    problem.at = None
    kept = json.loads(str(np.load(tmp_path / "state.npz")["header.json"]))["counters"]
    assert (kept["epoch"], kept["position"]) == (at[0], at[1] + 1)
    rest = run(problem, 9, optimizer, **files)
    assert curve(rest) == curve(whole)
    assert all((np.asarray(rest.params[n]) == np.asarray(whole.params[n])).all() for n in START)
    assert len((tmp_path / "metrics.csv").read_text().splitlines()) == 10


def test_a_killed_process_goes_on_to_the_same_curve(tmp_path):
    code = f"""
import os, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
import jax; jax.config.update("jax_enable_x64", True)
from test_loop import Line, run
from jaxepi.training.core import loop
from pathlib import Path
loop.SECONDS = -1.0
class Doomed(Line):
    def plans(self, split, epoch=None):
        if epoch == 5:
            os.kill(os.getpid(), 9)
        return super().plans(split, epoch)
run(Doomed(), state=Path({str(tmp_path / "state.npz")!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert list(tmp_path.iterdir()) == [tmp_path / "state.npz"]
    assert curve(run(Line(), state=tmp_path / "state.npz")) == curve(run(Line()))


def test_a_time_limit_stops_and_the_next_call_goes_on(tmp_path):
    state = tmp_path / "state.npz"
    with pytest.raises(InputError, match="the time is over before the first epoch was validated"):
        run(Line(), state=state, settings={"max_minutes": 0.0})
    found = run(Line(), state=state)
    assert found.reason == "all 12 epochs are done"
    more = run(Line(), epochs=15, state=state)
    assert curve(more) == curve(run(Line(), epochs=15))


def test_nothing_is_compiled_after_the_first_epoch(tmp_path):
    events, seen = [], []

    def note(name, seconds, **_):
        if "compile" in name:
            events.append(name)

    class Watched(Line):
        def scores(self, split, plans, outputs):
            seen.append(len(events))
            return super().scores(split, plans, outputs)

    jax.monitoring.register_event_duration_secs_listener(note)
    try:
        found = run(Watched(), 6, state=tmp_path / "state.npz")
    finally:
        jax.monitoring.unregister_event_duration_listener(note)
    assert found.compilations == 2
    assert seen[0] > 0
    assert len(set(seen)) == 1


def test_compilations_are_counted_by_shape():
    double = Compiled(lambda x: 2 * x)
    for n in (3, 4, 3, 4, 3):
        double(jnp.ones(n))
    assert double.count == 2


def test_validation_uses_the_moving_average():
    found = []

    class Watched(Line):
        def scores(self, split, plans, outputs):
            found.append(float(np.mean(outputs)))
            return super().scores(split, plans, outputs)

    # One batch an epoch and 9 steps: decays t/(t + 9) up to 0.5, so the average lags behind and is better than nothing.
    run(Watched(batches=1), 9, Optimizer(**{**QUICK, "average": 0.9}))
    slow = list(found)
    found.clear()
    run(Watched(batches=1), 9, Optimizer(**{**QUICK, "average": 0.0}))
    assert all(a > b for a, b in zip(slow[1:], found[1:], strict=True))


def test_it_stops_when_nothing_improves_and_keeps_the_best():
    found = run(Line(noise=1.0), 500, Optimizer(learning_rate=0.3, stop=8, patience=50))
    assert "has not improved for 8 epochs" in found.reason
    assert len(found.history) == found.best["epoch"] + 8


def test_the_plateau_lowers_the_rate_and_then_stops():
    schedule = Schedule(Optimizer(learning_rate=1.0, factor=0.5, patience=2, final=0.2, stop=100, warmup=2.0), 100)
    assert schedule.rate(0.0) == pytest.approx(0.005)
    assert schedule.rate(1.0) == pytest.approx(0.505)
    losses = [5.0, 4.0, *[4.0] * 6]
    rates = []
    for epoch, loss in enumerate(losses):
        assert schedule.after(epoch, loss) == (epoch < 2)
        rates.append(schedule.rate(epoch + 10))
    assert rates == [1.0, 1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125]
    assert "fell below 0.2 of its peak" in schedule.over(8)


def test_the_cosine_goes_from_the_peak_to_its_end():
    schedule = Schedule(Optimizer(learning_rate=1.0, schedule="cosine", final=0.1), 10)
    np.testing.assert_allclose([schedule.rate(x) for x in (0, 5, 10)], [1.0, 0.55, 0.1])


def test_gradients_are_clipped_and_only_matrices_decay():
    transform = transformation(Optimizer(algorithm="adamw", weight_decay=0.1, clip=1.0))
    params = {"matrix": jnp.ones((2, 2)), "vector": jnp.ones(2)}
    updates, _ = transform.update(jax.tree.map(jnp.zeros_like, params), transform.init(params), params)
    np.testing.assert_allclose(updates["matrix"], 0.1)
    np.testing.assert_allclose(updates["vector"], 0.0)


def test_a_loss_that_is_not_finite_is_refused_and_the_state_before_it_kept(tmp_path):
    class Bad(Line):
        def loss(self, params, arrays, plan):
            loss, sums = super().loss(params, arrays, plan)
            return loss / jnp.where(jnp.abs(params["a"]) > 0.5, 0.0, 1.0), sums

    with pytest.raises(InputError, match=r"the loss is not finite in epoch \d+; lower learning_rate"):
        run(Bad(), 40, state=tmp_path / "state.npz", settings={"save_minutes": 0.0})
    held = np.load(tmp_path / "state.npz")
    assert all(np.isfinite(held[n]).all() for n in held.files if n != "header.json")


def test_states_that_do_not_belong_are_refused(tmp_path):
    state = tmp_path / "state.npz"
    run(Line(), 2, state=state, fingerprint={"loss": {"energy": 1.0}})
    with pytest.raises(InputError, match=r"loss.energy was 1.0 and is now 2.0; give another --output, or start over"):
        run(Line(), 3, state=state, fingerprint={"loss": {"energy": 2.0}})
    with pytest.raises(InputError, match=r"'a'.*has shape \(\); its header says \(1,\)"):
        run(Line(), 3, params={"a": np.zeros(1), "b": np.zeros(())}, state=state, fingerprint={"loss": {"energy": 1.0}})
    state.write_bytes(state.read_bytes()[:300])
    with pytest.raises(InputError, match="is no state of a training run"):
        run(Line(), 3, state=state)


def test_an_empty_split_is_refused():
    class Empty(Line):
        def plans(self, split, epoch=None):
            return [] if split == "validation" else super().plans(split, epoch)

    with pytest.raises(InputError, match="the validation set is empty"):
        run(Empty())
