"""The study of molecular dynamics: files, resumption after a kill, runs that stop, the command line."""

import os
import signal

import jax
import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write

from jaxepi import cli, results
from jaxepi.errors import InputError
from jaxepi.files import locked
from jaxepi.sampling import Dynamics
from jaxepi.workflows import DynamicsSettings, dynamics
from jaxepi.workflows.reports import dynamics as report

SMALL = {"potential": "silicon-sw1985", "supercell": 1, "temperatures": (300.0, 600.0), "steps": 70, "interval": 10}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every run in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def table(path):
    """The log, a dict a row."""
    names, *rows = path.read_text().splitlines()
    return [dict(zip(names.split(","), map(float, row.split(",")), strict=True)) for row in rows]


@pytest.mark.slow
def test_files_hold_the_same_run(folder):
    settings = DynamicsSettings(**SMALL, replicas=2, precision="float32")
    run = dynamics.molecular_dynamics(settings, folder / "si.xyz", progress=False, command="a test")
    assert [path.name for path in run.files] == ["si.h5", "si.xyz", "si.csv"]
    assert sorted(path.name for path in folder.iterdir()) == ["si.csv", "si.h5", "si.xyz"]
    trajectory = run.trajectory
    assert trajectory.positions.shape == (2, 7, 2, 8, 3)
    assert trajectory.positions.dtype == np.float32
    np.testing.assert_allclose(trajectory.times, 10 * np.arange(1, 8))
    stored = results.read(folder / "si.h5")
    assert stored.provenance["settings"]["steps"] == 70
    jax.tree.map(np.testing.assert_array_equal, stored.contents["trajectory"], trajectory)
    rows = table(folder / "si.csv")
    assert len(rows) == 28
    last = rows[-1]
    assert (last["step"], last["time_fs"], last["target_k"], last["replica"]) == (70, 70, 600, 1)
    np.testing.assert_allclose(last["temperature_k"], trajectory.kinetic_temperatures[1, 6, 1], atol=1e-3)
    np.testing.assert_allclose(last["total_ev"], trajectory.energies[1, 6, 1], atol=1e-6)
    frames = read(folder / "si.xyz", index=":")
    assert len(frames) == 28
    # Run after run: the eighth frame is the first of the second replica.
    assert (frames[7].info["temperature"], frames[7].info["replica"], frames[7].info["time_fs"]) == (300, 1, 10)
    np.testing.assert_allclose(frames[7].positions, trajectory.positions[0, 0, 1], atol=1e-7)
    np.testing.assert_allclose(frames[-1].get_potential_energy(), trajectory.potential_energies[1, 6, 1])
    lines = report.summary_lines(run)
    assert lines[0].startswith("8 atoms, langevin, 7 frames to 0.07 ps, 2 run(s) a temperature")
    assert [float(line.split()[0]) for line in lines[2:]] == [300, 600]


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_been(folder, monkeypatch):
    settings = DynamicsSettings(**{**SMALL, "temperatures": (2500.0,)})
    whole = dynamics.molecular_dynamics(settings, "whole.h5", progress=False)
    monkeypatch.setattr(dynamics, "_SECONDS", 0.0)
    advance, count = Dynamics.advance, iter(range(100))

    def killed(self, *arguments):
        if next(count) == 4:
            raise KeyboardInterrupt
        return advance(self, *arguments)

    monkeypatch.setattr(Dynamics, "advance", killed)
    with pytest.raises(KeyboardInterrupt):
        dynamics.molecular_dynamics(settings, "halves.h5", progress=False)
    assert len(table(folder / "halves.csv")) == 4
    assert not (folder / "halves.h5").exists()
    with pytest.raises(InputError, match=r"seed was 0 and is now 1.*--overwrite"):
        dynamics.molecular_dynamics(DynamicsSettings(**{**settings.asdict(), "seed": 1}), "halves.h5", progress=False)
    halves = dynamics.molecular_dynamics(settings, "halves.h5", progress=False)
    np.testing.assert_allclose(halves.trajectory.positions, whole.trajectory.positions, atol=1e-9)
    np.testing.assert_allclose(halves.trajectory.energies, whole.trajectory.energies, atol=1e-9)
    assert table(folder / "halves.csv") == table(folder / "whole.csv")
    assert sorted(path.name for path in folder.iterdir()) == ["halves.csv", "halves.h5", "whole.csv", "whole.h5"]
    # Once more reads what is there.
    before = (folder / "halves.h5").stat().st_mtime_ns
    again = dynamics.molecular_dynamics(settings, "halves.h5", progress=False)
    assert (folder / "halves.h5").stat().st_mtime_ns == before
    np.testing.assert_array_equal(again.trajectory.positions, halves.trajectory.positions)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_keeps_every_frame_and_says_how_to_go_on(folder, monkeypatch, capsys, number):
    words = ["md", "silicon", "--potential", "silicon-sw1985", "--supercell", "1", "--no-progress", "--output", "a.h5"]
    words += ["--steps", "5", "--interval", "1"]
    advance = Dynamics.advance

    def pressed(self, *arguments):
        if self.step == 2:
            os.kill(os.getpid(), number)
        return advance(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Dynamics, "advance", pressed)
        assert cli.main(words) == 128 + number
    errors = capsys.readouterr().err
    assert "finished frames are kept in a.h5.parts, and the same command goes on from there" in errors
    assert len(table(folder / "a.csv")) == 3
    with locked(folder / "a.h5.parts", folder / "a.h5"):
        assert cli.main(words) == 2
    assert "a.h5 is being made by another run" in capsys.readouterr().err
    assert cli.main(words) == 0
    assert results.read(folder / "a.h5").contents["trajectory"].times.tolist() == [1, 2, 3, 4, 5]
    assert [row["step"] for row in table(folder / "a.csv")] == [1, 2, 3, 4, 5]


def test_the_command_keeps_what_came_before_an_explosion(folder, capsys):
    write(folder / "mine.cif", bulk("Si", "diamond", a=5.431, cubic=True))
    words = [
        "md",
        "mine.cif",
        "--potential",
        "silicon-sw1985",
        "--supercell",
        "1",
        "--ensemble",
        "nve",
        "--no-progress",
    ]
    words += ["--timestep", "19.5", "--interval", "1", "--steps", "500", "--temperatures", "300"]
    assert cli.main(words) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err
    assert "the run at 300 K reached" in err
    step = int(err.split("by step ")[1].split(":")[0])
    assert f"the {step - 1} frames before are in mine-md.h5" in err
    assert "Written: mine-md.h5, mine-md.csv" in out
    found = results.read(folder / "mine-md.h5").contents
    assert found["trajectory"].positions.shape[1] == step - 1
    assert found["stopped"] in err
    assert len(table(folder / "mine-md.csv")) == step - 1
    # The same command says the same again.
    assert cli.main(words) == 2
    assert capsys.readouterr().err == err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--temperatures", "0"], "temperatures 0 K: give a positive number"),
        (["--steps", "0"], "steps 0: give a positive whole number"),
        (["--timestep", "-1"], "timestep -1 fs: give a positive number"),
        (["--heating", "9"], "heating 9: give a positive number below 4"),
        (["--output", "run.dcd"], "run.dcd: give --output a file name that ends in one of .h5"),
        (["--potential", "nothing"], "unknown potential 'nothing'"),
        (["--output", "nowhere/run.h5"], "nowhere is not a folder"),
    ],
)
def test_refusals(capsys, words, message):
    assert cli.main(["md", "silicon", "--no-progress", *words]) == 2
    assert message in capsys.readouterr().err
