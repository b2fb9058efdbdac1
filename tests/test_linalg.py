"""Functions of Hermitian matrices: values against SciPy, derivatives at exact degeneracies against finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from jaxepi.linalg import divided_differences, inverse_cholesky, matrix_function, spectral_sum

LEVELS = np.array([-1.0, -1.0, -1.0, 0.5, 0.5, 2.0])


def hermitian(seed, real):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(6, 6)) + (0 if real else 1j * rng.normal(size=(6, 6)))
    return a + a.conj().T


def degenerate(real):
    _, u = np.linalg.eigh(hermitian(0, real))
    m = (u * LEVELS) @ u.conj().T
    return 0.5 * (m + m.conj().T)


def fermi(x, temperature):
    return 1 / (1 + jnp.exp(x / temperature))


@pytest.mark.parametrize("real", [True, False])
def test_value_equals_scipy(real):
    m = hermitian(3, real)
    np.testing.assert_allclose(matrix_function(jnp.exp, jnp.asarray(0.3 * m)), scipy.linalg.expm(0.3 * m), rtol=1e-10)


@pytest.mark.parametrize("real", [True, False])
def test_derivative_at_exact_degeneracy(real):
    m, direction, weight = degenerate(real), hermitian(1, real), hermitian(2, real)

    def scalar(t, temperature):
        f = matrix_function(fermi, jnp.asarray(m + 0 * t) + t * direction, temperature)
        return jnp.sum(f * weight.conj()).real

    for argument in (0, 1):
        point = [0.0, 0.7]
        up, down = list(point), list(point)
        up[argument] += 1e-4
        down[argument] -= 1e-4
        value = jax.jit(scalar)
        finite = (value(*up) - value(*down)) / 2e-4
        np.testing.assert_allclose(jax.jit(jax.grad(scalar, argument))(*point), finite, rtol=1e-7)
        np.testing.assert_allclose(jax.jit(jax.jacfwd(scalar, argument))(*point), finite, rtol=1e-7)


def test_batches():
    stack = jnp.stack([hermitian(i, False) for i in range(3)])
    together = jax.vmap(lambda m: matrix_function(fermi, m, 0.5))(stack)
    np.testing.assert_allclose(together[1], matrix_function(fermi, stack[1], 0.5), atol=1e-12)


def test_precision_follows_the_matrix():
    assert matrix_function(jnp.exp, jnp.eye(3, dtype=jnp.float32)).dtype == jnp.float32


def test_divided_differences_are_continuous():
    """Just inside and just outside the tolerance, both forms agree with the exact value for exp."""
    for gap in (0.0, 1e-9, 1e-7, 6e-7, 7e-7, 1e-5, 1e-2):
        x = jnp.array([0.0, gap])
        got = divided_differences(x, jnp.exp(x), jnp.exp(x))[0, 1]
        np.testing.assert_allclose(got, np.expm1(gap) / gap if gap else 1.0, rtol=1e-9)


@pytest.mark.parametrize("real", [True, False])
def test_the_inverse_factor_makes_a_basis_orthonormal(real):
    s = jnp.asarray(scipy.linalg.expm(0.3 * hermitian(4, real)))
    x = inverse_cholesky(s)
    np.testing.assert_allclose(x @ s @ x.conj().T, np.eye(6), atol=1e-12)


def test_sums_over_two_spectra_have_the_slope_of_their_values():
    """Both matrices degenerate; by matrices, tensor and parameter at once."""
    rng = np.random.default_rng(5)
    small = np.diag([0.5, 0.5, 2.0]) + 0j
    turned, tensor, moved = (rng.normal(size=s) + 1j * rng.normal(size=s) for s in ((3, 3), (6, 3), (6, 3)))

    def value(t):
        z = t.astype(complex)
        first, second = degenerate(False) + z * hermitian(1, False), small + z * (turned + turned.conj().T)
        return spectral_sum(
            lambda a, b, p: jnp.exp(-a * p) * b / (a - b + 9), (first, second), tensor + z * moved, (1 + t,)
        )

    both, step = jax.jit(jax.value_and_grad(value)), 1e-5
    slope = (both(step)[0] - both(-step)[0]) / (2 * step)
    np.testing.assert_allclose(both(0.0)[1], slope, rtol=1e-6)
