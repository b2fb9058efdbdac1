"""Eigenvalues: generalised problems, and derivatives of sums over degenerate sets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxepi.electrons import eigvalsh, generalized_eigvalsh

LEVELS = np.array([-2.0, -1.0, -1.0, -1.0, 0.5, 0.5, 3.0])


def hermitian(seed, real):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(7, 7)) + (0 if real else 1j * rng.normal(size=(7, 7)))
    return a + a.conj().T


def degenerate(real):
    _, u = np.linalg.eigh(hermitian(0, real))
    return (u * LEVELS) @ u.conj().T


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("chosen", [slice(0, 1), slice(1, 4), slice(4, 6), slice(0, 4)])
def test_sums_over_degenerate_sets_differ_rightly(real, chosen):
    h, direction = degenerate(real), hermitian(1, real)

    def total(t):
        return eigvalsh(jnp.asarray(h) + t * direction)[chosen].sum()

    step = 1e-4
    finite = (8 * (total(step) - total(-step)) - (total(2 * step) - total(-2 * step))) / (12 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(0.0), finite, rtol=1e-7)
    np.testing.assert_allclose(jax.jvp(total, (0.0,), (1.0,))[1], finite, rtol=1e-7)


@pytest.mark.parametrize("real", [True, False])
def test_derivatives_are_finite_for_single_members(real):
    gradient = jax.jit(jax.grad(lambda m: eigvalsh(m)[2].real))(jnp.asarray(degenerate(real)))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("real", [True, False])
def test_generalised_eigenvalues_and_their_derivatives(real):
    h, dh, ds = hermitian(2, real), hermitian(3, real), hermitian(4, real)
    s = scipy.linalg.expm(0.2 * hermitian(5, real))
    np.testing.assert_allclose(
        generalized_eigvalsh(jnp.asarray(h), jnp.asarray(s)), scipy.linalg.eigvalsh(h, s), atol=1e-10
    )

    def total(t):
        return generalized_eigvalsh(jnp.asarray(h) + t * dh, jnp.asarray(s) + t * ds)[:3].sum()

    step = 1e-4
    finite = (8 * (total(step) - total(-step)) - (total(2 * step) - total(-2 * step))) / (12 * step)
    np.testing.assert_allclose(jax.jit(jax.grad(total))(0.0), finite, rtol=1e-6)


def test_batches_and_precision():
    stack = jnp.stack([hermitian(i, False) for i in range(4)])
    np.testing.assert_allclose(jax.vmap(eigvalsh)(stack)[2], np.linalg.eigvalsh(stack[2]), atol=1e-12)
    assert eigvalsh(jnp.eye(3, dtype=jnp.complex64)).dtype == jnp.float32
