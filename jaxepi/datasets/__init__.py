"""Data sets: what they hold, their HDF5 files, and extended XYZ. What reads files is imported when it is first used."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxepi.datasets import deeptb, extxyz
    from jaxepi.datasets.dataset import Configurations, DataSet, gather, single, split_of
    from jaxepi.datasets.hdf5 import read, write

__all__ = ["Configurations", "DataSet", "deeptb", "extxyz", "gather", "read", "single", "split_of", "write"]

_ROOMS = ("deeptb", "extxyz")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'jaxepi.datasets' has no attribute {name!r}")
    if name in _ROOMS:
        return importlib.import_module(f"jaxepi.datasets.{name}")
    return getattr(
        importlib.import_module(f"jaxepi.datasets.{'hdf5' if name in ('read', 'write') else 'dataset'}"), name
    )


def __dir__() -> list[str]:
    return sorted(__all__)
