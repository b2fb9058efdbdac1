"""Typed settings: what a field takes and refuses, and the options, tables and page that follow from it."""

import argparse
import dataclasses
import json
import math
import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import settings as s
from jaxepi.errors import InputError
from jaxepi.settings import Counts, Settings, setting
from jaxepi.training import DataSettings, SetSettings, TrainingSettings
from jaxepi.workflows import AbsorptionSettings, BandsSettings, DynamicsSettings, GapSettings, PhononsSettings


@dataclasses.dataclass(frozen=True)
class Inner(Settings):
    group = "inner"

    size: float = setting(1.0, "of it", above=0)


@dataclasses.dataclass(frozen=True)
class Everything(Settings):
    group = "all"

    count: int = setting(2, "how many", least=1, most=9)
    width: float = setting(0.5, "of lines", "eV", above=0)
    limit: float = setting(math.inf, "none when infinite", least=0, infinite=True)
    word: str = setting("one", "of some", choices=("one", "two"))
    name: str | None = setting(None, "of a file")
    switch: bool = setting(True, "on or off")
    repeats: Counts = setting(2, "one or three", least=1)
    values: tuple[float, ...] = setting((1.0,), "any number of them", "K", least=0)
    span: tuple[float, float, int] = setting((1.0, 2.0, 3), "from, to, how many", metavar=("A", "B", "C"))
    table: bool | Mapping[str, Any] = setting(False, "or a table", table=Inner)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"count": 3.0}, 3),
        ({"count": np.int32(4)}, 4),
        ({"width": 1}, 1.0),
        ({"width": np.float32(0.25)}, 0.25),
        ({"width": jnp.asarray(0.25)}, 0.25),
        ({"limit": math.inf}, math.inf),
        ({"name": Path("a") / "b"}, "a/b"),
        ({"switch": np.bool_(False)}, False),
        ({"repeats": [1, 2, 3]}, (1, 2, 3)),
        ({"repeats": [4]}, 4),
        ({"values": 300}, (300.0,)),
        ({"values": np.array([1, 2])}, (1.0, 2.0)),
        ({"values": "0:0.4:0.1"}, (0.0, 0.1, 0.2, 0.3, 0.4)),
        ({"values": ["300:100:-100", 50]}, (300.0, 200.0, 100.0, 50.0)),
        ({"values": "0:5:2"}, (0.0, 2.0, 4.0)),
        ({"span": [0, 5, 11.0]}, (0.0, 5.0, 11)),
        ({"table": {"size": 2}}, {"size": 2.0}),
    ],
)
def test_values_come_in_the_type_of_their_setting(given, found):
    (name,) = given
    made = getattr(Everything(**given), name)
    assert made == found
    assert type(made) is type(found)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": True}, "count True: give a positive whole number"),
        ({"count": 2.5}, "count 2.5: give a positive whole number"),
        ({"count": "2"}, "count '2': give a positive whole number"),
        ({"count": 10}, "count 10: give a positive whole number up to 9"),
        ({"count": math.nan}, "count nan: give"),
        ({"count": 10**400}, "count of 400 digits: give"),
        ({"width": 0}, "width 0 eV: give a positive number"),
        ({"width": math.nan}, "width nan eV: give a positive number"),
        ({"width": math.inf}, "width inf eV: give a positive number"),
        ({"width": 10**400}, "width of 400 digits eV: give"),
        ({"limit": -math.inf}, "limit -inf: give zero or a positive number"),
        ({"word": "three"}, "word 'three': give one of one, two"),
        ({"name": ""}, "name '': give a text in one line, or leave it out"),
        ({"name": "a\0b"}, r"name 'a\x00b': give a text in one line"),
        ({"name": 3}, "name 3: give a text in one line"),
        ({"switch": 1}, "switch 1: give true or false"),
        ({"repeats": [1, 2]}, "repeats 1 2: give a positive whole number or a list of 3, each a positive whole number"),
        ({"repeats": (0, 1, 1)}, "repeats 0 1 1: give"),
        ({"values": [1.0, -2.0]}, "values -2.0 K: give zero or a positive number"),
        ({"values": "0:600"}, "values '0:600': give numbers, or start:stop:step with a step towards the stop"),
        ({"values": "0:600:0"}, "values '0:600:0'"),
        ({"values": "0:600:-2"}, "values '0:600:-2'"),
        ({"values": "0:1e9:1e-3"}, "100000 numbers at most"),
        ({"values": "a:b:c"}, "values 'a:b:c'"),
        ({"values": "-10:10:10"}, "values -10.0 K: give zero or a positive number"),
        ({"values": []}, "values: the list is empty; give at least one value"),
        ({"span": [1, 2]}, "span 1 2: give a list of 3 (A B C), each a number or a whole number"),
        ({"span": [1, 2, 3.5]}, "span 3.5: give a whole number"),
        ({"table": {"sise": 1}}, "inner: unknown key 'sise'; did you mean 'size'?"),
        ({"table": {"size": -1}}, "inner: size -1: give a positive number"),
        ({"table": "yes"}, "table 'yes': give true or false or a table of options"),
    ],
)
def test_what_is_refused_names_setting_value_and_remedy(given, message):
    with pytest.raises(InputError) as refused:
        Everything(**given)
    assert message in str(refused.value)


