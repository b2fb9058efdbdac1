"""Learning H(R): labels on edges, a baseline that finds a Hamiltonian of its own kind, errors up to a multiple of S."""

import dataclasses

import jax
import numpy as np
import pytest
import scipy.linalg as sl
from small_orbitals import LEVEL, labelled, model, random_numbers

from jaxepi.errors import InputError
from jaxepi.hamiltonians import Hamiltonian
from jaxepi.nn import SCALAR
from jaxepi.training.matrices import calibration, eigenbasis, evaluation, labels, least_squares
from jaxepi.training.matrices.problem import BlockProblem
from jaxepi.training.settings import BlockLossSettings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def groups():
    return labelled(model(0))


@pytest.fixture(scope="module")
def held(groups):
    return labels.gathered(groups, model(0).module, LEVEL)


def test_labels_stand_on_the_edges_of_a_graph(groups, held):
    np.testing.assert_allclose(held.hopping[held.reverse], held.hopping.swapaxes(1, 2), atol=1e-12)
    np.testing.assert_allclose(held.vectors[held.reverse], -held.vectors, atol=1e-12)
    for table in held.near:
        np.testing.assert_allclose(held.vectors[table.edges[table.mask]], table.vectors[table.mask])
    assert (held.beyond == 0).all()
    other = dataclasses.replace(groups[0], blocks=dataclasses.replace(groups[0].blocks, level="other"))
    with pytest.raises(InputError, match="no H"):
        labels.gathered([other], model(0).module, LEVEL)
    less = dataclasses.replace(groups[0], blocks=dataclasses.replace(groups[0].blocks, reach=2.0))
    with pytest.raises(InputError, match="label with all of it"):
        labels.gathered([less], model(0).module, LEVEL)


def test_predictions_for_all_are_the_blocks_of_the_model(held):
    """What `predicted` makes of all configurations at once are their labels, which `Hamiltonian.blocks` made one by one."""
    onsite, hopping = evaluation.predicted(model(0), held)
    np.testing.assert_allclose(onsite, held.onsite, atol=1e-9)
    np.testing.assert_allclose(hopping, held.hopping, atol=1e-9)


def test_least_squares_find_a_baseline(held):
    h = model(0)
    params = {**h.params, "baseline": jax.tree.map(np.zeros_like, h.params["baseline"])}
    for part in ("levels", "hopping", "onsite"):
        params["baseline"][part] = random_numbers(params["baseline"][part])
    onsite, hopping = evaluation.predicted(Hamiltonian(params, h.module), held)
    made = dataclasses.replace(held, onsite=onsite, hopping=hopping, split=np.array(["train"] * len(held)))
    fitted = least_squares.fit(h.module, made, "two-centre", 1e-13)
    np.testing.assert_allclose(fitted.hopping, hopping, atol=1e-5)
    whole = [least_squares.fit(h.module, held, what, 1e-9) for what in ("levels", "two-centre", "linear")]
    atoms, edges = held.atoms("train"), (held.split == "train")[held.edge_of]
    hop = [np.abs((f.hopping - held.hopping)[edges]).mean() for f in whole]
    on = [np.abs((f.onsite - held.onsite)[atoms]).mean() for f in whole]
    assert hop[0] > hop[1] > 2 * hop[2]
    assert on[0] > on[1] > on[2]
    a, b = evaluation.predicted(Hamiltonian({**params, "baseline": whole[2].params}, h.module), held)
    np.testing.assert_allclose(a, whole[2].onsite, atol=1e-8)
    np.testing.assert_allclose(b, whole[2].hopping, atol=1e-8)


def test_errors_are_up_to_a_multiple_of_the_overlap(held):
    moved = 0.3 * (1 + np.arange(len(held)))
    onsite = held.onsite + moved[held.atom_of][:, None, None] * held.own_overlap
    hopping = held.hopping + moved[held.edge_of][:, None, None] * held.overlap
    on, hop, mu = evaluation.aligned(held, onsite, hopping)
    np.testing.assert_allclose(mu, moved, atol=1e-10)
    assert max(np.abs(on).max(), np.abs(hop).max()) < 1e-10


def test_the_loss_of_a_batch_is_that_of_the_table(groups):
    """Blocks of a network in batches are those of the model, and the loss does not see a multiple of S."""
    h = model(1)
    held = labels.gathered(groups, h.module, LEVEL)
    fitted = least_squares.fit(h.module, held, "two-centre", 1e-9)
    params = {**h.params, "baseline": fitted.params, "spread": least_squares.spread(h.module, held, fitted)}
    problem = BlockProblem(h.module, params, held, fitted, BlockLossSettings(), 8, "float64")
    plans = [plan for split in ("train", "validation") for plan in problem.plans(split)]
    call = jax.jit(problem.outputs)
    outputs = [jax.device_get(call(problem.initial(), problem.arrays, plan)) for plan in plans]
    onsite, hopping = problem.collect(plans, outputs)
    a, b = evaluation.predicted(Hamiltonian(params, h.module), held)
    np.testing.assert_allclose(onsite, a, atol=1e-9)
    np.testing.assert_allclose(hopping, b, atol=1e-9)
    on, hop, _ = evaluation.aligned(held, onsite, hopping)
    near = np.concatenate([t.edges[t.mask & held.atoms("validation")[:, None]] for t in held.near])
    scores = problem.scores("validation", plans[-1:], outputs[-1:])
    np.testing.assert_allclose(scores["onsite_mev"], 1e3 * np.abs(on[held.atoms("validation")]).mean(), rtol=1e-8)
    np.testing.assert_allclose(scores["hopping_mev"], 1e3 * np.abs(hop[near]).mean(), rtol=1e-8)
    # Training begins with layers that all give numbers of one size, and with little of what is left.
    batch = jax.tree.map(lambda x: x[problem.plans("train")[0][0]], problem.arrays["batches"])
    given = tuple(t["vectors"] for t in batch["near"]), tuple(t["receivers"] for t in batch["near"])
    first = problem.calibrated()
    features, own = h.module.atoms.apply({"params": first["atoms"]}, batch["species"], *given)
    sizes = [float(np.sqrt(np.mean(np.square(x)))) for x in own.values()]
    some = [size for size in sizes if size > 1e-9]  # a layer has no part that turns into its negative in the mirror
    assert len(some) >= 2
    np.testing.assert_allclose(some, calibration.START, rtol=1e-3)
    assert 0.1 < np.sqrt(np.mean(np.square(features[SCALAR]))) < 10


