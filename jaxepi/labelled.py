"""Tables with names and units for pandas and xarray, which are optional: `pip install 'jaxepi[tables]'`."""

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from jaxepi.errors import InputError


def _library(name: str) -> ModuleType:
    """pandas or xarray.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise
        raise InputError(
            f"{name} is not installed; install it, or all of them: pip install 'jaxepi[tables]'"
        ) from error


def frame(columns: Mapping[str, Any], index: str | Sequence[str]) -> Any:
    """A `pandas.DataFrame` of columns by name, of which some are its index."""
    pandas = _library("pandas")
    plain = {name: np.asarray(values) for name, values in columns.items()}
    return pandas.DataFrame(plain).set_index(index if isinstance(index, str) else list(index))


def dataset(
    variables: Mapping[str, tuple[Sequence[str], Any, str]],
    coordinates: Mapping[str, tuple[str, Any, str]],
    **about: Any,
) -> Any:
    """An `xarray.Dataset`.

    Args:
        variables: by name, dimensions, values and unit. coordinates: by name, dimension, values and unit. about: attributes.
    """
    xarray = _library("xarray")
    held = {n: (tuple(dims), np.asarray(values), {"units": unit}) for n, (dims, values, unit) in variables.items()}
    along = {n: (dim, np.asarray(values), {"units": unit}) for n, (dim, values, unit) in coordinates.items()}
    return xarray.Dataset(held, along, about)


def path_columns(path: Any) -> dict[str, Any]:
    """Where the points of a `kpoints.Path` are: fractional k, the way along it as it is drawn, names of its corners."""
    points = np.asarray(path.points)
    names = np.full(len(points), "", dtype=object)
    for row, (_, name) in zip(path.rows, path.corners, strict=False):
        names[row] = name
    return {
        "distance": np.asarray(path.distance),
        "k1": points[:, 0],
        "k2": points[:, 1],
        "k3": points[:, 2],
        "corner": names,
    }
