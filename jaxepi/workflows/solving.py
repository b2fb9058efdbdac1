"""Which solver of transitions a study uses and which lines it resolves, from its settings: the one place that decides."""

from jaxepi import optics
from jaxepi.errors import InputError
from jaxepi.optics.solvers.case import Case, refusal
from jaxepi.workflows.settings import AbsorptionSettings

LARGEST_EDGES = 20_000
"""Orbitals of a supercell beyond which band edges of snapshots, a sparse factorisation each, are not looked for."""

RESIDUALS = 1e-3
"""Of filtered states, eV: energies are then wrong by its square over an eV, eps2 of 512 atoms by 1e-9 of it."""


def line_shape(settings: AbsorptionSettings) -> optics.Gaussian | optics.Lorentzian:
    """Of every transition."""
    return (optics.Gaussian if settings.broadening == "gaussian" else optics.Lorentzian)(settings.width)


def decided(settings: AbsorptionSettings, case: Case) -> str:
    """The kind of solver of all snapshots of a study: dense, filtered or stochastic.

    Args:
        case: the study's Hamiltonian and supercell; `real` where H(k) of every snapshot is.

    Raises:
        InputError: a Hamiltonian that the solver asked for does not serve.
    """
    if settings.solver == "auto":
        return optics.Automatic().kind(case, settings.memory_gb)
    if settings.solver != "dense" and (why := refusal(case)):
        raise InputError(f"solver {settings.solver} takes {why}: give --solver dense")
    return settings.solver


def solver_of(settings: AbsorptionSettings, kind: str, snapshot: int) -> optics.Solver:
    """The solver of one snapshot, of a kind that is `decided`, with random vectors of its own: the same at all temperatures."""
    if kind == "dense":
        return optics.Dense()
    above = max(2, settings.vectors // 4)
    stochastic = optics.Stochastic(settings.vectors, above=above, width=settings.width, seed=snapshot)
    if kind == "stochastic":
        return stochastic
    return optics.Filtered(settings.joint, stochastic, RESIDUALS, "single", snapshot, width=settings.width)
