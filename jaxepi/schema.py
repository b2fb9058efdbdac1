"""What JSON files must hold, declared as data: tables, lists, numbers and texts with their ranges.

Whoever reads such a file declares its form and calls `check`; a refusal is one line with file, key, value and remedy. Single
values are checked as those of settings are (`jaxepi.settings`).
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol, runtime_checkable

from jaxepi.errors import InputError, refuse_unknown, shown, shown_words
from jaxepi.settings import Field, Rule


@runtime_checkable
class Kind(Protocol):
    """What a value must be."""

    def check(self, value: Any, file: str, key: str) -> None:
        """Refuse another value.

        Args:
            file, key: where the value stands.

        Raises:
            InputError: names file, key, value and remedy.
        """


def _refuse(file: str, key: str, value: Any, remedy: str) -> NoReturn:
    raise InputError(f"{file}: {f'{key} = ' if key else ''}{shown(value)}: give {remedy}")


def _inside(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


@dataclasses.dataclass(frozen=True)
class Number:
    """A finite number.

    Attributes:
        low, high: bounds, which it may reach. unit: for the message. whole: whether it must be whole.
    """

    low: float | int = -1e6
    high: float | int = 1e6
    unit: str = ""
    whole: bool = False

    def check(self, value: Any, file: str, key: str) -> None:
        rule = Rule(unit=self.unit, least=self.low, most=self.high)
        Field(f"{file}: {key} =", int if self.whole else float, None, rule, "").checked(value)


@dataclasses.dataclass(frozen=True)
class Text:
    """A text, of the `choices` where there are any."""

    choices: tuple[str, ...] = ()

    def check(self, value: Any, file: str, key: str) -> None:
        if not isinstance(value, str):
            _refuse(file, key, value, "a text in quotation marks")
        if self.choices and value not in self.choices:
            _refuse(file, key, value, f"one of {', '.join(self.choices)}")


@dataclasses.dataclass(frozen=True)
class Flag:
    """True or false."""

    def check(self, value: Any, file: str, key: str) -> None:
        if not isinstance(value, bool):
            _refuse(file, key, value, "true or false")


@dataclasses.dataclass(frozen=True)
class Maybe:
    """A value of a kind, or null."""

    item: Kind

    def check(self, value: Any, file: str, key: str) -> None:
        if value is not None:
            self.item.check(value, file, key)


@dataclasses.dataclass(frozen=True)
class Either:
    """A list of the second kind, or one value of the first."""

    single: Kind
    several: Kind

    def check(self, value: Any, file: str, key: str) -> None:
        (self.several if isinstance(value, list) else self.single).check(value, file, key)


@dataclasses.dataclass(frozen=True)
class List:
    """A list of `least` to `most` values of one kind."""

    item: Kind
    least: int = 1
    most: int = 1000

    def check(self, value: Any, file: str, key: str) -> None:
        if not isinstance(value, list) or not self.least <= len(value) <= self.most:
            count = f"{self.least}" if self.least == self.most else f"at least {self.least}"
            _refuse(file, key, value, f"a list of {count} value(s)")
        for i, entry in enumerate(value):
            self.item.check(entry, file, f"{key}[{i}]")


@dataclasses.dataclass(frozen=True)
class Table:
    """Names and values, each name with its kind.

    Attributes:
        required, optional: kinds by name. others: whether further names are let through, unchecked.
    """

    required: Mapping[str, Kind]
    optional: Mapping[str, Kind] = dataclasses.field(default_factory=dict)
    others: bool = False

    def check(self, value: Any, file: str, key: str) -> None:
        if not isinstance(value, Mapping):
            _refuse(file, key, value, f"a table with {', '.join(self.required) or 'names and values'}")
        known = {**self.required, **self.optional}
        if not self.others:
            refuse_unknown(value, known, f"{file}{f', {key}' if key else ''}")
        for name in self.required:
            if name not in value:
                raise InputError(f"{file}: {_inside(key, name)} is missing; give it")
        for name, kind in known.items():
            if name in value:
                kind.check(value[name], file, _inside(key, name))


@dataclasses.dataclass(frozen=True)
class Entries:
    """Names that are free, or of the `names`, with values of one kind, at least `least` of them."""

    item: Kind
    names: tuple[str, ...] = ()
    least: int = 0

    def check(self, value: Any, file: str, key: str) -> None:
        if not isinstance(value, Mapping) or len(value) < self.least:
            _refuse(file, key, value, f"a table of at least {self.least} name(s) with values")
        if self.names:
            refuse_unknown(value, self.names, f"{file}{f', {key}' if key else ''}")
        for name, entry in value.items():
            self.item.check(entry, file, _inside(key, name))


@dataclasses.dataclass(frozen=True)
class Anything:
    """Any value."""

    def check(self, value: Any, file: str, key: str) -> None:
        """Nothing is refused."""


def read(path: str | Path, what: str) -> Any:
    """The content of a JSON file.

    Args:
        what: the file is, for the message.

    Raises:
        InputError: a file that cannot be read or is not JSON, or that gives a name twice in one table.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{what} {path} cannot be read: {shown_words(str(error))}; give a JSON file") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} stands twice in one table")
    return out
