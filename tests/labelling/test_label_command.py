"""`jaxepi label` from the command line: every action, refusals in one line, and signals while a program runs."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from ase.build import bulk

from jaxepi import cli, datasets
from jaxepi.labelling import labels
from jaxepi.labelling.recipes import RECIPES
from jaxepi.labelling.structures import annotate, sets

SLOW = """#!/bin/sh
echo '     Program PWSCF v.6.7MaX starts'
[ -d /proc ] && read first || exit 0
echo $$ > {pid}
sleep 60
"""
"""Stands for pw.x: says its version when there is no input, and otherwise takes long."""


def run(capsys, *words):
    status = cli.main(["label", *map(str, words)])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A recipe whose pw.x is `SLOW`."""
    path = tmp_path / "pw.x"
    path.write_text(SLOW.format(pid=tmp_path / "pid"))
    path.chmod(0o755)
    (tmp_path / "Si.pbe-rrkj.UPF").touch()
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    recipe = {**RECIPES["silicon-pbe"][1], "pseudo_dir": str(tmp_path)}
    monkeypatch.setitem(RECIPES, "silicon-pbe", ("espresso", recipe))
    sets.write([annotate(bulk("Si"), "unstrained", "measured", 2)], tmp_path / "si.xyz")
    return tmp_path


@pytest.mark.slow
def test_structures_are_written_once(tmp_path, capsys):
    output = tmp_path / "a.xyz"
    words = "structures", "gaas-16", output, "--first", 2, "--mesh", 5, 4, 3
    assert run(capsys, *words)[:2] == (0, f"2 structures in {output}\n")
    assert list(sets.read(output)[0].info["mesh"]) == [5, 4, 3]
    status, _, error = run(capsys, *words)
    assert (status, error.count("\n")) == (2, 1)
    assert "--overwrite" in error
    assert run(capsys, *words, "--overwrite")[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["structures", "gaas-17", "b.xyz"], "did you mean 'gaas-16'"),
        (["structures", "gaas-16", "b.txt"], "ends in one of .xyz"),
        (["structures", "gaas-16", "b.xyz", "--first", "0"], "first 0: give a positive whole number"),
        (["structures", "gaas-16", "b.xyz", "--mesh", "4", "0", "4"], "mesh 4 0 4"),
        (["run", "b.xyz", "--work", "w"], "recipe '': give one of silicon-hse06"),
        (["run", "b.xyz", "--recipe", "silicon-pbe"], "give --work DIR"),
        (
            ["run", "b.xyz", "--recipe", "silicon-pbe", "--work", "w", "--hours", "nan"],
            "hours nan: give a positive number",
        ),
        (["pack", "name", "a.h5", "nowhere"], "there is no work folder nowhere"),
        (["pack", "name", "a.h5"], "required: FOLDER"),
        (["pack", "name", "a.csv", "."], "ends in one of .h5"),
        (["pack", "name", "b/a.h5", "."], "b is not a folder; make it"),
        (["make"], "invalid choice: 'make'"),
        ([], "required: ACTION"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_one_line(words, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, error = run(capsys, *words)
    assert (status, error.count("\n")) == (2, 1)
    assert message in error
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_labelled_are_refused_before_any_runs(program, capsys):
    (program / "bad.xyz").write_text("2\nnothing\nSi 0 0")
    sets.write([annotate(bulk("Ge"), "x", "y", 2)], program / "ge.xyz")
    for name, message in (
        ("bad", "cannot be read as extended XYZ"),
        ("ge", "structure 0"),
        ("none", "there is no file"),
    ):
        words = "run", program / f"{name}.xyz", "--recipe", "silicon-pbe", "--work", program
        status, _, error = run(capsys, *words)
        assert (status, error.count("\n")) == (2, 1)
        assert message in error


def test_failures_are_told_and_left_out_of_the_set(program, capsys):
    (program / "pw.x").write_text("#!/bin/sh\necho '     Error in routine x (1):'\necho '     no such thing'\n")
    words = "run", program / "si.xyz", "--recipe", "silicon-pbe", "--work", program
    status, out, error = run(capsys, *words)
    assert status == 1
    assert "FAILED" in out
    assert "1 configurations failed" in error
    status, _, error = run(capsys, "pack", "silicon", program / "si.h5", program / "si")
    assert (status, error.count("\n")) == (2, 1)
    assert "no such thing" in error
    (atoms,) = sets.read(program / "si.xyz")
    result = {"pbe/energy": np.array(-1.0), "pbe/forces": np.zeros((2, 3)), "pbe/seconds": np.array(1.0)}
    labels.save(program / "si" / "other", atoms, {"pbe": {"code": "none", "version": "1", "settings": {}}}, result)
    status, out, _ = run(capsys, "pack", "silicon", program / "si.h5", program / "si")
    assert status == 0
    assert "left out: si/" in out
    assert len(datasets.read(program / "si.h5")) == 1


def test_all_sets_and_recipes_are_listed(capsys):
    status, out, _ = run(capsys, "list")
    assert status == 0
    assert all(f"  {name} " in out for name in (*sets.SETS, *RECIPES))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_while_a_program_runs_ends_both_in_one_line(program, number):
    code = (
        "import sys; from jaxepi.__main__ import main; from jaxepi.labelling.recipes import RECIPES; "
        f"RECIPES['silicon-pbe'][1]['pseudo_dir'] = {str(program)!r}; sys.exit(main())"
    )
    words = ["label", "run", str(program / "si.xyz"), "--recipe", "silicon-pbe", "--work", str(program / "w")]
    process = subprocess.Popen([sys.executable, "-c", code, *words], stderr=subprocess.PIPE, text=True)
    pid = program / "pid"
    while not (pid.exists() and pid.read_text().strip()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(number)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    word = "interrupted" if number == signal.SIGINT else "terminated"
    kept = f"labelled configurations are kept in {program / 'w' / 'si'}, and the same command goes on from there"
    assert error.splitlines()[-1] == f"jaxepi: {word}; {kept}"
    assert "Traceback" not in error
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)
    assert not list((program / "w" / "si").glob("*.failed.json"))
