"""The training study of a Hamiltonian through the command line: what it leaves, going on, and what is refused by name."""

import functools
import json

import numpy as np
import pytest
from small_spectra import MODEL
from studies import folder_of, interrupted_after, rows

from jaxepi.electrons.eigen import eigenvalues
from jaxepi.hamiltonians import learned
from jaxepi.structure import Structure
from jaxepi.training.bands import spectra
from jaxepi.workflows import hamiltonian

pytestmark = pytest.mark.slow

EPOCHS = 6
CONFIG = f"""
[data]
sets = ["silicon.h5"]
level = "pbe"
[model]
base = "si-vogl1983"
cutoff = {MODEL["cutoff"]}
switch = {MODEL["switch"]}
skin = 0.0
channels = 1
features = 2
hidden = [4]
correlation = 1
lmax = 0
[loss]
gap = 0.5
[optimizer]
learning_rate = 0.02
schedule = "cosine"
average = 0.5
[run]
epochs = {EPOCHS}
batch_atoms = 6
dtype = "float64"
"""


@pytest.fixture(scope="module")
def home(spectra_set, tmp_path_factory):
    return folder_of(tmp_path_factory, spectra_set, CONFIG)


@pytest.fixture(scope="module")
def finished(home):
    """A run that nobody stopped, in `config-training`."""
    settings = hamiltonian.configured(home / "config.toml")
    return hamiltonian.train_hamiltonian(settings, home / "config-training", progress=False, command="jaxepi train")


@pytest.fixture
def run(home, train):
    """Run `jaxepi train hamiltonian` in that folder."""
    return functools.partial(train, "hamiltonian", home)


def test_it_learns_and_leaves_all_files(home, finished):
    folder = home / "config-training"
    history = finished.fit.history
    assert history[-1]["validation_bands_mev"] < 0.8 * history[0]["validation_bands_mev"]
    assert finished.fit.compilations <= 4
    expected = {"hamiltonian.npz", "state.npz", "metrics.csv", "errors.csv", "parity.png", "learning-curve.png"}
    assert {f.name for f in folder.iterdir()} == {f.name for f in finished.files} == expected
    assert [row["epoch"] for row in rows(folder / "metrics.csv")] == [str(i + 1) for i in range(EPOCHS)]
    errors = [row for row in rows(folder / "errors.csv") if row["group"] == "all"]
    assert {row["split"]: row["configurations"] for row in errors} == {"train": "9", "validation": "2", "test": "1"}


def test_the_file_holds_the_hamiltonian_that_was_measured(home, finished, spectra_set):
    model, card = learned.read(home / "config-training" / "hamiltonian.npz")
    (group,) = spectra_set.groups
    (row,) = [i for i, split in enumerate(group.split) if split == "test"]
    structure = Structure.create(group.positions[row], group.cell[row], group.species)
    label = group.labels["pbe"]["eigenvalues"][row]
    ours = np.asarray(eigenvalues(model, structure, group.kpoints))[:, : label.shape[1]]
    gaps = [spectra.gap(e, group.occupied) for e in (ours, label)]
    (measured,) = [
        r for r in rows(home / "config-training" / "errors.csv") if (r["split"], r["group"]) == ("test", "all")
    ]
    assert float(measured["gap_bias"]) == pytest.approx(1e3 * float(gaps[0] - gaps[1]), abs=0.1)
    assert card["errors_mev"]["test"]["gap_bias"] == pytest.approx(float(measured["gap_bias"]), rel=1e-6)
    assert card["configurations"] == {"train": 9, "validation": 2, "test": 1}
    assert card["temperatures_kelvin"] == [300.0, 300.0]
    assert card["provenance"]["command"] == "jaxepi train"
    assert str(home) not in json.dumps(card)


def test_what_was_interrupted_ends_as_if_nothing_had_happened(home, finished, run):
    with interrupted_after(3):
        status, _, err = run("--output", "cut")
    assert status == 130
    assert "the state is kept in cut, and the same command goes on from there" in err
    learned.read(home / "cut" / "hamiltonian.npz")
    assert len(rows(home / "cut" / "metrics.csv")) == 3
    status, out, _ = run("--output", "cut")
    assert status == 0
    assert f"all {EPOCHS} epochs are done" in out
    for name in ("metrics.csv", "errors.csv"):
        assert rows(home / "cut" / name) == rows(home / "config-training" / name)


def test_another_length_of_the_cosine_is_refused_by_name(home, finished, run):
    before = rows(home / "config-training" / "metrics.csv")
    status, _, err = run("--epochs", EPOCHS + 2)
    assert status == 2
    assert f"run.epochs was {EPOCHS} and is now {EPOCHS + 2}" in err
    assert "--overwrite" in err
    assert rows(home / "config-training" / "metrics.csv") == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("channels = 1", "chanels = 1", "did you mean 'channels'"),
        ("gap = 0.5", "forces = 1.0", "[loss]"),
        ('level = "pbe"', 'level = "hse06"', "has no level 'hse06'"),
        ("[run]", '[run]\nstart = "config-training/hamiltonian.npz"', "has channels = 1 and [model] asks for 2"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_training(home, finished, run, old, new, message):
    text = CONFIG.replace(old, new, 1)
    text = text.replace("channels = 1", "channels = 2") if "start" in new else text
    status, _, err = run("--output", "none", config="bad.toml", text=text)
    assert status == 2
    assert len(err.splitlines()) == 1
    assert message in err
    assert not (home / "none").exists()
