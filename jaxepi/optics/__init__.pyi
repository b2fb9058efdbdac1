from .bethe_salpeter import (
    Excitons,
    Keldysh,
    LowestExcitons,
    ModelDielectric,
    ModeSpectra,
    Screening,
    Tail,
    elliott_factor,
    exciton_spectrum,
    join_tail,
    lowest_excitons,
    mode_spectra,
    model_dielectric_of,
    screening_of,
    thomas_fermi_length,
    with_quanta,
)
from .bethe_salpeter.spectrum import excitons
from .broadening import EnergyGrid, Gaussian, Lorentzian
from .dielectric import Transitions, dielectric, joint_density_of_states, planned, transitions
from .kramers_kronig import kramers_kronig
from .slopes import SpectrumSlope, spectrum_slope, transition_slopes
from .solvers import Automatic, Dense, Filtered, Solver, Stochastic
from .spectrum import Spectrum, absorption, energy_loss, extinction, reflectivity, refractive_index
from .spread import Spread, spread_transitions
from .tauc import TaucFit, tauc_fit
from .transitions import transition_histogram

__all__ = [
    "Automatic",
    "Dense",
    "EnergyGrid",
    "Excitons",
    "Filtered",
    "Gaussian",
    "Keldysh",
    "Lorentzian",
    "LowestExcitons",
    "ModeSpectra",
    "ModelDielectric",
    "Screening",
    "Solver",
    "Spectrum",
    "SpectrumSlope",
    "Spread",
    "Stochastic",
    "Tail",
    "TaucFit",
    "Transitions",
    "absorption",
    "dielectric",
    "elliott_factor",
    "energy_loss",
    "exciton_spectrum",
    "excitons",
    "extinction",
    "join_tail",
    "joint_density_of_states",
    "kramers_kronig",
    "lowest_excitons",
    "mode_spectra",
    "model_dielectric_of",
    "planned",
    "reflectivity",
    "refractive_index",
    "screening_of",
    "spectrum_slope",
    "spread_transitions",
    "tauc_fit",
    "thomas_fermi_length",
    "transition_histogram",
    "transition_slopes",
    "transitions",
    "with_quanta",
]
