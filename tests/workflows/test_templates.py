"""Configurations that `jaxepi train --example` writes: nothing in them can drift, and they run as they are."""

import re
import tomllib

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from jaxepi import cli
from jaxepi.errors import InputError
from jaxepi.settings import as_json, fields
from jaxepi.training import settings as t
from jaxepi.workflows import hamiltonian, templates, training

KINDS = {"potential": training, "hamiltonian": hamiltonian}


def frames():
    """Two crystals with labels of no physics, under the names that MACE gives them; no stress."""
    out = [bulk("Ge", a=5.66), bulk("Ge", a=5.67)]
    for atoms in out:
        atoms.info["REF_energy"] = -3.0
        atoms.arrays["REF_forces"] = np.zeros((2, 3))
    return out


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_stands_in_it_with_its_default(kind, folder):
    text = templates.example(kind, "a.toml")
    (folder / "a.toml").write_text(text)
    read = KINDS[kind].configured("a.toml")
    assert [entry.path for entry in read.data.sets] == [templates.SETS[kind]]
    for _, settings, chosen in templates._tables(kind, "x", None):
        for field in fields(settings):
            assert f"\n# {field.name}: " in text
            if field.name not in chosen:
                (line,) = re.findall(rf"(?m)^# {field.name} = (.*)$", text)
                if field.default is not None:
                    assert tomllib.loads(f"x = {line}")["x"] == as_json(field.default)
    for field in fields(t.SetSettings):
        assert field.name == "path" or f"\n#     {field.name}: " in text


def test_it_fits_the_set_that_it_names(folder):
    write("labels.xyz", frames(), format="extxyz")
    found = tomllib.loads(templates.example("potential", "a.toml", "labels.xyz", "../labels.xyz"))
    assert found["data"]["sets"] == ["../labels.xyz"]
    assert found["loss"]["stress"] == 0.0
    with pytest.raises(InputError, match=r"labels\.xyz holds no eigenvalues, which a hamiltonian learns from"):
        templates.example("hamiltonian", "a.toml", "labels.xyz")
    with pytest.raises(InputError, match="there is no data set nowhere"):
        templates.example("potential", "a.toml", "nowhere")


def test_a_base_is_a_published_set_with_the_elements():
    seen = templates._Seen("dft", ("Ge",), True, 2.45)
    assert templates._base(seen) == "ge-jancu1998"
    with pytest.raises(InputError, match="no published set has As and Si"):
        templates._base(seen._replace(elements=("As", "Si")))


def test_the_command_writes_it_and_nothing_over_another(folder, capsys):
    assert cli.main(["train", "--example", "potential"]) == 0
    assert "`jaxepi train potential potential.toml` trains it" in capsys.readouterr().out
    for words, message in (
        (["--example", "potential"], "potential.toml was not made by this command"),
        (["--example", "potential", "--output", "a.txt"], "ends in one of .toml"),
        (
            ["potential", "--example", "potential"],
            "--example potential only writes a configuration; leave potential out",
        ),
        (["potential", "potential.toml", "--data", "x"], "--data is what --example names"),
        (["potential"], "name the kind of model and its configuration"),
        (["--example", "spectrum"], "give one of potential, hamiltonian"),
    ):
        assert cli.main(["train", *words]) == 2
        err = capsys.readouterr().err
        assert message in err
        assert err.count("\n") == 1
