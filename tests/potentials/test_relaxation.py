"""Relaxation: displaced atoms go back to where no force is; layers stay at the distance they are held at."""

import numpy as np
import pytest
from ase.build import bulk

from jaxepi import potentials
from jaxepi.errors import InputError
from jaxepi.potentials.relaxation import relaxed
from jaxepi.structure import Structure


@pytest.mark.slow
def test_a_displaced_crystal_relaxes_and_is_not_two_layers():
    crystal = Structure.from_ase(bulk("Si", "diamond", a=5.431))
    potential = potentials.load("silicon-sw1985")
    moved = crystal.with_positions(np.asarray(crystal.positions) + np.array([[0.0, 0.0, 0.0], [0.1, -0.05, 0.02]]))
    found = relaxed(potential, moved, force=1e-3)
    assert found.force < 1e-3
    assert 0 < found.steps < 200
    bond = np.diff(np.asarray(found.structure.positions), axis=0)[0]
    np.testing.assert_allclose(bond, 5.431 / 4 * np.ones(3), atol=1e-3)
    with pytest.raises(InputError, match="it is that of two"):
        relaxed(potential, crystal, distance=3.4)
    with pytest.raises(InputError, match="give positive ones"):
        relaxed(potential, crystal, force=0.0)
