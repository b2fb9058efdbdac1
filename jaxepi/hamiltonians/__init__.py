"""Hamiltonians: orbital bases, Slater-Koster angles, published parameter sets, Bloch sums.

Third stage of the house: (structure, graph) flow in, blocks H(R) and matrices H(k), dH/dk flow out.

Names are imported when first used; `__init__.pyi` says where each stands.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
