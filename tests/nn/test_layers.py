"""Equivariant layers: smooth radial bases, rotations, permutations, and the many-body basis against e3nn."""

import e3nn_jax as e3nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jaxepi import nn
from jaxepi.errors import InputError
from jaxepi.nn.contraction import symmetric_basis
from jaxepi.nn.spherical import coupling

KEY = jax.random.key(0)
ROTATION = Rotation.from_rotvec([0.7, -0.4, 1.1]).as_matrix()


def features(n=5, channels=4, lmax=3, key=KEY):
    keys = jax.random.split(key, lmax + 1)
    return tuple(jax.random.normal(k, (n, 2 * l + 1, channels)) for l, k in enumerate(keys))


def rotated(values, matrix, sign=1):
    """Features of the rotated crystal; with sign -1 also inverted."""
    out = []
    for l, x in enumerate(values):
        d = np.asarray(e3nn.Irrep(l, (-1) ** l).D_from_matrix(jnp.asarray(sign * matrix)))
        out.append(jnp.einsum("ab,nbk->nak", d, x))
    return tuple(out)


def same(one, two, tolerance=1e-10):
    return all(np.allclose(a, b, atol=tolerance, rtol=0) for a, b in zip(one, two, strict=True))


def test_bessel_functions_are_finite_at_zero_and_orthonormal():
    r = jnp.linspace(0.0, 5.0, 4001)
    basis = nn.bessel(r, 5.0, 8)
    overlap = jnp.trapezoid(basis[:, :, None] * basis[:, None, :] * r[:, None, None] ** 2, r, axis=0)
    assert np.allclose(overlap, np.eye(8), atol=1e-5)
    assert np.isfinite(jax.jacfwd(lambda x: nn.bessel(x, 5.0, 8))(0.0)).all()


def test_the_polynomial_cutoff_has_two_vanishing_derivatives_at_the_cutoff():
    def f(r):
        return nn.polynomial_cutoff(r, 5.0)

    inside = 5.0 - 1e-9
    assert float(f(jnp.asarray(0.0))) == 1.0
    for order in range(3):
        assert abs(float(f(jnp.asarray(inside)))) < 1e-6, order
        assert float(f(jnp.asarray(5.0))) == 0.0
        f = jax.grad(f)


def test_harmonics_follow_rotations_and_have_component_norms():
    units = nn.directions(jax.random.normal(KEY, (6, 3)))[1]
    values = nn.harmonics(units, 3)
    turned = nn.harmonics(units @ ROTATION.T, 3)
    assert same([x[..., None] for x in turned], rotated([x[..., None] for x in values], ROTATION))
    for l, x in enumerate(values):
        assert np.allclose(jnp.sum(x**2, axis=-1), 2 * l + 1)


def test_directions_of_coincident_atoms_are_finite():
    length, unit = nn.directions(jnp.zeros((1, 3)))
    assert float(length[0]) == 0.0
    assert not unit.any()
    slope = jax.grad(lambda v: nn.directions(v)[0].sum() + nn.directions(v)[1].sum())(jnp.zeros((1, 3)))
    assert np.isfinite(slope).all()


def test_couplings_keep_unit_variance():
    a, b = jax.random.normal(KEY, (2, 20000, 5))
    c = jnp.einsum("abc,na,nb->nc", coupling(2, 2, 2), a, b)
    assert np.allclose(jnp.mean(c**2), 1.0, atol=0.05)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_symmetric_contraction_is_equivariant(order, sign):
    layer = nn.SymmetricContraction(order, 2, 1)
    index = jnp.asarray([0, 1, 0, 1, 1])
    x = features()
    params = layer.init(KEY, x, index)
    once = layer.apply(params, x, index)
    assert max(float(jnp.abs(v).max()) for v in once) > 0.1
    assert same(layer.apply(params, rotated(x, ROTATION, sign), index), rotated(once, ROTATION, sign))


def test_symmetric_contraction_equals_the_plain_sum_over_its_basis():
    layer = nn.SymmetricContraction(3, 1, 1)
    x, index = features(n=3, channels=2, lmax=2), jnp.zeros(3, int)
    params = layer.init(KEY, x, index)
    a = np.concatenate(x, axis=1)
    letters = "abc"
    for l, got in enumerate(layer.apply(params, x, index)):
        expected = 0.0
        for order in (1, 2, 3):
            u, w = symmetric_basis(2, order, l), np.asarray(params["params"][f"w{order}_{l}"])[0]
            factors = ",".join(f"n{c}k" for c in letters[:order])
            operands = (u, w, *[a] * order)
            expected = expected + np.einsum(f"{letters[:order]}mp,pk,{factors}->nmk", *operands)
        assert np.allclose(got, expected, atol=1e-10)


def test_a_correlation_order_that_is_not_implemented_is_refused():
    with pytest.raises(InputError, match="correlation order 4"):
        nn.SymmetricContraction(4, 1, 0).init(KEY, features(), jnp.zeros(5, int))


def edges(n=5, m=4):
    vectors = 2.0 * jax.random.normal(jax.random.key(3), (n, m, 3))
    receivers = jnp.asarray(np.random.default_rng(0).integers(0, n, (n, m)))
    return vectors, receivers


def convolve(layer, params, x, vectors, receivers, onehot=None):
    length, unit = nn.directions(vectors)
    return layer.apply(params, x, nn.radial_basis(length, 5.0, 8), nn.harmonics(unit, 3), receivers, onehot)


def initial(layer, x, onehot=None):
    vectors, receivers = edges()
    length, unit = nn.directions(vectors)
    return layer.init(KEY, x, nn.radial_basis(length, 5.0, 8), nn.harmonics(unit, 3), receivers, onehot)


def test_convolution_is_equivariant():
    layer, x = nn.Convolution(4, 3, (16,), 4.0), features(lmax=1)
    params = initial(layer, x)
    vectors, receivers = edges()
    once = convolve(layer, params, x, vectors, receivers)
    turned = convolve(layer, params, rotated(x, ROTATION, -1), -vectors @ ROTATION.T, receivers)
    assert same(turned, rotated(once, ROTATION, -1))


def test_the_convolution_of_species_features_is_the_general_one():
    layer = nn.Convolution(4, 3, (16,), 4.0)
    kinds = jax.random.normal(KEY, (2, 1, 4))
    onehot = jax.nn.one_hot(jnp.asarray([0, 1, 1, 0, 1]), 2)
    params = initial(layer, (kinds,), onehot)
    vectors, receivers = edges()
    short = convolve(layer, params, (kinds,), vectors, receivers, onehot)
    whole = convolve(layer, params, ((onehot @ kinds[:, 0])[:, None],), vectors, receivers)
    assert same(short, whole)


def test_gates_and_norms_are_equivariant():
    x = features(channels=3, lmax=2)
    gated = (jnp.concatenate([x[0], *(jnp.ones((5, 1, 3)) * g for g in (0.3, -0.2))], axis=-1), *x[1:])
    turned = rotated(gated, ROTATION)
    assert same(nn.gate(turned), rotated(nn.gate(gated), ROTATION))
    assert same(nn.normalise(rotated(x, ROTATION)), rotated(nn.normalise(x), ROTATION))
    assert np.allclose([jnp.mean(v**2) for v in nn.normalise(x)], 1.0, atol=1e-3)


def test_normalised_silu_keeps_the_mean_square():
    x = jax.random.normal(KEY, (200000,))
    assert np.allclose(jnp.mean(nn.normalised_silu(x) ** 2), 1.0, atol=0.02)
