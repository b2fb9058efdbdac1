"""Several processes make one study: the same numbers, one of them writes, and one that dies is named by the others."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from jaxepi.workflows.study import Study

pytestmark = pytest.mark.slow

PROGRAM = """
import os, signal, sys, time
import numpy as np
from jaxepi import machines
from jaxepi.errors import InputError
from jaxepi.results import Quantity
from jaxepi.workflows.study import Study

port, process, path, dies = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]
machines.connect(f"127.0.0.1:{port}", 2, process, patience=4.0)
size = 2 - process  # as with fewer devices

def compute(item):
    if dies and process == int(dies[0]) and item > 2:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05)
    return {"square": Quantity(np.asarray(item**2 + 0.1), "1")}

def lot_of(lot):
    assert len(lot) <= size
    return [compute(item) for item in lot]

items = {f"item-{i}": i for i in range(9)}
try:
    with Study.open(path, {"settings": {"count": 9}}, unit="number", total=9) as study:
        if not study.complete:
            offset = float(study.keep("offset", lambda: compute(2))["square"].value)
            assert offset == 4.1
            parts = study.map_lots(items, lambda lot: lot_of(lot), size)
            study.finish({"values": Quantity(np.array([part["square"].value for part in parts]), "1")})
        print(study.contents()["values"].value.sum())
except InputError as error:
    sys.exit(str(error))
"""


LARGE = """
import sys
from jaxepi import machines

machines.connect(f"127.0.0.1:{sys.argv[1]}", 2, int(sys.argv[2]), patience=20.0)
peers, size = machines.peers(), 250 << 20
if peers.writes:
    peers.tell("large", bytes(size))
    assert peers.wait("back", "none") == b"all"
else:
    held = peers.wait("large", "none", keep=False)
    assert len(held) == size and peers._tried("large/there") is None
    peers.tell("back", b"all")
"""


def together(program, *arguments):
    """Exit status and what was printed by two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    each = [
        subprocess.Popen([sys.executable, "-c", program, str(port), str(i), *arguments], **pipes)  # type: ignore[call-overload]
        for i in range(2)
    ]
    try:
        said = [one.communicate(timeout=120) for one in each]
    finally:
        for one in each:
            one.kill()
    return [(one.returncode, *texts) for one, texts in zip(each, said, strict=True)]


def test_two_processes_make_one_result_and_one_that_dies_is_named(tmp_path):
    path = tmp_path / "result.h5"
    writer, helper = together(PROGRAM, str(path), "1")
    assert helper[0] == -9
    assert writer[0] == 1, writer
    assert f"process 1 on {socket.gethostname()} has died (no sign of life for 4 s)" in writer[2]
    kept = {file.stem for file in Path(f"{path}.parts").glob("item-*.h5")}
    assert {"item-0", "item-4", "item-8"} <= kept
    assert "item-3" not in kept
    writer, helper = together(PROGRAM, str(path))
    assert writer[:2] == (0, f"{sum(i**2 + 0.1 for i in range(9))}\n"), writer
    assert helper[:2] == (0, ""), helper
    assert f"sends what it computes to process 0 on {socket.gethostname()}" in helper[2]
    assert [file.name for file in tmp_path.iterdir()] == ["result.h5"]
    with Study.open(path, {"settings": {"count": 9}}) as study:
        assert study.contents()["values"].value[8] == 64.1


def test_messages_that_take_longer_than_a_wait_arrive():
    assert [one[0] for one in together(LARGE)] == [0, 0]
