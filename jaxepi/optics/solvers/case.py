"""What every solver is given, and what it gives back."""

from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float

from jaxepi import units
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import traced
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.basis import Basis
from jaxepi.hamiltonians.bloch import cartesian, phases, signs
from jaxepi.optics.solvers.bonds import Bonds, operators, without_zeros
from jaxepi.structure import Structure
from jaxepi.tree import pytree, replace, static


@pytree
class Case:
    """Configurations of one topology, and the k points at which they are solved.

    Attributes:
        positions: of the configurations, angstrom, shape (s, n, 3). points, weights: fractional k and their weights.
        real: whether H(k) is real at all of them, by its signs (static).
    """

    hamiltonian: Hamiltonian
    structure: Structure
    graph: Graph
    positions: Float[Array, "s n 3"]
    points: Float[Array, "k 3"]
    weights: Float[Array, " k"]
    real: bool = static()

    @property
    def size(self) -> int:
        """Orbitals."""
        return self.hamiltonian.basis.size(self.structure.species)

    @property
    def occupied(self) -> int:
        """Filled states of each k point."""
        return self.hamiltonian.basis.occupied(self.structure.species)

    def prefactor(self, structure: Structure) -> Array:
        """4 pi^2 (e^2/4 pi eps0) g_s/V: from squared dipoles to eps2, eV."""
        return prefactor(self.hamiltonian.basis, structure.volume)

    def plasma(self) -> Array:
        """(hbar omega_p)^2 of the valence electrons, eV^2."""
        return plasma(self.hamiltonian.basis, self.structure.species, self.structure.volume)


def prefactor(basis: Basis, volume: Any) -> Any:
    """4 pi^2 (e^2/4 pi eps0) g_s/V: from squared dipoles to eps2, eV."""
    return 4 * np.pi**2 * units.COULOMB * basis.spin_degeneracy / volume


def plasma(basis: Basis, species: Any, volume: Any) -> Any:
    """(hbar omega_p)^2 of the valence electrons, eV^2."""
    electrons = basis.occupied(species) * basis.spin_degeneracy / volume
    return 4 * np.pi * units.COULOMB * units.HBAR2_PER_ELECTRON_MASS * electrons


class Found(NamedTuple):
    """What a solver finds: the fields of `Transitions` that it decides.

    Attributes:
        histogram: eV, shape (s, p, bins). eigenvalues: those it knows, eV, shape (s, k, N'). occupied: filled ones of them.
        plasma: (hbar omega_p)^2, eV^2.
        carried: deviation, eV, of the Gaussian that every line carries already; 0 for bare bins.
        replicas: histograms that leave out one random vector each, shape (s, r, p, bins), or None.
    """

    histogram: Any
    eigenvalues: Any
    occupied: int
    plasma: Any
    carried: float = 0.0
    replicas: Any = None


@partial(jax.jit, static_argnames="real")
def _operators(case: Case, positions: Array, point: Array, real: bool) -> tuple[Bonds, Bonds]:
    displaced = case.structure.with_positions(positions)
    graph = case.graph
    blocks, vectors = case.hamiltonian.blocks(displaced, graph), graph.vectors(displaced)
    phase = signs(graph, point, vectors.dtype) if real else phases(vectors, cartesian(point, displaced))
    return operators(blocks, graph, vectors, phase)


def operators_of(case: Case, snapshot: int, point: int) -> tuple[Bonds, Bonds]:
    """H(k) and W of one configuration at one k point as block rows; see `bonds.operators`."""
    return _operators(case, case.positions[snapshot], case.points[point], case.real)


def without_far_slots(case: Case) -> Case:
    """The case with slots for neighbours whose blocks are not zero in one of the configurations, alone.

    Where values are being traced, all slots stay.
    """
    if traced(case):
        return case
    blocks = [case.hamiltonian.blocks(case.structure.with_positions(x), case.graph) for x in case.positions]
    return replace(case, graph=without_zeros(blocks, case.graph))


def refusal(case: Case) -> str:
    """Why block rows of neighbours cannot hold H(k) and W of a case; empty where they can."""
    if not case.hamiltonian.orthogonal:
        return "orthogonal bases, and orbitals of this Hamiltonian overlap"

    def blocks(c: Case) -> Any:
        return c.hamiltonian.blocks(c.structure.with_positions(c.positions[0]), c.graph)

    if jax.eval_shape(blocks, case).edge_dipoles is not None:
        return "position matrix elements within atoms alone, and this Hamiltonian has those between atoms"
    return ""


def check_served(case: Case) -> None:
    """Refuse what block rows of neighbours cannot hold.

    Raises:
        InputError: a non-orthogonal basis, or position matrix elements between atoms.
    """
    if why := refusal(case):
        raise InputError(f"solvers for large cells take {why}: use solver=optics.Dense()")
