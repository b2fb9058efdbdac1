"""Bad input by the hundred: whatever is given is taken as it is declared, or refused in one line that names it."""

import dataclasses
import datetime
import math
import types
import typing
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxepi import cli, commands
from jaxepi.errors import InputError
from jaxepi.fitting.dipoles import DipoleSettings
from jaxepi.hamiltonians.settings import EquivariantSettings, SlaterKosterSettings
from jaxepi.potentials.settings import DispersionSettings, MaceSettings
from jaxepi.settings import Settings, fields, from_table, read_toml
from jaxepi.training import settings as training
from jaxepi.training.settings import BandLossSettings, BlockLossSettings, LossSettings, read_settings

CLASSES = sorted(
    {cls for command in commands.COMMANDS.values() for cls in (command.settings, command.files) if fields(cls)}
    | {training.SetSettings, training.LossSettings, training.BandLossSettings, training.OptimizerSettings}
    | {
        training.RunSettings,
        MaceSettings,
        DispersionSettings,
        SlaterKosterSettings,
        EquivariantSettings,
        BlockLossSettings,
        DipoleSettings,
    },
    key=lambda cls: cls.__name__,
)
MANY = settings(max_examples=40, deadline=None, derandomize=True, database=None)

numbers = st.one_of(
    st.integers(-3, 10),
    st.integers(),
    st.sampled_from([10**6, 10**12, 10**20, 10**400, -(10**400), 2**31, 2**32]),
    st.floats(),
    st.floats(0.0, 10.0),
    st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e300, 4.7]),
)
single = st.one_of(
    numbers, st.none(), st.booleans(), st.text(max_size=12), st.just("x" * 3000), st.just(datetime.date(1979, 5, 27))
)
anything = st.recursive(
    single, lambda x: st.lists(x, max_size=4) | st.dictionaries(st.text(max_size=4), x, max_size=2), max_leaves=6
)


def legal(kind, value, rule):
    """Whether a value is what a setting declares; written apart from what checks it."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return any(legal(member, value, rule) for member in typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        each = typing.get_args(kind)
        each = each[:1] * len(value or ()) if Ellipsis in each else each
        return (
            isinstance(value, tuple)
            and len(each) == len(value)
            and all(legal(k, v, rule) for k, v in zip(each, value, strict=True))
        )
    if typing.get_origin(kind) is Mapping:
        return isinstance(value, dict)
    if type(value) is not kind:
        return False
    if kind is str:
        return not rule.choices or value in rule.choices
    if kind not in (int, float):
        return True
    bounds = [
        (rule.least, value.__ge__),
        (rule.above, value.__gt__),
        (rule.most, value.__le__),
        (rule.below, value.__lt__),
    ]
    held = all(holds(kind(bound)) for bound, holds in bounds if bound is not None)
    return held and value == value and (rule.infinite or abs(value) < math.inf)


def one_line(error, name):
    text = str(error)
    assert name in text
    assert "\n" not in text
    assert len(text) < 1000


@pytest.mark.slow
@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
@given(st.data())
@MANY
def test_a_setting_is_what_it_declares_or_refused_by_name(cls, data):
    field = data.draw(st.sampled_from(fields(cls)))
    value = data.draw(anything)
    try:
        found = field.checked(value)
    except InputError as error:
        one_line(error, "" if field.rule.table else field.name)
        return
    assert legal(field.kind, found, field.rule), (field.name, value, found)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.__name__)
@given(st.data())
@MANY
def test_tables_make_settings_or_are_refused(cls, data):
    names = [f.name for f in fields(cls)]
    keys = st.sampled_from([*names, *(n.replace("_", "-") for n in names)]) | st.text(max_size=8)
    table = data.draw(st.dictionaries(keys, anything, max_size=4) | anything)
    try:
        made = from_table(cls, table, "file.toml: [table]")
    except InputError as error:
        one_line(error, "file.toml: [table]: ")
        return
    assert from_table(cls, made.asdict(), "again") == made
    assert all(legal(f.kind, getattr(made, f.name), f.rule) for f in fields(cls) if type(f.kind) is type)


def as_toml(value):
    """A value as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{as_toml(str(k))} = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(as_toml(v) for v in value)}]"
    if isinstance(value, str):
        return '"' + "".join(c if c.isalnum() and c.isascii() else f"\\u{ord(c) % 0xD800:04x}" for c in value) + '"'
    return '"none"' if value is None else str(value)


TABLES = {
    "data": training.DataSettings,
    "model": MaceSettings,
    "loss": training.LossSettings,
    "optimizer": training.OptimizerSettings,
    "run": training.RunSettings,
}


