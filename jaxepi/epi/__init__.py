"""Electrons and phonons: coupling, second-order renormalisation of levels, unfolding of snapshots.

Flows in: a Hamiltonian, force constants or snapshots. Flows out: shifts of energies with their parts, spectral functions.
"""

from jaxepi.epi.constants import CouplingConstants, coupling_constants
from jaxepi.epi.levels import Electrons, Level, edge_levels
from jaxepi.epi.perturbation import (
    ModeShifts,
    Problem,
    Shift,
    Topology,
    Treatment,
    by_mode,
    problem,
    shift,
    topology,
)
from jaxepi.epi.stencils import Couplings, Stencil, couplings, stencil
from jaxepi.epi.unfolding import green_functions, self_energies, spectral_functions
from jaxepi.epi.velocities import velocity
from jaxepi.epi.wave_vectors import wave_vectors

__all__ = [
    "CouplingConstants",
    "Couplings",
    "Electrons",
    "Level",
    "ModeShifts",
    "Problem",
    "Shift",
    "Stencil",
    "Topology",
    "Treatment",
    "by_mode",
    "coupling_constants",
    "couplings",
    "edge_levels",
    "green_functions",
    "problem",
    "self_energies",
    "shift",
    "spectral_functions",
    "stencil",
    "topology",
    "velocity",
    "wave_vectors",
]
