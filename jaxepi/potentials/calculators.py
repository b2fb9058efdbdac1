"""ASE's calculator interface for every potential."""

import warnings
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import full_precision
from jaxepi.potentials import topology
from jaxepi.potentials.base import Potential
from jaxepi.potentials.domain import extrapolations
from jaxepi.structure import Structure


class PotentialCalculator(Calculator):
    """Energy (eV), forces (eV/angstrom) and stress (eV/angstrom^3) of a `Potential` for `ase.Atoms`.

    Potentials that share their energy out among the atoms also give `energies` (eV). All come from one evaluation. Made
    by `calculator`. Warns, once each, of atoms outside the training data of a learned potential.
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 (as ASE declares it)

    def __init__(self, potential: Potential, dtype: str = "float64", **kwargs: Any):
        super().__init__(**kwargs)
        if dtype not in ("float32", "float64"):
            raise InputError(f"dtype {dtype!r}: choose 'float64' or 'float32'")
        self.dtype = dtype
        self.graph: Graph | None = None
        self._topology: tuple | None = None
        self._shape: topology.Shape = ()
        self._warned: set[str] = set()
        with self._precision():
            self.potential = potential.astype(dtype)
        if potential.module.shares_energy:
            self.implemented_properties = [*self.implemented_properties, "energies"]

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Evaluate all properties; the graph is built again when it no longer holds."""
        super().calculate(atoms, properties, system_changes)
        with self._precision():
            structure = Structure.from_ase(self.atoms).astype(self.dtype)  # type: ignore[arg-type]
            found = jax.tree.map(np.asarray, _evaluate(self.potential, structure, self._graph(structure)))
        energy, energies, forces, stress, closest, novelty = found
        for kind, what in extrapolations(self.potential.module, float(closest), float(novelty)):
            if kind not in self._warned:
                self._warned.add(kind)
                formula = self.atoms.get_chemical_formula()  # type: ignore[union-attr]
                warnings.warn(f"{formula} has {what}; energies there are extrapolated", stacklevel=2)
        self.results = {
            "energy": float(energy),
            "free_energy": float(energy),
            "forces": forces,
            "stress": full_3x3_to_voigt_6_stress(stress),
        }
        if energies is not None:
            self.results["energies"] = energies

    def _precision(self) -> Any:
        """Double precision in here, whatever the session's own setting."""
        return jax.enable_x64(self.dtype == "float64" or jax.config.read("jax_enable_x64"))

    def _graph(self, structure: Structure) -> Graph:
        """The graph kept from the last call, unless atoms left the skin or species or periodicity changed."""
        kept, kind = self.graph, (structure.species, structure.pbc)
        if kept is not None and kind == self._topology and kept.holds(structure):
            return kept
        if kept is None or kind != self._topology or self.potential.module.permanent_bonds:
            self.graph, self._topology, self._shape = topology.built(self.potential, structure), kind, ()
        else:
            self.graph, self._shape = topology.graph(self.potential, structure, self._shape)
        return self.graph


@jax.jit
@full_precision
def _evaluate(potential: Potential, structure: Structure, graph: Graph) -> tuple[Any, ...]:
    """Energy, energies of the atoms (or None), forces, stress, the shortest distance and the novelty."""
    variables, module = {"params": potential.params}, potential.module

    def energy(positions: Any, strain: Any) -> tuple[Any, Any]:
        moved = structure.with_positions(positions).strained(0.5 * (strain + strain.T))
        novelty = potential.novelty(moved, graph)
        if not module.shares_energy:
            return module.apply(variables, moved, graph), (None, novelty)
        energies = module.energies(variables, moved, graph)
        return jnp.sum(energies), (energies, novelty)

    zero = jnp.zeros((3, 3), structure.cell.dtype)
    both = jax.value_and_grad(energy, argnums=(0, 1), has_aux=True)(structure.positions, zero)
    (total, (energies, novelty)), (slope, virial) = both
    closest = jnp.sqrt(jnp.min(jnp.sum(graph.vectors(structure) ** 2, axis=1), initial=jnp.inf))
    return total, energies, -slope, virial / structure.volume, closest, novelty


def calculator(potential: Potential, dtype: Literal["float64", "float32"] = "float64") -> PotentialCalculator:
    """An ASE calculator for `potential`: `atoms.calc = calculator(potential)`.

    Args:
        dtype: of all arithmetic. Double precision is the default, also in a session that JAX keeps in single precision:
            optimisers compare total energies, and phonons divide differences of forces by 0.01 angstrom. Single
            precision is faster and good for molecular dynamics.

    Raises:
        InputError: another dtype.
    """
    return PotentialCalculator(potential, dtype)
