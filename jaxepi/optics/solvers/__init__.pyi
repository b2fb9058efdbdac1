from .choice import Automatic, Solver, resolving, solver_of
from .dense import Dense
from .filtered import Filtered
from .stochastic import Stochastic

__all__ = ["Automatic", "Dense", "Filtered", "Solver", "Stochastic", "resolving", "solver_of"]