@given(st.data(), st.sampled_from([(LossSettings, MaceSettings), (BandLossSettings, SlaterKosterSettings)]))
@MANY
def test_training_configurations_are_read_or_refused(tmp_path_factory, data, kinds):
    lines = []
    for name, cls in TABLES.items():
        known = [f.name for f in fields({"loss": kinds[0], "model": kinds[1]}.get(name, cls))]
        table = data.draw(st.dictionaries(st.sampled_from(known) | st.text(max_size=5), anything, max_size=2))
        if name == "data" and data.draw(st.booleans()):
            one = st.dictionaries(st.sampled_from([f.name for f in fields(training.SetSettings)]), anything, max_size=2)
            table |= {"level": "pbe", "sets": data.draw(st.lists(one, max_size=2) | st.just(["a.h5"]))}
        lines += [f"[{name}]", *(f"{as_toml(k)} = {as_toml(v)}" for k, v in table.items())]
    path = tmp_path_factory.mktemp("toml") / "config.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    try:
        found = read_settings(path, *kinds)
    except InputError as error:
        one_line(error, str(path))
        return
    assert found.data.sets
    for part in (found.data, found.loss, found.optimizer, found.run, *found.data.sets):
        for field in fields(type(part)):
            if dataclasses.is_dataclass(field.rule.table):
                continue
            assert legal(field.kind, getattr(part, field.name), field.rule)


@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(str.encode)
    | st.just(b"a = " + b"[" * 50000)
    | st.just(b"a=" + b"9" * 5000)
)
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
def test_files_that_are_no_toml_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("toml") / "config.toml"
    path.write_bytes(content)
    try:
        assert isinstance(read_toml(path), dict)
    except InputError as error:
        one_line(error, "is not a TOML file")


@given(st.data())
@settings(max_examples=100, deadline=None, derandomize=True, database=None)
def test_command_lines_are_understood_or_refused(data):
    name = data.draw(st.sampled_from(list(commands.COMMANDS)))
    command = commands.COMMANDS[name]
    known = [f for cls in (command.settings, command.files) for f in fields(cls)]
    junk = st.sampled_from(
        ["--", "-", "--help", "--config", "nan", "inf", "-1", "-1e-3", "1e400", "9" * 5000, "", "$x$"]
    )
    words = junk | st.text(max_size=6) | numbers.map(lambda x: str(x)[:4000]) | st.just("x" * 2000)
    line = name.split() if data.draw(st.integers(0, 9)) else []
    line += ["silicon"] if data.draw(st.booleans()) else []
    for field in data.draw(st.lists(st.sampled_from(known), max_size=4)) if known else ():
        line += [field.option] if data.draw(st.integers(0, 5)) else [data.draw(words)]
        line += data.draw(st.lists(words, max_size=3))
    try:
        _, made, files = cli._parse(line)
    except InputError as error:
        one_line(error, "")
        return
    except SystemExit:
        assert {"--help", "-h", "--version"} & set(line)
        return
    except OSError:
        assert "--config" in line
        return
    for part in (made, files):
        assert isinstance(part, Settings)
        assert all(legal(f.kind, getattr(part, f.name), f.rule) for f in fields(type(part)))


LONG = "x" * 2000


@pytest.mark.parametrize(
    "line",
    [
        ["bands", LONG],
        ["bands", "silicon", "--hamiltonian", LONG],
        ["bands", "silicon", "--hamiltonian", ""],
        ["bands", "silicon", "--path", LONG],
        ["bands", "silicon", "--config", LONG],
        ["bands", "silicon", "--output", f"{LONG}.png"],
        ["bands", "silicon", "--output", "$x^{_$.gif"],
        ["phonons", "silicon", "--potential", LONG],
        ["phonons", "silicon", "--supercell", "1" + "0" * 20],
        ["absorb", "silicon", "--output", f"{LONG}.h5"],
        ["absorb", "silicon", "--figure", f"{LONG}.png"],
        ["absorb", "silicon", "--csv", LONG],
        ["absorb", "silicon", "--supercell", "1000"],
        ["sample", "silicon", "--output", f"{LONG}.xyz"],
        ["sample", "silicon", "--supercell", "1000"],
        ["md", "silicon", "--output", f"{LONG}.h5"],
        ["train", "potential", LONG],
        ["train", "hamiltonian", ""],
        ["materials", LONG],
        ["materials", f"{LONG}.npz"],
    ],
    ids=lambda line: " ".join(word[:20] for word in line),
)
def test_odd_words_end_in_one_line_whatever_command_they_meet(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(line) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("jaxepi: ")
    assert len(err.splitlines()) == 1
    assert not list(tmp_path.iterdir())
