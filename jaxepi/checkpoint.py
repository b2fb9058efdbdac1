"""One-file checkpoints of models: a JSON header and arrays in a NumPy archive (jaxepi.archive).

The header names format, version, kind of model, its configuration (units included) and its card: data, errors, domain of
validity. Parameters are a nested dict of arrays; their keys are joined by slashes.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi import archive, schema
from jaxepi.errors import InputError

FORMAT, VERSION = "jaxepi-model", 1
UNITS = "eV, angstrom"

LARGEST, DOMAIN = 1e9, "domain"
"""No parameter is larger, but those of this name: inverse widths of the training data, which may have none."""

_SHAPE = schema.List(schema.Number(0, 2**31, whole=True), least=0, most=32)
HEAD = schema.Table(
    {
        "format": schema.Text(),
        "version": schema.Number(whole=True),
        "kind": schema.Text(),
        "config": schema.Table({"units": schema.Text()}, others=True),
        "arrays": schema.Entries(_SHAPE),
        "card": schema.Table({}, others=True),
    },
    others=True,
)
"""What a header holds."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        kind: of model, for example "mace". config: what its builder needs. params: nested dict of arrays.
        card: what a user must know, in words and numbers.
    """

    kind: str
    config: Mapping[str, Any]
    params: Mapping[str, Any]
    card: Mapping[str, Any]


def write_checkpoint(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`, whole or not at all; its configuration gets the units of all models."""
    header = {"format": FORMAT, "version": VERSION, "kind": checkpoint.kind}
    header |= {"config": {"units": UNITS, **checkpoint.config}, "card": dict(checkpoint.card)}
    arrays = {name: np.asarray(a) for name, a in flatten(checkpoint.params).items()}
    header["arrays"] = {name: list(a.shape) for name, a in arrays.items()}
    archive.write(path, header, arrays, compressed=True)


def read_checkpoint(path: str | Path, kind: str | None = None) -> Checkpoint:
    """Read a checkpoint.

    Args:
        kind: of model that is expected; any when left out.

    Raises:
        InputError: a file that is missing or damaged, of another format, version, kind of model or with other units, or
            a header of another form, or an array that is missing, of another shape, not finite or absurd.
    """
    try:
        with archive.opened(path) as file:
            header = file.header
            _check(header, str(path))
            arrays = {name: file.array(name, shape) for name, shape in header["arrays"].items()}
    except archive.DamagedError as error:
        raise InputError(f"checkpoint {path} cannot be read: {error}; give a file written by jaxepi") from error
    if kind not in (None, header["kind"]):
        raise InputError(f"{path} holds a model of kind {header['kind']!r}; expected a {kind}")
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise InputError(f"checkpoint {path}: {name!r} holds NaN or infinity; the file is damaged: copy it again")
        if name.split("/")[0] != DOMAIN and (np.abs(value) > LARGEST).any():
            raise InputError(
                f"checkpoint {path}: {name!r} holds {np.abs(value).max():.3g}; no trained model is so large"
            )
    return Checkpoint(header["kind"], header["config"], nest(arrays), header["card"])


def _check(header: dict[str, Any], path: str) -> None:
    """Refuse a header of another form."""
    if header.get("format") != FORMAT:
        raise InputError(f"{path} has format {header.get('format')!r}; expected {FORMAT!r}")
    if header.get("version") != VERSION or isinstance(header.get("version"), bool):
        raise InputError(
            f"checkpoint {path} has version {header.get('version')!r}; this jaxepi reads version {VERSION}: use the "
            "release that wrote it, or train the model again"
        )
    for name in ("kind", "config", "arrays", "card"):
        if name not in header:
            raise InputError(f"checkpoint {path} lacks {name!r} in its header; the file is incomplete: copy it again")
    HEAD.check(header, f"checkpoint {path}", "")
    groups = {name[:i] for name in header["arrays"] for i, letter in enumerate(name) if letter == "/"}
    if groups & header["arrays"].keys():
        raise InputError(
            f"checkpoint {path}: the array {min(groups & header['arrays'].keys())!r} is named like a group"
        )
    if header["config"]["units"] != UNITS:
        raise InputError(f"{path} has units {header['config']['units']!r}; expected {UNITS!r}")


def flatten(params: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested dict of leaves as one dict with keys joined by slashes."""
    out: dict[str, Any] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            out |= flatten(value, f"{prefix}{name}/")
        else:
            out[prefix + name] = value
    return out


def nest(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    out: dict[str, Any] = {}
    for name, value in arrays.items():
        *folders, last = name.split("/")
        inner = out
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[last] = value
    return out


def compare(expected: Mapping[str, Any], params: Mapping[str, Any], path: str | Path) -> None:
    """Refuse parameters that lack some of those a model expects, or have them in other shapes.

    Raises:
        InputError: names the parameter.
    """
    given = {name: np.shape(value) for name, value in flatten(params).items()}
    for name, value in flatten(expected).items():
        if given.get(name) != value.shape:
            raise InputError(
                f"checkpoint {path}: parameter {name!r} has shape {given.get(name)}; this model needs {value.shape}: the "
                "file is damaged or belongs to another release"
            )
