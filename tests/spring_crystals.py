"""A crystal of springs: force constants without a potential and without compilation; tests of several rooms use it."""

import jax.numpy as jnp
import numpy as np
from ase.build import bulk

from jaxepi.sampling import ForceConstants
from jaxepi.structure import Structure


def springs(supercell: Structure, stiffness: float = 6.0, bending: float = 1.0, reach: float = 2.6) -> ForceConstants:
    """Force constants of springs between neighbours: `stiffness` along a bond and `bending` across it, eV/angstrom^2."""
    cells = int(np.prod(supercell.repeats))
    b = len(supercell) // cells
    x, cell = np.asarray(supercell.positions), np.asarray(supercell.cell)
    steps = np.array(list(np.ndindex(3, 3, 3))) - 1
    matrix = np.zeros((b, 3, len(x), 3))
    for i in range(b):
        for j in range(len(x)):
            bonds = x[j] - x[i] + steps @ cell
            for bond in bonds[(np.linalg.norm(bonds, axis=1) < reach) & (np.linalg.norm(bonds, axis=1) > 0)]:
                along = np.outer(bond, bond) / (bond @ bond)
                block = stiffness * along + bending * (np.eye(3) - along)
                matrix[i, :, j] -= block
                matrix[i, :, i] += block
    return ForceConstants(supercell, jnp.asarray(matrix.reshape(b, 3, cells, b, 3)))


def gallium_arsenide(**options) -> ForceConstants:
    """Gallium arsenide of springs, 2 x 2 x 2 primitive cells."""
    return springs(Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532)).supercell(2), **options)
