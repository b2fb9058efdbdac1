"""Phonon frequencies at any wave vector, from the force constants of a supercell.

Between the wave vectors that fit the supercell, force constants are interpolated: each pair interacts through its
shortest image, and equally short images (on the Wigner-Seitz boundary) share it. In a polar crystal whose charges are known
(`ForceConstants.polar`) the dipole-dipole part is taken out before and put back after, at each wave vector as it is there
(Gonze and Lee): longitudinal optical modes split from transverse ones. Without charges that is missing where
`symmetry.allows_charges`.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase.geometry import minkowski_reduce
from jaxtyping import Array, Complex, Float

from jaxepi import kpoints
from jaxepi.errors import InputError
from jaxepi.guards import traced
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.lattices import sites
from jaxepi.sampling.polar import Polar, Waves, dipole_dipole, waves
from jaxepi.structure import Structure
from jaxepi.units import thz_from_eigenvalue


class Images(NamedTuple):
    """What interpolation needs to know of a supercell on the host.

    Attributes:
        pair, translation, share: shortest images of all its pairs: index (into b*r*b), in base cells, and weight.
        waves: reciprocal lattice vectors of the dipole-dipole sum, where the crystal is polar.
    """

    pair: np.ndarray | Array
    translation: np.ndarray | Array
    share: np.ndarray | Array
    waves: Waves | None = None


class Dispersion(NamedTuple):
    """Frequencies along a path: THz, shape (q, modes), at `path.points`."""

    path: kpoints.Path
    frequencies: np.ndarray


def images_of(fc: ForceConstants) -> Images:
    """What interpolation of these force constants needs to know, on the host: for functions that trace them.

    Raises:
        InputError: they are traced.
    """
    if traced(fc.supercell):
        raise InputError("shortest images are found on the host: call images_of(fc) outside jit, and hand it in")
    found = shortest_images(fc.supercell)
    if fc.polar is None:
        return found
    with jax.core.eval_context():
        return found._replace(waves=waves(fc.base))


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


def short_ranged(fc: ForceConstants, images: Images) -> Float[Array, "b 3 r b 3"]:
    """Force constants without the dipole-dipole part, in the layout of `ForceConstants.matrix`; what is interpolated.

    Raises:
        InputError: images of a crystal that is not polar for one that is.
    """
    if fc.polar is None:
        return fc.matrix
    if images.waves is None:
        raise InputError("these force constants have charges, and the images are without: give images_of(fc)")
    return _short_ranged(fc, fc.polar, images.waves)


@jax.jit
def _short_ranged(fc: ForceConstants, polar: Polar, known: Waves) -> Array:
    base, repeats = fc.base, fc.supercell.repeats
    points = jnp.asarray(fc.commensurate(), fc.matrix.dtype)
    fields = jax.lax.map(lambda q: dipole_dipole(polar, base, q, known), points, batch_size=32)
    of_pairs = jnp.fft.fftn(fields.reshape(*repeats, -1), axes=(0, 1, 2)) / len(points)
    b = fc.matrix.shape[0]
    return fc.matrix - jnp.moveaxis(of_pairs.real.reshape(-1, b, 3, b, 3), 0, 2)


def interpolated(
    fc: ForceConstants, short: Array, q: Array, images: Images, direction: Array | None = None
) -> Complex[Array, "b 3 b 3"]:
    """Force constants at q, sum_R matrix(R) exp(iq.R), eV/angstrom^2, in the cell gauge, Hermitian. Pure.

    Args:
        short: `short_ranged(fc, images)`. direction: as of `dynamical_matrix`.
    """
    b = fc.matrix.shape[0]
    angle = 2 * jnp.pi * (jnp.asarray(images.translation, q.dtype) @ q)
    share = jnp.asarray(images.share, q.dtype)
    phase = jax.lax.complex(share * jnp.cos(angle), share * jnp.sin(angle))
    count = fc.matrix.shape[2] * b * b
    factor = jax.ops.segment_sum(phase, images.pair, count, indices_are_sorted=True)
    found = jnp.einsum("iarjb,irj->iajb", short.astype(factor.dtype), factor.reshape(b, -1, b))
    if fc.polar is not None:
        assert images.waves is not None  # short_ranged has refused it
        found = found + dipole_dipole(fc.polar, fc.base, q, images.waves, direction)
    return 0.5 * (found + jnp.conj(jnp.transpose(found, (2, 3, 0, 1))))


def weighted(fc: ForceConstants, constants: Array) -> Complex[Array, "modes modes"]:
    """D, eV/(angstrom^2 amu), of force constants at a wave vector, shape (b, 3, b, 3). Pure."""
    weight = fc.inverse_root_masses.astype(constants.dtype)
    size = weight.size
    return (constants * (weight[:, :, None, None] * weight[None, None])).reshape(size, size)


def dynamical_matrix(
    fc: ForceConstants, q: Any, images: Images | None = None, direction: Any = None
) -> Complex[Array, "modes modes"]:
    """D(q), eV/(angstrom^2 amu), at any q, fractional of the base cell's reciprocal vectors; differentiable in q.

    Args:
        q: shape (3,). images: `images_of(fc)`; needed when the force constants are traced.
        direction: fractional, shape (3,), along which q comes to Gamma in a polar crystal: there, and only there, it decides
            the macroscopic field. Left out, there is none at Gamma, as for transverse modes.

    Raises:
        InputError: q or direction of another shape.
    """
    for name, vector in (("wave vector", q), ("direction", direction)):
        if vector is not None and np.shape(vector) != (3,):
            raise InputError(f"a {name} has shape {np.shape(vector)}; give three fractional coordinates")
    images = images_of(fc) if images is None else images
    dtype = fc.matrix.dtype
    along = None if direction is None else jnp.asarray(direction, dtype)
    short = short_ranged(fc, images)
    return weighted(fc, interpolated(fc, short, jnp.asarray(q, dtype), images, along))


def frequencies_thz(
    fc: ForceConstants, points, images: Images | None = None, directions: Any = None
) -> Float[Array, "q modes"]:
    """Frequencies, THz, ascending; imaginary ones come back negative.

    Args:
        points: fractional wave vectors of the base cell, shape (q, 3).
        directions: along which each comes to Gamma, shape (q, 3), as of `dynamical_matrix`.

    Raises:
        InputError: points or directions of another shape.
    """
    points = jnp.asarray(kpoints.fractional(points), fc.matrix.dtype)
    if directions is not None and np.shape(directions) != points.shape:
        raise InputError(f"directions have shape {np.shape(directions)} for {len(points)} points; give one a point")
    images = images_of(fc) if images is None else images
    along = None if directions is None else jnp.asarray(directions, fc.matrix.dtype)
    return thz_from_eigenvalue(eigenvalues_at(fc, points, images, along))


@jax.jit
def eigenvalues_at(
    fc: ForceConstants, points: Float[Array, "q 3"], images: Images, directions: Float[Array, "q 3"] | None = None
) -> Float[Array, "q modes"]:
    """Eigenvalues of D(q), eV/(angstrom^2 amu), ascending. Pure; arguments as of `frequencies_thz`."""
    short = short_ranged(fc, images)

    def of(each: tuple[Array, Array | None]) -> Array:
        q, direction = each
        return jnp.linalg.eigvalsh(weighted(fc, interpolated(fc, short, q, images, direction)))

    return jax.lax.map(of, (points, directions), batch_size=32)


def dispersion(fc: ForceConstants, path: Any = None, count: int = 120, cell: Structure | None = None) -> Dispersion:
    """Frequencies along a path. At Gamma a polar crystal has the field of the stretch that leaves it (or ends there).

    Args:
        path: names of special points ("GXU,KGL"), fractional corners, or ASE's standard path when left out: `kpoints.path`.
        count: about how many points. cell: whose special points and reciprocal vectors these are, where it is not the base
            cell of the force constants (another cell of the same lattice).

    Raises:
        InputError: as `kpoints.path`.
    """
    along = kpoints.path(cell or fc.base, path, count)
    points = along.points if cell is None else in_base(fc, cell, along.points)
    starts = set(along.breaks) | {0}
    steps = np.array([points[i] - points[i - 1] if i not in starts else np.zeros(3) for i in range(len(points))])
    following = np.array([steps[min(i + 1, len(points) - 1)] for i in range(len(points))])
    directions = np.where(np.abs(following).max(axis=1, keepdims=True) > 0, following, steps)
    return Dispersion(along, np.asarray(frequencies_thz(fc, points, directions=directions)))


def in_base(fc: ForceConstants, cell: Structure, points) -> np.ndarray:
    """Fractional wave vectors of a cell of the same lattice, of the force constants' base cell, shape (q, 3)."""
    return np.asarray(points) @ np.linalg.inv(sites(cell, fc.base).matrix).T