def test_options_follow_from_the_fields():
    parser = argparse.ArgumentParser()
    s.add_options(parser, Everything)
    line = ["--count", "3", "--width", "1e-3", "--no-switch", "--name", "x", "--repeats", "1", "2", "3"]
    line += ["--values", "1", "2", "--span", "0", "5", "11"]
    found = Everything(**s.from_words(vars(parser.parse_args(line)), Everything))
    assert found == Everything(
        3, 1e-3, name="x", switch=False, repeats=(1, 2, 3), values=(1.0, 2.0), span=(0.0, 5.0, 11)
    )
    assert s.from_words(vars(parser.parse_args([])), Everything) == {}
    text = " ".join(parser.format_help().split())
    assert "--width WIDTH of lines, eV (default: 0.5)" in text
    assert "--span A B C from, to, how many (default: 1 2 3)" in text
    assert "--word {one,two} of some (default: one)" in text


def test_tables_take_dashes_and_name_the_nearest_key():
    assert s.from_table(AbsorptionSettings, {"spin-orbit": True}, "a.toml").spin_orbit
    with pytest.raises(InputError, match=r"a.toml: unknown key 'spin_orbitt'; did you mean 'spin_orbit'"):
        s.from_table(AbsorptionSettings, {"spin-orbitt": True}, "a.toml")
    assert s.given_of(Everything, {"repeats": [1, 2, 3], "width": 1}, "a") == {"repeats": [1, 2, 3], "width": 1.0}


def test_settings_of_studies_stay_simple_to_use():
    made = AbsorptionSettings(crystal="silicon", temperatures=(300.0,))
    assert made == AbsorptionSettings()
    assert json.loads(json.dumps(made.asdict()))["energies"] == [0.5, 5.0, 451]
    assert dataclasses.replace(made, width=1).width == 1.0
    assert "width=0.03" in repr(made)
    assert GapSettings().temperatures == ()


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (AbsorptionSettings, {"energies": (3.0, 2.0, 10)}, "photon energies from 3 to 2 eV"),
        (AbsorptionSettings, {"energies": (1.0, 2.0, 1)}, "1 photon energies: ask for at least two"),
        (AbsorptionSettings, {"energies": (1.0, 2.0, 10**6)}, "ask for at least two, and for 20000 at most"),
        (AbsorptionSettings, {"tauc_window": (2.0, 1.0)}, "Tauc window 2 to 1 eV"),
        (AbsorptionSettings, {"snapshots": 3}, "antithetic snapshots come in pairs; ask for 4"),
        (AbsorptionSettings, {"sampling": "molecular-dynamics"}, "statistics quantum"),
        (
            AbsorptionSettings,
            {"sampling": "path-integral", "statistics": "classical"},
            "ring polymers are quantum nuclei",
        ),
        (AbsorptionSettings, {"sampling": "sobol", "snapshots": 6}, "2 x 4 x a power of two; ask for 8"),
        (AbsorptionSettings, {"self_consistent": True, "phonons": "a.yaml"}, "not of phonons a.yaml"),
        (
            AbsorptionSettings,
            {"self_consistent": True, "statistics": "classical"},
            "harmonic snapshots of quantum nuclei",
        ),
        (AbsorptionSettings, {"temperatures": (1.0, 1)}, "temperature 1 K is given twice"),
        (AbsorptionSettings, {"scissor": math.nan}, "scissor nan eV"),
        (
            AbsorptionSettings,
            {"solver": "stochastic", "broadening": "lorentzian"},
            "broadening lorentzian with solver stochastic: its lines are Gaussians already; take gaussian, or dense",
        ),
        (
            AbsorptionSettings,
            {"kmesh": 1000},
            "kmesh 1000: 1000000000 k points; give divisions of 1000000 points at most",
        ),
        (AbsorptionSettings, {"kmesh": (1000, 1000, 2)}, "2000000 k points"),
        (AbsorptionSettings, {"kmesh": (2.9, 2, 2)}, "kmesh 2.9 2 2: give"),
        (DynamicsSettings, {"temperatures": (0.0,)}, "temperatures 0.0 K: give a positive number"),
        (DynamicsSettings, {"heating": 4}, "heating 4: give a positive number below 4"),
        (
            PhononsSettings,
            {"supercell": 10**20},
            "supercell 100000000000000000000: give a positive whole number up to 100",
        ),
        (BandsSettings, {"points": 1}, "points 1: give a whole number from 2"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(kind, given, message):
    with pytest.raises(InputError) as refused:
        kind(**given)
    assert message in str(refused.value)


def test_configurations_made_in_python_are_checked():
    data = DataSettings(sets=(SetSettings(path="a.h5"),), level="pbe")
    assert TrainingSettings(data).asdict()["run"]["epochs"] == 300
    for change in ({"loss": 3}, {"optimizer": {"clip": 1}}, {"run": None}, {"model": "mace"}):
        with pytest.raises(InputError, match=next(iter(change))):
            TrainingSettings(data, **change)
    with pytest.raises(InputError, match="sets 'a'"):
        DataSettings(sets=("a",), level="pbe")


def test_the_reference_page_is_what_the_declarations_give():
    script = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "write_settings_reference.py"))
    assert script["PAGE"].read_text(encoding="utf-8") == script["page"](), "run scripts/write_settings_reference.py"
