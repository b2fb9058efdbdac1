"""Snapshots: configurations of one crystal at one temperature, the data that samplers hand to the electrons."""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Array, Float

from jaxepi.structure import Structure
from jaxepi.tree import field, pytree, stored

if TYPE_CHECKING:
    import ase


@stored
@pytree
class Snapshots:
    """Configurations that share one cell, one order of atoms and one topology.

    Attributes:
        structure: the equilibrium structure the displacements refer to.
        positions: shape (s, n, 3), angstrom.
        temperature: kelvin, scalar.
    """

    structure: Structure
    positions: Float[Array, "s n 3"] = field(unit="angstrom")
    temperature: Float[Array, ""] | float = field(unit="K")

    def __len__(self) -> int:
        return self.positions.shape[0]

    def __getitem__(self, index: int) -> Structure:
        return self.structure.with_positions(self.positions[index])

    @property
    def displacements(self) -> Float[Array, "s n 3"]:
        """Displacements from equilibrium, angstrom."""
        return self.positions - self.structure.positions

    def to_ase(self) -> "list[ase.Atoms]":
        """One `ase.Atoms` a snapshot."""
        atoms = self.structure.to_ase()
        images = []
        for x in np.asarray(self.positions):
            image = atoms.copy()
            image.positions = x
            images.append(image)
        return images
