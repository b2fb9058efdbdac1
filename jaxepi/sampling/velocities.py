"""Group velocities of phonons, by differentiation of the dynamical matrix: right at degeneracies.

Flows in: force constants and wave vectors. Flows out: dw/dq. Where modes are degenerate, the derivative along a direction is
that of the matrix within their set, and its eigenvectors there are those that the modes tend to along that direction
(degenerate perturbation theory); velocity vectors are those of these modes.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi import kpoints
from jaxepi.errors import InputError
from jaxepi.guards import traced
from jaxepi.linalg import degeneracy_tolerance
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.phonons import Images, images_of, interpolated, short_ranged, weighted
from jaxepi.sampling.vibrations import FREE
from jaxepi.units import AMU_ANGSTROM2_PER_FS2

GENERIC = (1.0, 2.0, 3.0)
"""Direction, Cartesian, that tells degenerate modes apart where nobody has chosen one (phonopy's)."""


def group_velocities(
    fc: ForceConstants, points: Any, direction: Any = GENERIC, images: Images | None = None
) -> Float[Array, "q modes 3"]:
    """Group velocities, Cartesian, angstrom/fs (one is 100 km/s), of the modes in the order of `frequencies_thz`.

    Within a degenerate set the order is that of the velocity along `direction`. NaN for acoustic modes at Gamma, whose
    frequencies have a cone there. Derivatives of velocities are NaN in degenerate sets, where there are none.

    Args:
        points: fractional wave vectors of the base cell, shape (q, 3).
        direction: Cartesian, shape (3,) for all points or (q, 3): along which degenerate modes are told apart.
        images: `images_of(fc)`; needed when the force constants are traced.

    Raises:
        InputError: points or directions of another shape, or a direction of no length.
    """
    points = jnp.asarray(kpoints.fractional(points), fc.matrix.dtype)
    way = jnp.asarray(direction, fc.matrix.dtype)
    if way.shape not in ((3,), points.shape):
        raise InputError(
            f"direction of shape {way.shape} for {len(points)} points; give three numbers, or three a point"
        )
    if not traced(way) and not np.linalg.norm(way, axis=-1).min() > 0:
        raise InputError("direction of no length: give one along which degenerate modes are told apart")
    images = images_of(fc) if images is None else images
    return _group_velocities(fc, points, jnp.broadcast_to(way, points.shape), images)


@jax.jit
def _group_velocities(fc: ForceConstants, points: Array, ways: Array, images: Images) -> Array:
    short = short_ranged(fc, images)
    # Fractional from Cartesian wave vectors: q_f = q_c cell^T/2 pi.
    inverse = fc.base.cell / (2 * jnp.pi)

    def matrix(q: Array) -> Array:
        return weighted(fc, interpolated(fc, short, q, images))

    def at(each: tuple[Array, Array]) -> Array:
        q, way = each
        levels, vectors = jnp.linalg.eigh(matrix(q))
        slopes = jnp.einsum("mnf,fa->amn", jax.jacfwd(matrix)(q), inverse.astype(vectors.dtype))
        # The gauge of the lattice leaves a commutator with D in the slopes, which is nothing within degenerate sets.
        slopes = jnp.einsum("mi,amn,nj->aij", jnp.conj(vectors), slopes, vectors)
        new = jnp.diff(levels, prepend=levels[:1]) > degeneracy_tolerance(levels)
        sets = jnp.cumsum(new.astype(levels.dtype))
        together = (sets[:, None] == sets[None]).astype(levels.dtype)
        within = jnp.tensordot((way / jnp.linalg.norm(way)).astype(slopes.dtype), slopes, 1) * together.astype(
            slopes.dtype
        )
        apart = jax.lax.stop_gradient(2 * jnp.linalg.norm(within) + 1)
        _, turned = jnp.linalg.eigh(within + jnp.diag(sets * apart).astype(within.dtype))
        along = jnp.einsum("mi,amn,ni->ia", jnp.conj(turned), slopes * together[None].astype(slopes.dtype), turned).real
        bound = jnp.abs(levels) > FREE
        size = jnp.sqrt(jnp.where(bound, jnp.abs(levels), 1.0) * AMU_ANGSTROM2_PER_FS2)
        found = jnp.where(bound[:, None], along / (2 * size[:, None]), jnp.nan)
        return _without_slope(found, (together.sum(axis=1) > 1.5)[:, None])

    return jax.lax.map(at, (points, ways), batch_size=32)


@jax.custom_jvp
def _without_slope(values: Array, degenerate: Array) -> Array:
    """The values; their derivatives are NaN where they have none."""
    return values


@_without_slope.defjvp
def _without_slope_jvp(primals, tangents):
    (values, degenerate), (slope, _) = primals, tangents
    return values, slope * jnp.where(degenerate, jnp.full((), jnp.nan, values.dtype), jnp.ones((), values.dtype))
