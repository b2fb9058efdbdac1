"""Configuration files: what is understood, and what is refused with the remedy."""

import pytest

from jaxepi.errors import InputError
from jaxepi.potentials.settings import MaceSettings
from jaxepi.training import LossSettings, read_settings

GOOD = """
[data]
sets = ["a.h5", {path = "b.xyz", weight = 0.5, forces = 0}]
level = "pbe"
[model]
channels = 4
[loss]
energy = 5
[optimizer]
learning_rate = 0.02
schedule = "cosine"
[run]
epochs = 7
start = "old.npz"
"""


def write(folder, text):
    path = folder / "config.toml"
    path.write_text(text)
    return path


def test_a_file_becomes_settings(tmp_path):
    s = read_settings(write(tmp_path, GOOD))
    assert [x.path for x in s.data.sets] == [str(tmp_path / "a.h5"), str(tmp_path / "b.xyz")]
    assert (s.data.sets[1].weight, s.data.sets[1].forces) == (0.5, 0.0)
    assert (s.loss.energy, s.optimizer.schedule, s.run.epochs) == (5.0, "cosine", 7)
    assert s.run.start == str(tmp_path / "old.npz")
    assert s.model == {"channels": 4}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("learning_rate", "learning_rat", r"\[optimizer\]: unknown key 'learning_rat'; did you mean 'learning_rate'"),
        ("[optimizer]", "[optimiser]", "unknown key 'optimiser'; did you mean 'optimizer'"),
        ("weight = 0.5", "wight = 0.5", r"\[data\] sets: unknown key 'wight'; did you mean 'weight'"),
        ("level = ", "xyzzy = ", "unknown key 'xyzzy'; known are sets, level"),
        ('level = "pbe"', "", "names no level of theory"),
        ('sets = ["a.h5", {path = "b.xyz", weight = 0.5, forces = 0}]', "", "names no sets"),
        ("epochs = 7", "epochs = 7.5", r"\[run\]: epochs 7.5: give a positive whole number"),
        ("epochs = 7", "epochs = 0", r"\[run\]: epochs 0: give a positive whole number"),
        ("epochs = 7", "max_minutes = nan", "max_minutes nan"),
        ("epochs = 7", 'dtype = "float16"', "dtype 'float16': give one of float32, float64"),
        ("energy = 5", "energy = -1", "energy -1: give zero or a positive number"),
        ("energy = 5", "huber = -0.01", "huber -0.01: give zero or a positive number"),
        ("energy = 5", "energy = 0\nforces = 0\nstress = 0", "all loss weights are zero"),
        ("energy = 5", "energy = 0\nenergy_start = 0.1", "energy_start 0.1 grows to energy 0"),
        ("energy = 5", "energy = true", "energy True: give zero or a positive number"),
        ('"cosine"', '"cosin"', "schedule 'cosin': give one of plateau, cosine"),
        ("0.02", "-0.02", "learning_rate -0.02: give a positive number"),
        ("[model]", "[model", "is not a TOML file"),
        ("weight = 0.5", "weight = -1", r"\[data\] sets: weight -1: give zero or a positive number"),
        ("weight = 0.5", "weight = nan", r"\[data\] sets: weight nan"),
        ("weight = 0.5", "weight = inf", r"\[data\] sets: weight inf"),
        ("weight = 0.5", 'weight = "much"', r"\[data\] sets: weight 'much'"),
        ("weight = 0.5", "points = [[0, 0, nan]]", r"\[data\] sets: points nan: give a number"),
        ("weight = 0.5", "points = [0, 0, 0]", r"\[data\] sets: points 0: give a list of 3, each a number"),
        ("weight = 0.5", "repeat = 1.5", r"\[data\] sets: repeat 1.5: give a positive whole number"),
        ('"b.xyz"', '""', r"\[data\] sets: .* names no file; give path"),
        ('["a.h5", {', "[3, {", r"\[data\] sets: 3 is no table of options"),
        ("epochs = 7", "seed = 1.5", r"\[run\]: seed 1.5: give zero or a positive whole number"),
        ("0.02", "inf", r"\[optimizer\]: learning_rate inf: give a positive number"),
        ("schedule", "average = 1\nschedule", "average 1: give zero or a positive number below 1"),
        ("[data]", "level = 3\n[data]", "unknown key 'level'"),
        ("[loss]\nenergy = 5", "", ""),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, message):
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new, 1))
    if not message:
        assert read_settings(path).loss.energy == 10.0
        return
    with pytest.raises(InputError, match=message):
        read_settings(path)


def test_a_missing_file_names_itself(tmp_path):
    with pytest.raises(OSError, match=r"none\.toml"):
        read_settings(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("channels = 4", "chanels = 4", r"\[model\]: unknown key 'chanels'; did you mean 'channels'"),
        ("channels = 4", "interactions = 1000000", r"\[model\]: interactions 1000000: .* up to 16"),
        ("channels = 4", "cutoff = nan", r"\[model\]: cutoff nan angstrom"),
        (
            "channels = 4",
            "dispersion = {cutof = 3}",
            r"\[model\]: dispersion: unknown key 'cutof'; did you mean 'cutoff'",
        ),
        ("channels = 4", "lmax = 1\nhidden_lmax = 2", r"\[model\]: hidden_lmax 2 exceeds lmax 1"),
    ],
)
def test_what_is_wrong_with_a_model_is_named_when_it_is_read(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        read_settings(write(tmp_path, GOOD.replace(old, new, 1)), LossSettings, MaceSettings)


def test_a_model_keeps_what_is_given_in_json_types(tmp_path):
    text = GOOD.replace("channels = 4", "cutoff = 5\nradial_layers = [8, 8]\ndispersion = {cutoff = 9}")
    found = read_settings(write(tmp_path, text), LossSettings, MaceSettings).model
    assert found == {"cutoff": 5.0, "radial_layers": [8, 8], "dispersion": {"cutoff": 9.0}}
