"""Kramers-Kronig transform of eps2, exact for piecewise linear data."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from jaxepi.errors import InputError
from jaxepi.guards import numbers, refuse_or_nan


def kramers_kronig(
    energies: Num[Array, " m"] | np.ndarray | Sequence[float | int],
    eps2: Float[Array, "*batch m"] | np.ndarray,
    at: Num[Array, " w"] | np.ndarray | Sequence[float | int] | None = None,
) -> Float[Array, "*batch w"]:
    """eps1(w) = 1 + (2/pi) P int w' eps2(w')/(w'^2 - w^2) dw', with eps2 taken as straight lines between its points.

    The principal value is exact for such data: an f that is piecewise linear with compact support has
    P int f(x)/(x - w) dx = sum_j c_j (x_j - w) ln|x_j - w|, c_j the change of slope at x_j.

    Args:
        energies: increasing, positive, eV, shape (m,). eps2: along the last axis; it should have fallen to zero at the
            ends, since it is continued by a line to zero at zero energy, and to zero one spacing past the last point.
        at: where eps1 is wanted, eV; the energies themselves by default.

    Returns:
        eps1, dimensionless.

    Raises:
        InputError: energies that do not increase or are not positive (NaN under tracing), or fewer than two of them.
    """
    eps2 = jnp.asarray(eps2)
    energies = numbers("energies", energies, eps2.dtype, 1)
    at = energies if at is None else numbers("energies", at, eps2.dtype, 1)
    if energies.shape[0] < 2 or eps2.shape[-1:] != energies.shape:
        raise InputError(
            f"eps2 of shape {eps2.shape} at {energies.shape[0]} energies: give two or more, and as many of both"
        )
    one = jnp.ones(1, energies.dtype)
    last = energies[-1:] + (energies[-1] - energies[-2])
    x = jnp.concatenate([jnp.minimum(0.0 * one, energies[0] - one * 1e-9), energies, last])
    edge = jnp.zeros((*eps2.shape[:-1], 1), eps2.dtype)
    y = jnp.concatenate([edge, eps2, edge], axis=-1)
    slope = jnp.diff(y) / _last(jnp.diff(x), y.ndim)
    bend = jnp.diff(jnp.concatenate([edge, slope, edge], axis=-1))

    def transform(distance):
        magnitude = jnp.abs(distance)
        return distance * jnp.log(jnp.where(magnitude > 0, magnitude, 1.0))

    kernel = transform(x[None, :] - at[:, None]) + transform(x[None, :] + at[:, None])
    eps1 = 1 + jnp.einsum("...m,wm->...w", bend, kernel) / jnp.pi
    ok = jnp.all(jnp.diff(energies) > 0) & (energies[0] > 0) & jnp.all(jnp.isfinite(at))
    return refuse_or_nan(
        eps1, ok, lambda: "energies must be positive and increase, in eV, for a Kramers-Kronig transform"
    )


def _last(values: Float[Array, " m"], dimensions: int) -> Array:
    """Values along the last of some dimensions."""
    return values.reshape((1,) * (dimensions - 1) + values.shape)
