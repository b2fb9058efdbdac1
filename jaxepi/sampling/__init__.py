"""Snapshots of a crystal at a temperature: harmonic (random, quasi-random, special) and by dynamics; phonons."""

from jaxepi.sampling.averages import Average, average, canonical
from jaxepi.sampling.densities import Density, density_of_states
from jaxepi.sampling.dynamics import Dynamics, DynamicsError, Trajectory, molecular_dynamics, trajectories
from jaxepi.sampling.expansion import Expanded, QuasiHarmonic, expanded
from jaxepi.sampling.force_constants import ForceConstants, force_constants
from jaxepi.sampling.harmonic import (
    Statistics,
    covariance,
    displacements,
    harmonic,
    mean_square_displacements,
    white_noise,
)
from jaxepi.sampling.integrators import Integration
from jaxepi.sampling.irreps import GammaModes, gamma_modes
from jaxepi.sampling.phonons import (
    Dispersion,
    Images,
    dispersion,
    dynamical_matrix,
    frequencies_thz,
    images_of,
    in_base,
    shortest_images,
)
from jaxepi.sampling.polar import Polar
from jaxepi.sampling.quasirandom import sobol_groups, sobol_noise
from jaxepi.sampling.resampling import in_primitive_cells, resampled
from jaxepi.sampling.self_consistent import SelfConsistent, self_consistent
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.sampling.special_displacements import Departure, departure, special, special_noise
from jaxepi.sampling.sum_rules import SumRules, sum_rules, with_sum_rules
from jaxepi.sampling.velocities import group_velocities
from jaxepi.sampling.vibrations import (
    Modes,
    Thermodynamics,
    entropy,
    fine_mesh,
    free_energy,
    heat_capacity,
    mean_squares,
    normal_modes,
    thermodynamics,
    vibrational_energy,
)

__all__ = [
    "Average",
    "Density",
    "Departure",
    "Dispersion",
    "Dynamics",
    "DynamicsError",
    "Expanded",
    "ForceConstants",
    "GammaModes",
    "Images",
    "Integration",
    "Modes",
    "Polar",
    "QuasiHarmonic",
    "SelfConsistent",
    "Snapshots",
    "Statistics",
    "SumRules",
    "Thermodynamics",
    "Trajectory",
    "average",
    "canonical",
    "covariance",
    "density_of_states",
    "departure",
    "dispersion",
    "displacements",
    "dynamical_matrix",
    "entropy",
    "expanded",
    "fine_mesh",
    "force_constants",
    "free_energy",
    "frequencies_thz",
    "gamma_modes",
    "group_velocities",
    "harmonic",
    "heat_capacity",
    "images_of",
    "in_base",
    "in_primitive_cells",
    "mean_square_displacements",
    "mean_squares",
    "molecular_dynamics",
    "normal_modes",
    "resampled",
    "self_consistent",
    "shortest_images",
    "sobol_groups",
    "sobol_noise",
    "special",
    "special_noise",
    "sum_rules",
    "thermodynamics",
    "trajectories",
    "vibrational_energy",
    "white_noise",
    "with_sum_rules",
]
