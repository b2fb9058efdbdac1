"""Compiled programs on disk: shared whole, by processes that cannot harm one another, and found again."""

import fcntl
import os
import subprocess
import sys

import pytest

from jaxepi import compiled
from jaxepi.errors import InputError

PROGRAM = """
import sys, jaxepi
jaxepi.keep_compiled(sys.argv[1])
import jax, jax.numpy as jnp
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)  # however fast the machine
jax.monitoring.register_event_listener(lambda e, **_: print(e.split("/")[-1]))
print(float(jax.jit(lambda x: jnp.linalg.eigh(x @ x.T)[0].sum() * jnp.fft.fft(x).real.sum())(jnp.eye(5))))
"""


def test_programs_of_processes_come_together_when_these_end(tmp_path):
    (first, lock), (second, other) = compiled._place(tmp_path), compiled._place(tmp_path)
    (first / "a-cache").write_text("a")
    (second / "a-cache").write_text("the other's a")
    (second / "b-cache").write_text("b")
    assert not list(tmp_path.glob("*-cache"))
    compiled._share(first, tmp_path, os.getpid(), lock)
    compiled._share(second, tmp_path, os.getpid(), other)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a-cache": "a", "b-cache": "b"}
    third, lock = compiled._place(tmp_path)
    assert sorted(p.name for p in third.glob("*-cache")) == ["a-cache", "b-cache"]
    compiled._share(third, tmp_path, os.getpid() + 1, lock)
    assert third.exists()  # a fork leaves its parent's place alone


def test_what_a_killed_process_was_writing_goes_and_a_living_one_keeps_its_place(tmp_path):
    killed, lock = compiled._place(tmp_path)
    (killed / "half-cache").write_text("ha")
    fcntl.flock(lock, fcntl.LOCK_UN)
    living, _ = compiled._place(tmp_path)
    compiled._place(tmp_path)
    assert not killed.exists()
    assert living.exists()
    assert not list(tmp_path.glob("*-cache"))


def test_folders_that_cannot_be_used_or_trusted_are_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file cannot keep compiled programs.*give another folder"):
        compiled.keep_compiled(tmp_path / "file")
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(InputError, match=r"open: others may write there.*folder of your own"):
        compiled.keep_compiled(tmp_path / "open")


@pytest.mark.slow
def test_a_later_process_finds_what_was_compiled_and_xla_says_nothing(tmp_path):
    runs = [subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True) for _ in "ab"]
    assert [run.returncode for run in runs] == [0, 0]
    assert [run.stderr for run in runs] == ["", ""]
    first, second = (run.stdout.split() for run in runs)
    assert "cache_misses" in first
    assert "cache_hits" in second
    assert "cache_misses" not in second
    assert first[-1] == second[-1]
