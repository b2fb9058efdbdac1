"""Arrays in parts of so many rows."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.nn import in_chunks, joined, split

rows = importlib.import_module("jaxepi.nn.rows")


@pytest.mark.parametrize("count", [2, 5, 7])
def test_parts_joined_are_the_whole(count):
    arrays = {"a": np.arange(10.0).reshape(5, 2), "b": (np.arange(5), np.ones((5, 1, 3)))}
    parts = split(arrays, count)
    assert parts["a"].shape == (-(-5 // count), count, 2)
    assert (np.asarray(parts["b"][0])[-1, -1]) == 4  # filled up with the last row
    back = joined(parts, 5)
    np.testing.assert_array_equal(back["a"], arrays["a"])
    np.testing.assert_array_equal(back["b"][0], arrays["b"][0])
    assert back["b"][1].shape == (5, 1, 3)


def test_chunks_have_the_values_and_derivatives_of_the_whole(monkeypatch):
    """Seven rows, three at a time, the last part filled up: values, both kinds of derivatives by rows and by what the function
    holds, and all of it for several at once."""
    rng = np.random.default_rng(0)
    weights, x, moved = (jnp.asarray(rng.normal(size=shape)) for shape in ((2, 4), (3, 7, 2), (3, 7, 2)))

    def results(chunk):
        monkeypatch.setattr(rows, "CHUNK", chunk)

        def made(w, x):
            return in_chunks(lambda x, y: (jnp.sin(x @ w) * y[:, None], {"y": y**2}), x, x[:, 0])

        def total(w, x):
            a, b = made(w, x)
            return jnp.sum(a**3) + jnp.sum(jnp.cos(b["y"]))

        each = jax.vmap(made, in_axes=(None, 0))(weights, x)
        slopes = jax.vmap(jax.grad(total, argnums=(0, 1)), in_axes=(None, 0))(weights, x)
        along = jax.jvp(made, (weights, x[0]), (weights, moved[0]))
        return each, slopes, along

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-13), results(3), results(7))


def test_derivatives_of_chunks_hold_one_chunk(monkeypatch):
    """What is made on the way is made again: the derivative of 64 parts takes little more memory than that of one."""
    monkeypatch.setattr(rows, "CHUNK", 64)

    def wide(x):
        return jnp.sum(jnp.sin(x[:, :, None] * jnp.arange(1.0, 101.0)[None, None]), axis=2)

    def memory(count):
        slope = jax.jit(jax.grad(lambda x: jnp.sum(in_chunks(wide, x) ** 2)))
        return slope.lower(jnp.ones((count, 8))).compile().memory_analysis().temp_size_in_bytes

    assert memory(64 * 64) < 0.2 * 64 * 64 * 8 * 100 * 8
