"""Atoms moved to where no force is left, in a fixed cell; layers at a given mean distance where that is asked for."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from jaxepi.errors import InputError
from jaxepi.layers import layers
from jaxepi.potentials.base import Potential
from jaxepi.potentials.calculators import calculator
from jaxepi.structure import Structure


class Relaxed(NamedTuple):
    """A structure at rest, or as far as the steps went.

    Attributes:
        force: largest left, eV/angstrom, those that hold the layers aside. steps: that it took. energy: eV.
    """

    structure: Structure
    force: float
    steps: int
    energy: float


def relaxed_atoms(
    potential: Potential,
    structure: Structure,
    distance: float | None = None,
    force: float = 0.005,
    steps: int = 500,
    dtype: Literal["float64", "float32"] = "float64",
    progress: Callable[[int, float], None] | None = None,
) -> Relaxed:
    """Relax atoms by FIRE (Bitzek et al., Phys. Rev. Lett. 97, 170201 (2006), of ASE) in the cell they have.

    Args:
        distance: angstrom, between the mean heights of two layers, each of whose centres of mass then stays; None lets all
            atoms go. For potentials that bind layers at another distance than experiment.
        force: eV/angstrom, the largest that may be left. steps: at most. dtype: of forces; the structure keeps its own.
        progress: called after each step with its number and the largest force.

    Raises:
        InputError: a distance for anything but two layers, or forces and steps that are not positive.
    """
    from ase.constraints import FixSubsetCom
    from ase.optimize import FIRE

    if not (force > 0 and steps > 0):
        raise InputError(f"force {force} eV/angstrom and {steps} steps: give positive ones")
    atoms = structure.to_ase()
    if distance is not None:
        upper = _upper(structure)
        height = atoms.positions[:, 2]
        height[upper] += distance - (height[upper].mean() - height[~upper].mean())
        atoms.positions[:, 2] = height
        atoms.set_constraint([FixSubsetCom(np.flatnonzero(layer)) for layer in (upper, ~upper)])
    atoms.calc = calculator(potential, dtype)
    optimiser = FIRE(atoms, logfile=None)

    def largest() -> float:
        return float(np.linalg.norm(atoms.get_forces(), axis=1).max())

    if progress is not None:
        optimiser.attach(lambda: progress(optimiser.nsteps, largest()))
    optimiser.run(fmax=force, steps=steps)
    moved = structure.with_positions(np.asarray(atoms.positions, structure.positions.dtype))
    return Relaxed(moved, largest(), optimiser.nsteps, float(atoms.get_potential_energy()))


def _upper(structure: Structure) -> np.ndarray:
    """Which atoms are of the upper of two layers."""
    layer = layers(structure)
    if layer.max() != 1:
        raise InputError(f"a distance of {layer.max() + 1} layer(s): it is that of two; leave it out")
    z = np.asarray(structure.positions)[:, 2]
    return layer == int(z[layer == 1].mean() > z[layer == 0].mean())
