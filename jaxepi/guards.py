"""Guards: a calculation that cannot be right is refused, or gives NaN where only compiled code sees that it cannot.

Static facts (shapes, species, cutoffs) are checked in Python, under tracing too. What only values show (an atom beyond the
skin, a temperature below zero) is refused where the values are known. Under jit, vmap and grad they are not: there the
result and all its derivatives become NaN, by one multiplication, without a call back to the host.
"""

import functools
import os
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi.errors import InputError

T = TypeVar("T")


class PrecisionWarning(UserWarning):
    """Models come in single precision, which nobody has asked for."""


_warned: list[str] = []
"""The model that `PrecisionWarning` was about, in this process."""


def warn_of_single_precision(name: Any) -> None:
    """Warn, once a process, that JAX rounds what is loaded, and say what helps, in which order."""
    if _warned or jax.config.read("jax_enable_x64"):
        return
    _warned.append(str(name))
    warnings.warn(
        f"{name} is loaded in float32, as JAX computes unless it is told otherwise: enough for forces and dynamics, not for "
        "electrons and absorption tails. For float64 call jax.config.update('jax_enable_x64', True) before anything is loaded "
        "(what is loaded already stays rounded: load it again). To go on in float32 without this warning: "
        "warnings.simplefilter('ignore', jaxepi.guards.PrecisionWarning)",
        PrecisionWarning,
        stacklevel=3,
    )


def full_precision(function: Callable[..., T]) -> Callable[..., T]:
    """The function with products of single precision made in single precision.

    Of float32 factors, GPUs since NVIDIA's Ampere keep ten bits (TF32) unless JAX is told otherwise. A precision that the
    caller has set (`jax.default_matmul_precision`, or the option of that name) is kept.
    """

    @functools.wraps(function)
    def exact(*arguments: Any, **options: Any) -> T:
        if jax.default_matmul_precision.value is not None:
            return function(*arguments, **options)
        with jax.default_matmul_precision("float32"):
            return function(*arguments, **options)

    return exact


def traced(*trees: Any) -> bool:
    """Whether any leaf has no value yet, since JAX is tracing."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def refuse_or_nan(value: T, ok: Any, complaint: Callable[[], str]) -> T:
    """The same value where `ok` holds; else refused, or NaN under tracing.

    Args:
        value: a pytree. ok: scalar boolean. complaint: what is wrong and what helps, called only to refuse.

    Raises:
        InputError: `ok` is known and false.
    """
    if traced(ok):
        return poisoned(value, ok)
    if not ok:
        raise InputError(complaint())
    return value


def poisoned(value: T, ok: Any) -> T:
    """The same pytree where `ok` holds; otherwise NaN in all its floating-point leaves and in their derivatives."""

    def spoil(leaf: Any) -> Any:
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            return leaf
        real = jnp.finfo(dtype).dtype
        # A factor, not a selection: the derivative of a selected constant would be zero.
        return (leaf * jnp.where(ok, np.ones((), real), np.full((), np.nan, real)).astype(dtype)).astype(dtype)

    return jax.tree.map(spoil, value)


def known(value: Any) -> np.ndarray | None:
    """A value on the host, or None under tracing."""
    return None if traced(value) else np.asarray(value)


def constant(values: Any, dtype: Any = None) -> jax.Array:
    """An array of JAX, in the precision it is set to, from values of the host: a copy, for which nothing is compiled.

    `jnp.asarray` compiles a program for every shape it meets. What is being traced is passed on.
    """
    return jnp.asarray(values, dtype) if traced(values) else jax.device_put(np.array(values, dtype))


def numpy_for(*trees: Any) -> Any:
    """NumPy where all values are known, JAX's where some are traced: the same lines then serve both, and for known values
    nothing is compiled."""
    return jnp if traced(trees) else np


def number(name: str, value: Any, unit: str = "") -> Any:
    """A real scalar: a Python or NumPy number, or an array of no dimensions, which may be traced.

    Raises:
        InputError: anything else, by name.
    """
    if traced(value):
        real, shape = jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer), value.shape
    else:
        array = np.asarray(value)
        real, shape = array.dtype.kind in "iuf" or jnp.issubdtype(array.dtype, jnp.floating), array.shape
    if not real or shape:
        what = f"an array of shape {shape}" if shape else repr(value)
        raise InputError(f"{name} is {what}: give one number{unit and f' of {unit}'} (jax.vmap goes over several)")
    return value


def whole(name: str, value: Any, least: int) -> int:
    """A whole number, not below `least`.

    Raises:
        InputError: anything else, by name.
    """
    if isinstance(value, bool) or traced(value) or np.ndim(value) or np.asarray(value).dtype.kind not in "iu":
        raise InputError(f"{name} {value!r}: give a whole number")
    if int(value) < least:
        raise InputError(f"{name} {value}: give at least {least}")
    return int(value)


def numbers(name: str, values: Any, dtype: Any, dimensions: int) -> jax.Array:
    """An array of real numbers in a floating-point type, from lists and integers too.

    Raises:
        InputError: text, complex numbers, ragged lists, or another number of dimensions.
    """
    if not traced(values):
        try:
            values = np.asarray(values) if not isinstance(values, jax.Array) else values
            real = values.dtype.kind in "iuf" or jnp.issubdtype(values.dtype, jnp.floating)
        except ValueError:
            real = False
        if not real:
            raise InputError(f"{name} are no real numbers: give an array or a list of numbers")
    if values.ndim != dimensions:
        raise InputError(
            f"{name} have shape {values.shape}: give an array of {dimensions} dimension{'s'[: dimensions - 1]}"
        )
    return jnp.asarray(values, dtype)


def refuse_beyond_memory(values: float, what: str, remedy: str) -> None:
    """Refuse so many double-precision numbers at once that the memory of this machine does not hold them.

    Raises:
        InputError: names the size of both, and the remedy.
    """
    needed, there = 8 * values, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise InputError(f"{what} need {needed / 1e9:.3g} GB, and this machine has {there / 1e9:.3g}; {remedy}")
