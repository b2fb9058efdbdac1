"""Equivariant layers that the potential and the Hamiltonian network share. Nothing here knows what is predicted.

Features are tuples of arrays, one an angular momentum: `features[l]` has shape (n, 2l+1, channels), of parity (-1)^l, its
components in e3nn's order. Channels come last, so that mixing them is one matrix product. Flows in: edge vectors of dense
tables (one table a relation, jaxepi.graph) and the species of the atoms. Flows out: features of the atoms.
"""

from jaxepi.nn.contraction import SymmetricContraction
from jaxepi.nn.convolution import Convolution
from jaxepi.nn.linear import Linear, SpeciesLinear, gate, normalise, normalised_silu
from jaxepi.nn.radial import bessel, polynomial_cutoff, radial_basis
from jaxepi.nn.spherical import directions, harmonics

__all__ = [
    "Convolution",
    "Linear",
    "SpeciesLinear",
    "SymmetricContraction",
    "bessel",
    "directions",
    "gate",
    "harmonics",
    "normalise",
    "normalised_silu",
    "polynomial_cutoff",
    "radial_basis",
]
