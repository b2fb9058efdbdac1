"""Relaxation: displaced atoms go back to where no force is; layers stay at the distance they are held at."""

import numpy as np
import pytest
from ase.build import bulk

from jaxepi import potentials
from jaxepi.errors import InputError
from jaxepi.potentials import relaxed_atoms
from jaxepi.structure import Structure


@pytest.mark.slow
def test_a_displaced_crystal_relaxes_and_is_not_two_layers():
    crystal = Structure.from_ase(bulk("Si", "diamond", a=5.431))
    potential = potentials.load("silicon-sw1985")
    moved = crystal.with_positions(np.asarray(crystal.positions) + np.array([[0.0, 0.0, 0.0], [0.1, -0.05, 0.02]]))
    found = relaxed_atoms(potential, moved, force=1e-3)
    assert found.force < 1e-3
    assert 0 < found.steps < 200
    bond = np.diff(np.asarray(found.structure.positions), axis=0)[0]
    np.testing.assert_allclose(bond, 5.431 / 4 * np.ones(3), atol=1e-3)
    with pytest.raises(InputError, match="it is that of two"):
        relaxed_atoms(potential, crystal, distance=3.4)
    with pytest.raises(InputError, match="give positive ones"):
        relaxed_atoms(potential, crystal, force=0.0)


@pytest.mark.slow
def test_layers_stay_at_the_distance_they_are_held_at():
    a = 3.87
    cell = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, 30.0]])
    flat = np.array([[1 / 3, 2 / 3], [2 / 3, 1 / 3]]) @ cell[:2, :2]
    x = np.concatenate([np.c_[flat, [10, 10.6]], np.c_[flat, [16, 16.5]]])
    start = Structure.create(x, cell, [14] * 4, (True, True, False))
    found = relaxed_atoms(potentials.load("silicon-sw1985"), start, distance=7.0, force=1e-2, steps=100)
    z = np.asarray(found.structure.positions)[:, 2]
    assert found.force < 1e-2
    assert z[2:].mean() - z[:2].mean() == pytest.approx(7.0, abs=1e-9)
    assert np.ptp(z[:2]) > 0.7  # each buckles freely
