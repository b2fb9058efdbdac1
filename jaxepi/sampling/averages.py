"""Averages of correlated series with their errors, and what the canonical ensemble says of the temperature.

Flows in: series of numbers from molecular dynamics, replicas side by side. Flows out: means, variances, errors.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

ENOUGH = 8
"""Replicas whose scatter tells an error, to a quarter of it."""


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
