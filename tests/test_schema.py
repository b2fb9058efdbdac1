"""What JSON files must hold: each kind takes what it should and names file, key, value and remedy of anything else."""

import math

import pytest

from jaxepi import schema
from jaxepi.errors import InputError

FORM = schema.Table(
    {"name": schema.Text(("a", "b")), "cutoff": schema.Number(0, 10, "angstrom")},
    {
        "count": schema.Number(1, 9, whole=True),
        "pbc": schema.Either(schema.Flag(), schema.List(schema.Flag(), 3, 3)),
        "low": schema.Maybe(schema.Number()),
        "shells": schema.Entries(schema.List(schema.Text()), ("Si", "Ge"), least=1),
    },
)
GOOD = {"name": "a", "cutoff": 3}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"count": 9},
        {"pbc": True},
        {"pbc": [True, False, True]},
        {"low": None},
        {"low": -1.5},
        {"shells": {"Si": ["s"]}},
    ],
)
def test_what_fits_is_let_through(more):
    FORM.check(GOOD | more, "x.json", "")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], r"x\.json: \[\]: give a table with name, cutoff"),
        ({"name": "a"}, r"x\.json: cutoff is missing; give it"),
        (GOOD | {"cutof": 1}, r"x\.json: unknown key 'cutof'; did you mean 'cutoff'"),
        (GOOD | {"name": "c"}, r"x\.json: name = 'c': give one of a, b"),
        (GOOD | {"name": 1}, r"x\.json: name = 1: give a text"),
        (GOOD | {"cutoff": math.nan}, r"x\.json: cutoff = nan angstrom: give"),
        (GOOD | {"cutoff": 10.5}, r"x\.json: cutoff = 10\.5 angstrom: give .* up to 10"),
        (GOOD | {"cutoff": True}, r"x\.json: cutoff = True: give"),
        (GOOD | {"cutoff": 10**400}, r"x\.json: cutoff = of 400 digits"),
        (GOOD | {"count": 2.5}, r"x\.json: count = 2\.5: give a positive whole number"),
        (GOOD | {"pbc": [True]}, r"x\.json: pbc = True: give a list of 3"),
        (GOOD | {"pbc": "yes"}, r"x\.json: pbc = 'yes': give true or false"),
        (GOOD | {"shells": {}}, r"x\.json: shells = {}: give a table of at least 1"),
        (GOOD | {"shells": {"Sj": ["s"]}}, r"x\.json, shells: unknown key 'Sj'; known are Si, Ge"),
        (GOOD | {"shells": {"Si": []}}, r"x\.json: shells\.Si = \[\]: give a list of at least 1"),
        (GOOD | {"shells": {"Si": ["s", 2]}}, r"x\.json: shells\.Si\[1\] = 2: give a text"),
    ],
)
def test_anything_else_is_named(value, message):
    with pytest.raises(InputError, match=message):
        FORM.check(value, "x.json", "")


@pytest.mark.parametrize("text", ["", "{", "[1,", '{"a": 1, "a": 2}', "[" * 10**5, "1" * 5000])
def test_what_is_not_json_is_refused(tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(InputError, match=r"model .*x\.json cannot be read: "):
        schema.read(tmp_path / "x.json", "model")
