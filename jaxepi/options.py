"""Options of the command line: how they are declared, read from a TOML file, and made into settings. Imports little."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from jaxepi.errors import InputError, refuse_unknown
from jaxepi.workflows.settings import CHOICES, AbsorptionSettings

_DEFAULTS = {f.name: f.default for f in dataclasses.fields(AbsorptionSettings)}


def flag(command: Any, name: str, text: str) -> None:
    """A switch --name and its opposite --no-name."""
    default = _DEFAULTS.get(name.replace("-", "_"))
    suffix = "" if default is None else f" (default: {'yes' if default else 'no'})"
    command.add_argument(
        f"--{name}", action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text + suffix
    )


def option(command: Any, name: str, text: str, **options: Any) -> None:
    """An option of the settings; its default stands in the help."""
    default = _DEFAULTS.get(name.replace("-", "_"))
    if isinstance(default, tuple):
        default = " ".join(f"{v:g}" for v in default)
    if name in ("sampler", "statistics", "broadening", "precision", "imaginary", "gap-kind", "cell"):
        options["choices"] = [c for c in CHOICES[name.replace("-", "_")] if c is not None]
    suffix = "" if default is None else f" (default: {default})"
    command.add_argument(f"--{name}", help=text + suffix, **options)


def from_file(path: str, command: argparse.ArgumentParser) -> dict[str, Any]:
    """The options of a TOML file, checked as flags are.

    Raises:
        InputError: the file is not TOML, or has a key that is not an option (the known ones are listed).
    """
    import tomllib

    try:
        table = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from error
    actions = {a.dest: a for a in command._actions if a.dest not in ("help", "config")}
    flags: list[str] = []
    for key, value in table.items():
        refuse_unknown([key.replace("-", "_")], sorted(actions), path)
        flags += _as_flags(path, key, value, actions[key.replace("-", "_")])
    options = vars(command.parse_args(flags))
    return {key: value for key, value in options.items() if value is not None}


def _as_flags(path: str, key: str, value: Any, action: argparse.Action) -> list[str]:
    """One entry of a configuration file as the words of a command line."""
    names = action.option_strings
    if isinstance(value, dict):
        raise InputError(f"{path}: {key} is a table; options stand at the top level")
    if not names:
        return [str(value)]
    if isinstance(action, argparse.BooleanOptionalAction):
        if not isinstance(value, bool):
            raise InputError(f"{path}: {key} = {value!r}; give true or false")
        return [names[0] if value else names[1]]
    if isinstance(value, bool):
        if action.nargs != "?":
            raise InputError(f"{path}: {key} = {str(value).lower()}; give a value")
        return [names[0]] if value else []
    if isinstance(value, list):
        return [names[0], *(str(v) for v in value)]
    return [f"{names[0]}={value}"]


def to_settings(kind: type, options: dict[str, Any]) -> Any:
    """Settings from options, in the types they have."""
    names = {f.name for f in dataclasses.fields(kind)}
    values: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in options.items() if name in names
    }
    for name in ("supercell", "kmesh"):
        if len(values.get(name) or ()) == 1:
            values[name] = values[name][0]
    if "energies" in values:
        low, high, count = values["energies"]
        values["energies"] = (low, high, int(count) if count.is_integer() else count)
    return kind(**values)
