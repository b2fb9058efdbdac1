"""Names of the modes at Gamma: irreducible representations and what light sees of them, by phonopy (an optional extra).

Flows in: force constants of a primitive cell. Flows out: sets of degenerate modes with their labels. Which are active in
infrared and Raman spectra follows from the characters: those of a vector and of a symmetric tensor are traces of rotations.
"""

from typing import NamedTuple

import numpy as np

from jaxepi.errors import InputError
from jaxepi.sampling.force_constants import ForceConstants


class GammaModes(NamedTuple):
    """A set of modes at Gamma that belong together.

    Attributes:
        label: of the irreducible representation, Mulliken's; empty where phonopy has no table of the point group, or no one
            entry that fits.
        frequency: THz, imaginary ones negative; without a macroscopic field. degeneracy: how many modes.
        infrared, raman: whether symmetry lets them be seen.
    """

    label: str
    frequency: float
    degeneracy: int
    infrared: bool
    raman: bool


def gamma_modes(fc: ForceConstants) -> tuple[GammaModes, ...]:
    """Sets of modes at Gamma with their labels, by ascending frequency.

    Raises:
        InputError: phonopy is not installed, or it cannot tell the representations (a base cell that is not primitive).
    """
    own = fc.to_phonopy()
    from phonopy.phonon.irreps import IrRepLabels

    try:
        found = own.run_irreps([0, 0, 0], symmetry_adapted=True)
    except RuntimeError as error:
        raise InputError(f"modes at Gamma have no labels: {' '.join(str(error).split())}") from error
    characters, rotations = np.asarray(found.characters), np.asarray(found.conventional_rotations)
    try:
        group = own.primitive_symmetry.pointgroup_symbol
        labels = IrRepLabels(found.characters, found.conventional_rotations, group, False).irrep_labels
    except RuntimeError:
        labels = None
    trace = np.trace(rotations, axis1=1, axis2=2)
    tensor = (trace**2 + np.trace(rotations @ rotations, axis1=1, axis2=2)) / 2

    def seen(row: np.ndarray, light: np.ndarray) -> bool:
        return bool(np.mean(np.conj(row) * light).real > 1e-3)

    return tuple(
        GammaModes(
            (labels[n] or "") if labels else "",
            float(np.mean(found.frequencies[list(members)])),
            len(members),
            seen(characters[n], trace),
            seen(characters[n], tensor),
        )
        for n, members in enumerate(found.band_indices)
    )
