"""The whole study through the command line: files, errors, figures, going on, and what is refused before training."""

import dataclasses
import functools
import json
import os

import jax
import numpy as np
import pytest
from small_world import labelled
from studies import folder_of, interrupted_after, rows

from jaxepi import datasets
from jaxepi.checkpoint import read_checkpoint
from jaxepi.errors import InputError
from jaxepi.files import locked
from jaxepi.potentials import learned
from jaxepi.training.settings import BlockLossSettings, LossSettings
from jaxepi.workflows import fitting, training

pytestmark = pytest.mark.slow

CONFIG = """
[data]
sets = ["silicon.h5"]
level = "model"
[model]
cutoff = 3.8
channels = 4
lmax = 1
hidden_lmax = 0
correlation = 2
interactions = 1
radial_layers = [8]
repulsion = false
[optimizer]
learning_rate = 0.03
average = 0.9
[run]
epochs = 12
batch_atoms = 16
"""


@pytest.fixture(scope="module")
def home(dataset, tmp_path_factory):
    return folder_of(tmp_path_factory, dataset, CONFIG)


@pytest.fixture
def run(home, train):
    """Run `jaxepi train potential` in that folder."""
    return functools.partial(train, "potential", home)


@pytest.fixture(scope="module")
def finished(home):
    """What the first run says; the files are in `config-training`."""
    before = os.getcwd()
    os.chdir(home)
    try:
        settings = training.configured("config.toml")
        return training.train_potential(settings, "config-training", progress=False, command="jaxepi train potential")
    finally:
        os.chdir(before)


def test_it_learns_and_compiles_no_more_than_four_times(finished):
    history = finished.fit.history
    assert history[-1]["validation_forces_mev"] < 0.5 * history[0]["validation_forces_mev"]
    assert finished.fit.compilations <= 4


