"""Guards: refused where values are known, NaN with NaN derivatives under tracing, nothing changed where all is well."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import guards, materials, potentials
from jaxepi.errors import InputError
from jaxepi.guards import number, numbers, poisoned, refuse_or_nan, whole


def root(x):
    return refuse_or_nan({"root": jnp.sqrt(x), "count": jnp.arange(3)}, x > 0, lambda: f"{x} is not positive")


def test_known_values_are_refused():
    assert float(root(jnp.asarray(4.0))["root"]) == 2.0
    with pytest.raises(InputError, match=r"-1\.0 is not positive"):
        root(jnp.asarray(-1.0))


def test_traced_values_become_nan_with_their_derivatives():
    def square(x):
        return refuse_or_nan(x**2, x > 0, lambda: "never called")

    for transformed in (square, jax.grad(square), jax.grad(jax.grad(square))):
        values = jax.jit(jax.vmap(transformed))(jnp.array([-1.0, 3.0]))
        assert np.isnan(values[0])
        assert np.isfinite(values[1])
    np.testing.assert_array_equal(jax.vmap(jax.grad(square))(jnp.array([3.0])), [6.0])
    np.testing.assert_array_equal(jax.jit(root)(jnp.asarray(-1.0))["count"], [0, 1, 2])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.complex64, jnp.complex128])
def test_what_is_well_stays_as_it_is(dtype):
    value = jnp.arange(4).astype(dtype)
    out = jax.jit(poisoned)(value, True)
    assert out.dtype == value.dtype
    np.testing.assert_array_equal(out, value)
    assert np.isnan(poisoned(value, False)).all()


def test_guarded_kernels_are_exported_for_accelerators():
    def kernel(x):
        return refuse_or_nan(x * 2, jnp.all(x > 0), lambda: "")

    exported = jax.export.export(jax.jit(kernel), platforms=["cpu", "cuda", "tpu"])(jnp.ones(3))
    assert "callback" not in exported.mlir_module()


def test_numbers_are_told_from_what_is_none():
    assert number("width", 3) == 3
    assert numbers("energies", [1, 2], jnp.float32, 1).dtype == jnp.float32
    assert whole("count", np.int64(3), 1) == 3
    for value in (jnp.ones(2), "3", None, 1j, True):
        with pytest.raises(InputError, match=r"width is .*give one number of eV"):
            number("width", value, "eV")
    for value in (2.0, True, "2", 0):
        with pytest.raises(InputError, match="count"):
            whole("count", value, 1)
    for value, match in (([1, [2]], "no real numbers"), (["a"], "no real numbers"), ([[1.0]], r"shape \(1, 1\)")):
        with pytest.raises(InputError, match=match):
            numbers("energies", value, float, 1)


def test_models_in_single_precision_that_nobody_asked_for_are_warned_of_once(monkeypatch):
    monkeypatch.setattr(guards, "_warned", [])
    message = r"silicon is loaded in float32.*enable_x64.*before.*again"
    with jax.enable_x64(False):
        with pytest.warns(guards.PrecisionWarning, match=message):
            silicon = materials.load("silicon")
        with warnings.catch_warnings():
            warnings.simplefilter("error", guards.PrecisionWarning)
            potentials.load("silicon-mvff")  # it has been said
        assert {leaf.dtype for leaf in jax.tree.leaves(silicon.hamiltonian)} == {jnp.dtype("float32")}
    monkeypatch.setattr(guards, "_warned", [])
    with warnings.catch_warnings():
        warnings.simplefilter("error", guards.PrecisionWarning)
        assert materials.load("silicon").primitive.positions.dtype == jnp.float64
