"""What accelerators need: the heavy functions lower for CUDA and for TPUs, and nothing in them calls back to the host."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from jaxepi import electrons, hamiltonians, optics, potentials, sampling
from jaxepi.kpoints import KPoints
from jaxepi.structure import Structure

A = 5.431
CELL = Structure.create([[0.0, 0, 0], [A / 4, A / 4, A / 4]], A / 2 * (1 - np.eye(3)), [14, 14])
POINT = KPoints(np.array([[0.11, 0.23, -0.31]]), np.ones(1))
GRID = optics.EnergyGrid.covering(30.0, 0.5)
HOST = re.compile(r"callback|outfeed|infeed|stablehlo\.(send|recv)|host_compute", re.IGNORECASE)
"""What a call to the host looks like in StableHLO."""


def absorption(model):
    """eps2 of one snapshot, by its positions: the optical kernel."""
    graph = model.graph(CELL)

    def function(positions):
        snapshots = sampling.Snapshots(CELL, positions[None], 300.0)
        kept = optics.transitions(model, snapshots, POINT, GRID, graph=graph)
        return kept.spectrum(jnp.array([3.0, 4.5]), optics.Gaussian(1.5)).eps2.sum()

    return function


def forces(model):
    graph = model.graph(CELL)
    return lambda positions: model.forces(CELL.with_positions(positions), graph)


def levels(model):
    graph = model.graph(CELL)
    return lambda positions: electrons.eigenvalues(model, CELL.with_positions(positions), POINT, graph)


FUNCTIONS = {
    "optical kernel": lambda: absorption(hamiltonians.load("si-vogl1983")),
    "its gradient": lambda: jax.grad(absorption(hamiltonians.load("si-vogl1983"))),
    "forces of a force field": lambda: forces(potentials.load("silicon-mvff")),
    "forces of a learned potential": lambda: forces(potentials.load("silicon-pbe")),
    "bands of a learned Hamiltonian": lambda: levels(hamiltonians.load("silicon-hse06")),
}


def lowered(function) -> str:
    """StableHLO of a function of the positions, for both kinds of accelerator, traced once."""
    return export.export(jax.jit(function), platforms=("cuda", "tpu"))(CELL.positions).mlir_module()


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_accelerators_are_lowered_for_and_the_host_is_not_called(name):
    # As users have JAX, outside of tests that promote neither ranks nor types.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        text = lowered(FUNCTIONS[name]())
    assert HOST.findall(text) == []
    if not name.startswith("forces"):
        # Each has a solver of its own for Hermitian matrices.
        assert "cusolver" in text
        assert "Eigh" in text


def test_calls_to_the_host_would_be_found():
    """JAX lowers none for other platforms than its own, and exports none."""

    def asks(positions):
        shape = jax.ShapeDtypeStruct(positions.shape, positions.dtype)
        return jax.pure_callback(lambda x: x, shape, positions)

    with pytest.raises((NotImplementedError, ValueError)):
        lowered(asks)
    assert HOST.search(jax.jit(asks).lower(CELL.positions).as_text())
