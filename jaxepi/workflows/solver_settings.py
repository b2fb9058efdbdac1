"""Which solver finds the transitions of snapshots: settings of every study that computes spectra. Imports nothing heavy."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from jaxepi.errors import InputError
from jaxepi.settings import Settings, setting

RESOURCES = ("memory_gb", "workers", "forces")
"""Settings that change how, not what, is computed."""


def resources(asked: Mapping[str, Any]) -> tuple[str, ...]:
    """Those of some settings with which a run may be resumed with others: not the memory where it decides the solver."""
    return tuple(name for name in RESOURCES if name != "memory_gb" or asked.get("solver") != "auto")


@dataclasses.dataclass(frozen=True)
class SolverSettings(Settings):
    """How transitions are found; `solving.solver_of` makes the solver."""

    group: ClassVar[str] = "solver"

    solver: str = setting(
        "dense",
        "of snapshots: all states (dense, to about 1000 atoms), states about the gap and random vectors beyond (filtered), "
        "random vectors (stochastic), or by size and memory (auto)",
        choices=("dense", "filtered", "stochastic", "auto"),
    )
    joint: float = setting(
        2.6,
        "with filtered: photon energy up to which spectra are those of dense",
        "eV",
        above=0,
        below=50,
        metavar="EV",
    )
    vectors: int = setting(
        8,
        "with stochastic: random vectors up to 3 eV; beyond, a quarter as many and 2 at least",
        least=3,
        most=10**4,
        metavar="N",
    )


def refuse_solver(settings: Any) -> None:
    """Refuse what the solver of a study of spectra does not give.

    Raises:
        InputError: names both settings.
    """
    solver = settings.solver
    if settings.slopes and solver != "dense":
        raise InputError(f"slopes with solver {solver}: derivatives by temperature come from dense; leave one out")
    if settings.broadening != "gaussian" and solver != "dense":
        raise InputError(
            f"broadening {settings.broadening} with solver {solver}: its lines are Gaussians already; take gaussian, or dense"
        )
