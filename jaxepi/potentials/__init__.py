"""Energy models: `energy(structure, graph)`; forces and stress are its derivatives."""

from jaxepi.potentials.base import EnergyModule, Potential
from jaxepi.potentials.calculators import calculator
from jaxepi.potentials.elastic import elastic_constants
from jaxepi.potentials.registry import available, card, citation, load
from jaxepi.potentials.rest import relaxed, stretched
from jaxepi.potentials.stillinger_weber import StillingerWeber
from jaxepi.potentials.valence import ValenceForceField

__all__ = [
    "EnergyModule",
    "Potential",
    "StillingerWeber",
    "ValenceForceField",
    "available",
    "calculator",
    "card",
    "citation",
    "elastic_constants",
    "load",
    "relaxed",
    "stretched",
]
