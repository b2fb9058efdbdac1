"""Snapshots of a crystal at a temperature: harmonic (random, quasi-random, special) and by dynamics; phonons.

Names are imported when first used; `__init__.pyi` says where each stands.
"""

import lazy_loader

# Functions that share a module's name: whoever imports the module first would otherwise find it in the function's place.
from jaxepi.sampling.force_constants import force_constants as force_constants
from jaxepi.sampling.harmonic import harmonic as harmonic
from jaxepi.sampling.sum_rules import sum_rules as sum_rules

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
