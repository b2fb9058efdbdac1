"""What a Hamiltonian is: a frozen pair of a module and its parameters that gives blocks H(R) of a structure.

A published set and a learned network are the same kind of thing. The module has `apply({"params": params}, structure,
graph) -> Blocks` (the signature of a linen module) and the attributes `basis`, `cutoff` and `skin`.
"""

from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
from jaxtyping import Array, Inexact

from jaxepi.graph import Graph, build_graph, guarded
from jaxepi.hamiltonians.basis import Basis
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static


@pytree
class Blocks:
    """H(R) (and S(R)) of one configuration, one block an atom and one an edge of the graph.

    Attributes:
        onsite: eV, shape (n, o, o), Hermitian.
        hopping: eV, shape (e, o, o); block [mu, nu] is <sender mu| H |receiver nu>.
        overlap: shape (e, o, o), or None for an orthogonal basis; on-site overlap is the identity.
        dipoles: position matrix elements between orbitals of one atom, from its nucleus, angstrom, shape (n, 3, o, o), or
            None. They enter velocities alone: hbar v = dH/dk - i [d, H].
        basis: the orbitals (static); padding entries of ragged bases are dropped by the Bloch sum.
        species: atomic numbers (static).
    """

    onsite: Inexact[Array, "n o o"]
    hopping: Inexact[Array, "e o o"]
    overlap: Inexact[Array, "e o o"] | None
    basis: Basis = static()
    species: tuple[int, ...] = static()
    dipoles: Inexact[Array, "n 3 o o"] | None = None

    @property
    def size(self) -> int:
        return self.basis.size(self.species)

    @property
    def occupied(self) -> int:
        return self.basis.occupied(self.species)

    def as_spinor(self) -> "Blocks":
        """The same Hamiltonian in the spinor basis, without spin-orbit coupling."""
        if self.basis.spinor:
            return self

        def double(b):
            return None if b is None else jnp.kron(jnp.eye(2, dtype=b.dtype), b)

        basis = Basis(self.basis.shells, self.basis.electrons, True)
        h, hopping, overlap, dipoles = (double(b) for b in (self.onsite, self.hopping, self.overlap, self.dipoles))
        return Blocks(h, hopping, overlap, basis, self.species, dipoles)


@runtime_checkable
class BlockModule(Protocol):
    """Module of a `Hamiltonian`: hashable, with an orbital basis and a range in angstrom."""

    @property
    def basis(self) -> Basis: ...

    @property
    def cutoff(self) -> float: ...

    @property
    def skin(self) -> float: ...

    def apply(self, variables: Any, structure: Structure, graph: Graph) -> Blocks: ...


@pytree
class Hamiltonian:
    """An electronic Hamiltonian: `module` (static) and its parameters (a pytree)."""

    params: Any
    module: BlockModule = static()

    @property
    def basis(self) -> Basis:
        return self.module.basis

    def graph(self, structure: Structure) -> Graph:
        """The topology this Hamiltonian needs, built on the host from a reference structure.

        Raises:
            InputError: an element without parameters, or a structure the model does not describe.
        """
        self.basis.kinds(structure.species)
        graph = build_graph(structure, self.module.cutoff, self.module.skin, getattr(self.module, "relations", ()))
        checked = getattr(self.module, "check", None)
        if checked is not None:
            checked(structure, graph)
        return graph

    @guarded
    def blocks(self, structure: Structure, graph: Graph) -> Blocks:
        """H(R) and S(R) of `structure` on the edges of `graph`, eV; NaN under tracing where the graph does not hold.

        Raises:
            InputError: the graph belongs to other atoms or another model, or atoms have left its skin.
        """
        return self.module.apply({"params": self.params}, structure, graph)
