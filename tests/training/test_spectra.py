"""Learning a Hamiltonian from eigenvalues: a spectrum that is known, padding, alignment, and labels that are refused."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from small_spectra import MODEL, teacher

from jaxepi.errors import InputError
from jaxepi.hamiltonians import learned
from jaxepi.training import OptimizerSettings, RunSettings, fit
from jaxepi.training.bands import edges, evaluation, spectra
from jaxepi.training.bands.presolve import presolved
from jaxepi.training.settings import BandLossSettings, SetSettings


@pytest.fixture(scope="module")
def held(spectra_set):
    return spectra_set.groups[0]


def group_of(held, hamiltonian=None, **changes):
    labels = {"pbe": {**held.labels["pbe"], **changes.pop("labels", {})}}
    held = dataclasses.replace(held, labels=labels, **changes)
    return spectra.Group.of(held, "pbe", 1.0, hamiltonian or start(), 0, False)


def start():
    return learned.build(MODEL, jax.random.key(0))


@pytest.mark.slow
def test_padding_does_not_change_spectra(held):
    h = teacher()
    problem = spectra.BandProblem(h, [group_of(held, h)], BandLossSettings(), 8, "float64")
    plans = problem.plans("train")
    outputs = jax.jit(problem.outputs)
    predicted = [outputs(h.params, problem.arrays, plan) for plan in plans]
    found = problem.collect(plans, predicted)[0]
    rows = problem.rows(problem.groups[0], "train")
    shift = 0.2 * np.arange(12)[rows, None, None]
    assert np.allclose(found[rows] + shift, problem.groups[0].energies[rows], atol=1e-9, rtol=0)
    scores = problem.scores("train", plans, predicted)
    assert scores["bands_mev"] < 1e-6


@pytest.mark.slow
def test_a_spectrum_that_can_be_had_is_learned(held):
    problem = spectra.BandProblem(start(), [group_of(held)], BandLossSettings(), 8, "float64")
    before = problem.scores("test", *_outputs(problem, problem.initial()))
    settings = OptimizerSettings(learning_rate=0.02, schedule="cosine")
    found = fit(problem, problem.initial(), settings, RunSettings(epochs=60, dtype="float64"), progress=False)
    after = problem.scores("test", *_outputs(problem, found.params))
    assert before["bands_mev"] > 100
    assert after["bands_mev"] < 0.25 * before["bands_mev"]
    assert found.compilations <= 4


def _outputs(problem, params):
    plans = problem.plans("test")
    outputs = jax.jit(problem.outputs)
    return plans, [outputs(params, problem.arrays, plan) for plan in plans]


@pytest.mark.slow
def test_gradients_are_finite_at_degeneracies(held):
    perfect = np.asarray(bulk("Si", a=5.43).positions)
    still = dataclasses.replace(held, positions=np.tile(perfect, (12, 1, 1)), cell=np.tile(held.cell[:1], (12, 1, 1)))
    problem = spectra.BandProblem(start(), [group_of(still)], BandLossSettings(), 8, "float64")
    plan = problem.plans("train")[0]
    slope = jax.jit(jax.grad(lambda p: problem.loss(p, problem.arrays, plan)[0]))(problem.initial())
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slope))
    assert max(float(jnp.abs(x).max()) for x in jax.tree.leaves(slope)) > 0


@pytest.mark.slow
def test_steps_on_some_k_points_hold_the_band_edges(held):
    group = group_of(held)
    problem = spectra.BandProblem(start(), [group], BandLossSettings(points=3), 8, "float64")
    mean = group.energies.mean(axis=0)
    held_edges = {int(mean[:, 3].argmax()), int(mean[:, 4].argmin())}
    drawn = [plan.points for epoch in range(4) for plan in problem.plans("train", epoch)]
    assert all(held_edges <= set(p.tolist()) and len(set(p.tolist())) == 3 for p in drawn)
    assert len({tuple(sorted(p.tolist())) for p in drawn}) > 1
    assert problem.plans("train")[0].points is None
    plan = problem.plans("train", 0)[0]
    everything = dataclasses.replace(plan, points=None)
    values, whole = (problem.outputs(problem.initial(), problem.arrays, p).energies for p in (plan, everything))
    assert np.allclose(values, whole[:, plan.points], atol=1e-10)


@pytest.mark.slow
def test_levels_of_the_crystal_at_rest_count_by_their_means(held):
    """Here the first crystal stands for the one at rest: an error of one level alone, whatever it does to single states."""
    group = group_of(dataclasses.replace(held, kind=("unstrained", *held.kind[1:])))
    assert group.rest == 0
    settings = BandLossSettings(eigenvalues=0.0, gap=0.0, levels=2.0, levels_within=0.3)
    problem = spectra.BandProblem(start(), [group], settings, 8, "float64")
    rows = problem.rows(group, "train")
    plans, params = problem.plans("train"), problem.initial()
    outputs = [jax.jit(problem.outputs)(params, problem.arrays, plan) for plan in plans]
    found = problem.collect(plans, outputs)[0]
    top, empty = edges.levels(group.energies[0], 4, 0.3)
    errors = [(level.of(e) - top.of(e)) for level in empty for e in (found[rows] - group.energies[rows],)]
    expected = 2.0 * np.mean(np.square(errors))
    assert expected > 1e-4
    assert problem.scores("train", plans, outputs)["loss"] == pytest.approx(expected)
    batches = [float(problem.loss(params, problem.arrays, p)[0]) * len(p.members) for p in plans]
    assert sum(batches) / len(rows) == pytest.approx(expected)


@pytest.mark.slow
def test_shifts_from_the_crystal_at_rest_count_without_its_own_errors(held):
    """In the crystal's own group, and in a group that finds it in another: a wrong place of a level costs nothing."""
    settings = BandLossSettings(eigenvalues=0.0, gap=0.0, shifts=2.0, levels_within=0.3)
    whole = dataclasses.replace(held, kind=("unstrained", *held.kind[1:]))
    whole = dataclasses.replace(whole, split=("train",) * len(whole)).take([0, 1, 2])
    own, others = group_of(whole), whole.take([1, 2])
    tested = group_of(dataclasses.replace(whole, split=("test", "train", "train")))
    for group in (group_of(others), tested):
        with pytest.raises(InputError, match=r"shifts 2: no set holds the crystal at rest .* in the split train"):
            spectra.BandProblem(start(), [group], settings, 8, "float64")
    apart = spectra.Group.of(others, "pbe", 1.0, start(), 0, False, rest=(whole, 0))
    first = spectra.BandProblem(start(), [own], settings, 8, "float64")
    plan = spectra.BandPlan(np.arange(3), None, 0)
    outputs = jax.jit(first.outputs)(first.initial(), first.arrays, plan)
    second = spectra.BandProblem(start(), [apart], settings, 8, "float64")
    loss, _ = jax.jit(second.loss)(second.initial(), second.arrays, spectra.BandPlan(np.array([0, 1, -1]), None, 0))

    error = np.asarray(outputs.energies) - own.energies[:3]
    error = error - error[0]
    top, empty = edges.levels(own.energies[0], 4, 0.3)
    filled = np.average(error[..., :4].mean(axis=-1), axis=-1, weights=whole.weights)
    each = [level.of(error) - top.of(error) for level in empty] + [top.of(error) - filled]
    expected = np.mean(np.square(each), axis=0)
    assert expected[1:].min() > 1e-6
    np.testing.assert_allclose(outputs.shifts, expected, rtol=1e-6, atol=1e-15)
    assert float(loss) == pytest.approx(2 * expected.sum() / 3)
    rows = evaluation.error_rows(first, first.collect([plan], [outputs]), first.terms([plan], [outputs]))
    assert rows[0]["shifts_rmse"] == pytest.approx(1e3 * np.sqrt(expected[1:].mean())), "of displaced cells alone"
    assert "levels_rmse" not in rows[0]
    title, line = itertools.islice(evaluation.error_lines(rows), 2)
    assert (title.split()[-1], line.split()[-1]) == ("shifts", f"{rows[0]['shifts_rmse']:.1f}")


