"""Optics: dielectric function, Kramers-Kronig, optical constants, Tauc gaps.

Fifth stage of the house: a Hamiltonian and snapshots flow in, spectra flow out.
"""

from jaxepi.optics.broadening import EnergyGrid, Gaussian, Lorentzian
from jaxepi.optics.dielectric import Transitions, dielectric, joint_density_of_states, transitions
from jaxepi.optics.kramers_kronig import kramers_kronig
from jaxepi.optics.spectrum import Spectrum, absorption, energy_loss, extinction, reflectivity, refractive_index
from jaxepi.optics.tauc import TaucFit, tauc_fit
from jaxepi.optics.transitions import transition_histogram

__all__ = [
    "EnergyGrid",
    "Gaussian",
    "Lorentzian",
    "Spectrum",
    "TaucFit",
    "Transitions",
    "absorption",
    "dielectric",
    "energy_loss",
    "extinction",
    "joint_density_of_states",
    "kramers_kronig",
    "reflectivity",
    "refractive_index",
    "tauc_fit",
    "transition_histogram",
    "transitions",
]
