"""The installed JAX computes right numbers: versions 0.10.2 and 0.11.0 are silently wrong here on CPU (jax issue 39103)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.mark.parametrize("rows", [16384, 16385, 40000])
def test_a_small_matrix_times_many_rows(rows):
    rng = np.random.default_rng(0)
    matrix, points = rng.normal(size=(3, 3)), rng.normal(size=(rows, 3))
    got = jax.jit(jax.vmap(lambda r: jnp.sum((jnp.asarray(matrix) @ r) ** 2)))(jnp.asarray(points))
    np.testing.assert_allclose(got, ((points @ matrix.T) ** 2).sum(axis=1), rtol=1e-12)


def test_the_same_in_single_precision():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(3, 3)).astype(np.float32)
    points = rng.normal(size=(16385, 3)).astype(np.float32)
    got = jax.jit(jax.vmap(lambda r: jnp.sum((jnp.asarray(matrix) @ r) ** 2)))(jnp.asarray(points))
    np.testing.assert_allclose(got, ((points @ matrix.T) ** 2).sum(axis=1), rtol=1e-4)