def independent(held):
    """The same with orbitals that hardly overlap: random tables make no positive S(k)."""
    itself = np.broadcast_to(np.eye(held.onsite.shape[1]), held.onsite.shape) + 0.02 * held.own_overlap
    return dataclasses.replace(held, overlap=0.02 * held.overlap, own_overlap=itself)


def test_bands_move_by_the_diagonal_of_the_error_between_states(held):
    """First order of the energies, their weights, and a multiple of S."""
    held = independent(held)
    generator, k = np.random.default_rng(3), np.array([0.21, -0.13, 0.34])
    c, filled = 0, int(held.sizes[0])
    x, w = eigenbasis.states(held, c, k, filled, 1.5)
    noise = generator.normal(size=held.onsite.shape)
    onsite = noise + noise.swapaxes(1, 2)
    noise = generator.normal(size=held.hopping.shape)
    hopping = noise + noise[held.reverse].swapaxes(1, 2)
    error = x.conj().T @ eigenbasis.bloch(held, c, onsite, hopping, k) @ x
    h, s = (
        eigenbasis.bloch(held, c, a, b, k) for a, b in ((held.onsite, held.hopping), (held.own_overlap, held.overlap))
    )
    step = 1e-6 * eigenbasis.bloch(held, c, onsite, hopping, k)
    up, down = (sl.eigh(h + sign * step, s, eigvals_only=True) for sign in (1, -1))
    np.testing.assert_allclose((up - down) / 2e-6, np.diagonal(error).real / w, atol=1e-5)
    energies = sl.eigh(h, s, eigvals_only=True)
    middle = energies[filled - 1 : filled + 1].mean()
    np.testing.assert_allclose(w, 1.5 / (1.5 + np.abs(energies - middle)), rtol=1e-9)
    own = x.conj().T @ s @ x
    np.testing.assert_allclose(own, np.diag(w), atol=1e-10)


def test_the_loss_between_states_is_that_of_whole_matrices(groups):
    """What a batch assembles on the device is what the host makes of the predicted blocks, less a multiple of S."""
    h = model(1)
    held = independent(labels.gathered(groups, h.module, LEVEL))
    fitted = least_squares.fit(h.module, held, "two-centre", 1e-9)
    params = {**h.params, "baseline": fitted.params, "spread": least_squares.spread(h.module, held, fitted)}
    loss = BlockLossSettings(onsite=0.0, hopping=0.0, eigenbasis=1.0, eigenbasis_points=2, eigenbasis_width=1.5)
    problem = BlockProblem(h.module, params, held, fitted, loss, 8, "float64")
    plans = [plan for split in ("train", "validation") for plan in problem.plans(split)]
    call = jax.jit(problem.outputs)
    outputs = [jax.device_get(call(problem.initial(), problem.arrays, plan)) for plan in plans]
    on, hop, _ = evaluation.aligned(held, *problem.collect(plans, outputs))
    expected = {}
    for c in range(len(held)):
        filled = int(problem.filled[c])
        k = eigenbasis.points(held, c, 2, filled, 1.5, problem.seed)[0]
        x, w = eigenbasis.states(held, c, k, filled, 1.5)
        expected[c] = np.linalg.norm(x.conj().T @ eigenbasis.bloch(held, c, on, hop, k) @ x) / w.sum()
    for plan, (value, sums, _) in zip(plans, outputs, strict=True):
        mine = [expected[c] for c in problem.batches[int(plan[0])]]
        np.testing.assert_allclose(sums["states_absolute"], sum(mine), rtol=1e-6)
        np.testing.assert_allclose(value, np.mean(mine) / float(problem.arrays["unit"]), rtol=1e-6)
    early = {**problem.arrays, "progress": np.asarray(0.5)}
    assert float(call(problem.initial(), early, plans[0])[0]) == 0.0
    late = {**problem.arrays, "progress": np.asarray(0.7)}
    slope = jax.jit(jax.grad(lambda p, a: problem.loss(p, a, plans[0])[0]))
    one, whole = (slope(problem.initial(), a) for a in (late, problem.arrays))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, 0.8 * b, atol=1e-12), one, whole)
    assert max(float(np.abs(g).max()) for g in jax.tree.leaves(whole)) > 1e-6
