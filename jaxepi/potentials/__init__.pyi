from .base import EnergyModule, Potential
from .calculators import calculator
from .elastic import elastic_constants
from .registry import available, card, citation, load
from .relaxation import Relaxed, relaxed_atoms
from .rest import relaxed, stretched
from .stillinger_weber import StillingerWeber
from .valence import ValenceForceField

__all__ = [
    "EnergyModule",
    "Potential",
    "Relaxed",
    "StillingerWeber",
    "ValenceForceField",
    "available",
    "calculator",
    "card",
    "citation",
    "elastic_constants",
    "load",
    "relaxed",
    "relaxed_atoms",
    "stretched",
]
