"""Electrons and phonons: coupling, second-order renormalisation of levels, unfolding of snapshots.

Flows in: a Hamiltonian, force constants or snapshots. Flows out: shifts of energies with their parts, spectral functions.

Names are imported when first used; `__init__.pyi` says where each stands.
"""

import lazy_loader

# Functions that share a module's name: whoever imports the module first would otherwise find it in the function's place.
from jaxepi.epi.wave_vectors import wave_vectors as wave_vectors

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
