"""Solvers: how transitions are found. `Dense` diagonalises, `Filtered` and `Stochastic` serve large cells.

Names are imported when first used; `__init__.pyi` says where each stands.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
