"""Phonons of a crystal: frequencies at its special points and along a path."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxepi import html, kpoints, sampling, symmetry
from jaxepi.materials import Material
from jaxepi.sampling import Dispersion, ForceConstants

LO_TO = (
    "no LO-TO splitting: the long-range field of the atoms' effective charges (the non-analytic term) is not included; in a "
    "crystal that insulates, longitudinal optical modes near Gamma lie too low"
)
"""What is missing from the phonons of a crystal whose symmetry allows effective charges."""


class Phonons(NamedTuple):
    """Phonons of a crystal.

    Attributes:
        constants: force constants. points: THz, ascending, imaginary ones negative, by special point. dispersion: the same
            along a path. notes: what is missing from them, in words.
    """

    constants: ForceConstants
    points: dict[str, Float[np.ndarray, "modes"]]
    dispersion: Dispersion
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        from jaxepi import plotting

        along = self.dispersion
        return html.picture(plotting.png(plotting.phonons(along.path, along.frequencies, note="; ".join(self.notes))))


def phonons(crystal: Material, supercell: int = 4, path: str | None = None, count: int = 120) -> Phonons:
    """Phonons of the primitive cell from force constants of its supercell; without the non-analytic term of charges.

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
    notes = (LO_TO,) if symmetry.allows_charges(crystal.primitive) else ()
    return Phonons(constants, dict(zip(names, frequencies, strict=True)), along, notes)
