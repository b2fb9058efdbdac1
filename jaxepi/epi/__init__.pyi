from .assisted import Assisted, assisted_absorption
from .constants import CouplingConstants, coupling_constants
from .levels import Electrons, Level, edge_levels
from .perturbation import (
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
from .stencils import Couplings, Stencil, couplings, stencil
from .unfolding import green_functions, self_energies, spectral_functions
from .velocities import velocity
from .wave_vectors import wave_vectors

__all__ = [
    "Assisted",
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
    "assisted_absorption",
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
