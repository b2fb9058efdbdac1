"""Configurations of training runs to begin from: TOML with every key, its meaning and its range, from the classes of settings.

Flows in: a kind of model and, where there is one, the data set it shall learn from. Flows out: the text of a file that runs as
it is on that set.
"""

import json
import math
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase.data import chemical_symbols

from jaxepi.errors import InputError
from jaxepi.hamiltonians.settings import SlaterKosterSettings
from jaxepi.materials import models
from jaxepi.potentials.settings import MaceSettings
from jaxepi.settings import Field, Settings, allowed, as_json, fields
from jaxepi.training.reading import read_file
from jaxepi.training.settings import (
    BandLossSettings,
    DataSettings,
    LossSettings,
    OptimizerSettings,
    RunSettings,
    SetSettings,
)

SETS = {"potential": "labels.xyz", "hamiltonian": "deeptb"}
"""What the data set is called where none is given."""

NEEDED = {"potential": "energy", "hamiltonian": "eigenvalues"}
LEVEL = "dft"

HEAD = """\
# Configuration of `jaxepi train {kind} {file}`, written by `jaxepi train --example {kind}`.
# Keys that stand behind a # have the value shown; docs/settings.md lists the same keys in tables.
"""


class _Seen(NamedTuple):
    """What a data set says: level, symbols of its elements, whether it has stress, mean nearest distance, angstrom."""

    level: str
    elements: tuple[str, ...]
    stress: bool
    bond: float


def example(kind: str, file: str, data: str | None = None, named: str | None = None) -> str:
    """The text of a configuration.

    Args:
        kind: "potential" or "hamiltonian". file: name that it will have.
        data: the set it names, which is read for its level, elements, lengths and labels. named: its path as seen from the
            configuration; `data` where left out.

    Raises:
        InputError: a data set that cannot be read or lacks the labels.
    """
    seen = _look(kind, data) if data else None
    parts = [HEAD.format(kind=kind, file=file)]
    for table, settings, chosen in _tables(kind, named or data or SETS[kind], seen):
        parts.append(f"\n[{table}]\n" + "".join(_lines(settings, chosen)))
        if table == "data":
            parts.append("# A set may be a table instead of a path, sets = [{ path = ... }], with these keys:\n")
            parts.append("".join(f"#     {line[2:]}" for line in _lines(SetSettings, {}, ("path",))))
    return "".join(parts)


def _tables(kind: str, data: str, seen: _Seen | None) -> Iterator[tuple[str, type[Settings], Mapping[str, Any]]]:
    """Every table: its name, what declares it, and what is set in it."""
    yield "data", DataSettings, {"sets": [data], "level": seen.level if seen else LEVEL}
    if kind == "potential":
        yield "model", MaceSettings, {"cutoff": 5.0, "channels": 16}
        stress = 1.0 if seen is None or seen.stress else 0.0
        yield "loss", LossSettings, {"energy": 10.0, "energy_start": 0.1, "forces": 1.0, "stress": stress}
    else:
        bond = 2.35 if seen is None else seen.bond
        lengths = {"cutoff": round(2.5 * bond, 1), "switch": [round(1.24 * bond, 2), round(1.4 * bond, 2)]}
        yield "model", SlaterKosterSettings, {"base": _base(seen), **lengths}
        yield "loss", BandLossSettings, {"window": [-25.0, 6.0], "edge": 4.0, "edge_width": 1.25, "points": 16}
    yield "optimizer", OptimizerSettings, OPTIMIZERS[kind]
    yield "run", RunSettings, {"epochs": EPOCHS, "batch_atoms": 64}


OPTIMIZERS: dict[str, dict[str, Any]] = {
    "potential": {"algorithm": "soap", "learning_rate": 0.02, "schedule": "cosine", "warmup": 1.0, "final": 0.003},
    "hamiltonian": {"algorithm": "amsgrad", "learning_rate": 0.01, "schedule": "cosine", "warmup": 2.0, "final": 0.001},
}
"""Those of the shipped models. With few configurations SOAP's first steps throw bands about: Hamiltonians go without it."""

EPOCHS = 200


def _look(kind: str, data: str) -> _Seen:
    """What a data set says of itself.

    Raises:
        InputError: there is none, it cannot be read, or it lacks the labels that the kind learns from.
    """
    found = read_file(Path(data), LEVEL)
    level = next((n for n in found.levels if any(NEEDED[kind] in g.labels.get(n, {}) for g in found.groups)), None)
    if level is None:
        raise InputError(f"{data} holds no {NEEDED[kind]}, which a {kind} learns from; give another data set")
    elements = sorted({chemical_symbols[z] for group in found.groups for z in group.species})
    stress = any("stress" in group.labels.get(level, {}) for group in found.groups)
    group = found.groups[0]
    return _Seen(level, tuple(elements), stress, _bond(group.positions[0], group.cell[0]))


def _bond(positions: np.ndarray, cell: np.ndarray) -> float:
    """Mean distance of an atom to its nearest neighbour or image, angstrom."""
    shifts = np.indices((3, 3, 3)).reshape(3, -1).T - 1
    vectors = positions[None, :, None] - positions[:, None, None] + shifts @ cell
    lengths = np.linalg.norm(vectors, axis=-1).reshape(len(positions), -1)
    return float(np.where(lengths > 1e-6, lengths, np.inf).min(axis=1).mean())


def _base(seen: _Seen | None) -> str:
    """A published set with the elements: that of a shipped material, where one has them."""
    elements = ("Si",) if seen is None else seen.elements
    known = [card.name for card in models.holding("hamiltonian", elements) if card.level == models.EMPIRICAL]
    if not known:
        raise InputError(
            f"no published set has {' and '.join(elements)}, and a Hamiltonian is learned around one: write its parameters "
            "(README.md in jaxepi/hamiltonians/parameters shows the form) and name the file as base in [model]"
        )
    preferred = [entry["hamiltonian"] for _, entry in sorted(models.catalogue().items())]
    return next((name for name in preferred if name in known), known[0])


def _lines(settings: type[Settings], chosen: Mapping[str, Any], without: tuple[str, ...] = ()) -> Iterator[str]:
    """Every key of a table with its meaning; those that are not set stand behind a #."""
    for field in fields(settings):
        if field.name in without:
            continue
        yield from (f"# {line}\n" for line in textwrap.wrap(_meaning(field), 118))
        if field.name in chosen:
            value = chosen[field.name]
            value = value if field.rule.table else field.checked(value)  # sets are tables that a path may stand for
            yield f"{field.name} = {_toml(as_json(value))}\n"
        elif field.default is not None:
            yield f"# {field.name} = {_toml(as_json(field.default))}\n"
        else:
            yield f"# {field.name} = ...\n"


def _meaning(field: Field) -> str:
    """Name, meaning, unit and range of a key."""
    unit = f", {field.rule.unit}" if field.rule.unit else ""
    return f"{field.name}: {field.rule.meaning}{unit} [{allowed(field.kind, field.rule)}]"


def _toml(value: Any) -> str:
    """A value of JSON types as TOML has it."""
    if isinstance(value, Mapping):
        inner = ", ".join(f"{name} = {_toml(v)}" for name, v in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(_toml(v) for v in value)}]"
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return json.dumps(value, ensure_ascii=False)
