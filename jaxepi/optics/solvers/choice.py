"""Which solver: the contract of all, and the choice by size and memory."""

from typing import Literal, Protocol, runtime_checkable

from jaxepi.guards import known, number
from jaxepi.optics.broadening import Broadening, EnergyGrid
from jaxepi.optics.solvers.case import Case, Found, refusal
from jaxepi.optics.solvers.dense import Dense, matrix_bytes
from jaxepi.optics.solvers.filtered import Filtered
from jaxepi.optics.solvers.stochastic import Stochastic
from jaxepi.tree import pytree, static

LARGEST_DENSE = 8000
"""Orbitals up to which everything is diagonalised."""

LARGEST_FILTERED = 60_000
"""Orbitals up to which states about the gap are filtered: not measured beyond 512 atoms."""


@runtime_checkable
class Solver(Protocol):
    """What finds transitions: a small frozen object."""

    def solve(self, case: Case, grid: EnergyGrid, tensor: bool, memory_gb: float) -> Found:
        """Binned transitions of all configurations of a case, within about `memory_gb` gigabytes."""

    def plan(self, case: Case) -> "Solver":
        """The same with everything that has to be looked up in known values, so that others may be traced."""

    def resolving(self, width: float) -> "Solver":
        """The same for line shapes of `width`, eV, and more."""


@pytree
class Automatic:
    """`Dense` while the cell is small enough for it, then `Filtered`, then `Stochastic`.

    Attributes:
        filtered, stochastic: what is chosen from.
    """

    filtered: Filtered = static(default=Filtered())
    stochastic: Stochastic = static(default=Stochastic())

    def kind(self, case: Case, memory_gb: float) -> Literal["dense", "filtered", "stochastic"]:
        """Which solver a case has."""
        fits = matrix_bytes(case.size, case.real) <= memory_gb * 1e9
        if refusal(case) or (fits and case.size <= LARGEST_DENSE):
            return "dense"
        # A tenth of the states is filtered: five blocks of them, and matrices among them.
        filtered = 8e-9 * (1 if case.real else 2) * 0.6 * case.size**2
        small = case.size <= LARGEST_FILTERED and filtered <= memory_gb
        return "filtered" if small else "stochastic"

    def choose(self, case: Case, memory_gb: float) -> Solver:
        """The solver for a case."""
        kind = self.kind(case, memory_gb)
        if kind == "dense":
            return Dense()
        return self.filtered if kind == "filtered" else self.stochastic

    def plan(self, case: Case) -> Solver:
        """The solver for a case, planned, within 8 GB."""
        return self.choose(case, 8.0).plan(case)

    def resolving(self, width: float) -> "Automatic":
        """The same for line shapes of `width`, eV, where none was asked for."""
        return Automatic(self.filtered.resolving(width), self.stochastic.resolving(width))

    def solve(self, case: Case, grid: EnergyGrid, tensor: bool, memory_gb: float) -> Found:
        """As the solver that is chosen."""
        return self.choose(case, memory_gb).solve(case, grid, tensor, memory_gb)


def solver_of(solver: Solver | None) -> Solver:
    """The solver that is asked for, or the dense one."""
    return Dense() if solver is None else solver


def resolving(solver: Solver, broadening: Broadening) -> Solver:
    """The solver for this line shape, where its width is known."""
    width = known(number("broadening", broadening.width, "eV"))
    return solver if width is None else solver.resolving(float(width))
