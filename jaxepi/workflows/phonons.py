"""Phonons of a crystal: frequencies at its special points and along a path."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxepi import kpoints, sampling
from jaxepi.sampling import Dispersion, ForceConstants
from jaxepi.workflows.crystal import Crystal


class Phonons(NamedTuple):
    """Force constants, frequencies (THz, ascending, imaginary ones negative) by point, and along the path."""

    constants: ForceConstants
    points: dict[str, Float[np.ndarray, "modes"]]
    dispersion: Dispersion


def phonons(crystal: Crystal, supercell: int = 4, path: str | None = None, count: int = 120) -> Phonons:
    """Phonons of the primitive cell from force constants of its supercell; no LO-TO splitting.

    Args:
        supercell: repeats of the primitive cell. path: names of special points ("GXU,KGL"). count: about how many points.

    Raises:
        InputError: no potential, a crystal that is not at rest in it, or a name the cell does not have.
    """
    repeated = crystal.primitive.supercell(crystal.periodic(supercell))
    constants = sampling.force_constants(crystal.potential, repeated)
    known = kpoints.special_points(crystal.primitive)
    names = sorted(known, key=lambda name: (name != "G", name))
    frequencies = np.asarray(sampling.frequencies_thz(constants, np.array([known[name] for name in names])))
    along = sampling.dispersion(constants, path, count)
    return Phonons(constants, dict(zip(names, frequencies, strict=True)), along)
