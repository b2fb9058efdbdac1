"""The state of an interrupted training: one file, written whole or not at all.

A NumPy archive with a JSON header (format, version, fingerprint of settings and data, host counters, history) and the
arrays of the state, named by their place in the pytree.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxepi import archive
from jaxepi.errors import InputError

FORMAT, VERSION = "jaxepi-training", 1


def save(path: Path, fingerprint: Mapping[str, Any], counters: Mapping[str, Any], arrays: Any) -> None:
    """Write the state.

    Args:
        fingerprint: what a run must share to go on from here (JSON types). counters: JSON types. arrays: a pytree.
    """
    header = {"format": FORMAT, "version": VERSION, "fingerprint": dict(fingerprint), "counters": dict(counters)}
    leaves = {jax.tree_util.keystr(p): np.asarray(x) for p, x in jax.tree_util.tree_leaves_with_path(arrays)}
    archive.write(path, header, leaves)


def load(path: Path, fingerprint: Mapping[str, Any], like: Any) -> tuple[dict[str, Any], Any]:
    """Counters and arrays of a state, in the form of the pytree `like`.

    Raises:
        InputError: a file that is damaged, of another version, or of a run with other settings or data (named).
    """
    remedy = "give another --output, or start over with --overwrite"
    try:
        with archive.opened(path) as file:
            header = file.header
            if header.get("format") != FORMAT or header.get("version") != VERSION:
                found = f"{header.get('format')!r} version {header.get('version')!r}"
                raise InputError(f"{path} has format {found}; this jaxepi reads {FORMAT!r} version {VERSION}: {remedy}")
            lacking = [n for n in ("fingerprint", "counters") if not isinstance(header.get(n), dict)]
            if lacking:
                raise InputError(f"{path}: its header has no table {lacking[0]!r}; {remedy}")
            _refuse_other(path, header["fingerprint"], json.loads(json.dumps(dict(fingerprint))), remedy)
            places, structure = jax.tree_util.tree_flatten_with_path(like)
            leaves = []
            for place, leaf in places:
                name, expected = jax.tree_util.keystr(place), np.asarray(leaf)
                held = file.array(name, expected.shape)
                if held.dtype != expected.dtype:
                    raise InputError(
                        f"{path}: array {name} is of {held.dtype}; this run has {expected.dtype}: {remedy}"
                    )
                leaves.append(held)
    except archive.DamagedError as error:
        raise InputError(f"{path} is no state of a training run ({error}); {remedy}") from error
    return header["counters"], jax.tree_util.tree_unflatten(structure, leaves)


def _refuse_other(path: Path, kept: Mapping[str, Any], now: Mapping[str, Any], remedy: str) -> None:
    before, after = _flat(kept), _flat(now)
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            raise InputError(
                f"{path} belongs to a run with other settings: {name} was {before.get(name)!r} and is now "
                f"{after.get(name)!r}; {remedy}"
            )


def _flat(table: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in table.items():
        out |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return out
