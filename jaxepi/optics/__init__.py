"""Optics: dielectric function, Kramers-Kronig, optical constants, Tauc gaps.

Fifth stage of the house: a Hamiltonian and snapshots flow in, spectra flow out.

Names are imported when first used; `__init__.pyi` says where each stands.
"""

import lazy_loader

# Functions that share a module's name: whoever imports the module first would otherwise find it in the function's place.
from jaxepi.optics.dielectric import dielectric as dielectric
from jaxepi.optics.dielectric import transitions as transitions
from jaxepi.optics.kramers_kronig import kramers_kronig as kramers_kronig

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
