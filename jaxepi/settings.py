"""Settings: frozen dataclasses whose fields say type, unit, range and meaning once, where they are declared.

What follows from a field: what is refused when an object is made, from Python, the command line or a TOML file; the option
of the command line; and its row in docs/settings.md. Checks that join several fields stand in `__post_init__` of the class,
after that of `Settings`. Imports little.
"""

import dataclasses
import inspect
import math
import numbers
import os
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from jaxepi.errors import InputError, refuse_unknown, shown, shown_words

S = TypeVar("S", bound="Settings")

LARGEST = 2**31 - 1
"""Whole numbers of settings without a bound of their own end here: they must fit into 32 bits."""

MOST_OF_RANGE = 100_000
"""Numbers of one start:stop:step."""

Counts = int | tuple[int, int, int]
"""One number for all directions, or three."""


@dataclasses.dataclass(frozen=True)
class Rule:
    """What is declared of a setting besides its type and default.

    Attributes:
        meaning: in words. unit: of the value; empty without one.
        least, above, most, below: bounds of numbers, of which `above` and `below` are excluded.
        infinite: whether infinity is a value; NaN never is. choices: of a text.
        metavar: what stands for the value on the command line; one an entry of a tuple of fixed length.
        positional: given on the command line by place, not by name; needed there where the default is empty.
        table: settings that a table is checked by.
    """

    meaning: str = ""
    unit: str = ""
    least: float | int | None = None
    above: float | int | None = None
    most: float | int | None = None
    below: float | int | None = None
    infinite: bool = False
    choices: tuple[str, ...] = ()
    metavar: str | tuple[str, ...] = ""
    positional: bool = False
    table: Any = None


def setting(default: Any, meaning: str, unit: str = "", **rule: Any) -> Any:
    """A field of a class of settings; see `Rule`. A mutable default is given as its class."""
    held = {"rule": Rule(meaning, unit, **rule)}
    if default is dict:
        return dataclasses.field(default_factory=dict, metadata=held)
    return dataclasses.field(default=default, metadata=held)


class _RefusedError(Exception):
    """A value, and what was to be given in its place."""


@dataclasses.dataclass(frozen=True)
class Field:
    """A setting as it is declared: the name, type, default and rule; the title of the options it is listed with."""

    name: str
    kind: Any
    default: Any
    rule: Rule
    group: str

    def checked(self, value: Any) -> Any:
        """The value in the type of the setting.

        Raises:
            InputError: another type, or out of range; names the setting, the value and what is allowed.
        """
        if isinstance(value, str) and not value.strip() and self.default != "":
            raise InputError(f"{self.name} {value!r}: give {allowed(self.kind, self.rule)}, or leave it out")
        try:
            found = _convert(self.kind, value, self.rule)
        except _RefusedError as refused:
            given, remedy = refused.args
            unit = f" {self.rule.unit}" if self.rule.unit and type(given) in (int, float) else ""
            raise InputError(f"{self.name} {shown(given)}{unit}: give {remedy}") from None
        if found == () and self.default != ():
            raise InputError(f"{self.name}: the list is empty; give at least one value")
        return found

    def parsed(self, words: Any) -> Any:
        """Words of the command line as a value, not yet checked."""
        if not isinstance(words, str | list) or str in leaves(self.kind):
            return words
        if isinstance(words, str):
            return _number(words)
        return [_number(word) for word in words]

    @property
    def option(self) -> str:
        """Its name on the command line."""
        return self.name if self.rule.positional else f"--{self.name.replace('_', '-')}"

    @property
    def help(self) -> str:
        """Its line in the help."""
        rule = self.rule
        words, bracket, default = rule.meaning.partition(" (default: ")
        if not bracket and self.default not in (None, "", ()) and not rule.positional:
            bracket, default = " (default: ", f"{shown_default(self.default)})"
        return f"{words}{rule.unit and f', {rule.unit}'}{bracket}{default}".replace("%", "%%")

    def add_to(self, command: Any) -> None:
        """Add its option to a parser or group of options; without the option, nothing appears in what is parsed."""
        import argparse

        options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": self.help}
        if self.rule.positional:
            many = typing.get_origin(self.kind) is tuple
            options |= {"nargs": "+"} if many else {} if self.default == "" else {"nargs": "?"}
            command.add_argument(self.name, metavar=self.rule.metavar or None, **options)
            return
        if self.kind is bool:
            command.add_argument(self.option, action=argparse.BooleanOptionalAction, **options)
            return
        options["metavar"] = self.rule.metavar or self.name.upper().replace("_", "-")
        if self.rule.choices:
            options["metavar"] = "{" + ",".join(self.rule.choices) + "}"
        if bool in leaves(self.kind):
            options |= {"nargs": "?", "const": True}
        tuples = [k for k in _members(self.kind) if typing.get_origin(k) is tuple]
        if tuples:
            fixed = _length(tuples[0]) if len(_members(self.kind) - {types.NoneType}) == 1 else None
            options["nargs"] = fixed or "+"
        command.add_argument(self.option, dest=self.name, **options)