def test_all_files_are_there_and_whole(home, finished):
    folder = home / "config-training"
    expected = {"potential.npz", "state.npz", "metrics.csv", "errors.csv", "parity.png", "learning-curve.png"}
    assert {f.name for f in folder.iterdir()} == expected
    assert {f.name for f in finished.files} == expected
    assert [row["epoch"] for row in rows(folder / "metrics.csv")] == [str(i + 1) for i in range(12)]
    for name in ("parity.png", "learning-curve.png"):
        assert (folder / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_the_file_holds_the_potential_that_was_measured(home, finished, dataset):
    potential, card = learned.read(home / "config-training" / "potential.npz")
    e = finished.examples
    error = {row.split: row for row in finished.rows if row.group == "all"}
    squares = []
    for c in e.rows("validation"):
        one = e.structure(c)
        forces = potential.forces(one, potential.graph(one))
        squares += ((forces - e.forces[e.first[c] : e.first[c + 1]]) ** 2).ravel().tolist()
    assert 1e3 * np.sqrt(np.mean(squares)) == pytest.approx(error["validation"].forces_rmse, rel=1e-3)
    energy = float(potential.energy(one, potential.graph(one)))
    assert energy == pytest.approx(e.energy[c] + e.sizes[c] * finished.errors.energy[c], abs=2e-4)
    assert card["errors"]["test"]["forces_rmse"] == pytest.approx(error["test"].forces_rmse)
    assert card["level"] == {"model": dict(dataset.levels["model"])}
    assert card["configurations"]["train"] == len(e.rows("train"))
    principal = np.linalg.eigvalsh(e.strain[e.rows("train")])
    assert card["principal_strains"] == [principal.min(), principal.max()]
    assert -0.02 < principal.min() < -0.005 < 0.005 < principal.max() < 0.02
    assert card["provenance"]["command"] == "jaxepi train potential"
    assert str(home) not in json.dumps(card)


def test_the_domain_ends_at_the_training_set(home, finished):
    potential, _ = learned.read(home / "config-training" / "potential.npz")
    e = finished.examples
    novelty = jax.jit(lambda structure, graph: potential.module.novelty({"params": potential.params}, structure, graph))
    small = [c for c in e.rows("train") if e.sizes[c] == 8][:3]
    with pytest.warns(UserWarning, match="closer than in any training structure"):
        graph = potential.graph(e.structure(small[0]).scaled(0.8))
    near = [float(novelty(e.structure(c), graph)) for c in small]
    assert 0.05 < min(near) <= max(near) <= 1.001
    assert float(novelty(e.structure(small[0]).scaled(0.8), graph)) > 1.5


def test_the_same_command_reads_what_is_done_and_goes_on_with_more_epochs(home, finished, run):
    before = rows(home / "config-training" / "metrics.csv")
    status, out, _ = run()
    assert status == 0
    assert "all 12 epochs are done" in out
    assert "  test, 200 K" in out
    assert "meV/atom" in out
    assert rows(home / "config-training" / "metrics.csv") == before
    status, out, _ = run("--epochs", 14)
    assert "after 14 epochs" in out
    assert rows(home / "config-training" / "metrics.csv")[:12] == before


def test_an_interrupt_keeps_the_state_and_says_how_to_go_on(home, finished, run):
    with interrupted_after(5):
        status, _, err = run("--output", "cut")
    assert status == 130
    assert "the state is kept in cut, and the same command goes on from there" in err
    assert (home / "cut" / "potential.npz").exists()
    with locked(home / "cut", home / "cut"):
        status, _, err = run("--output", "cut")
    assert status == 2
    assert "cut is being made by another run" in err
    assert run("--output", "cut")[0] == 0
    whole = rows(home / "config-training" / "metrics.csv")[:12]
    assert rows(home / "cut" / "metrics.csv") == whole


def test_a_checkpoint_can_be_the_beginning_and_a_wrong_one_is_refused(home, finished, run):
    start = CONFIG + 'start = "config-training/potential.npz"\n'
    status, _, _ = run("--epochs", 1, "--output", "further", config="further.toml", text=start)
    assert status == 0
    first = float(rows(home / "further" / "metrics.csv")[0]["validation_forces_mev"])
    assert first < 0.6 * float(finished.fit.history[0]["validation_forces_mev"])
    # The same configuration with other parameters under the same name is another beginning.
    kept, card = learned.read(home / "config-training" / "potential.npz")
    config = read_checkpoint(home / "config-training" / "potential.npz").config["model"]
    moved = dataclasses.replace(kept, params={**kept.params, "reference": kept.params["reference"] + 1.0})
    learned.write(moved, config, home / "moved.npz", card)
    other = start.replace("config-training/potential.npz", "moved.npz")
    status, _, err = run("--epochs", 1, "--output", "further", config="further.toml", text=other)
    assert status == 2
    assert "run.start was" in err
    wrong = start.replace("channels = 4", "channels = 8")
    status, _, err = run("--output", "none", config="wrong.toml", text=wrong)
    assert status == 2
    assert "has channels = 4 and [model] asks for 8" in err
    status, _, err = run(config="wrong.toml", text=start.replace("config-training/potential.npz", "silicon.h5"))
    assert status == 2
    assert "silicon.h5 cannot be read" in err


def test_forces_alone_leave_the_reference_energies_of_the_checkpoint(home, finished, run):
    text = CONFIG.replace("[optimizer]", "[loss]\nenergy = 0.0\n[optimizer]")
    text += 'start = "config-training/potential.npz"\n'
    assert run("--epochs", 1, "--output", "forces", config="forces.toml", text=text)[0] == 0
    found, before = (learned.read(home / f / "potential.npz")[0].params for f in ("forces", "config-training"))
    assert before["reference"] != 0
    np.testing.assert_array_equal(found["reference"], before["reference"])


@pytest.mark.parametrize(
    ("loss", "bound"),
    [
        (LossSettings(), False),
        (LossSettings(energy_start=0.1), True),
        (BlockLossSettings(), False),
        (BlockLossSettings(eigenbasis=1.0), True),
    ],
)
def test_epochs_bind_a_run_on_a_plateau_only_where_a_weight_grows(home, loss, bound):
    settings = training.configured(home / "config.toml")
    settings = dataclasses.replace(
        settings,
        optimizer=dataclasses.replace(settings.optimizer, schedule="plateau"),
        loss=loss,
    )
    assert ("epochs" in fitting.fingerprint(settings, {}, "", None)["run"]) == bound


def test_a_level_whose_energies_are_shifted_is_met_from_the_first_step(home, finished, run):
    """Reference energies are what the network of the checkpoint leaves, not the mean of the few new labels."""
    datasets.write(labelled(shift={(2, 2, 2, 0, 0, 0): -3.0}), home / "shifted.h5")
    text = CONFIG.replace("silicon.h5", "shifted.h5").replace("[model]", "train = 3\n[model]")
    text = text.replace("0.03", "1e-9").replace("[run]", '[run]\nstart = "config-training/potential.npz"')
    assert run("--epochs", 1, "--output", "shifted", config="shifted.toml", text=text)[0] == 0
    found, before = (
        next(r for r in rows(home / folder / "errors.csv") if (r["split"], r["group"]) == ("test", "all"))
        for folder in ("shifted", "config-training")
    )
    assert float(found["forces_rmse"]) == pytest.approx(float(before["forces_rmse"]), rel=1e-3)
    assert float(found["energy_rmse"]) < 2 * float(before["energy_rmse"])


def test_a_better_level_is_what_the_potential_gives_and_the_difference_of_the_labels(home, finished, dataset, run):
    scaled = []
    for group in dataset.groups:
        better = {n: 1.25 * v for n, v in group.labels["model"].items()}
        scaled.append(dataclasses.replace(group, labels={"model": group.labels["model"], "better": better}))
    levels = {**dataset.levels, "better": dataset.levels["model"]}
    datasets.write(dataclasses.replace(dataset, groups=tuple(scaled), levels=levels), home / "both.h5")
    asked = 'level = "better"\nrelative_to = "model"'
    text = CONFIG.replace("silicon.h5", "both.h5").replace('level = "model"', asked)
    started = text + 'start = "config-training/potential.npz"\nmax_minutes = 0.0\n'
    (home / "both.toml").write_text(started)
    study = training._Study.of(training.configured(home / "both.toml"), progress=False)
    kept, e = learned.read(home / "config-training" / "potential.npz")[0], finished.examples
    for c in (0, len(e) - 1):
        one, mine = e.structure(c), slice(e.first[c], e.first[c + 1])
        forces = kept.forces(one, kept.graph(one)) + 0.25 * e.forces[mine]
        np.testing.assert_allclose(study.examples.forces[mine], forces, atol=2e-5)
        energy = float(kept.energy(one, kept.graph(one))) + 0.25 * e.energy[c]
        assert study.examples.energy[c] == pytest.approx(energy, abs=2e-4)
    for wrong, message in (
        (text, "needs a potential of that level"),
        (started.replace('relative_to = "model"', 'relative_to = "better"'), "is the level itself"),
        (started.replace(asked, 'level = "model"\nrelative_to = "better"'), "is of level model"),
        (started.replace('relative_to = "model"', 'relative_to = "pbe"'), "has no level 'pbe'"),
    ):
        status, _, err = run("--output", "none", config="wrong.toml", text=wrong)
        assert status == 2
        assert message in err


def test_other_settings_are_refused_unless_told_to_start_over(home, finished, run):
    status, _, err = run("--seed", 5)
    assert status == 2
    assert "run.seed was 0 and is now 5" in err
    assert "--overwrite" in err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("channels = 4", "chanels = 4", "did you mean 'channels'"),
        ('level = "model"', 'level = "pbe"', "has no level 'pbe'"),
        ('"silicon.h5"', '"germanium.h5"', "there is no data set germanium.h5"),
        ("epochs = 12", "epoch = 12", "did you mean 'epochs'"),
        (
            '"silicon.h5"',
            '"silicon.h5", "other.h5"',
            "a test configuration of 'other' holds Ge, and the model knows Si",
        ),
    ],
)
def test_bad_input_is_refused_in_one_line_before_training(home, run, old, new, message):
    if "other.h5" in new and not (home / "other.h5").exists():
        other = labelled(((1, 8),), seed=9, name="other")
        group = dataclasses.replace(other.groups[0], species=(32,) * 8, split=("test",) * 8)
        datasets.write(dataclasses.replace(other, groups=(group,)), home / "other.h5")
    status, _, err = run("--output", "none", config="bad.toml", text=CONFIG.replace(old, new, 1))
    assert status == 2
    assert len(err.splitlines()) == 1
    assert message in err
    assert not (home / "none").exists()


def test_double_precision_must_be_possible(home, monkeypatch):
    monkeypatch.chdir(home)
    (home / "double.toml").write_text(CONFIG + 'dtype = "float64"\n')
    settings = training.configured("double.toml")
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(InputError, match="JAX is set to single precision"):
            training.train_potential(settings, "none", progress=False)
    finally:
        jax.config.update("jax_enable_x64", True)
