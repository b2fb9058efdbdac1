"""What a Hamiltonian is: a model (`jaxepi.model`) that gives blocks H(R) of a structure."""

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from jaxepi.errors import InputError
from jaxepi.graph import Graph, guarded
from jaxepi.hamiltonians.basis import Basis
from jaxepi.model import Model, Module
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static


@pytree
class Blocks:
    """H(R) (and S(R)) of one configuration, one block an atom and one an edge of the graph.

    Attributes:
        onsite: eV, shape (n, o, o), Hermitian.
        hopping: eV, shape (e, o, o); block [mu, nu] is <sender mu| H |receiver nu>.
        overlap: shape (e, o, o), or None for an orthogonal basis.
        dipoles: position matrix elements between orbitals of one atom, from its nucleus, angstrom, shape (n, 3, o, o), or
            None. They enter velocities alone: hbar v = dH/dk - i [d, H].
        edge_dipoles: position matrix elements <sender mu| r |receiver nu> between atoms, from the middle of both (orthogonal
            orbitals have the same from anywhere), angstrom, shape (e, 3, o, o), or None: d is then all of them.
        onsite_overlap: of orbitals of one atom, shape (n, o, o), beside an overlap; None stands for the identity.
        basis: the orbitals (static); padding entries of ragged bases are dropped by the Bloch sum.
        species: atomic numbers (static).
    """

    onsite: Inexact[Array, "n o o"]
    hopping: Inexact[Array, "e o o"]
    overlap: Inexact[Array, "e o o"] | None
    basis: Basis = static()
    species: tuple[int, ...] = static()
    dipoles: Inexact[Array, "n 3 o o"] | None = None
    edge_dipoles: Inexact[Array, "e 3 o o"] | None = None
    onsite_overlap: Inexact[Array, "n o o"] | None = None

    @property
    def own_overlap(self) -> Inexact[Array, "n o o"]:
        """Overlap of the orbitals of every atom, the identity where they are orthonormal."""
        if self.onsite_overlap is not None:
            return self.onsite_overlap
        dtype = self.onsite.dtype if self.overlap is None else self.overlap.dtype
        return jnp.broadcast_to(jnp.eye(self.basis.block_size, dtype=dtype), self.onsite.shape)

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
        h, hopping, overlap = (double(b) for b in (self.onsite, self.hopping, self.overlap))
        more = (double(b) for b in (self.dipoles, self.edge_dipoles, self.onsite_overlap))
        return Blocks(h, hopping, overlap, basis, self.species, *more)


class BlockModule(Module):
    """Module of a `Hamiltonian`: `apply` gives `Blocks`; `basis` says which orbitals they stand between."""

    if TYPE_CHECKING:

        @property
        def basis(self) -> Basis: ...

    def apply(self, variables: Any, structure: Structure, graph: Graph) -> Blocks:
        """Blocks of H (and S) in eV; see `Hamiltonian.blocks`."""
        raise NotImplementedError

    def apply_with_dipoles(self, variables: Any, structure: Structure, graph: Graph) -> Blocks:
        """`apply` with all position matrix elements that the model can make."""
        return self.apply(variables, structure, graph)

    def check_positions(self, params: Any) -> None:
        """Refuse parameters, where they are known, of which no position matrix elements can be made.

        Raises:
            InputError: says what is wrong with them.
        """

    @property
    def species(self) -> tuple[int, ...]:
        return self.basis.species

    def check_species(self, structure: Structure) -> None:
        """Refuse elements without orbitals."""
        self.basis.kinds(structure.species)

    @property
    def orthogonal(self) -> bool:
        """Whether orbitals of different atoms are orthogonal: blocks have no overlap."""
        return True

    @property
    def real(self) -> bool:
        """Whether H(R) and S(R) are real, so that H(k) can be made real where k and -k are equivalent."""
        return not self.basis.spinor

    @property
    def fixed(self) -> bool:
        """Whether the blocks are those of one crystal at rest, which follow no displacement or strain."""
        return False

    def working_bytes(self, graph: Graph) -> float:
        """What `apply` takes beside the blocks of one configuration, bytes, about; 0 where that is no more than they take."""
        return 0.0

    @property
    def takes_dipoles(self) -> bool:
        """Whether radial integrals between orbitals of one atom can be put into the parameters (`with_dipoles`)."""
        return False

    def dipoles(self, params: Any) -> Float[Array, "kinds pairs"] | None:
        """The radial integrals of `atomic.dipole_pairs` that the parameters hold, angstrom."""
        return None

    def with_dipoles(self, params: Any, radial: Float[Array, "kinds pairs"]) -> Any:
        """Parameters that hold radial integrals.

        Raises:
            InputError: a module that takes none.
        """
        raise InputError(f"{self.called} takes no on-site dipoles of its own; use a Slater-Koster set or a learned one")

    def with_spin_orbit(self, params: Any) -> tuple["BlockModule", Any]:
        """The module in the spinor basis and its parameters, with the spin-orbit couplings that belong to it.

        Raises:
            InputError: it has none.
        """
        raise InputError(f"{self.called} has no spin-orbit couplings; load it with spin_orbit=False")


@pytree
class Hamiltonian(Model):
    """An electronic Hamiltonian."""

    module: BlockModule = static()

    @property
    def basis(self) -> Basis:
        return self.module.basis

    @property
    def orthogonal(self) -> bool:
        """Whether there is no overlap between orbitals of different atoms."""
        return self.module.orthogonal

    @property
    def real(self) -> bool:
        """Whether H(k) can be made real where k and -k are equivalent."""
        return self.module.real

    @property
    def fixed(self) -> bool:
        """Whether it is that of one crystal at rest and follows no displacement or strain."""
        return self.module.fixed

    def with_spin_orbit(self) -> "Hamiltonian":
        """The same Hamiltonian in the spinor basis, with the spin-orbit couplings of its set.

        Raises:
            InputError: it has none.
        """
        module, params = self.module.with_spin_orbit(self.params)
        return Hamiltonian(params, module)

    @guarded
    def blocks(self, structure: Structure, graph: Graph) -> Blocks:
        """H(R) and S(R) of `structure` on the edges of `graph`, eV; NaN under tracing where the graph does not hold.

        Raises:
            InputError: the graph belongs to other atoms or another model, or atoms have left its skin.
        """
        return self.module.apply({"params": self.params}, structure, graph)

    def check_positions(self) -> None:
        """Refuse a model of whose parameters velocities cannot be made: spectra of it would be NaN.

        Raises:
            InputError: says what is wrong with them; nothing where they are being traced.
        """
        self.module.check_positions(self.params)

    def blocks_with_dipoles(self, structure: Structure, graph: Graph) -> Blocks:
        """`blocks` with all position matrix elements that the model can make, which velocities alone need. Where orbitals that
        overlap come with tables, these are three more blocks an edge.

        Raises:
            InputError: as `blocks`, and as `check_positions`.
        """
        self.check_positions()
        return self._blocks_with_dipoles(structure, graph)

    @guarded
    def _blocks_with_dipoles(self, structure: Structure, graph: Graph) -> Blocks:
        return self.module.apply_with_dipoles({"params": self.params}, structure, graph)
