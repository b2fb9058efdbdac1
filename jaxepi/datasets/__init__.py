"""Data sets: what they hold, their HDF5 files, and extended XYZ.

Names are imported when first used; `__init__.pyi` says where each stands.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
