"""Pytrees are printed readably, and changed by name."""

import jax
import jax.numpy as jnp
import pytest
from ase.build import bulk

from jaxepi import potentials
from jaxepi.structure import Structure
from jaxepi.tree import replace


def test_large_arrays_are_printed_by_type_and_shape():
    s = Structure.from_ase(bulk("Si", cubic=True))
    assert "positions=float64[8,3]" in repr(s)
    assert "cell=[[5.43, 0.0, 0.0]," in repr(s)
    assert "positions=float32[8,3]" in repr(s.astype("float32"))
    model = potentials.load("silicon-pbe")
    assert "'w0': float32[" in repr(model)
    assert len(repr(model)) < 5000


def test_what_is_inside_a_transformation_can_be_printed():
    seen = []
    s = Structure.from_ase(bulk("Si"))
    jax.vmap(lambda x: (seen.append(repr(s.with_positions(x))), x)[1])(jnp.zeros((3, 2, 3)))
    assert "positions=float64[2,3]" in seen[0]


def test_unknown_fields_are_refused():
    with pytest.raises(TypeError, match="no field"):
        replace(Structure.from_ase(bulk("Si")), colour=1)
