"""Electrons: eigenvalues, bands, band edges and what temperature does to them.

Fourth stage of the house: a Hamiltonian and structures or snapshots flow in, energies flow out.

Names are imported when first used; `__init__.pyi` says where each stands.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
