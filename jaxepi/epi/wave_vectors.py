"""Wave vectors of phonons: meshes reduced by the symmetry of a level's k, and which modes of them are bound.

On the host. Flows in: cells, divisions, force constants. Flows out: fractional wave vectors with weights; refusals.
"""

from typing import Any

import numpy as np

from jaxepi.errors import InputError
from jaxepi.kpoints import KPoints, keys, mesh
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.harmonic import SOFTEST_THZ
from jaxepi.sampling.phonons import frequencies_thz
from jaxepi.structure import Structure
from jaxepi.symmetry import operations, same


def wave_vectors(cell: Structure, counts: Any, k: Any = None, shift: Any = (0.0, 0.0, 0.0)) -> KPoints:
    """A regular mesh of wave vectors, each q and -q by itself; with k, one of each star that leaves k as it is.

    The sum over such stars is that over the mesh for whatever is the mean over a whole level at k. A mesh of n divisions holds
    the wave vectors of a supercell of n repeats.

    Args:
        counts: divisions, an integer (along periodic directions) or three. k: fractional, shape (3,). shift: of the mesh, in
            divisions.

    Raises:
        InputError: as `kpoints.mesh`.
    """
    whole = mesh(counts, shift, time_reversal=False, periodic=cell.pbc)
    if k is None:
        return whole
    points, own = whole.points, keys(whole.points)
    every = np.sort(own)
    images = [own]
    for rotation in operations(cell).of_k:
        turned = keys(points @ rotation)
        if same(np.asarray(k) @ rotation, np.asarray(k)) and np.array_equal(np.sort(turned), every):
            images.append(turned)
    _, kept, where = np.unique(np.min(images, axis=0), return_index=True, return_inverse=True)
    return KPoints(points[kept], np.bincount(where, weights=whole.weights))


def refuse_masses(constants: ForceConstants) -> None:
    """Refuse masses that are not positive.

    Raises:
        InputError: names the atom.
    """
    roots = np.asarray(constants.inverse_root_masses)[:, 0]
    sensible = np.isfinite(roots) & (roots > 0)
    if not sensible.all():
        raise InputError(f"the mass of atom {int(sensible.argmin())} is not a positive number: give masses in amu")


def refuse_unbound_modes(constants: ForceConstants, points: KPoints, source: str = "this potential") -> None:
    """Refuse wave vectors with modes that are unstable or not bound, translations aside.

    Raises:
        InputError: names wave vector and frequency of the worst mode; masses that are not positive.
    """
    refuse_masses(constants)
    thz = np.array(frequencies_thz(constants, points.points))
    still = np.abs(points.points - np.round(points.points)).max(axis=1) < 1e-9
    thz[still] = np.where(np.argsort(np.argsort(np.abs(thz[still]))) < 3, np.inf, thz[still])
    if thz.min() < SOFTEST_THZ:
        q = points.points[thz.min(axis=1).argmin()]
        raise InputError(
            f"mode at q = {np.array2string(q, precision=4)} has {thz.min():.3f} THz (negative means imaginary; "
            f"{int((thz < SOFTEST_THZ).sum())} such modes of {thz.size}): the crystal is not stable in {source}. Relax the "
            "structure or choose another, or continue without these modes (imaginary drop)"
        )
