"""Every public function by name under jit, vmap and grad, on cells of two atoms.

Each stands in `CASES` as a smooth function of one number, or in `HOST` with the reason why it cannot be traced. What is
compiled must equal what runs step by step, many at once must equal one by one, and the gradient must equal the slope of the
values.
"""

import importlib

import jax
import numpy as np
import pytest
from not_traced import HOST
from transform_cases import CASES, OFFSETS, ROOMS, STEP


def public(room):
    """Names of a room: what it lists, or all it defines without an underscore."""
    module = importlib.import_module(f"jaxepi.{room}")
    own = [
        n for n, v in vars(module).items() if not n.startswith("_") and getattr(v, "__module__", "") == module.__name__
    ]
    return {f"{room}.{name}" for name in getattr(module, "__all__", own) if callable(getattr(module, name))}


def test_every_public_function_is_here():
    expected = set().union(*map(public, ROOMS)) | {"sampling.Statistics"}
    assert set(CASES) | set(HOST) == expected
    assert not set(CASES) & set(HOST)


def relative(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * (1 + np.abs(expected).max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_jit_vmap_and_grad(name):
    function, start = CASES[name], 0.05

    @jax.jit
    def together(t):
        return jax.vmap(function)(t + OFFSETS), jax.grad(function)(t)

    values, slope = together(start)
    for i in (0, 2):
        relative(values[i], function(start + OFFSETS[i]), 1e-9)
    far2, far1, _, near1, near2 = values
    relative(slope, (8 * (near1 - far1) - (near2 - far2)) / (12 * STEP), 1e-5)
