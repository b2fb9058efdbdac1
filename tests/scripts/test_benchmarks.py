"""The benchmarks' own bookkeeping, on the smallest cases there are."""

import argparse
import csv
import dataclasses
import json
import subprocess

import benchmark_dynamics
import benchmark_potential
import compare_optimizers
import pytest


def test_a_force_call_of_one_size_is_timed_with_its_memory():
    options = argparse.Namespace(one=8, potential="silicon-sw1985", dtype="float64", repeats=1)
    found = benchmark_potential.one_size(options)
    assert found["atoms"] == 8
    assert 0 < found["seconds"] < 10
    assert 0.05 < found["peak_gb"] < 20


def test_cost_against_size_is_a_table_and_a_figure(monkeypatch, tmp_path, capsys):
    def run(command, **_):
        atoms = int(command[command.index("--one") + 1])
        assert command[command.index("--hidden-lmax") + 1] == "1"
        found = {"atoms": atoms, "seconds": 1e-4 * atoms, "processor_seconds": 2e-4 * atoms, "peak_gb": 0.3}
        return subprocess.CompletedProcess(command, 0, f"a line before\n{json.dumps(found)}\n", "")

    monkeypatch.setattr(subprocess, "run", run)
    assert benchmark_potential.main(["--growth", str(tmp_path), "--atoms", "8", "64", "--dtype", "float64"]) == 0
    with (tmp_path / "cost.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["atoms"] for row in rows] == ["8", "64"]
    assert all(float(row["load"]) >= 0 and " core" in row["machine"] for row in rows)
    assert (tmp_path / "cost.png").read_bytes()[:4] == b"\x89PNG"
    assert "load of the machine" in capsys.readouterr().out


def test_a_size_that_fails_says_why(monkeypatch, tmp_path, capsys):
    failed = subprocess.CompletedProcess([], 1, "", "out of memory")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failed)
    assert benchmark_potential.main(["--growth", str(tmp_path), "--atoms", "8", "--dtype", "float64"]) == 2
    assert "8 atoms: out of memory" in capsys.readouterr().err


@pytest.mark.slow
def test_dynamics_say_what_they_found_and_write_it(monkeypatch, tmp_path, capsys):
    target = tmp_path / "dynamics.md"
    arguments = ["--only", "drift", "--picoseconds", "0.04", "--sizes", "8", "--output", str(target)]
    monkeypatch.setattr("sys.argv", ["benchmark_dynamics.py", *arguments])
    benchmark_dynamics.main()
    written = target.read_text()
    assert "silicon-sw1985" in written
    assert "NVE, 8 atoms, 1 fs, 0.04 ps" in written
    assert all(line in written for line in capsys.readouterr().out.splitlines())


def test_optimizers_are_compared_in_everything_else_alike(ablation, tmp_path, capsys):
    base = ablation.configured(ablation.HERE / "potential.toml")
    made = compare_optimizers.settings(base, "amsgrad", 0.5, 7)
    assert (made.loss, made.data) == (base.loss, base.data)
    assert made.model == base.model
    assert made.run == dataclasses.replace(base.run, epochs=7)
    assert made.optimizer == dataclasses.replace(base.optimizer, algorithm="amsgrad", learning_rate=0.5)
    for wrong, message in (("soap", "--with soap: give an algorithm and its learning rate"), ("sgd=1", "sgd")):
        assert compare_optimizers.main([str(ablation.HERE / "potential.toml"), str(tmp_path), "--with", wrong]) == 2
        assert message in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["heterogeneous-2", "homogeneous-2", "homogeneous-4"])
def test_the_ablation_varies_the_network_and_nothing_else(ablation, name):
    base = ablation.configured(ablation.HERE / "ablation.toml")
    made = ablation.settings(base, name, seed=1, epochs=5, channels=4, train=0)
    assert (made.optimizer, made.loss, made.data.sets) == (base.optimizer, base.loss, base.data.sets)
    differing = {k for k in made.model if made.model[k] != base.model.get(k)}
    assert differing <= {"channels", "relations", "interactions"}
    assert (made.run.seed, made.run.epochs, made.run.batch_atoms) == (1, 5, base.run.batch_atoms)


def test_the_ablation_gives_mean_and_spread_over_seeds(ablation):
    rows = [
        {"model": model, "seed": seed, "minutes": 1.0, **dict.fromkeys(ablation.MEASURES, value + seed)}
        for model, value in (("homogeneous-2", 10.0), ("heterogeneous-2", 8.0))
        for seed in (0, 1, 2)
    ]
    found = ablation.summaries(rows)
    assert [r["seed"] for r in found] == [0, 1, 2, "mean", "spread"] * 2
    assert found[3]["forces_rmse"] == pytest.approx(11.0)
    assert found[4]["forces_rmse"] == pytest.approx(1.0)
    assert len(ablation.summaries(rows[:1])) == 1


@pytest.fixture(scope="module")
def ablation():
    import importlib.util
    from pathlib import Path

    path = Path(__file__).resolve().parents[2] / "experiments" / "bilayer_graphene" / "ablation.py"
    spec = importlib.util.spec_from_file_location("ablation", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
