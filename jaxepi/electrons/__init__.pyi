from .edges import BandEdges, EdgeProbe, band_edges, edge_probe, thermal_edges
from .eigen import eigenvalues, eigvalsh, generalized_eigvalsh, plausible
from .sparse import NearBands, NearStates, bands_near, sparse_bloch, states_near

__all__ = [
    "BandEdges",
    "EdgeProbe",
    "NearBands",
    "NearStates",
    "band_edges",
    "bands_near",
    "edge_probe",
    "eigenvalues",
    "eigvalsh",
    "generalized_eigvalsh",
    "plausible",
    "sparse_bloch",
    "states_near",
    "thermal_edges",
]
