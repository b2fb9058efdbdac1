"""Derivatives of all bins by one number: the slope of the values, through exact degeneracies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.errors import InputError
from jaxepi.optics import EnergyGrid, transition_histogram, transition_slopes
from jaxepi.optics.transitions import DenseOperator

GRID = EnergyGrid(0.25, 60)


RANDOM = np.random.default_rng(3)


def hermitian(sign=1):
    m = RANDOM.normal(size=(2, 3, 6, 6)) + 1j * RANDOM.normal(size=(2, 3, 6, 6))
    return 0.5 * (m + sign * m.conj().swapaxes(-1, -2))


@pytest.mark.slow
@pytest.mark.parametrize(("degenerate", "tensor"), [(True, True), (False, False)])
def test_slopes_are_those_of_the_values(degenerate, tensor):
    levels = np.array([-2.0, -2.0, -2.0, 1.0, 1.0, 2.5] if degenerate else [-3.0, -2.2, -1.9, 1.0, 1.3, 2.5])
    turned = np.linalg.qr(hermitian()[:, 0])[0]
    h = jnp.asarray(turned @ (levels[:, None] * turned.conj().swapaxes(-1, -2)))
    dh, w, dw = (jnp.asarray(m) for m in (hermitian()[:, 0], hermitian(-1), hermitian(-1)))
    weights = jnp.array([0.3, 0.7])

    @jax.jit
    def at(t):
        return transition_histogram(h + t * dh, DenseOperator(w + t * dw), weights, 3, GRID, tensor)[0]

    found, slope, e = jax.jit(transition_slopes, static_argnums=(5, 6, 7))(
        h, DenseOperator(w), dh, DenseOperator(dw), weights, 3, GRID, tensor
    )
    np.testing.assert_allclose(found, at(0.0), atol=1e-12)
    np.testing.assert_allclose(e[0], levels, atol=1e-12)
    step = 1e-4
    expected = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    assert jnp.abs(expected).max() > 0.1
    np.testing.assert_allclose(slope, expected, atol=2e-6 * float(jnp.abs(expected).max()))
    with pytest.raises(InputError, match="not differentiated again"):
        jax.grad(lambda x: transition_slopes(x, DenseOperator(w), dh, DenseOperator(dw), weights, 3, GRID)[1].sum())(
            h.real
        )