class Settings:
    """Base of all classes of settings: every field is checked when an object is made.

    Attributes:
        group: title of the options that a class adds to those it inherits.
    """

    group: ClassVar[str] = ""
    __no_type_check__ = True  # run-time type checkers come before `__post_init__`, which says more and converts

    def __post_init__(self) -> None:
        for field in fields(type(self)):
            object.__setattr__(self, field.name, field.checked(getattr(self, field.name)))

    def asdict(self) -> dict[str, Any]:
        """All settings, in JSON types."""
        return dataclasses.asdict(self)  # type: ignore[call-overload]


_FIELDS: dict[Any, tuple[Field, ...]] = {}


def fields(cls: type[Settings]) -> tuple[Field, ...]:
    """The settings of a class, in the order they are declared in."""
    if cls not in _FIELDS:
        found = []
        for f in dataclasses.fields(cls):  # type: ignore[arg-type]
            owner: Any = next(c for c in cls.__mro__ if f.name in inspect.get_annotations(c))
            default = f.default if f.default_factory is dataclasses.MISSING else f.default_factory()
            found.append(Field(f.name, f.type, default, f.metadata.get("rule", Rule()), owner.group))
        _FIELDS[cls] = tuple(found)
    return _FIELDS[cls]


def add_options(command: Any, *classes: type[Settings]) -> None:
    """Add the options of classes of settings to a parser, in groups."""
    groups: dict[str, Any] = {"": command}
    for field in (f for cls in classes for f in fields(cls)):
        if field.group not in groups:
            groups[field.group] = command.add_argument_group(field.group)
        field.add_to(groups[field.group])


def from_words(words: Mapping[str, Any], *classes: type[Settings]) -> dict[str, Any]:
    """What `add_options` found on a command line as values, not yet checked."""
    return {f.name: f.parsed(words[f.name]) for cls in classes for f in fields(cls) if f.name in words}


