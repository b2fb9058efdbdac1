"""Data sets: what they hold, their HDF5 files, and extended XYZ."""

from jaxepi.io import extxyz
from jaxepi.io.dataset import Configurations, DataSet, gather, single, split_of
from jaxepi.io.hdf5 import read, write

__all__ = ["Configurations", "DataSet", "extxyz", "gather", "read", "single", "split_of", "write"]
