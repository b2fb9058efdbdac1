"""What accelerators need: the heavy functions lower for CUDA and for TPUs, nothing in them calls back to the host, products of
single precision are not rounded to ten bits."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.extend.core import jaxprs_in_params

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


def products(jaxpr):
    """All products of single precision, also in what a program calls: their precision."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general" and equation.invars[0].aval.dtype in (np.float32, np.complex64):
            yield equation.params["precision"]
        for inner in jaxprs_in_params(equation.params):
            yield from products(inner)


def energy_in_single():
    model = potentials.load("silicon-pbe").astype("float32")
    graph = model.graph(CELL.astype("float32"))
    # Through a program of the user's own: rules of derivatives are traced when it has been left.
    energy = jax.jit(lambda x: model.energy(CELL.astype("float32").with_positions(x), graph))
    return jax.grad(energy), jnp.float32


def blocks_of_a_network():
    model = hamiltonians.load("graphene-pbe-e3")
    layer = Structure.create([[0.0, 0, 0], [1.23, 0.71, 0]], np.diag([2.46, 4.26, 20.0]), [6, 6])
    graph = model.graph(layer)
    return jax.grad(jax.jit(lambda x: model.blocks(layer.with_positions(x[:2]), graph).hopping.sum())), jnp.float64


@pytest.mark.parametrize("case", [energy_in_single, pytest.param(blocks_of_a_network, marks=pytest.mark.slow)])
def test_single_precision_is_not_rounded_to_ten_bits(case):
    """GPUs would make such products of TF32 numbers, wrong by 1e-3 of them (jax issue 4873)."""
    function, dtype = case()
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        found = list(products(jax.make_jaxpr(function)(jnp.asarray(CELL.positions, dtype)).jaxpr))
    assert len(found) > 5
    assert set(found) == {(jax.lax.Precision.HIGHEST,) * 2}


def test_a_precision_that_was_asked_for_is_kept():
    function, dtype = energy_in_single()
    with jax.default_matmul_precision("tensorfloat32"), jax.numpy_rank_promotion("allow"):
        found = list(products(jax.make_jaxpr(function)(jnp.asarray(CELL.positions, dtype)).jaxpr))
    assert (jax.lax.Precision.HIGHEST,) * 2 not in found