def read_toml(path: str | Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        InputError: it is none. OSError: it cannot be read.
    """
    import tomllib

    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of text that is not UTF-8, no TOML, or has numbers of 5000 digits
        raise InputError(f"{path} is not a TOML file: {shown_words(str(error))}") from error


def values_of(table: Any, where: str, *classes: type[Settings]) -> dict[str, Any]:
    """The checked values of a table; its keys may have dashes for underscores.

    Raises:
        InputError: no table, an unknown key (with the nearest known one), or a value that is refused; begins with `where`.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: {shown(table)} is no table of options")
    known = {f.name: f for cls in classes for f in fields(cls)}
    values: dict[str, Any] = {}
    for key, value in table.items():
        name = str(key).replace("-", "_")
        refuse_unknown([name], known, where)
        if name in values:
            raise InputError(f"{where}: {name} is given twice; give it once")
        try:
            values[name] = known[name].checked(value)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return values


def from_table(cls: type[S], table: Any, where: str) -> S:
    """Settings from a table.

    Raises:
        InputError: as `values_of`, or what `cls` refuses; begins with `where`.
    """
    values = values_of(table, where, cls)
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def given_of(cls: type[Settings], table: Any, where: str) -> dict[str, Any]:
    """The settings of a table that were given, in JSON types; what `from_table` refuses is refused."""
    names = values_of(table, where, cls)
    found = from_table(cls, table, where).asdict()
    return {name: as_json(found[name]) for name in names}


def as_json(value: Any) -> Any:
    """A value of settings in JSON types: lists for tuples."""
    if isinstance(value, Mapping):
        return {name: as_json(v) for name, v in value.items()}
    return [as_json(v) for v in value] if isinstance(value, tuple | list) else value


# Types


def _members(kind: Any) -> set[Any]:
    """The types a value may have."""
    return set(typing.get_args(kind)) if typing.get_origin(kind) in (types.UnionType, typing.Union) else {kind}


def leaves(kind: Any) -> set[Any]:
    """The types of single values: those in tuples included."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union, tuple):
        return set().union(*(leaves(k) for k in typing.get_args(kind) if k is not Ellipsis))
    return {kind}


def _length(kind: Any) -> int | None:
    """How many values a tuple has; None for any number."""
    return None if Ellipsis in typing.get_args(kind) else len(typing.get_args(kind))


def _convert(kind: Any, value: Any, rule: Rule) -> Any:
    """A value in a type, within the bounds of a rule."""
    value = value.tolist() if hasattr(value, "tolist") else value  # arrays and numbers of NumPy and JAX
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return _first(kind, value, rule)
    if typing.get_origin(kind) is tuple:
        return _tuple(kind, value, rule)
    if kind in (int, float):
        return _within(kind, value, rule)
    if kind is str:
        return _text(value, rule)
    if isinstance(value, Mapping) and (rule.table or typing.get_origin(kind) is Mapping):
        return dict(value) if rule.table is None else given_of(rule.table, value, rule.table.group)
    if kind is Any:
        return value
    if typing.get_origin(kind) is Mapping or not isinstance(value, kind):
        raise _RefusedError(value, allowed(kind, rule))
    return value


def _first(kind: Any, value: Any, rule: Rule) -> Any:
    """A value in the first of several types that takes it."""
    entries = [value, value[0]] if isinstance(value, list | tuple) and len(value) == 1 else [value]
    for entry in entries:
        for member in typing.get_args(kind):
            try:
                return _convert(member, entry, rule)
            except _RefusedError:
                continue
    members = [member for member in typing.get_args(kind) if member is not types.NoneType]
    if len(members) == 1:
        try:
            return _convert(members[0], value, rule)
        except _RefusedError as refused:  # which says in its own words what is wrong
            raise _RefusedError(value, refused.args[1]) from None
    raise _RefusedError(value, allowed(kind, rule))


def _tuple(kind: Any, value: Any, rule: Rule) -> tuple[Any, ...]:
    members, length = typing.get_args(kind), _length(kind)
    if length is None and isinstance(value, str | int | float) and not isinstance(value, bool):
        value = (value,)
    if not isinstance(value, list | tuple) or length not in (None, len(value)):
        raise _RefusedError(value, allowed(kind, rule))
    if length is None and members[0] is float:
        value = [number for entry in value for number in _ranged(entry)]
    each = members if length is not None else members[:1] * len(value)
    return tuple(_convert(member, entry, rule) for member, entry in zip(each, value, strict=True))


def _ranged(entry: Any) -> Sequence[Any]:
    """The numbers of `start:stop:step`, the stop among them where a step falls on it; anything else by itself."""
    if not isinstance(entry, str) or ":" not in entry:
        return (entry,)
    remedy = f"numbers, or start:stop:step with a step towards the stop and {MOST_OF_RANGE} numbers at most"
    try:
        start, stop, step = (float(word) for word in entry.split(":"))
        count = math.floor((stop - start) / step + 1e-9) + 1
    except (ValueError, ZeroDivisionError, OverflowError):
        raise _RefusedError(entry, remedy) from None
    if not 1 <= count <= MOST_OF_RANGE:
        raise _RefusedError(entry, remedy)
    # Rounded, so that 0:1:0.1 has 0.3, as the list 0.3 has it, and not 0.30000000000000004.
    return [float(f"{start + i * step:.12g}") for i in range(count)]


def _within(kind: type, value: Any, rule: Rule) -> Any:
    """A number of a type within the bounds."""
    refused = _RefusedError(value, allowed(kind, rule))
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise refused
    try:
        found = kind(value)
    except (ValueError, OverflowError):  # NaN or infinity as a whole number, or one beyond all floats
        raise refused from None
    if kind is int and found != value:
        raise refused
    if kind is float and (math.isnan(found) or (math.isinf(found) and not rule.infinite)):
        raise refused
    if (rule.least is not None and found < rule.least) or (rule.above is not None and found <= rule.above):
        raise refused
    if (rule.most is not None and found > rule.most) or (rule.below is not None and found >= rule.below):
        raise _RefusedError(value, allowed(kind, rule) + ("" if rule.most is None else f" up to {rule.most:.15g}"))
    if kind is int and rule.most is None and abs(found) > LARGEST:
        raise _RefusedError(value, f"a whole number up to {LARGEST}")
    return found


def _text(value: Any, rule: Rule) -> str:
    """A text of the choices, or one without control characters."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or (rule.choices and value not in rule.choices) or re.search(r"[\x00-\x1f]", value):
        raise _RefusedError(value, allowed(str, rule))
    return value


def _number(word: str) -> Any:
    """A word as a number, or itself where it is none."""
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


# Words


def allowed(kind: Any, rule: Rule) -> str:
    """What may be given, in words."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return " or ".join(allowed(k, rule) for k in typing.get_args(kind) if k is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        length, kinds = _length(kind), dict.fromkeys(k for k in typing.get_args(kind) if k is not Ellipsis)
        words = f" ({' '.join(rule.metavar)})" if isinstance(rule.metavar, tuple) else ""
        count = "a list" if length is None else f"a list of {length}{words}"
        return f"{count}, each " + " or ".join(allowed(k, rule) for k in kinds)
    if kind is str:
        return f"one of {', '.join(rule.choices)}" if rule.choices else "a text in one line"
    if kind not in (int, float):
        return "true or false" if kind is bool else "a table of options"
    noun = "whole number" if kind is int else "number"
    if rule.above == 0 or (rule.least == 1 and kind is int):
        text = f"a positive {noun}"
    elif rule.least == 0:
        text = f"zero or a positive {noun}"
    else:
        text = f"a {noun}"
        text += "" if rule.least is None else f" from {rule.least:g}"
        text += "" if rule.above is None else f" above {rule.above:g}"
    return text + ("" if rule.below is None else f" below {rule.below:g}")


def shown_default(value: Any) -> str:
    """A default in the help: as it is written on the command line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value)
    return f"{value:g}" if isinstance(value, float) else str(value)
