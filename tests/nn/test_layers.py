"""Equivariant layers: smooth radial bases, rotations, inversion, and the many-body basis against e3nn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import turning
from turning import KEY, ROTATION, features, parameters, same

from jaxepi import nn
from jaxepi.errors import InputError
from jaxepi.nn import SCALAR, Irrep, all_up_to, natural, natural_up_to
from jaxepi.nn.contraction import symmetric_basis
from jaxepi.nn.spherical import coupling

BOTH, NATURAL = all_up_to(2), natural_up_to(3)


@pytest.mark.slow
def test_bessel_functions_are_finite_at_zero_and_orthonormal():
    r = jnp.linspace(0.0, 5.0, 4001)
    basis = nn.bessel(r, 5.0, 8)
    overlap = np.trapezoid(basis[:, :, None] * basis[:, None, :] * r[:, None, None] ** 2, r, axis=0)
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


def test_harmonics_have_component_norms():
    units = nn.directions(jax.random.normal(KEY, (6, 3)))[1]
    for l, x in enumerate(nn.harmonics(units, 3)):
        assert np.allclose(jnp.sum(x**2, axis=-1), 2 * l + 1)


def test_irreps_of_natural_parity_come_first_and_multiply_as_they_should():
    p, d = natural(1), natural(2)
    assert [str(i) for i in p * p] == ["0e", "1e", "2e"]
    assert [str(i) for i in p * d] == ["1o", "2o", "3o"]
    assert [str(i) for i in all_up_to(2)] == ["0e", "1o", "2e", "0o", "1e", "2o"]
    assert [i.label for i in all_up_to(1)] == ["0", "1", "0o", "1e"]
    tree = jax.tree.structure(dict.fromkeys(reversed(all_up_to(2)), 0.0))
    assert list(jax.tree.unflatten(tree, range(6)).items()) == list(zip(all_up_to(2), range(6), strict=True))
    with pytest.raises(InputError, match="parity 0"):
        Irrep(1, 0)


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


@pytest.mark.parametrize("l1", [0, 1, 2])
@pytest.mark.parametrize("l2", [0, 1, 2])
def test_couplings_are_orthonormal_and_complete(l1, l2):
    all_l = range(abs(l1 - l2), l1 + l2 + 1)
    c = np.concatenate([coupling(l1, l2, l).reshape(-1, 2 * l + 1) for l in all_l], axis=1)
    np.testing.assert_allclose(c @ c.T, np.eye(len(c)), atol=1e-13)
    np.testing.assert_allclose(c.T @ c, np.eye(len(c)), atol=1e-13)


def test_two_vectors_couple_to_their_cross_product():
    a, b = np.random.default_rng(0).normal(size=(2, 3))
    np.testing.assert_allclose(np.einsum("abc,a,b->c", coupling(1, 1, 1), a, b), np.cross(a, b) / 2**0.5, atol=1e-14)


def test_couplings_turn_with_their_factors():
    for l1, l2, l3 in ((1, 1, 1), (1, 2, 2), (2, 2, 3), (2, 1, 3)):
        d1, d2, d3 = (turning.wigner(l, ROTATION) for l in (l1, l2, l3))
        c = coupling(l1, l2, l3)
        np.testing.assert_allclose(np.einsum("abc,ai,bj,ck->ijk", c, d1, d2, d3), c, atol=1e-13)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("irreps", [natural_up_to(2), all_up_to(1)])
def test_symmetric_contraction_is_equivariant(order, irreps):
    layer = nn.SymmetricContraction(order, 2, all_up_to(1))
    index = jnp.asarray([0, 1, 0, 1, 1])
    params = parameters(layer, features(irreps), index)
    once = turning.check(lambda x: layer.apply(params, x, index), features(irreps))
    assert float(jnp.abs(once[SCALAR]).max()) > 0.1
    assert (float(jnp.abs(once[Irrep(1, 1)]).max()) > 0.1) == (order == 3 or irreps == all_up_to(1))


def test_symmetric_contraction_equals_the_plain_sum_over_its_basis():
    irreps = natural_up_to(2)
    layer = nn.SymmetricContraction(3, 1, natural_up_to(1))
    x, index = features(irreps, n=3, channels=2), jnp.zeros(3, int)
    params = parameters(layer, x, index)
    a = np.concatenate([x[i] for i in irreps], axis=1)
    letters = "abc"
    for irrep, got in layer.apply(params, x, index).items():
        expected = 0.0
        for order in (1, 2, 3):
            u, w = symmetric_basis(irreps, order, irrep), np.asarray(params["params"][f"w{order}_{irrep.l}"])[0]
            factors = ",".join(f"n{c}k" for c in letters[:order])
            operands = (u, w, *[a] * order)
            expected = expected + np.einsum(f"{letters[:order]}mp,pk,{factors}->nmk", *operands)
        assert np.allclose(got, expected, atol=1e-10)


def test_a_correlation_order_that_is_not_implemented_is_refused():
    with pytest.raises(InputError, match="correlation order 4"):
        nn.SymmetricContraction(4, 1, (SCALAR,)).init(KEY, features(NATURAL), jnp.zeros(5, int))


def slots(n=5, m=4):
    vectors = 2.0 * jax.random.normal(jax.random.key(3), (n, m, 3))
    return vectors, jnp.asarray(np.random.default_rng(0).integers(0, n, (n, m)))


def convolve(layer, vectors, receivers, onehot=None):
    """The layer as a function of its parameters (None: makes them) and features."""
    length, unit = nn.directions(vectors)
    given = nn.radial_basis(length, 5.0, 8), nn.harmonics(unit, 3), receivers, onehot
    return lambda params, x: parameters(layer, x, *given) if params is None else layer.apply(params, x, *given)


@pytest.mark.slow
@pytest.mark.parametrize("irreps", [natural_up_to(1), all_up_to(1)])
def test_convolution_is_equivariant(irreps):
    layer, (vectors, receivers) = nn.Convolution(4, BOTH, (16,), 4.0), slots()
    params = convolve(layer, vectors, receivers)(None, features(irreps))
    once = turning.check(lambda x, v: convolve(layer, v, receivers)(params, x), features(irreps), moved=vectors)
    reached = set(all_up_to(2)) if irreps == all_up_to(1) else set(BOTH) - {Irrep(0, -1)}
    assert set(once) == reached, "two vectors make no pseudoscalar"
    assert all(float(jnp.abs(x).max()) > 1e-3 for x in once.values())


@pytest.mark.slow
def test_the_convolution_of_species_features_is_the_general_one():
    layer = nn.Convolution(4, NATURAL, (16,), 4.0)
    kinds = jax.random.normal(KEY, (2, 1, 4))
    onehot = jax.nn.one_hot(jnp.asarray([0, 1, 1, 0, 1]), 2)
    params = convolve(layer, *slots(), onehot)(None, {SCALAR: kinds})
    short = convolve(layer, *slots(), onehot)(params, {SCALAR: kinds})
    whole = convolve(layer, *slots())(params, {SCALAR: (onehot @ kinds[:, 0])[:, None]})
    same(short, whole)


def test_mixing_gates_and_norms_are_equivariant():
    index = jnp.asarray([0, 1, 0, 1, 1])
    linear, own = nn.Linear(3, gated=True), nn.SpeciesLinear(3, 2, all_up_to(3))
    mix, kept = parameters(linear, features(BOTH)), parameters(own, features(BOTH), index)
    turning.check(lambda x: nn.gate(linear.apply(mix, x)), features(BOTH))
    turning.check(lambda x: own.apply(kept, x, index), features(BOTH))
    once = turning.check(nn.normalise, features(BOTH))
    assert np.allclose([jnp.mean(v**2) for v in once.values()], 1.0, atol=1e-3)


def test_gates_leave_as_many_scalars_as_other_channels():
    linear = nn.Linear(3, gated=True)
    out = nn.gate(linear.apply(parameters(linear, features(BOTH)), features(BOTH)))
    assert {x.shape[-1] for x in out.values()} == {3}
    assert not float(out[Irrep(0, -1)].min()) > 0, "pseudoscalars keep their sign"


def test_products_of_two_features_are_equivariant():
    layer = nn.TensorProduct(3, BOTH)
    x, y = features(BOTH), features(natural_up_to(1), seed=1)
    params = parameters(layer, x, y)
    turning.check(lambda a, b: layer.apply(params, a, b), x, y)


def test_normalised_silu_keeps_the_mean_square():
    x = jax.random.normal(KEY, (200000,))
    assert np.allclose(jnp.mean(nn.normalised_silu(x) ** 2), 1.0, atol=0.02)
