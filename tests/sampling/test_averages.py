"""Errors of correlated series: against the spread of many independent ones."""

import numpy as np

from jaxepi.sampling.averages import autocorrelation_time, average, canonical


def correlated(rng, frames, replicas, memory):
    """Unit variance, correlation memory^lag."""
    x = np.empty((frames, replicas))
    x[0] = rng.normal(size=replicas)
    for f in range(1, frames):
        x[f] = memory * x[f - 1] + (1 - memory**2) ** 0.5 * rng.normal(size=replicas)
    return x


def test_errors_are_the_spread_of_repetitions():
    rng = np.random.default_rng(5)
    series = correlated(rng, 2000, 4 * 60, 0.8).reshape(2000, 60, 4).swapaxes(0, 1)
    found = [average(5 + 2 * x) for x in series]
    for name, truth in (("mean", 5.0), ("variance", 4.0)):
        values = np.array([getattr(a, name) for a in found])
        errors = np.array([getattr(a, f"{name}_error") for a in found])
        np.testing.assert_allclose(errors.mean(), values.std(), rtol=0.25)
        assert abs(values.mean() - truth) < 4 * values.std() / 60**0.5


def test_what_outlasts_a_run_is_in_the_error_of_many_replicas():
    """Every replica keeps an offset of its own for ever, too small to be seen among the correlations of a run."""
    rng = np.random.default_rng(6)
    found = [average(rng.normal(size=(500, 16)) + 0.1 * rng.normal(size=16)) for _ in range(60)]
    means = np.array([a.mean for a in found])
    errors = np.array([a.mean_error for a in found])
    np.testing.assert_allclose(errors.mean(), means.std(), rtol=0.25)
    np.testing.assert_allclose(errors.mean(), (0.1**2 + 1 / 500) ** 0.5 / 4, rtol=0.15)


def test_autocorrelation_time_of_a_known_series():
    """Sum over lags of memory^|lag|, halved: (1 + memory)/(1 - memory)/2."""
    series = correlated(np.random.default_rng(1), 20000, 4, 0.9)
    np.testing.assert_allclose(autocorrelation_time(series), 9.5, rtol=0.15)
    noise = np.random.default_rng(2).normal(size=(5000, 2))
    np.testing.assert_allclose(autocorrelation_time(noise), 0.5, atol=0.1)


def test_limits():
    assert autocorrelation_time(np.ones((10, 1))) == 0.5
    assert np.isnan(average(np.ones((1, 1))).mean_error)
    mean, variance = canonical(300.0, 64)
    np.testing.assert_allclose([mean, variance], [300, 2 * 300**2 / 189])
    # The kinetic temperature of velocities drawn from Maxwell's distribution has that variance.
    kelvin = 300 * np.random.default_rng(3).chisquare(189, size=20000) / 189
    np.testing.assert_allclose(kelvin.var(), variance, rtol=0.05)
