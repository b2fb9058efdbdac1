"""A model of mace-torch in a checkpoint: its energy and forces, written down."""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms

from jaxepi import potentials
from jaxepi.errors import InputError
from jaxepi.structure import Structure

FILE = Path(__file__).parent / "mace_torch.npz"
"""Weights drawn at random by mace-torch 0.3.16 (torch 2.5.1, e3nn 0.4.4), written by scripts/convert_mace.py."""

ENERGY, FORCE = 2.3503539895281502, [-0.00323904, 0.00254611, 0.00270286]
"""Of that model in mace-torch, in float64: eV, and eV/angstrom of the first atom."""

NETWORK = 2.3503539895281502 - 8 * 0.3
"""What the network adds to the energies of free atoms."""


@pytest.fixture(scope="module")
def crystal():
    atoms = Atoms([31, 33] * 4, cell=np.eye(3) * 5.2, pbc=True)
    places = [[0, 0, 0], [0, 2, 2], [2, 0, 2], [2, 2, 0], [1, 1, 1], [1, 3, 3], [3, 1, 3], [3, 3, 1]]
    atoms.set_scaled_positions(np.array(places) / 4)
    atoms.rattle(0.1, seed=1)
    return Structure.from_ase(atoms)


@pytest.mark.slow
def test_energy_and_forces_are_those_of_mace_torch(crystal):
    potential = potentials.load(FILE)
    graph = potential.graph(crystal)
    assert abs(float(potential.energy(crystal, graph)) - ENERGY) < 1e-10 * abs(NETWORK)
    np.testing.assert_allclose(potential.forces(crystal, graph)[0], FORCE, atol=1e-8)


def test_files_of_torch_are_not_unpickled_and_the_doors_are_named():
    with pytest.raises(InputError, match=r"convert_mace.py mace.model model.npz .* ASE calculator"):
        potentials.load("mace.model")
