"""Averages with their errors: over snapshots, weighted and in groups, and over correlated series.

Flows in: values of snapshots, or series of numbers from molecular dynamics, replicas side by side. Flows out: means and
standard errors; what the canonical ensemble says of the temperature. Every mean over snapshots is taken here.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Num

from jaxepi.errors import InputError
from jaxepi.guards import constant

ENOUGH = 8
"""Replicas whose scatter tells an error, to a quarter of it."""


Groups = tuple[int, ...]
"""Which snapshots belong together, by a number a snapshot; empty where each stands alone."""


Values = Num[Array, "s *rest"] | Num[np.ndarray, "s *rest"]
"""What was computed of every snapshot, the first axis."""


def antithetic_pairs(count: int) -> Groups:
    """Groups of snapshots whose second half is displaced oppositely to the first."""
    return tuple(range(count // 2)) * 2


def mean(values: Values, weights: Float[Array, " s"] | None = None) -> Float[Array, "*rest"]:
    """Weighted mean over snapshots, the first axis."""
    return _mean(_floating(values), weights)


@jax.jit
def _mean(values: Array, weights: Array | None) -> Array:
    if weights is None:
        return values.mean(axis=0)
    weights = weights.astype(values.real.dtype)
    return jnp.einsum("s,s...->...", weights / weights.sum(), values)


def group_means(
    values: Values, groups: Groups = (), weights: Float[Array, " s"] | None = None
) -> tuple[Float[Array, "g *rest"], Float[Array, " g"]]:
    """Mean of each group of snapshots, in the order of their numbers, and the sum of its weights.

    Raises:
        InputError: groups or weights for another number of snapshots.
    """
    values = _floating(values)
    count, dtype = len(values), values.real.dtype
    for name, given in (("groups", groups or None), ("weights", weights)):
        if given is not None and len(given) != count:
            raise InputError(f"{len(given)} {name} for {count} snapshots: give one a snapshot")
    weights = jnp.ones(count, dtype) if weights is None else weights.astype(dtype)
    if not groups:
        return values, weights
    names, index = np.unique(groups, return_inverse=True)
    totals = jax.ops.segment_sum(weights, index, len(names))
    sums = jax.ops.segment_sum(_along(weights, values) * values, index, len(names))
    return sums / _along(totals, values), totals


def standard_error(
    values: Values, groups: Groups = (), weights: Float[Array, " s"] | None = None
) -> Float[Array, "*rest"]:
    """Standard error of `mean` over snapshots, of which only groups are independent of one another; NaN for fewer than two.

    With W_g the weight and m_g the mean of group g of G, its square is G/(G - 1) sum_g (W_g/W)^2 (m_g - m)^2.
    """
    return _standard_error(_floating(values), groups, weights)


@partial(jax.jit, static_argnames="groups")
def _standard_error(values: Array, groups: Groups, weights: Array | None) -> Array:
    means, totals = group_means(values, groups, weights)
    count = len(means)
    if count < 2:
        return jnp.full(means.shape[1:], jnp.nan, means.real.dtype)
    share = _along(totals / totals.sum(), means)
    variance = jnp.sum((share * (means - jnp.sum(share * means, axis=0, keepdims=True))) ** 2, axis=0)
    return jnp.sqrt(variance * (count / (count - 1)))


def spread(values: Values, weights: Float[Array, " s"] | None = None) -> Float[Array, "*rest"]:
    """Standard deviation over snapshots; zero for one alone."""
    return _spread(_floating(values), weights)


@jax.jit
def _spread(values: Array, weights: Array | None) -> Array:
    square = mean((values - mean(values, weights)[None]) ** 2, weights)
    return jnp.sqrt(square * (len(values) / max(1, len(values) - 1)))


def _floating(values: Array | np.ndarray | Sequence[float]) -> Array:
    array = values if isinstance(values, jax.Array) else constant(values)
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)


def _along(weights: Float[Array, " s"], values: Array) -> Array:
    """Weights of the first axis of values, to be multiplied with them."""
    return weights.reshape(-1, *[1] * (values.ndim - 1))


class Average(NamedTuple):
    """Mean and variance of a series, each with its standard error; NaN for errors of a single number."""

    mean: float
    mean_error: float
    variance: float
    variance_error: float


def average(series: Float[np.ndarray, "f r"]) -> Average:
    """Mean and variance of a stationary series of f frames in r independent replicas.

    Errors take correlations in time into account: the variance of a mean is that of the series, times twice the
    integrated autocorrelation time, over f r (Sokal, in: Functional Integration, Plenum (1997), p. 131). What outlasts a run
    is not seen in it (a Nose-Hoover chain leaves few, nearly harmonic modes with the energy they happen to get): from
    `ENOUGH` replicas on, the error is that of their scatter if it is larger.
    """
    mean = float(np.mean(series))
    squares = (series - mean) ** 2
    return Average(mean, _error(series), float(squares.mean()), _error(squares))


def canonical(temperature: float, atoms: int) -> tuple[float, float]:
    """Mean (K) and variance (K^2) of the kinetic temperature in the canonical ensemble, centre of mass at rest.

    The kinetic energy of f = 3n - 3 degrees of freedom is distributed as kT/2 times chi-squared: variance 2 T^2/f.
    """
    return temperature, 2 * temperature**2 / (3 * atoms - 3)


def autocorrelation_time(series: Float[np.ndarray, "f r"], window: float = 5.0) -> float:
    """Integrated autocorrelation time in frames, at least 1/2: summed up to `window` times itself."""
    frames = len(series)
    x = series - series.mean()
    power = np.abs(np.fft.rfft(x, 2 * frames, axis=0)) ** 2
    correlation = np.fft.irfft(power, axis=0)[:frames].mean(axis=1) / np.arange(frames, 0, -1)
    if not correlation[0] > 0:
        return 0.5
    tau = np.cumsum(correlation / correlation[0]) - 0.5
    enough = np.flatnonzero(np.arange(frames) >= window * tau)
    return max(0.5, float(tau[enough[0] if len(enough) else -1]))


def _error(series: np.ndarray) -> float:
    if series.size < 2:
        return float("nan")
    within = np.sqrt(series.var() * 2 * autocorrelation_time(series) / series.size)
    replicas = series.shape[1]
    between = series.mean(axis=0).std(ddof=1) / replicas**0.5 if replicas >= ENOUGH else 0.0
    return float(max(within, between))
