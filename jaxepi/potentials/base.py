"""What a potential is: a model (`jaxepi.model`) that gives an energy. Forces and stress are derivatives of the energy."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxepi.graph import Graph, Relation, Table, guarded
from jaxepi.guards import full_precision
from jaxepi.model import Model, Module
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static


class EnergyModule(Module):
    """Module of a `Potential`: `apply` gives the energy of the cell in eV."""

    def apply(self, variables: Any, structure: Structure, graph: Graph) -> Float[Array, ""]:
        """Energy of the cell, eV; the sum of `energies` unless a module says otherwise."""
        return jnp.sum(self.energies(variables, structure, graph))

    @property
    def shares_energy(self) -> bool:
        """Whether the energy is a sum over atoms that `energies` gives one by one."""
        return False

    @property
    def harmonic_bonds(self) -> bool:
        """Whether the energy is harmonic in lengths of bonds and their products, so that thermal expansion is none of its
        business."""
        return False

    def energies(self, variables: Any, structure: Structure, graph: Graph) -> Float[Array, "n"]:
        """Energy of every atom, eV."""
        raise NotImplementedError


@runtime_checkable
class PairTerm(Protocol):
    """A fixed energy of pairs, added to the network's."""

    @property
    def relation(self) -> Relation: ...

    def check(self, species: Sequence[int]) -> None: ...

    def energies(self, numbers: Array, vectors: Array, receivers: Array) -> Array: ...


class TrainableEnergy(EnergyModule):
    """A module that training can batch: energies of atoms from arrays, whatever structures these belong to."""

    @property
    def terms(self) -> tuple[PairTerm, ...]:
        """Fixed pair terms; their relations stand behind all others."""
        return ()

    def site_energies(
        self,
        variables: Mapping[str, Any],
        species: Int[Array, "n"],
        vectors: tuple[Float[Array, "n _ 3"], ...],
        tables: tuple[Table, ...],
    ) -> Float[Array, "n"]:
        """Energy of every atom, eV; the derivatives are those of the whole.

        Args:
            species: index into `species` of every atom. vectors, tables: one a relation of `relations`.
        """
        raise NotImplementedError

    @property
    def has_features(self) -> bool:
        """Whether `site_features` gives invariants, from which `novelty` follows once it is trained."""
        return False

    def site_features(
        self,
        variables: Mapping[str, Any],
        species: Int[Array, "n"],
        vectors: tuple[Float[Array, "n _ 3"], ...],
        tables: tuple[Table, ...],
    ) -> Float[Array, "n f"]:
        """Invariants of every atom that the network's energy is linear in; arguments as of `site_energies`."""
        raise NotImplementedError


@pytree
class Potential(Model):
    """A potential energy surface."""

    module: EnergyModule = static()

    @full_precision
    def apply(self, structure: Structure, graph: Graph) -> Float[Array, ""]:
        """Potential energy of the cell, eV, without the guard: for compiled code that looks after the graph itself."""
        return self.module.apply({"params": self.params}, structure, graph)

    @guarded
    def energy(self, structure: Structure, graph: Graph) -> Float[Array, ""]:
        """Potential energy of the cell, eV.

        Like forces and stress: NaN under tracing where the graph does not hold (`Graph.holds`).

        Raises:
            InputError: the graph belongs to other atoms or another model, or atoms have left its skin.
        """
        return self.apply(structure, graph)

    @guarded
    def forces(self, structure: Structure, graph: Graph) -> Float[Array, "n 3"]:
        """Forces, eV/angstrom: minus the derivative of the energy by positions.

        Compiled once for structures of the same atoms with graphs of one shape, which `jaxepi.graph.padded` gives them.
        """
        return -jax.grad(lambda x: self.apply(structure.with_positions(x), graph))(structure.positions)

    @guarded
    def stress(self, structure: Structure, graph: Graph) -> Float[Array, "3 3"]:
        """Stress, eV/angstrom^3, dE/d(strain)/volume: positive is tension, as in ASE."""
        zero = jnp.zeros((3, 3), structure.cell.dtype)
        derivative = jax.grad(lambda e: self.apply(structure.strained(0.5 * (e + e.T)), graph))(zero)
        return derivative / structure.volume
