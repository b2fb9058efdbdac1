"""Electrons: eigenvalues, bands, band edges and what temperature does to them.

Fourth stage of the house: a Hamiltonian and structures or snapshots flow in, energies flow out.
"""

from jaxepi.electrons.edges import BandEdges, EdgeProbe, band_edges, edge_probe, thermal_edges
from jaxepi.electrons.eigen import eigenvalues, eigvalsh, generalized_eigvalsh, plausible

__all__ = [
    "BandEdges",
    "EdgeProbe",
    "band_edges",
    "edge_probe",
    "eigenvalues",
    "eigvalsh",
    "generalized_eigvalsh",
    "plausible",
    "thermal_edges",
]