@pytest.mark.slow
def test_terms_of_the_distance_are_fitted_before_training(held):
    with pytest.raises(InputError, match="give \\[model\\] radial"):
        presolved(spectra.BandProblem(start(), [group_of(held)], BandLossSettings(), 8, "float64"), 3)
    model = learned.build({**MODEL, "radial": 4}, jax.random.key(0))
    one = dataclasses.replace(held, split=("train", *["test"] * (len(held) - 1)))
    with pytest.raises(InputError, match="which one training configuration of 2 atoms does not determine"):
        presolved(spectra.BandProblem(model, [group_of(one, model)], BandLossSettings(), 8, "float64"), 3)
    problem = spectra.BandProblem(model, [group_of(held, model)], BandLossSettings(), 8, "float64")
    before, after = problem.initial(), presolved(problem, 25)
    scores = [problem.scores("test", *_outputs(problem, p))["bands_mev"] for p in (before, after)]
    assert scores[1] < 0.5 * scores[0]
    assert all(
        np.array_equal(*x) for x in zip(*map(jax.tree.leaves, (before["network"], after["network"])), strict=True)
    )


@pytest.mark.parametrize("how", ["valence", "edge", "minimum"])
def test_aligned_spectra_forget_their_zero(how):
    e = np.sort(np.random.default_rng(0).normal(size=(3, 4, 6)), axis=-1)
    assert np.allclose(spectra.aligned(e + 1.7, 3, how), spectra.aligned(e, 3, how))
    assert np.allclose(spectra.aligned(e, 3, "none"), e)


