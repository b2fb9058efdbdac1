"""Snapshots of a crystal at a temperature: harmonic sampling and molecular dynamics; phonon frequencies."""

from jaxepi.sampling.averages import Average, average, canonical
from jaxepi.sampling.dynamics import Dynamics, DynamicsError, Trajectory, molecular_dynamics, trajectories
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
from jaxepi.sampling.resampling import in_primitive_cells, resampled
from jaxepi.sampling.snapshots import Snapshots

__all__ = [
    "Average",
    "Dispersion",
    "Dynamics",
    "DynamicsError",
    "ForceConstants",
    "Images",
    "Integration",
    "Polar",
    "Snapshots",
    "Statistics",
    "Trajectory",
    "average",
    "canonical",
    "covariance",
    "dispersion",
    "displacements",
    "dynamical_matrix",
    "force_constants",
    "frequencies_thz",
    "harmonic",
    "images_of",
    "in_base",
    "in_primitive_cells",
    "mean_square_displacements",
    "molecular_dynamics",
    "resampled",
    "shortest_images",
    "trajectories",
    "white_noise",
]
