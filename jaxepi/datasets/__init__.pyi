from . import deeptb, extxyz
from .dataset import Configurations, DataSet, gather, single, split_of
from .hdf5 import read, write

__all__ = [
    "Configurations",
    "DataSet",
    "deeptb",
    "extxyz",
    "gather",
    "read",
    "single",
    "split_of",
    "write",
]
