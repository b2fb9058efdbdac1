"""Transitions of single snapshots as those of all."""

import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi.errors import InputError
from jaxepi.optics import EnergyGrid, Transitions
from jaxepi.sampling import Snapshots
from jaxepi.structure import Structure
from jaxepi.tree import replace
from jaxepi.workflows.joining import joined

GRID = EnergyGrid.covering(10.0, 0.1)


def part(filled, empty):
    """Transitions of one snapshot."""
    levels = jnp.arange(float(filled + empty))[None, None] - filled
    return Transitions(jnp.ones((1, 1, GRID.count)), levels, jnp.ones(1), jnp.asarray(1.0), GRID, filled)


def two():
    """Snapshots without displacements."""
    crystal = Structure.from_ase(bulk("Si"))
    return Snapshots(crystal, jnp.stack([crystal.positions] * 2), jnp.asarray(0.0), groups=(0, 1))


def test_snapshots_with_different_numbers_of_states_are_joined_at_the_gap():
    both = joined([part(2, 3), part(4, 1)], two())
    assert len(both) == 2
    assert both.occupied == 4
    assert both.groups == (0, 1)
    np.testing.assert_array_equal(both.eigenvalues[0, 0], [np.nan, np.nan, -2, -1, 0, 1, 2])
    np.testing.assert_array_equal(both.eigenvalues[1, 0], [-4, -3, -2, -1, 0, np.nan, np.nan])


def test_lines_of_different_solvers_are_not_joined():
    bare = part(2, 3)
    for other in (replace(bare, carried=0.03), replace(bare, replicas=jnp.ones((1, 3, 1, GRID.count)))):
        with pytest.raises(InputError, match="different solvers, of different lines: name one"):
            joined([bare, other], two())
