"""A small crystal whose perturbation theory is that of all: overlap, energies of surroundings, springs."""

import honeycomb
import jax.numpy as jnp
import pytest
from spring_crystals import springs

from jaxepi.epi import topology


@pytest.fixture(scope="package")
def cell():
    return honeycomb.cell()


@pytest.fixture(scope="package")
def constants(cell):
    return springs(cell.supercell((2, 2, 1)), 30.0, 8.0, 1.7)


@pytest.fixture(scope="package")
def crystal(constants):
    hamiltonian = honeycomb.hamiltonian(general=True)
    return hamiltonian, topology(hamiltonian, constants)


@pytest.fixture
def k():
    return jnp.array([0.31, 0.12, 0.0])
