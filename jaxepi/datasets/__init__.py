"""Data sets: what they hold, their HDF5 files, and extended XYZ."""

from jaxepi.datasets import deeptb, extxyz
from jaxepi.datasets.dataset import Configurations, DataSet, gather, single, split_of
from jaxepi.datasets.hdf5 import read, write

__all__ = ["Configurations", "DataSet", "deeptb", "extxyz", "gather", "read", "single", "split_of", "write"]
