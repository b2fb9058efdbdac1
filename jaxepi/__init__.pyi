from . import (
    datasets,
    electrons,
    epi,
    fitting,
    graph,
    hamiltonians,
    kpoints,
    linalg,
    machines,
    materials,
    model,
    optics,
    plotting,
    potentials,
    sampling,
    structure,
    training,
    units,
    workflows,
)
from .compiled import keep_compiled
from .graph import Graph
from .structure import Structure

__version__: str

__all__ = [
    "Graph",
    "Structure",
    "datasets",
    "electrons",
    "epi",
    "fitting",
    "graph",
    "hamiltonians",
    "keep_compiled",
    "kpoints",
    "linalg",
    "machines",
    "materials",
    "model",
    "optics",
    "plotting",
    "potentials",
    "sampling",
    "structure",
    "training",
    "units",
    "workflows",
]
