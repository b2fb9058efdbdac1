"""Data sets: what they hold, their HDF5 files, and extended XYZ."""

from jaxepi.io import deeptb, extxyz
from jaxepi.io.dataset import Configurations, DataSet, gather, single, split_of
from jaxepi.io.hdf5 import read, write

__all__ = ["Configurations", "DataSet", "deeptb", "extxyz", "gather", "read", "single", "split_of", "write"]
