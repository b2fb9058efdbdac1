"""Whole studies: each joins the stages, and is what the command line and a notebook both call.

One module a study (`absorption`, `bands`, `phonons`, `samples`, `training`), imported when first used; settings need
nothing heavy.
"""

import importlib

from jaxepi.workflows.settings import (
    AbsorptionSettings,
    BandsSettings,
    DynamicsSettings,
    ExpandSettings,
    GapSettings,
    PhononsSettings,
    SamplingSettings,
)

_STUDIES = (
    "absorption",
    "bands",
    "crystal",
    "dynamics",
    "expansion",
    "hamiltonian",
    "phonons",
    "reports",
    "samples",
    "training",
    "vibrations",
)
__all__ = [
    "AbsorptionSettings",
    "BandsSettings",
    "DynamicsSettings",
    "ExpandSettings",
    "GapSettings",
    "PhononsSettings",
    "SamplingSettings",
    *_STUDIES,
]


def __getattr__(name: str):
    if name in _STUDIES:
        return importlib.import_module(f"jaxepi.workflows.{name}")
    raise AttributeError(f"module 'jaxepi.workflows' has no attribute {name!r}")


def __dir__():
    return sorted(__all__)
