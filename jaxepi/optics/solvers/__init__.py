"""Solvers: how transitions are found. `Dense` diagonalises, `Filtered` and `Stochastic` serve large cells."""

from jaxepi.optics.solvers.choice import Automatic, Solver, resolving, solver_of
from jaxepi.optics.solvers.dense import Dense
from jaxepi.optics.solvers.filtered import Filtered
from jaxepi.optics.solvers.stochastic import Stochastic

__all__ = ["Automatic", "Dense", "Filtered", "Solver", "Stochastic", "resolving", "solver_of"]
