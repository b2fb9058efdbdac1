"""A JSON header and arrays in one NumPy archive, written whole or not at all: models and states of training are kept so.

What is read is asked for by name and shape, and a member of the archive is looked at before memory is taken for it.
"""

import json
import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from jaxepi.files import whole

HEADER = "header.json"

SMALL, RATIO = 2**26, 20
"""Bytes that any file may unpack to, and how many times its own size beyond: weights hardly shrink, bombs do."""

KINDS = "fiub"
"""Numbers that arrays hold: floating point, integers, truth values."""


class DamagedError(ValueError):
    """A file that is missing, truncated or no archive of this kind; the message says which."""


def write(
    path: str | Path, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray], compressed: bool = False
) -> None:
    """Write header (JSON types) and arrays."""
    save = np.savez_compressed if compressed else np.savez
    with whole(path) as temporary, temporary.open("wb") as file:
        save(file, allow_pickle=False, **{HEADER: np.array(json.dumps(header))}, **arrays)


class Archive:
    """An archive that is open.

    Attributes:
        header: what was written as such. names: of the arrays in the file.
    """

    header: dict[str, Any]
    names: frozenset[str]

    def __init__(self, file: zipfile.ZipFile, size: int):
        self._file, self._left = file, SMALL + RATIO * size
        self.names = frozenset(n.removesuffix(".npy") for n in file.namelist()) - {HEADER}
        if f"{HEADER}.npy" not in file.namelist():
            raise DamagedError("a NumPy archive without a header")
        header = json.loads(str(self._read(HEADER, (), "U")))
        if not isinstance(header, dict):
            raise DamagedError(f"its header is {type(header).__name__}, not a table")
        self.header = header

    def array(self, name: str, shape: Sequence[int]) -> np.ndarray:
        """One array.

        Raises:
            DamagedError: it is missing, of another shape, or no array of numbers.
        """
        with damaged():
            return self._read(name, tuple(shape), KINDS)

    def _read(self, name: str, shape: tuple[int, ...], kinds: str) -> np.ndarray:
        if f"{name}.npy" not in self._file.namelist():
            raise DamagedError(f"it lacks the array {name!r}")
        info = self._file.getinfo(f"{name}.npy")
        with self._file.open(info) as member:
            found, dtype = npy_header(member)
        if dtype.kind not in kinds:
            raise DamagedError(f"{name!r} is an array of {dtype}; expected numbers")
        if found != shape:
            raise DamagedError(f"{name!r} has shape {found}; its header says {shape}")
        self._left -= info.file_size
        if math.prod(found) * dtype.itemsize > info.file_size or self._left < 0:
            raise DamagedError(f"{name!r} of shape {found} needs more bytes than the file can hold")
        with self._file.open(info) as member:
            return np.lib.format.read_array(member, allow_pickle=False)


def npy_header(stream: Any) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of an array in NumPy's format, of which nothing but the header is read.

    Raises:
        ValueError: it is no such array.
    """
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of NumPy's format")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    return shape, dtype


@contextmanager
def damaged() -> Iterator[None]:
    """Whatever zipfile, NumPy and json meet in a damaged file, as `DamagedError`."""
    try:
        yield
    except DamagedError:
        raise
    except Exception as error:
        raise DamagedError(" ".join(str(error).split())[:200] or type(error).__name__) from error


@contextmanager
def opened(path: str | Path) -> Iterator[Archive]:
    """The archive at a path.

    Raises:
        DamagedError: the file cannot be read, or has no header.
    """
    with damaged():
        file = zipfile.ZipFile(path)
    with file:
        with damaged():
            found = Archive(file, Path(path).stat().st_size)
        yield found
