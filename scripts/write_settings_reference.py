"""The page docs/settings.md: every option of the commands and every key of a training configuration, from their declarations.

python scripts/write_settings_reference.py
"""

import math
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from jaxepi.cli import COMMANDS as TEXTS
from jaxepi.commands import COMMANDS
from jaxepi.hamiltonians.settings import EquivariantSettings, SlaterKosterSettings
from jaxepi.potentials.settings import DispersionSettings, MaceSettings
from jaxepi.settings import Field, Rule, fields, leaves
from jaxepi.training import settings as training

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
HEAD = """# Settings

Every option of the command line and every key of a configuration file; `python scripts/write_settings_reference.py` writes this
page from their declarations. Values are checked when they are read, wherever they come from; NaN is never one. Keys of a file
may have dashes or underscores. Bounds without a reason in physics are generous: they stop what would fill any memory.
"""
TABLES = (
    ("[data]", training.DataSettings),
    ("[data] keys", training.KeySettings),
    ("[data] sets: each", training.SetSettings),
    ("[model] of a potential", MaceSettings),
    ("[model] dispersion", DispersionSettings),
    ("[model] of a Hamiltonian", SlaterKosterSettings),
    ("[model] of an equivariant Hamiltonian", EquivariantSettings),
    ("[loss] of a potential", training.LossSettings),
    ("[loss] of a Hamiltonian", training.BandLossSettings),
    ("[loss] of an equivariant Hamiltonian", training.BlockLossSettings),
    ("[optimizer]", training.OptimizerSettings),
    ("[run]", training.RunSettings),
)


def page() -> str:
    """The whole page."""
    parts = [HEAD, "\n## Commands\n\nThe same names without `--` are keys of the TOML file that `--config` names.\n"]
    for name, text in TEXTS.items():
        command = COMMANDS[name]
        rows = [(f.option, f) for cls in (command.settings, command.files) for f in fields(cls)]
        parts.append(f"\n### jaxepi {name}\n\n{text[0].upper()}{text[1:]}.\n\n" + _table("option", rows))
    parts.append("\n## Configuration of a training run\n\nTOML, for `jaxepi train`; a table each.\n")
    for title, cls in TABLES:
        text = " ".join((cls.__doc__ or "").split())
        parts.append(f"\n### {title}\n\n{text}\n\n" + _table("key", [(f.name, f) for f in fields(cls)]))
    return "".join(parts)


def _table(first: str, rows: list[tuple[str, Field]]) -> str:
    lines = [f"| {first} | type | unit | default | range | meaning |", "| --- | --- | --- | --- | --- | --- |"]
    return "\n".join([*lines, *(" | ".join(_row(name, field)) for name, field in rows)]) + "\n"


def _row(name: str, field: Field) -> Iterator[str]:
    meaning = field.rule.meaning.partition(" (default: ")
    default = "" if field.rule.positional else _default(field.default)
    default = meaning[2].removesuffix(")") if meaning[1] else default
    cells = (type_words(field.kind), field.rule.unit, default, range_words(field.rule, field.kind), meaning[0])
    yield f"| `{name}`"
    yield from (cell.replace("|", "\\|") for cell in cells[:-1])
    yield f"{cells[-1].replace('|', chr(92) + '|')} |"


def type_words(kind: Any) -> str:
    """A type in words."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        return " or ".join(type_words(k) for k in typing.get_args(kind) if k is not types.NoneType)
    if typing.get_origin(kind) is tuple:
        kinds = dict.fromkeys(k for k in typing.get_args(kind) if k is not Ellipsis)
        length = "any number" if Ellipsis in typing.get_args(kind) else len(typing.get_args(kind))
        return f"list of {length}: " + ", ".join(type_words(k) for k in kinds)
    words = {int: "whole number", float: "number", str: "text", bool: "true or false"}
    return words.get(kind, "table")


def range_words(rule: Rule, kind: Any) -> str:
    """What a rule allows, as a row of the reference has it."""
    if rule.choices:
        return ", ".join(rule.choices)
    low = "" if rule.least is None else f">= {rule.least:g}"
    low = low if rule.above is None else f"> {rule.above:g}"
    high = "" if rule.most is None else f"<= {rule.most:.10g}"
    high = high if rule.below is None else f"< {rule.below:g}"
    if not leaves(kind) & {int, float}:
        return ""
    return ", ".join(x for x in (low, high) if x) or ("any, infinite too" if rule.infinite else "finite")


def _default(value: Any) -> str:
    """A default as TOML has it."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(_default(v).strip('`') for v in value)}]`"
    if isinstance(value, float):
        return f"`{value:g}`" if math.isfinite(value) else f"`{value}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"Written: {PAGE}")
