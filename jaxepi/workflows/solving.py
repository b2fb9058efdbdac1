"""Which solver of transitions a study uses, from its settings: the one place where that is decided."""

from jaxepi import optics
from jaxepi.workflows.settings import AbsorptionSettings

LARGEST_EDGES = 20_000
"""Orbitals of a supercell beyond which band edges of snapshots, a sparse factorisation each, are not looked for."""


def solver_of(settings: AbsorptionSettings, snapshot: int) -> optics.Solver:
    """The solver of one snapshot, with random vectors of its own: the same at all temperatures."""
    if settings.solver == "dense":
        return optics.Dense()
    above = max(1, settings.vectors // 4)
    stochastic = optics.Stochastic(settings.vectors, above=above, width=settings.width, seed=snapshot)
    if settings.solver == "stochastic":
        return stochastic
    filtered = optics.Filtered(settings.joint, rest=stochastic, width=settings.width, seed=snapshot)
    return filtered if settings.solver == "filtered" else optics.Automatic(filtered, stochastic)
