"""Files: whole or not at all, one process at a time, nobody else's replaced."""

import os
import subprocess
import sys

import pytest

from jaxepi import files
from jaxepi.errors import InputError
from jaxepi.files import Output, claim, locked, mark, whole


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_failed_write_leaves_what_was_there(folder):
    (folder / "a").write_text("old")

    def fail():
        with whole(folder / "a") as path:
            path.write_text("new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (folder / "a").read_text() == "old"
    assert [file.name for file in folder.iterdir()] == ["a"]


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
import numpy as np
from jaxepi import archive, results
from jaxepi.results import Quantity
big = np.random.default_rng(0).normal(size=100000)
for write in (lambda: results.write("a.h5", {"x": Quantity(big, "eV")}, {}), lambda: archive.write("a.npz", {}, {"x": big})):
    try:
        write()
    except OSError as error:
        print(error.filename, error.strerror)
"""


def test_a_full_disk_is_named_whoever_meets_it(folder):
    done = subprocess.run([sys.executable, "-c", FULL], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["a.h5 File too large", "a.npz File too large"]
    assert done.stderr == ""
    assert not list(folder.iterdir())


HOLD = """
import sys, time
from pathlib import Path
from jaxepi.files import locked
with locked(Path("x.parts"), Path("x")):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_at_a_time(folder):
    other = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    refused = pytest.raises(InputError, match=rf"x is being made by another run \(process {other.pid} on ")
    with refused, locked(folder / "x.parts", folder / "x"):
        pass
    other.kill()
    other.wait()
    assert (folder / "x.parts" / "lock").exists()  # a stale one is harmless, and goes
    with locked(folder / "x.parts", folder / "x"):
        assert (folder / "x.parts" / "lock").read_text().startswith(f"process {os.getpid()} ")
    assert not list(folder.iterdir())


def test_what_this_command_made_may_be_replaced_and_nothing_else(folder):
    mine, others = mark("bands", {"points": 3}), mark("bands", {"points": 4})
    target = folder / "a.txt"
    target.write_text(f"# {mine}\n")
    claim([Output("--csv", target)], mine)
    for made_by in (others, mark("phonons", {"points": 3}), ""):
        with pytest.raises(InputError, match=r"a\.txt was not made by this command.*another --csv.*--overwrite"):
            claim([Output("--csv", target)], made_by)
        claim([Output("--csv", target)], made_by, overwrite=True)
        claim([Output("--csv", target, own=True)], made_by)
    assert target.read_text() == f"# {mine}\n"
    target.write_bytes(b" " * 3_000_000 + mine.encode())
    claim([Output("--csv", target)], mine)


def test_two_outputs_are_two_files_and_none_of_them_an_input(folder):
    (folder / "link").symlink_to(folder)
    (folder / "one").write_text("")
    os.link(folder / "one", folder / "twin")
    for first, second in (("a.h5", "./a.h5"), ("a.h5", "link/a.h5"), ("one", "twin")):
        with pytest.raises(InputError, match=r"--output and --csv are one file"):
            claim([Output("--output", folder / first, own=True), Output("--csv", folder / second)])
    with pytest.raises(InputError, match="one is read by this command"):
        claim([Output("--output", folder / "link" / "one")], overwrite=True, inputs=["silicon", "one"])


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nowhere/a.h5", "nowhere is not a folder"),
        (".", "is a folder"),
        ("a.txt", r"--output a file name that ends in one of \.h5, \.hdf5"),
        (f"{'a' * 300}.h5", r"cannot be written \(File name too long\); give another --output"),
        ("a\0.h5", "cannot be written"),
    ],
)
def test_what_cannot_be_written_is_refused(path, message):
    with pytest.raises(InputError, match=message):
        claim([Output("--output", files.Path(path), files.RESULTS if path != "." else ())])


def test_devices_are_no_outputs():
    with pytest.raises(InputError, match="no ordinary file"):
        claim([Output("--csv", files.Path("/dev/null"))], overwrite=True)
