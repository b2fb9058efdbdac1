"""The engine of studies: what is finished is kept whatever ends the run, and one process at a time makes a result."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from jaxepi import results, signals
from jaxepi.errors import InputError
from jaxepi.results import Quantity
from jaxepi.workflows.study import Study

ORIGIN = {"settings": {"count": 6}}
ITEMS = {f"item-{i}": i for i in range(6)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "result.h5"


def square(item):
    return {"square": Quantity(np.asarray(item**2), "1")}


def run(path, compute=square, **options):
    """A whole study; its values, or those of an earlier one."""
    workers = options.pop("workers", 1)
    with Study.open(path, ORIGIN, unit="number", total=len(ITEMS), **options) as study:
        if not study.complete:
            offset = study.keep("offset", lambda: square(10))["square"].value
            parts = study.map(ITEMS, compute, workers)
            study.finish({"values": Quantity(np.array([part["square"].value + offset for part in parts]), "1")})
            if path is None:
                return [int(part["square"].value + offset) for part in parts]
        return study.contents()["values"].value.tolist()


WHOLE = [100, 101, 104, 109, 116, 125]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_study_is_computed_once(path, workers):
    calls = []

    def compute(item):
        calls.append(item)
        return square(item)

    assert run(path, compute, workers=workers) == WHOLE
    assert run(path, compute, workers=workers) == WHOLE
    assert sorted(calls) == list(range(6))
    assert [file.name for file in path.parent.iterdir()] == ["result.h5"]
    assert run(None) == WHOLE
    assert run(path, compute, resume=False) == WHOLE
    assert len(calls) == 12


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_is_raised_and_what_is_finished_is_kept(path, workers):
    calls = []

    def failing(item):
        calls.append(item)
        if item == 3 and calls.count(3) == 1:
            raise ZeroDivisionError(item)
        return square(item)

    with pytest.raises(ZeroDivisionError):
        run(path, failing, workers=workers)
    kept = {file.stem for file in path.with_name("result.h5.parts").glob("item-*.h5")}
    assert {"item-0", "item-1", "item-2"} <= kept
    assert "item-3" not in kept
    assert run(path, failing, workers=workers) == WHOLE
    assert len(calls) == 7


def test_a_signal_lets_the_item_finish_and_starts_no_other(path):
    calls = []

    def pressed(item):
        calls.append(item)
        if item == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return square(item)

    with pytest.raises(
        signals.Interrupted, match=r"terminated; finished numbers are kept in .*parts, and the same command"
    ):
        run(path, pressed)
    assert calls == [0, 1, 2]
    assert not (path.with_name("result.h5.parts") / "lock").exists()
    assert run(path, square) == WHOLE


def test_a_plain_interrupt_says_what_is_kept_too(path):
    def pressed(item):
        raise KeyboardInterrupt

    with pytest.raises(
        signals.Interrupted, match=r"interrupted; finished numbers .*from there \(without --overwrite\)"
    ):
        run(path, pressed, resume=False)
    assert run(path) == WHOLE


def test_other_settings_are_refused(path):
    run(path)
    with (
        pytest.raises(InputError, match="count was 6 and is now 7"),
        Study.open(path, {"settings": {"count": 7}}),
    ):
        pass


SLOW = f"""
import sys, time
sys.path.insert(0, {os.path.dirname(__file__)!r})
from pathlib import Path
import test_study_engine
def slow(item):
    print(item, flush=True)
    time.sleep(0 if item < 2 else 60)
    return test_study_engine.square(item)
from jaxepi import signals
signals.listen()
test_study_engine.run(Path(sys.argv[1]), slow)
"""


def test_a_killed_run_holds_its_result_while_it_lives_and_leaves_what_is_finished(path):
    other = subprocess.Popen([sys.executable, "-c", SLOW, path], stdout=subprocess.PIPE, text=True)
    assert [other.stdout.readline() for _ in range(3)] == ["0\n", "1\n", "2\n"]
    with pytest.raises(InputError, match=rf"result.h5 is being made by another run \(process {other.pid} on"):
        run(path)
    with pytest.raises(InputError, match="is being made by another run"):
        run(path, resume=False)
    other.kill()
    other.wait()
    calls = []

    def compute(item):
        calls.append(item)
        return square(item)

    assert run(path, compute) == WHOLE
    assert calls == [2, 3, 4, 5]
    assert [file.name for file in path.parent.iterdir()] == ["result.h5"]


def test_items_side_by_side_are_in_order_and_the_first_is_alone(path):
    running, most = [], []
    lock = threading.Lock()

    def compute(item):
        with lock:
            running.append(item)
            most.append((item, list(running)))
        time.sleep(0.02 * (6 - item))
        with lock:
            running.remove(item)
        return square(item)

    assert run(path, compute, workers=3) == WHOLE
    assert most[0] == (0, [0])
    assert max(len(together) for _, together in most) == 3


def test_results_are_ordinary_files_of_the_store(path):
    run(path)
    assert results.read_provenance(path)["settings"] == {"count": 6}
