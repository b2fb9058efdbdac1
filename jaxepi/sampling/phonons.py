"""Phonon frequencies at any wave vector, from the force constants of a supercell.

Between the wave vectors that fit the supercell, force constants are interpolated: each pair interacts through its
shortest image, and equally short images (on the Wigner-Seitz boundary) share it. The non-analytic term of charged atoms is not
included: LO-TO splitting is missing where `symmetry.allows_charges`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase.geometry import minkowski_reduce
from jaxtyping import Array, Complex, Float

from jaxepi import kpoints
from jaxepi.errors import InputError
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.structure import Structure
from jaxepi.units import thz_from_eigenvalue


class Images(NamedTuple):
    """Shortest images of all pairs of a supercell: pair index (into b*r*b), translation in base cells, share; rows."""

    pair: np.ndarray
    translation: np.ndarray
    share: np.ndarray


class Dispersion(NamedTuple):
    """Frequencies along a path: THz, shape (q, modes), at `path.points`."""

    path: kpoints.Path
    frequencies: np.ndarray


def shortest_images(supercell: Structure, tolerance: float = 1e-4) -> Images:
    """Shortest images of every atom R, j as seen from the atoms i of the first base cell, on the host.

    Images whose distances differ by less than `tolerance` angstrom share equally (phonopy's rule).
    """
    x, cell = np.asarray(supercell.positions, dtype=float), np.asarray(supercell.cell, dtype=float)
    repeats = list(supercell.repeats)
    b = len(x) // int(np.prod(repeats))
    # In a reduced cell the shortest image of a wrapped vector is at most one translation away.
    reduced, combination = minkowski_reduce(cell, supercell.pbc)
    between = x[None] - x[:b, None]
    periodic = np.asarray(supercell.pbc, dtype=float)
    wrap = np.round(between @ np.linalg.inv(reduced)) * periodic
    steps = np.array(list(np.ndindex(3, 3, 3))) - 1
    steps = steps[((steps == 0) | np.asarray(supercell.pbc)).all(axis=1)]
    shifts = steps[None, None] - wrap[:, :, None]
    length = np.linalg.norm(between[:, :, None] + shifts @ reduced, axis=-1)
    shortest = length < length.min(axis=-1, keepdims=True) + tolerance
    i, n, s = np.nonzero(shortest)
    translation = np.rint(shifts[i, n, s] @ combination) * np.asarray(repeats)
    translation = translation + np.indices(repeats).reshape(3, -1).T[n // b]
    return Images(i * len(x) + n, translation, 1.0 / shortest.sum(axis=-1)[i, n])


def dynamical_matrix(fc: ForceConstants, q: Any, images: Images | None = None) -> Complex[Array, "modes modes"]:
    """D(q), eV/(angstrom^2 amu), at any q, fractional of the base cell's reciprocal vectors; differentiable in q.

    Args:
        q: shape (3,). images: `shortest_images(fc.supercell)`; needed when the force constants are traced.

    Raises:
        InputError: q of another shape.
    """
    if np.shape(q) != (3,):
        raise InputError(f"a wave vector has shape {np.shape(q)}; give three fractional coordinates")
    if images is None:
        images = shortest_images(fc.supercell)
    b = fc.matrix.shape[0]
    dtype = fc.matrix.dtype
    angle = 2 * jnp.pi * (jnp.asarray(images.translation, dtype) @ jnp.asarray(q, dtype))
    share = jnp.asarray(images.share, dtype)
    phase = jax.lax.complex(share * jnp.cos(angle), share * jnp.sin(angle))
    count = fc.matrix.shape[2] * b * b
    factor = jax.ops.segment_sum(phase, images.pair, count, indices_are_sorted=True)
    d = jnp.einsum("iarjb,irj->iajb", fc.matrix.astype(factor.dtype), factor.reshape(b, -1, b))
    weight = fc.inverse_root_masses.astype(d.dtype)
    d = (d * (weight[:, :, None, None] * weight[None, None])).reshape(3 * b, 3 * b)
    return 0.5 * (d + jnp.conj(d.T))


def frequencies_thz(fc: ForceConstants, points, images: Images | None = None) -> Float[Array, "q modes"]:
    """Frequencies, THz, ascending; imaginary ones come back negative.

    Args:
        points: fractional wave vectors of the base cell, shape (q, 3).

    Raises:
        InputError: points of another shape.
    """
    points = jnp.asarray(kpoints.fractional(points), fc.matrix.dtype)
    if images is None:
        images = shortest_images(fc.supercell)
    return jax.lax.map(
        lambda q: thz_from_eigenvalue(jnp.linalg.eigvalsh(dynamical_matrix(fc, q, images))), points, batch_size=32
    )


def dispersion(fc: ForceConstants, path: Any = None, count: int = 120) -> Dispersion:
    """Frequencies along a path; without the non-analytic term, so that LO-TO splitting is missing.

    Args:
        path: names of special points ("GXU,KGL"), fractional corners, or ASE's standard path when left out: `kpoints.path`.
        count: about how many points.

    Raises:
        InputError: as `kpoints.path`.
    """
    along = kpoints.path(fc.base, path, count)
    return Dispersion(along, np.asarray(frequencies_thz(fc, along.points)))
