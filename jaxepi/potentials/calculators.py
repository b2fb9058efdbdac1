"""ASE's calculator interface for every potential."""

from typing import Any

import jax
import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from jaxepi.graph import Graph
from jaxepi.potentials.base import Potential
from jaxepi.structure import Structure


class PotentialCalculator(Calculator):
    """Energy (eV), forces (eV/angstrom) and stress (eV/angstrom^3) of a `Potential` for `ase.Atoms`."""

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 (as ASE declares it)

    def __init__(self, potential: Potential, **kwargs: Any):
        super().__init__(**kwargs)
        self.potential = potential
        self.graph: Graph | None = None
        self._topology: tuple | None = None
        self._evaluate = jax.jit(
            lambda p, structure, graph: (
                p.energy(structure, graph),
                p.forces(structure, graph),
                p.stress(structure, graph),
            )
        )

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Evaluate all properties; the graph is rebuilt when it no longer holds."""
        super().calculate(atoms, properties, system_changes)
        structure = Structure.from_ase(self.atoms)  # type: ignore[arg-type]
        energy, forces, stress = self._evaluate(self.potential, structure, self._graph(structure))
        self.results = {
            "energy": float(energy),
            "forces": np.asarray(forces),
            "stress": full_3x3_to_voigt_6_stress(np.asarray(stress)),
        }

    def _graph(self, structure: Structure) -> Graph:
        """The graph kept from the last call, unless atoms left the skin or the cell or species changed."""
        topology = (structure.species, structure.pbc, np.asarray(structure.cell).tobytes())
        kept = self.graph
        if kept is None or topology != self._topology or float(kept.displacement(structure)) > 0.5 * kept.skin:
            kept = self.potential.graph(structure)
            self.graph, self._topology = kept, topology
        return kept


def calculator(potential: Potential) -> PotentialCalculator:
    """An ASE calculator for `potential`: `atoms.calc = calculator(potential)`."""
    return PotentialCalculator(potential)
