from .edges import BandEdges, EdgeProbe, band_edges, edge_probe, thermal_edges
from .eigen import eigenvalues, eigvalsh, generalized_eigvalsh, plausible

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
