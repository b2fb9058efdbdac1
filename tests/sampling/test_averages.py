"""Means and standard errors over snapshots and correlated series: against the spread of many independent ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.errors import InputError
from jaxepi.sampling.averages import (
    antithetic_pairs,
    autocorrelation_time,
    average,
    canonical,
    group_means,
    mean,
    spread,
    standard_error,
)


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


def test_equal_snapshots_give_the_textbook_error():
    values = np.random.default_rng(1).normal(size=(5, 3))
    np.testing.assert_allclose(mean(values), values.mean(axis=0), rtol=1e-14)
    np.testing.assert_allclose(standard_error(values), values.std(axis=0, ddof=1) / 5**0.5, rtol=1e-12)
    np.testing.assert_allclose(spread(values), values.std(axis=0, ddof=1), rtol=1e-12)
    assert np.isnan(standard_error(values[:1])).all()


def test_standard_errors_count_pairs_once():
    values = np.array([1.0, 2.0, 5.0, 4.0])
    assert antithetic_pairs(4) == (0, 1, 0, 1)
    np.testing.assert_allclose(standard_error(values, antithetic_pairs(4)), 0.0, atol=1e-14)
    np.testing.assert_allclose(group_means(values, (0, 1, 0, 1))[0], [3.0, 3.0])
    assert np.isnan(standard_error(values[:2], antithetic_pairs(2)))
    assert np.isnan(standard_error(values, (7, 7, 7, 7)))


def test_weighted_errors_are_those_of_repetitions():
    """Snapshots of unequal weights, correlated inside groups: the error predicted is the spread of the means."""
    rng = np.random.default_rng(3)
    groups = tuple(np.repeat(np.arange(30), 3).tolist())
    weights = jnp.asarray(np.repeat(rng.uniform(0.5, 2.0, 30), 3))
    shared, own = rng.normal(size=(2000, 30)), rng.normal(size=(2000, 90))
    samples = jnp.asarray(np.repeat(shared, 3, axis=1) + 0.3 * own)
    means = jax.vmap(lambda x: mean(x, weights))(samples)
    predicted = jax.jit(jax.vmap(lambda x: standard_error(x, groups, weights)))(samples)
    np.testing.assert_allclose(jnp.sqrt((predicted**2).mean()), means.std(), rtol=0.05)


def test_the_weights_are_differentiable():
    """d<A>/d ln w_i = w_i (A_i - <A>)/sum w: what reweighting needs."""
    values, weights = jnp.array([1.0, 4.0, 2.0]), jnp.array([1.0, 2.0, 1.0])
    np.testing.assert_allclose(jax.grad(lambda w: mean(values, w))(weights), (values - 2.75) / 4, rtol=1e-12)


def test_groups_of_other_snapshots_are_refused():
    with pytest.raises(InputError, match="3 groups for 2 snapshots"):
        standard_error(np.ones(2), (0, 1, 2))
