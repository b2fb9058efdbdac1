"""SOAP: Adam in a turned basis, which does not depend on the basis that parameters are written in."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxepi.training.core.soap import DECAY, EVERY, LARGEST, TINY, scale_by_soap


def directions(gradients, like=None):
    """All directions for a list of gradients."""
    transform = scale_by_soap()
    state, found = transform.init(gradients[0] if like is None else like), []
    update = jax.jit(transform.update)
    for g in gradients:
        d, state = update(g, state)
        found.append(d)
    return found


def random(shape, count, seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.normal(size=shape)) for _ in range(count)]


def test_turned_parameters_take_turned_steps():
    gradients = random((4, 4), 2 * EVERY + 3)
    u, v = (np.linalg.qr(np.random.default_rng(n).normal(size=(4, 4)))[0] for n in (3, 5))
    found, turned = directions(gradients), directions([u @ g @ v for g in gradients])
    assert not np.asarray(found[0]).any()
    for plain, other in zip(found[1:], turned[1:], strict=True):
        np.testing.assert_allclose(other, u @ plain @ v, atol=1e-9)
        assert np.abs(plain).max() > 0.01


def test_a_scalar_is_moved_by_adam():
    gradients = random((), 8)
    found, adam = directions(gradients), optax.scale_by_adam(DECAY, DECAY, eps=TINY)
    state = adam.init(gradients[1])
    for t, (g, d) in enumerate(zip(gradients, found, strict=True)):
        if t == 0:
            assert d == 0
            continue
        with jax.numpy_dtype_promotion("standard"):
            expected, state = adam.update(g, state)
        np.testing.assert_allclose(d, expected, rtol=1e-9)


def test_a_parameter_without_gradient_in_the_second_batch_stays():
    (g,) = random((4, 4), 1)
    found = directions([g, 0 * g, g])
    assert not np.asarray(found[1]).any()
    assert np.abs(found[2]).max() < 5


def test_leading_axes_count_matrices():
    gradients = random((2, 3, 4), 2 * EVERY + 1)
    both, one = directions(gradients), directions([g[1] for g in gradients])
    np.testing.assert_allclose(both[-1][1], one[-1], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_long_sides_are_left_and_types_kept(dtype):
    like = {"w": jnp.zeros((LARGEST + 1, 2), dtype), "b": jnp.zeros(3, dtype), "e": jnp.zeros((), dtype)}
    state = scale_by_soap().init(like)
    sizes = [None if side is None else side.vectors.shape[1] for pair in state.sides for side in pair]
    assert sizes == [None, 3, None, None, None, 2]
    gradients = [jax.tree.map(lambda x, t=t: jnp.full_like(x, 0.1 + t), like) for t in range(3)]
    found = directions(gradients, like)
    assert {x.dtype for x in jax.tree.leaves(found)} == {np.dtype(dtype)}
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))


@pytest.mark.slow
def test_it_descends_where_no_scale_per_weight_helps():
    """Regression on inputs whose stiff directions lie across the weights: Adam is slow, the turned basis is not."""
    keys = jax.random.split(jax.random.key(0), 4)
    turn = jnp.linalg.qr(jax.random.normal(keys[0], (8, 8)))[0] * jnp.logspace(0, -3, 8)[None]
    batches = jax.random.normal(keys[1], (600, 16, 8)) @ turn.T
    target = jax.random.normal(keys[2], (8, 4))
    gradient = jax.grad(lambda w, x: jnp.mean((x @ (w - target)) ** 2))

    def left(transform):
        def step(carry, given):
            (w, state), (x, rate) = carry, given
            with jax.numpy_dtype_promotion("standard"):
                d, state = transform.update(gradient(w, x), state)
            return (w - rate * d, state), None

        start = (jnp.zeros((8, 4)), transform.init(jnp.zeros((8, 4))))
        (w, _), _ = jax.lax.scan(step, start, (batches, jnp.linspace(0.05, 0, 600)))
        return float(jnp.sqrt(jnp.mean((w - target) ** 2)))

    adam, soap = left(optax.scale_by_adam(DECAY, DECAY)), left(scale_by_soap())
    assert soap < 0.2 * adam, (soap, adam)
