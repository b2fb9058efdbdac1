"""A JSON header and arrays in one NumPy archive, written whole or not at all: models and states of training are kept so."""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi.files import whole

HEADER = "header.json"


class DamagedError(ValueError):
    """A file that is missing, truncated or no archive of this kind; the message says which."""


def write(
    path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], compressed: bool = False
) -> None:
    """Write header (JSON types) and arrays."""
    save = np.savez_compressed if compressed else np.savez
    with whole(path) as temporary, temporary.open("wb") as file:
        save(file, allow_pickle=False, **{HEADER: np.array(json.dumps(header))}, **arrays)


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays.

    Raises:
        DamagedError: the file cannot be read, or has no header.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return json.loads(str(arrays.pop(HEADER))), arrays
    except KeyError as error:
        raise DamagedError("a NumPy archive without a header") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DamagedError(str(error)) from error
