"""Sums of Chebyshev polynomials of block rows: values and derivatives against the matrix; windows and Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.optics.solvers.bonds import Bonds
from jaxepi.optics.solvers.chebyshev import (
    TOGETHER,
    chebyshev_sums,
    gaussians,
    padded_order,
    rise,
    several_sums,
    window,
)

ATOMS, ORBITALS = 3, 2
RECEIVERS = np.array([[i, *(j for j in range(ATOMS) if j != i)] for i in range(ATOMS)])


def bonds(matrix):
    """Block rows of a full matrix: every atom is a neighbour of every other."""
    blocks = matrix.reshape(ATOMS, ORBITALS, ATOMS, ORBITALS)
    rows = jnp.stack([jnp.concatenate([blocks[i, :, j] for j in RECEIVERS[i]], axis=1) for i in range(ATOMS)])
    return Bonds(rows, jnp.asarray(RECEIVERS), jnp.ones((ATOMS, ORBITALS), bool))


def example(real):
    """A Hermitian matrix within [-1, 1], a direction, vectors, coefficients and a cotangent."""
    rng, n = np.random.default_rng(1), ATOMS * ORBITALS

    def noise(*shape):
        return rng.normal(size=shape) + (0 if real else 1j * rng.normal(size=shape))

    a, d = (m + m.conj().T for m in (noise(n, n), noise(n, n)))
    a = a / (1.1 * np.abs(np.linalg.eigvalsh(a)).max())
    c = rng.normal(size=(2, TOGETHER)) / (1 + np.arange(TOGETHER)) ** 2
    return a, d, noise(ATOMS, ORBITALS, 2), c, noise(2, ATOMS, ORBITALS, 2)


def by_eigenvectors(a, x, c):
    e, u = np.linalg.eigh(a)
    polynomials = c @ np.cos(np.arange(c.shape[1])[:, None] * np.arccos(e)[None])
    flat = np.einsum("ij,qj,kj,km->qim", u, polynomials, u.conj(), x.reshape(len(a), -1))
    return flat.reshape(len(c), *x.shape)


@pytest.mark.slow
@pytest.mark.parametrize("real", [True, False])
def test_sums_and_their_derivatives_are_those_of_the_matrix(real):
    a, d, x, c, bar = example(real)

    @jax.jit
    def loss(t, x):
        found = chebyshev_sums(bonds(jnp.asarray(a) + t.astype(a.dtype) * d), x, jnp.asarray(c))
        return (found * bar).real.sum(), found

    (_, found), (slope, pull) = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)(jnp.asarray(0.0), jnp.asarray(x))
    np.testing.assert_allclose(found, by_eigenvectors(a, x, c), atol=1e-13)
    step = 1e-6
    up, down = ((by_eigenvectors(a + t * d, x, c) * bar).real.sum() for t in (step, -step))
    np.testing.assert_allclose(slope, (up - down) / (2 * step), rtol=1e-7)
    np.testing.assert_allclose((pull * x).sum().real, (by_eigenvectors(a, x, c) * bar).real.sum(), rtol=1e-12)


@pytest.mark.slow
def test_several_sums_are_those_of_each_block_with_their_derivatives():
    a, d, x, c, bar = (jnp.asarray(part) for part in example(False))
    more, wide = jnp.concatenate([c, 2 * c[:1]]), jnp.concatenate([1j * x, x[..., :1]], axis=-1)

    def loss(t, blocks, together):
        operator = bonds(a + t.astype(a.dtype) * d)
        if together:
            first, second = several_sums(operator, blocks, (c, more))
        else:
            first, second = (chebyshev_sums(operator, x, own) for x, own in zip(blocks, (c, more), strict=True))
        return (first * bar).real.sum() + (second[1:, ..., 1:] * bar).imag.sum()

    both = [
        jax.jit(jax.value_and_grad(loss, (0, 1)), static_argnums=2)(jnp.asarray(0.0), (x, wide), t)
        for t in (True, False)
    ]
    for one, other in zip(*map(jax.tree.leaves, both), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)


def test_a_window_is_small_outside_and_rises_inside_as_it_says():
    low, high, centre, half, order = -1.0, 2.0, 5.5, 19.0, 300
    e = np.linspace(centre - half, centre + half, 4001)
    values = window(low, high, centre, half, order) @ np.cos(
        np.arange(order + 1)[:, None] * np.arccos((e - centre) / half)
    )
    outside = np.abs(values[(e < low) | (e > high)]).max()
    assert values.max() == pytest.approx(1, rel=1e-3)
    for energy in (-0.7, 0.5, 1.7):
        here = values[np.argmin(np.abs(e - energy))]
        assert np.log(here / outside) == pytest.approx(rise(low, high, centre, half, order, energy), rel=0.01)


def test_gaussians_are_expanded_to_their_accuracy():
    energies, width, count = np.array([0.3, -0.4]), 0.1, padded_order(100)
    c = np.asarray(gaussians(jnp.asarray(energies), width, 1.0, 0.1, 1.5, count))
    e = np.linspace(-1.4, 1.6, 11)
    found = c @ np.cos(np.arange(count)[:, None] * np.arccos((e - 0.1) / 1.5))
    exact = np.exp(-0.5 * ((e - energies[:, None]) / width) ** 2) / np.sqrt(2 * np.pi) / width
    np.testing.assert_allclose(found, exact, atol=1e-6)
