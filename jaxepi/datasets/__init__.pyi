from . import deeph, deeptb, extxyz
from .dataset import Configurations, DataSet, gather, single, split_of
from .hdf5 import read, write

__all__ = [
    "Configurations",
    "DataSet",
    "deeph",
    "deeptb",
    "extxyz",
    "gather",
    "read",
    "single",
    "split_of",
    "write",
]
