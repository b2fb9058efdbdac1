"""Electrons and phonons: coupling, second-order renormalisation of levels, unfolding of snapshots.

Flows in: a Hamiltonian, force constants or snapshots. Flows out: shifts of energies with their parts, spectral functions.
"""

from jaxepi.epi.levels import Level, edge_levels
from jaxepi.epi.perturbation import (
    Modes,
    Problem,
    Shift,
    Topology,
    Treatment,
    by_mode,
    problem,
    shift,
    topology,
)
from jaxepi.epi.stencil import Couplings, Stencil, couplings, stencil

__all__ = [
    "Couplings",
    "Level",
    "Modes",
    "Problem",
    "Shift",
    "Stencil",
    "Topology",
    "Treatment",
    "by_mode",
    "couplings",
    "edge_levels",
    "problem",
    "shift",
    "stencil",
    "topology",
]
