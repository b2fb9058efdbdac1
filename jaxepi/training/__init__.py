"""Training: one loop for all models, and what potentials learn from.

`fit` trains any `Problem`; `EnergyProblem` is that of potentials. Settings need nothing heavy; all else is imported when
first used.
"""

import importlib

from jaxepi.signals import Interrupted
from jaxepi.training.settings import (
    DataSettings,
    LossSettings,
    OptimizerSettings,
    RunSettings,
    SetSettings,
    TrainingSettings,
    read_settings,
)

_WHERE = {
    "EnergyProblem": "energies.problem",
    "Examples": "examples",
    "Fit": "core.loop",
    "Problem": "core.loop",
    "error_rows": "energies.evaluation",
    "fit": "core.loop",
    "fit_references": "energies.references",
    "pack": "packing",
    "predictor": "core.loop",
    "read_examples": "reading",
}
__all__ = [
    "DataSettings",
    "Interrupted",
    "LossSettings",
    "OptimizerSettings",
    "RunSettings",
    "SetSettings",
    "TrainingSettings",
    "read_settings",
    *_WHERE,
]


def __getattr__(name: str):
    if name in _WHERE:
        return getattr(importlib.import_module(f"jaxepi.training.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'jaxepi.training' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
