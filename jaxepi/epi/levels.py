"""Levels: sets of degenerate electronic states at one k, whose mean energy the vibrations shift.

Flows in: a Hamiltonian, a cell at rest and a k point. Flows out: orthonormal states that span the level. Single states of a
degenerate level are arbitrary and have no derivative; the level as a whole has, and that is what is carried.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact

from jaxepi.electrons.edges import DEGENERACY, BandEdges
from jaxepi.electrons.eigen import eigenvalues
from jaxepi.epi.stencils import Couplings, Stencil, couplings
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import whole
from jaxepi.hamiltonians.base import Blocks, Hamiltonian
from jaxepi.hamiltonians.bloch import bloch_matrices
from jaxepi.kpoints import fractional
from jaxepi.linalg import alike, hermitian, invariant_subspaces, inverse_cholesky
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static


@pytree
class Level:
    """States `first` to `first + count` at one k, counted from the lowest.

    Attributes:
        k: fractional, shape (3,).
    """

    k: Float[Array, "3"]
    first: int = static()
    count: int = static()

    @classmethod
    def at(cls, hamiltonian: Hamiltonian, cell: Structure, k: Any, band: int, tolerance: float = DEGENERACY) -> "Level":
        """The level that a band (counted from zero) has at a k point, with all states within `tolerance`, eV.

        Raises:
            InputError: a band that is not there.
        """
        point = np.asarray(fractional(np.asarray(k, dtype=float)[None]))
        energies = np.asarray(eigenvalues(hamiltonian, cell, point))[0]
        if whole("band", band, 0) >= len(energies):
            raise InputError(f"band {band}: there are {len(energies)} bands, 0 to {len(energies) - 1}")
        there = np.flatnonzero(np.abs(energies - energies[band]) < tolerance)
        return cls(jnp.asarray(point[0], cell.positions.dtype), int(there[0]), len(there))


def edge_levels(hamiltonian: Hamiltonian, cell: Structure, edges: BandEdges) -> tuple[Level, Level]:
    """Valence and conduction edge of a crystal, each at the first of its equivalent k points."""
    inverse = jnp.linalg.inv(cell.reciprocal)
    occupied = hamiltonian.basis.occupied(cell.species)
    top, bottom = edges.degeneracies
    return (
        Level(edges.valence_k[0] @ inverse, occupied - top, top),
        Level(edges.conduction_k[0] @ inverse, occupied, bottom),
    )


@pytree
class Electrons:
    """A crystal at rest as perturbation theory needs it: blocks, and how they follow the atoms."""

    cell: Structure
    graph: Graph
    blocks: Blocks
    vectors: Float[Array, "e 3"]
    couplings: Couplings

    @classmethod
    def of(cls, hamiltonian: Hamiltonian, cell: Structure, graph: Graph, stencil: Stencil) -> "Electrons":
        """Pure, once graph (of the cell) and stencil are known."""
        found = couplings(hamiltonian, cell, stencil)
        return cls(cell, graph, hamiltonian.blocks(cell, graph), graph.vectors(cell), found)

    def at(self, k: Float[Array, "3"]) -> tuple[Complex[Array, "N N"], Inexact[Array, "N N"] | None]:
        """H(k) in an orthonormal basis X, H = X H(k) X^+, and X; None where the basis is orthonormal.

        Args:
            k: Cartesian, 1/angstrom.
        """
        h, s = bloch_matrices(self.blocks, self.graph, self.vectors, k)
        if s is None:
            return h, None
        x = inverse_cholesky(s)
        return hermitian(x @ h @ x.conj().T), x

    def perturbations(self, k: Float[Array, "3"], q: Float[Array, "3"], here: tuple, there: tuple):
        """dH/du and dS/du between k and k + q in the orthonormal bases of both, shape (3 b, N, N); the second is None where
        the basis is orthonormal. Of a basis that is not, the first is that of S^(-1/2) H S^(-1/2): Hermitian, for it holds how
        the orbitals' overlap follows the atoms.

        Args:
            here, there: `at(k)` and `at(k + q)`.
        """
        dh, ds = self.couplings.between(k, q)
        (h, x), (h_there, x_there) = here, there
        if ds is None:
            return dh, None
        dh, ds = (x_there[None] @ m @ x.conj().T[None] for m in (dh, ds))
        return dh - 0.5 * (h_there[None] @ ds + ds @ h[None]), ds


@pytree
class States:
    """States that span a level.

    Attributes:
        k: Cartesian, 1/angstrom. vectors: in the orthonormal basis at k, shape (N, d). orbitals: in that of the Hamiltonian.
        energy: H between them, eV, shape (d, d); diagonal at rest.
    """

    k: Float[Array, "3"]
    vectors: Complex[Array, "N d"]
    orbitals: Complex[Array, "N d"]
    energy: Complex[Array, "d d"]


@jax.jit
def states(electrons: Electrons, level: Level) -> States:
    """The states of a level, with derivatives by all that the electrons depend on."""
    k = level.k @ electrons.cell.reciprocal
    h, x = electrons.at(k)
    _, u = invariant_subspaces(((level.first, level.first + level.count),), h)
    if x is None:
        return States(k, u, u, hermitian(u.conj().T @ h @ u))
    x, same = alike(x, u)
    return States(k, u, x.conj().T @ same, hermitian(u.conj().T @ h @ u))
