"""What a model is: a frozen pair of a module and its parameters. Potentials and Hamiltonians are models.

A published set and a learned network are the same kind of thing. A module is hashable (a frozen dataclass derived from
`Module`) and has `apply({"params": params}, structure, graph)`, the signature of a linen module. What a stage must know of a
model the module says by name; what it does not say has the default below. No stage looks at the class of a module or at the
keys of parameters.
"""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxepi import tree
from jaxepi.errors import InputError
from jaxepi.graph import Graph, Relation, build_graph
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static


def label() -> Any:
    """A field of a module that says what it is called or where it comes from: models that differ in it alone are equal."""
    return dataclasses.field(default="", compare=False, repr=False)


class Module:
    """The contract of all modules; `BlockModule` and `EnergyModule` add what Hamiltonians and potentials have to say.

    Every module says how far it reaches (`cutoff`) and how far atoms may move before its graph is built again (half the
    `skin`), in angstrom, and which atomic numbers it has parameters for (`species`; empty means any).
    """

    if TYPE_CHECKING:
        # Fields of dataclasses or properties, as each module likes: no attribute stands here at run time, which a dataclass
        # would take for the default of its field. (A field in the place of a property below must have a default.)
        @property
        def cutoff(self) -> float: ...
        @property
        def skin(self) -> float: ...
        @property
        def species(self) -> tuple[int, ...]: ...

    @property
    def name(self) -> str:
        """As `registry.load` knows it, or what a file says of itself."""
        return ""

    @property
    def citation(self) -> str:
        """Where the parameters come from."""
        return ""

    @property
    def called(self) -> str:
        """The name, or the kind of module where it has none: for messages."""
        return self.name or type(self).__name__

    @property
    def minimum_distance(self) -> float:
        """Shortest distance of two atoms in the data the model was trained on, angstrom; 0 where there is no such limit."""
        return 0.0

    @property
    def relations(self) -> tuple[Relation, ...]:
        """The tables of neighbours that `apply` reads in the graph."""
        return ()

    @property
    def reach(self) -> float:
        """Angstrom: an atom farther than this from all others is lost to the model."""
        return self.cutoff

    @property
    def ends_at_cutoff(self) -> bool:
        """Whether all terms vanish at the cutoff, so that edges beyond it change nothing. Else every edge counts."""
        return False

    @property
    def permanent_bonds(self) -> bool:
        """Whether the bonds of the structure that the graph was built from are those of the model for good."""
        return False

    def check(self, structure: Structure, graph: Graph) -> None:
        """Refuse structures the model does not describe, on the host. Elements have been checked before.

        Raises:
            InputError: says what is wrong with the structure.
        """

    def check_species(self, structure: Structure) -> None:
        """Refuse elements without parameters.

        Raises:
            InputError: names the atom and its element.
        """
        from ase.data import chemical_symbols

        for i, z in enumerate(structure.species):
            if self.species and z not in self.species:
                known = ", ".join(chemical_symbols[s] for s in self.species)
                raise InputError(
                    f"atom {i} is {chemical_symbols[z]}; {self.called} has parameters for {known} only: choose another model "
                    f"(jaxepi materials --elements {chemical_symbols[z]} lists them), or train one (jaxepi train --example)"
                )

    @property
    def measures_novelty(self) -> bool:
        """Whether `novelty` says anything of this model."""
        return False

    def novelty(self, variables: Mapping[str, Any], structure: Structure, graph: Graph) -> Float[Array, ""]:
        """How far the strangest atom is from the training data: 1 is the edge, 0 where the model has no such measure."""
        return jnp.zeros((), structure.positions.dtype)


@pytree
class Model:
    """A module (static) and its parameters (a pytree)."""

    params: Any
    module: Module = static()

    @property
    def name(self) -> str:
        return self.module.name

    @property
    def citation(self) -> str:
        """Where the parameters come from."""
        return self.module.citation

    def graph(self, structure: Structure, skin: float | None = None) -> Graph:
        """The topology this model needs, built on the host from a reference structure.

        Args:
            skin: angstrom, in place of the model's own; only for modules whose terms end at the cutoff.

        Raises:
            InputError: an element without parameters, or a structure the model does not describe.
        """
        module = self.module
        if skin is not None and not module.ends_at_cutoff:
            raise InputError(f"skin {skin}: the bonds of {module.called} are all pairs within its own; leave it out")
        module.check_species(structure)
        graph = build_graph(structure, module.cutoff, module.skin if skin is None else skin, module.relations)
        module.check(structure, graph)
        return graph

    def astype(self, dtype: Any) -> Any:
        """The same model with its parameters in another precision."""
        return tree.astype(self, dtype)

    @jax.jit
    def novelty(self, structure: Structure, graph: Graph) -> Float[Array, ""]:
        """Largest distance of an atom from the training data, 1 at its edge; 0 where the module has no such measure."""
        return self.module.novelty({"params": self.params}, structure, graph)
