"""Engines that label structures: one small interface (`base`), one module a code, each looked for when it is asked for."""

from collections.abc import Mapping
from typing import Any

from jaxepi.errors import InputError
from jaxepi.labelling.engines.base import Engine, LabelFailure, Mesh

__all__ = ["Engine", "LabelFailure", "Mesh", "get"]


def get(name: str, recipe: Mapping[str, Any]) -> Engine:
    """The engine `name` with the settings of a recipe."""
    if name == "espresso":
        from jaxepi.labelling.engines.espresso import Espresso

        return Espresso(**recipe)
    if name == "gpaw":
        from jaxepi.labelling.engines.gpaw_code import Gpaw

        return Gpaw(**recipe)
    if name == "gpaw-lcao":
        from jaxepi.labelling.engines.gpaw_lcao import GpawLcao

        return GpawLcao(**recipe)
    raise InputError(f"engine {name!r} is not known; use espresso, gpaw or gpaw-lcao")
