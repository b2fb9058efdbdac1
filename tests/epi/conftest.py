"""A crystal of two atoms, one orbital each, and springs: perturbation theory is the same, and it compiles fast."""

import jax.numpy as jnp
import numpy as np
import pytest
from spring_crystals import springs

from jaxepi.epi import topology
from jaxepi.hamiltonians import Hamiltonian, parameter_files
from jaxepi.structure import Structure

A = 2.46


def honeycomb(overlap: bool) -> Hamiltonian:
    """p_z orbitals of first neighbours, with different atoms so that there is a gap; perhaps with an overlap."""
    hopping = {"pz-pz:pi": {"value": -2.7, "exponent": 3.4, "length": 1.42}}
    pairs = [{"species": pair, "hopping": hopping} for pair in (["B", "N"], ["B", "B"], ["N", "N"])]
    if overlap:
        for pair in pairs:
            pair["overlap"] = {"pz-pz:pi": {"value": 0.13, "exponent": 3.0, "length": 1.42}}
    species = {s: {"shells": ["pz"], "electrons": 1, "onsite": {"pz": e}} for s, e in (("B", 1.0), ("N", -1.0))}
    data = {
        "name": "honeycomb", "citation": "of tests", "species": species, "law": "power", "onsite_model": "constant",
        "cutoff": 1.7, "skin": 0.5, "pairs": pairs,
    }  # fmt: skip
    module, params = parameter_files.build(data)
    return Hamiltonian(params, module)


@pytest.fixture(scope="package")
def cell() -> Structure:
    lattice = np.array([[A, 0, 0], [-A / 2, A * 3**0.5 / 2, 0], [0, 0, 20.0]])
    return Structure.create(
        np.array([[0, 0, 0.5], [1 / 3, 2 / 3, 0.5]]) @ lattice, lattice, [5, 7], (True, True, False)
    )


@pytest.fixture(scope="package")
def constants(cell):
    return springs(cell.supercell((2, 2, 1)), 30.0, 8.0, 1.7)


@pytest.fixture(scope="package", params=[False, True], ids=["orthogonal", "overlap"])
def crystal(request, constants):
    hamiltonian = honeycomb(request.param)
    return hamiltonian, topology(hamiltonian, constants)


@pytest.fixture
def k():
    return jnp.array([0.31, 0.12, 0.0])
