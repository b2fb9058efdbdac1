"""What a potential is: a frozen pair of a module and its parameters. Forces and stress are derivatives of the energy.

A published potential and a learned one are the same kind of thing. The module has `apply({"params": params}, structure,
graph) -> energy` (the signature of a linen module) and the attributes `cutoff` and `skin`, in angstrom.
"""

from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxepi.graph import Graph, build_graph, guarded
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static


@runtime_checkable
class EnergyModule(Protocol):
    """Module of a `Potential`: hashable, with a range in angstrom and an energy in eV."""

    @property
    def cutoff(self) -> float: ...

    @property
    def skin(self) -> float: ...

    def apply(self, variables: Any, structure: Structure, graph: Graph) -> Array: ...


@pytree
class Potential:
    """A potential energy surface: `module` (static) and its parameters (a pytree)."""

    params: Any
    module: EnergyModule = static()

    def graph(self, structure: Structure) -> Graph:
        """The topology this potential needs, built on the host from a reference structure."""
        checked = getattr(self.module, "check", None)
        graph = build_graph(structure, self.module.cutoff, self.module.skin, getattr(self.module, "relations", ()))
        if checked is not None:
            checked(structure, graph)
        return graph

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

    @jax.jit
    def novelty(self, structure: Structure, graph: Graph) -> Float[Array, ""]:
        """Largest distance of an atom from the training data, 1 at its edge; 0 where the module has no such measure."""
        measure = getattr(self.module, "novelty", None)
        if measure is None:
            return jnp.zeros((), structure.positions.dtype)
        return measure({"params": self.params}, structure, graph)

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
