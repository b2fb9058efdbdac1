"""What the JSON files of DeePTB's layout say: `info.json`, and `jaxepi.json` of the folders that `deeptb.write` made.

Flows in: a folder. Flows out: tables, checked.
"""

from pathlib import Path
from typing import Any

from jaxepi import schema
from jaxepi.datasets import dataset
from jaxepi.errors import InputError

SIDE, VERSION = "jaxepi.json", 1

_COUNT, _BAND = schema.Number(-1, 1e9, whole=True), schema.Maybe(schema.Number(0, 1e6))
INFO = schema.Table(
    {},
    {
        "nframes": _COUNT,
        "natoms": _COUNT,
        "pos_type": schema.Text(),
        "pbc": schema.Either(schema.Flag(), schema.List(schema.Flag(), 3, 3)),
        "occupied": schema.Number(0, 1e6, whole=True),
        "bandinfo": schema.Maybe(
            schema.Table(
                {},
                dict.fromkeys(("band_min", "band_max"), _BAND)
                | {name: schema.Maybe(schema.Number(-1e4, 1e4, "eV")) for name in ("emin", "emax")},
                others=True,
            )
        ),
        "AtomicData_options": schema.Table({}, others=True),
    },
    others=True,
)
"""What is used of info.json."""

SIDE_TEXTS = dataset.TEXTS[:4]
"""What `jaxepi.json` says in words of every frame: kind, around, source, split."""

_TEXTS, _NUMBERS = schema.List(schema.Text(), 0, 10**6), schema.List(schema.Maybe(schema.Number(0, 1e9)), 0, 10**6)
SIDES = schema.Table(
    {"version": schema.Number(whole=True)},
    {
        **dict.fromkeys(SIDE_TEXTS, _TEXTS),
        **dict.fromkeys(("temperature", "seconds"), _NUMBERS),
        "strain": schema.List(schema.List(schema.List(schema.Number(-1, 10), 3, 3), 3, 3), 0, 10**6),
        "extra": schema.Entries(schema.List(schema.Number(-1e9, 1e9), 0, 10**6)),
        "mesh": schema.List(schema.Number(), 0, 6),
        "weights": schema.List(schema.Number(0, 1), 0, 10**6),
        "occupied": schema.Number(0, 1e6, whole=True),
        "level": schema.Text(),
        "theory": schema.Table({name: schema.Anything() for name in ("code", "version", "settings")}),
        "energies": schema.Flag(),
    },
    others=True,
)
"""What jaxepi.json holds."""


def info(folder: Path) -> dict[str, Any]:
    """`info.json` of a folder or of the one above; keys that older files keep under `AtomicData_options` included."""
    path = next((p for p in (folder / "info.json", folder.parent / "info.json") if p.is_file()), None)
    if path is None:
        raise InputError(f"{folder} has no info.json, nor has the folder above")
    held = _json(path)
    INFO.check(held, str(path), "")
    found = {**held.get("AtomicData_options", {}), **held}
    INFO.check(found, str(path), "")
    return found


def side(folder: Path) -> dict[str, Any]:
    """`jaxepi.json` of a folder, empty where there is none."""
    path = folder / SIDE
    if not path.is_file():
        return {}
    found = _json(path)
    if found.get("version") != VERSION:
        raise InputError(f"{path} has version {found.get('version')}; this jaxepi reads version {VERSION}")
    SIDES.check(found, str(path), "")
    return found


def _json(path: Path) -> dict[str, Any]:
    found = schema.read(path, "file")
    if not isinstance(found, dict):
        raise InputError(f"{path} holds {type(found).__name__}; expected names and values")
    return found
