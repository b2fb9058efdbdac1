"""Hamiltonians: orbital bases, Slater-Koster angles, published parameter sets, Bloch sums.

Third stage of the house: (structure, graph) flow in, blocks H(R) and matrices H(k), dH/dk flow out.
"""

from jaxepi.hamiltonians.base import Blocks, Hamiltonian
from jaxepi.hamiltonians.basis import Basis
from jaxepi.hamiltonians.bloch import bloch_matrices, hamiltonian_gradient, hamiltonian_k
from jaxepi.hamiltonians.registry import available, citation, load

__all__ = [
    "Basis",
    "Blocks",
    "Hamiltonian",
    "available",
    "bloch_matrices",
    "citation",
    "hamiltonian_gradient",
    "hamiltonian_k",
    "load",
]
