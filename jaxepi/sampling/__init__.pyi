from .averages import Average, average, canonical
from .densities import Density, density_of_states
from .dynamics import Dynamics, DynamicsError, Trajectory, molecular_dynamics, trajectories
from .expansion import Expanded, QuasiHarmonic, expanded
from .force_constants import ForceConstants, force_constants
from .harmonic import (
    Statistics,
    covariance,
    displacements,
    harmonic,
    mean_square_displacements,
    white_noise,
)
from .integrators import Integration
from .irreps import GammaModes, gamma_modes
from .phonons import (
    Dispersion,
    Images,
    dispersion,
    dynamical_matrix,
    frequencies_thz,
    images_of,
    in_base,
    shortest_images,
)
from .polar import Polar
from .quasirandom import sobol_groups, sobol_noise
from .resampling import in_primitive_cells, large_force_constants, resampled
from .self_consistent_phonons import SelfConsistent, self_consistent
from .snapshots import Snapshots
from .special_displacements import Departure, departure, special, special_noise
from .sum_rules import SumRules, sum_rules, with_sum_rules
from .velocities import group_velocities
from .vibrations import (
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
    "large_force_constants",
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
