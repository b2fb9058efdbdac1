"""Rotations and inversion of features, with Wigner matrices made here: from harmonics of turned points."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from jaxepi import nn

KEY = jax.random.key(0)
ROTATION = Rotation.from_rotvec([0.7, -0.4, 1.1]).as_matrix()
POINTS = np.random.default_rng(7).normal(size=(40, 3))


@functools.cache
def harmonics():
    return jax.jit(lambda points: nn.harmonics(nn.directions(points)[1], 4))


def wigner(l, matrix):
    """D with Y_l(R r) = D Y_l(r) of a proper rotation, by least squares over points."""
    here, there = (np.asarray(harmonics()(points)[l]) for points in (POINTS, POINTS @ matrix.T))
    return np.linalg.lstsq(here, there, rcond=None)[0].T


def features(irreps, n=5, channels=4, seed=0):
    random = np.random.default_rng(seed)
    return {i: jnp.asarray(random.normal(size=(n, i.dim, channels))) for i in irreps}


def parameters(layer, *given):
    """Random ones, of the shapes that the layer makes; making them as it does would only be compiled."""
    shapes = jax.eval_shape(layer.init, KEY, *given)
    random = np.random.default_rng(5)
    return jax.tree.map(lambda x: jnp.asarray(random.normal(size=x.shape), x.dtype), shapes)


def turned(values, matrix):
    """Features of the turned crystal; a matrix of determinant -1 inverts it, too."""
    sign = round(np.linalg.det(matrix))
    return {
        i: np.einsum("ab,nbk->nak", (i.parity if sign < 0 else 1) * wigner(i.l, sign * matrix), x).astype(x.dtype)
        for i, x in values.items()
    }


def same(one, two, tolerance=1e-12):
    assert one.keys() == two.keys()
    for i, x in one.items():
        np.testing.assert_allclose(x, two[i], atol=tolerance * max(1.0, float(np.abs(x).max())), rtol=0, err_msg=str(i))


def check(layer, *given, moved=None):
    """The layer's output, of features (and vectors `moved`) that are turned, inverted or both, turns alike: to 1e-12 in double,
    1e-5 in single precision. Returns the output."""
    layer = jax.jit(layer)
    arguments = (*given, *(() if moved is None else (moved,)))
    once = layer(*arguments)
    for matrix in (ROTATION, -np.eye(3), -ROTATION):
        other = [turned(x, matrix) for x in given] + ([] if moved is None else [moved @ matrix.T])
        same(layer(*other), turned(once, matrix))
    single = jax.tree.map(lambda x: np.asarray(x, np.float32), (arguments, other))
    of_turned, again = layer(*single[1]), turned(layer(*single[0]), -ROTATION)
    assert {x.dtype for x in of_turned.values()} == {jnp.dtype(jnp.float32)}
    same(of_turned, again, 1e-5)
    return once
