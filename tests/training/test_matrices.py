"""Learning H(R): labels on edges, a baseline that finds a Hamiltonian of its own kind, errors up to a multiple of S."""

import dataclasses
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxepi import datasets
from jaxepi.errors import InputError
from jaxepi.hamiltonians import Hamiltonian, e3
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.structure import Structure
from jaxepi.training.matrices import evaluation, labels, least_squares
from jaxepi.training.matrices.problem import BlockProblem
from jaxepi.training.settings import BlockLossSettings

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parents[2] / "experiments/bilayer_graphene"
LEVEL = "pbe-d3"
SMALL = {"relations": "layers", "cutoff": 3.7, "splines": 10, "edge_functions": 2, "neighbour_functions": 2, "lmax": 1}
SMALL |= {"neighbour_lmax": 1, "channels": 1, "edge_channels": 1, "hidden": [2], "radial_layers": [2], "correlation": 3}


@pytest.fixture(scope="module")
def groups():
    return datasets.read(FOLDER / "checks" / "lcao-differences.h5").groups


def module_of(groups, interactions=0):
    """A small module of the data's basis, and the tables of its overlap."""
    overlap, tables = Overlap.of(groups[0].blocks.functions)
    basis = e3.carried(overlap, groups[0].blocks.shells, 6, 4.0)
    return e3.configured({**SMALL, "interactions": interactions}, basis, overlap, (9.0, 2.0)), tables


def first(group):
    """The structure of its first configuration."""
    return Structure.create(group.positions[0], group.cell[0], group.species, group.pbc)


@pytest.fixture(scope="module")
def held(groups):
    return labels.gathered(groups, module_of(groups)[0], LEVEL)


def test_labels_stand_on_the_edges_of_a_graph(groups, held):
    np.testing.assert_allclose(held.hopping[held.reverse], held.hopping.swapaxes(1, 2), atol=1e-12)
    np.testing.assert_allclose(held.vectors[held.reverse], -held.vectors, atol=1e-12)
    for table in held.near:
        np.testing.assert_allclose(held.vectors[table.edges[table.mask]], table.vectors[table.mask])
    assert (held.beyond > 0).all()
    other = dataclasses.replace(groups[0], blocks=dataclasses.replace(groups[0].blocks, level="other"))
    with pytest.raises(InputError, match="no H"):
        labels.gathered([other], module_of(groups)[0], LEVEL)


def test_the_overlap_of_a_model_is_that_of_the_labels(groups, held):
    module, tables = module_of(groups)
    h = Hamiltonian(module.init(0, tables), module)
    structure = first(groups[0])
    graph = h.graph(structure, skin=0.0)
    blocks = h.blocks(structure, graph)
    mine = held.edge_of == 0
    np.testing.assert_allclose(blocks.overlap, held.overlap[mine], atol=2e-8)
    np.testing.assert_allclose(blocks.onsite_overlap, held.own_overlap[held.atom_of == 0], atol=2e-8)


def test_least_squares_find_a_baseline_and_the_model_gives_it(groups, held):
    """A Hamiltonian of random two-centre functions and on-site sums is found again, and `blocks` give what the fit gave."""
    module, tables = module_of(groups)
    params = module.init(0, tables)
    random = np.random.default_rng(0)
    params["baseline"]["levels"] = random.normal(size=params["baseline"]["levels"].shape)
    for part in ("hopping", "onsite"):
        for name, value in params["baseline"][part].items():
            params["baseline"][part][name] = random.normal(size=value.shape)
    # Shells in both orders, as Hermiticity has them, are what `predicted` makes of any numbers.
    onsite, hopping = evaluation.predicted(Hamiltonian(params, module), held)
    made = dataclasses.replace(held, onsite=onsite, hopping=hopping, split=np.array(["train"] * len(held)))
    fitted = least_squares.fit(module, made, "two-centre", 1e-13)
    np.testing.assert_allclose(fitted.hopping, hopping, atol=1e-5)
    np.testing.assert_allclose(fitted.onsite, onsite, atol=1e-3)
    real = least_squares.fit(module, held, "linear", 1e-10)
    left, before = (np.abs(f.hopping - held.hopping).mean() for f in (real, two_centres(module, held)))
    assert left < 0.6 * before
    whole = Hamiltonian({**params, "baseline": real.params}, module)
    structure = first(groups[0])
    blocks = whole.blocks(structure, whole.graph(structure, skin=0.0))
    np.testing.assert_allclose(blocks.hopping, real.hopping[held.edge_of == 0], atol=1e-8)
    np.testing.assert_allclose(blocks.onsite, real.onsite[held.atom_of == 0], atol=1e-8)


def two_centres(module, held):
    """What functions of distance say."""
    return least_squares.fit(module, held, "two-centre", 1e-10)


def test_errors_are_up_to_a_multiple_of_the_overlap(held):
    moved = 0.3 * (1 + np.arange(len(held)))
    onsite = held.onsite + moved[held.atom_of][:, None, None] * held.own_overlap
    hopping = held.hopping + moved[held.edge_of][:, None, None] * held.overlap
    on, hop, mu = evaluation.aligned(held, onsite, hopping)
    np.testing.assert_allclose(mu, moved, atol=1e-10)
    assert max(np.abs(on).max(), np.abs(hop).max()) < 1e-10


def test_the_loss_of_a_batch_is_that_of_the_table(groups, held):
    """Blocks of a network in batches are those of the model, and the loss does not see a multiple of S."""
    module, tables = module_of(groups, 1)
    params = module.init(0, tables)
    fitted = two_centres(module, held)
    params = {**params, "baseline": fitted.params, "spread": least_squares.spread(module, held, fitted)}
    problem = BlockProblem(module, params, held, fitted, BlockLossSettings(), 8, "float64")
    plans = [plan for split in ("train", "validation") for plan in problem.plans(split)]
    outputs = [jax.device_get(jax.jit(problem.outputs)(problem.initial(), problem.arrays, plan)) for plan in plans]
    onsite, hopping = problem.collect(plans, outputs)
    a, b = evaluation.predicted(Hamiltonian(params, module), held)
    np.testing.assert_allclose(onsite, a, atol=1e-9)
    np.testing.assert_allclose(hopping, b, atol=1e-9)
    on, hop, _ = evaluation.aligned(held, onsite, hopping)
    near = np.concatenate([t.edges[t.mask & held.atoms("validation")[:, None]] for t in held.near])
    scores = problem.scores("validation", plans[-1:], outputs[-1:])
    np.testing.assert_allclose(scores["onsite_mev"], 1e3 * np.abs(on[held.atoms("validation")]).mean(), rtol=1e-8)
    np.testing.assert_allclose(scores["hopping_mev"], 1e3 * np.abs(hop[near]).mean(), rtol=1e-8)
