from .core.loop import Fit, Problem, fit, predictor
from .energies.evaluation import error_rows
from .energies.problem import EnergyProblem
from .energies.references import fit_references
from .examples import Examples
from .packing import pack
from .reading import read_examples
from .settings import (
    DataSettings,
    LossSettings,
    OptimizerSettings,
    RunSettings,
    SetSettings,
    TrainingSettings,
    read_settings,
)

__all__ = [
    "DataSettings",
    "EnergyProblem",
    "Examples",
    "Fit",
    "LossSettings",
    "OptimizerSettings",
    "Problem",
    "RunSettings",
    "SetSettings",
    "TrainingSettings",
    "error_rows",
    "fit",
    "fit_references",
    "pack",
    "predictor",
    "read_examples",
    "read_settings",
]
