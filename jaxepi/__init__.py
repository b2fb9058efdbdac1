"""jaxepi: what lattice vibrations do to the electrons and the light of crystals, in JAX.

Stages are modules, imported when first used: `jaxepi.materials`, `jaxepi.sampling`, `jaxepi.hamiltonians`,
`jaxepi.electrons`, `jaxepi.optics`, `jaxepi.workflows`. Nothing here changes JAX's configuration; `keep_compiled()` does
when it is called.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.2.0"

STAGES = (
    "electrons",
    "epi",
    "fitting",
    "graph",
    "hamiltonians",
    "datasets",
    "kpoints",
    "linalg",
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
)
__all__ = ["Graph", "Structure", "__version__", "keep_compiled", *STAGES]

if TYPE_CHECKING:
    from jaxepi.compiled import keep_compiled
    from jaxepi.graph import Graph
    from jaxepi.structure import Structure


def __getattr__(name: str):
    if name == "Structure":
        return importlib.import_module("jaxepi.structure").Structure
    if name == "Graph":
        return importlib.import_module("jaxepi.graph").Graph
    if name == "keep_compiled":
        return importlib.import_module("jaxepi.compiled").keep_compiled
    if name in STAGES:
        return importlib.import_module(f"jaxepi.{name}")
    raise AttributeError(f"module 'jaxepi' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
