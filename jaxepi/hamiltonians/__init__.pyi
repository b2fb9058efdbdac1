from .base import Blocks, Hamiltonian
from .basis import Basis
from .bloch import bloch_matrices, hamiltonian_gradient, hamiltonian_k
from .registry import available, citation, load

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
