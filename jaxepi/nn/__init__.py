"""Equivariant layers that the potential and the Hamiltonian network share. Nothing here knows what is predicted.

Features are mappings from irreps, angular momentum and parity, to arrays (n, 2l+1, channels) of n atoms or edges, components
in e3nn's order. Channels come last, so that mixing them is one matrix product. Flows in: edge vectors of dense tables (one
table a relation, jaxepi.graph) and the species of the atoms. Flows out: features of atoms and of edges, and the blocks
between shells that those of edges are read as.
"""

from jaxepi.nn.blocks import block, components, hermitian, shell_irreps
from jaxepi.nn.contraction import SymmetricContraction
from jaxepi.nn.convolution import Convolution
from jaxepi.nn.edges import EdgeFeatures, EdgeScalars, TensorProduct, to_atoms, to_edges
from jaxepi.nn.features import SCALAR, Features, Irrep, all_up_to, natural, natural_up_to
from jaxepi.nn.linear import Linear, SpeciesLinear, gate, normalise, normalised_silu
from jaxepi.nn.radial import bessel, polynomial_cutoff, radial_basis
from jaxepi.nn.rows import CHUNK, in_chunks, in_parts, joined, of_module, split
from jaxepi.nn.spherical import coupling, directions, harmonics

__all__ = [
    "CHUNK",
    "SCALAR",
    "Convolution",
    "EdgeFeatures",
    "EdgeScalars",
    "Features",
    "Irrep",
    "Linear",
    "SpeciesLinear",
    "SymmetricContraction",
    "TensorProduct",
    "all_up_to",
    "bessel",
    "block",
    "components",
    "coupling",
    "directions",
    "gate",
    "harmonics",
    "hermitian",
    "in_chunks",
    "in_parts",
    "joined",
    "natural",
    "natural_up_to",
    "normalise",
    "normalised_silu",
    "of_module",
    "polynomial_cutoff",
    "radial_basis",
    "shell_irreps",
    "split",
    "to_atoms",
    "to_edges",
]