@pytest.mark.slow
def test_an_epoch_goes_through_a_repeated_set_as_often_as_asked(held):
    group = dataclasses.replace(group_of(held), repeat=3)
    problem = spectra.BandProblem(start(), [group], BandLossSettings(), 8, "float64")
    members = np.concatenate([plan.members for plan in problem.plans("train", 0)])
    assert np.bincount(members[members >= 0]).tolist()[:9] == [3] * 9
    assert sum((plan.members >= 0).sum() for plan in problem.plans("train")) == 9
    with pytest.raises(InputError, match=r"repeat 0: give a positive whole number"):
        SetSettings(path="some.h5", repeat=0)


def test_states_near_the_gap_and_in_the_window_count(held):
    group = group_of(held)
    loss = BandLossSettings(window=(-6.0, 5.0), near=3.0, near_width=1.0)
    weight = spectra.importance(group, loss)
    e = group.energies - group.energies[:, :, :4].max(axis=(1, 2), keepdims=True)
    assert not weight[(e < -6) | (e > 5)].any()
    assert set(np.unique(np.round(weight[(e > -6) & (e < 5)], 9))) == {1.0, 3.0}
    assert (weight[e == 0] == 3.0).all()
    weighted = spectra.importance(group, dataclasses.replace(loss, edge=5.0, edge_width=0.2)) / np.maximum(weight, 1e-9)
    bottom = e[:, :, 4:].min(axis=(1, 2), keepdims=True)
    inside = (e > -6) & (e < 5)
    assert np.allclose(weighted[inside], np.where((e >= -0.2) & (e <= bottom + 0.2), 5.0, 1.0)[inside])
    assert (weighted[e == 0] == 5.0).all()


@pytest.mark.slow
def test_named_k_points_alone_count(held):
    chosen = [held.kpoints[2].tolist(), (np.array([0.0, 1.0, -2.0]) - held.kpoints[1]).tolist()]
    part = held.at_points(chosen)
    assert np.allclose(part.kpoints, held.kpoints[[2, 1]])
    assert np.allclose(part.weights, 0.5)
    assert np.array_equal(part.labels["pbe"]["eigenvalues"], held.labels["pbe"]["eigenvalues"][:, [2, 1]])
    assert spectra.importance(group_of(part), BandLossSettings()).shape[1] == 2
    with pytest.raises(InputError, match=r"k point \[0.11, 0.0, 0.0\] is not among"):
        held.at_points([(0.11, 0, 0)])
    with pytest.raises(InputError, match=r"points 0.0 0.0: give a list of 3, each a number"):
        SetSettings(path="some.h5", points=((0.0, 0.0),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "loss", "message"),
    [
        ({"labels": "hartree"}, {}, "look like Hartree"),
        ({"labels": "rydberg"}, {}, "look like Rydberg"),
        ({"labels": "many"}, {}, "12 bands for 10 orbitals"),
        ({"labels": "twice", "occupied": 8}, {}, "all bands come in pairs and 8 are filled, one electron each"),
        ({"occupied": 7}, {}, "7 of 7 bands are occupied"),
        ({}, {"window": (50.0, 60.0)}, "no state in the window"),
        ({"occupied": 5}, {"align": "edge"}, "has no gap"),
    ],
)
def test_labels_that_cannot_be_right_are_refused(held, change, loss, message):
    e = held.labels["pbe"]["eigenvalues"]
    values = {"hartree": e / 27.211386, "rydberg": e / 13.605693, "many": np.concatenate([e, e[:, :, 2:] + 30], axis=2)}
    values["twice"] = np.repeat(e[:, :, :5], 2, axis=2)
    if "labels" in change:
        change = {**change, "labels": {"eigenvalues": values[change["labels"]]}}
    with pytest.raises(InputError, match=message):
        spectra.BandProblem(start(), [group_of(held, **change)], BandLossSettings(**loss))
