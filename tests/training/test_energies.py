"""Batches of configurations: the same numbers as one by one, exact derivatives, losses that do not depend on packing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_world import TinyEnergy, labelled

from jaxepi import datasets
from jaxepi.potentials import Potential
from jaxepi.potentials.zbl import ZBL
from jaxepi.training import DataSettings, EnergyProblem, LossSettings, SetSettings, error_rows, pack, read_examples
from jaxepi.training.energies.evaluation import error_lines
from jaxepi.training.energies.problem import OFFSET_UNIT, Prediction, penalty

LOSS = LossSettings(energy=10.0, forces=1.0, stress=2.0)


@functools.cache
def read(path, **options):
    entry = SetSettings(path=str(path))
    found = read_examples(DataSettings(sets=(entry,), level="model", **options), LOSS)
    return found.connect(TinyEnergy().relations)


def problem(path, dtype="float64", atoms=24, free=None, **fixed):
    e = read(path)
    meshes = len(set(e.mesh))
    free = np.zeros(meshes, bool) if free is None else free
    constants = {"reference": np.array([-4.0]), "scale": np.array(0.7), **fixed}
    return EnergyProblem(TinyEnergy(), constants, e, pack(e.sizes, e.widths(), atoms), np.zeros(meshes), free, dtype)


def parameters(problem, trained=False):
    return jax.tree.map(jnp.asarray, problem.initial(problem.module.init(jax.random.key(3)), trained))


def predictions(problem, params):
    plans = [plan for split in ("train", "validation", "test") for plan in problem.plans(split)]
    predict = jax.jit(problem.outputs)
    outputs = [predict(params, problem.arrays, plan) for plan in plans]
    return problem.collect(plans, jax.device_get(outputs))


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 2e-4)])
def test_a_batch_gives_what_single_structures_give(path, dtype, tolerance):
    p = problem(path, dtype)
    params = parameters(p)
    found = predictions(p, params)
    potential = Potential({**params["model"], **p.fixed}, p.module)
    e = p.examples
    for c in (0, 5) if dtype == "float64" else (len(e) - 1,):
        one = e.structure(c)
        graph = potential.graph(one)
        atoms = slice(e.first[c], e.first[c + 1])
        np.testing.assert_allclose(found.energy[c], potential.energy(one, graph), rtol=tolerance)
        np.testing.assert_allclose(found.forces[atoms], potential.forces(one, graph), atol=10 * tolerance)
        np.testing.assert_allclose(found.stress[c], potential.stress(one, graph), atol=tolerance)


@pytest.mark.slow
def test_precision_is_that_of_the_problem(path):
    for dtype in ("float32", "float64"):
        p = problem(path, dtype)
        params = parameters(p)
        plan = p.plans("train")[0]
        loss, sums = jax.eval_shape(p.loss, params, p.arrays, plan)
        assert {x.dtype for x in jax.tree.leaves((loss, sums, params))} == {jnp.dtype(dtype)}
        assert {x.dtype for x in jax.tree.leaves(jax.eval_shape(p.outputs, params, p.arrays, plan))} == {
            jnp.dtype(dtype)
        }


def test_forces_are_the_derivative_of_the_energy_along_a_random_direction(path):
    p = problem(path)
    params, plan = parameters(p), p.plans("train")[0]
    direction = np.random.default_rng(1).normal(size=p.examples.positions.shape)
    step = 1e-4
    energy = jax.jit(lambda arrays: p.outputs(params, arrays, plan).energy.sum())
    up, down = (energy({**p.arrays, "positions": p.arrays["positions"] + s * step * direction}) for s in (1, -1))
    forces = jax.jit(p.outputs)(params, p.arrays, plan).forces
    real = plan.atoms >= 0
    along = -(np.asarray(forces)[real] * direction[plan.atoms[real]]).sum()
    np.testing.assert_allclose((up - down) / (2 * step), along, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("huber", [0.0, 0.01])
def test_the_loss_of_an_epoch_is_the_mean_over_the_set_however_it_is_packed(path, huber):
    values = []
    for atoms in (16, 100):
        p = problem(path, atoms=atoms)
        p.huber = huber
        params = parameters(p)
        plans = p.plans("train", 4)
        loss, predict = jax.jit(p.loss), jax.jit(p.outputs)
        losses = [loss(params, p.arrays, plan)[0] for plan in plans]
        values.append(np.sum(losses) / len(p.plans("train", 0)))
    outputs = [jax.device_get(predict(params, p.arrays, plan)) for plan in p.plans("train")]
    values.append(p.scores("train", p.plans("train"), outputs)["loss"])
    np.testing.assert_allclose(values, values[0], rtol=1e-9)


def test_errors_beyond_hubers_threshold_count_linearly_with_the_slope_they_have_there():
    np.testing.assert_allclose(penalty(np.array([-3.0, 0.0, 0.5, 2.0, 5.0]), 2.0), [8.0, 0.0, 0.25, 4.0, 16.0])
    slope = jax.vmap(jax.grad(lambda x: penalty(x, 2.0)))
    np.testing.assert_allclose(
        slope(jnp.array([-3.0, 0.0, 0.5, 1.999, 2.001])), [-4.0, 0.0, 1.0, 3.998, 4.0], atol=1e-6
    )


def test_measures_along_the_way_and_at_the_end_agree(path):
    p = problem(path)
    params, plans = parameters(p), p.plans("train", 0)
    loss, predict = jax.jit(p.loss), jax.jit(p.outputs)
    sums = jax.tree.map(lambda *x: float(sum(x)), *[loss(params, p.arrays, plan)[1] for plan in plans])
    outputs = [jax.device_get(predict(params, p.arrays, plan)) for plan in plans]
    scores = p.scores("train", plans, outputs)
    for name, value in p.summary(sums).items():
        assert value == pytest.approx(scores[name], rel=1e-9)
    errors = p.errors(p.collect(plans, outputs))
    rows = p.examples.rows("train")
    assert scores["energy_mev"] == pytest.approx(1e3 * np.sqrt(np.mean(errors.energy[rows] ** 2)))


@pytest.mark.slow
def test_padding_changes_nothing_and_its_gradient_is_finite(path):
    p = problem(path, atoms=24)
    roomy = problem(path, atoms=24)
    params = parameters(p)
    shape = dataclasses.replace(
        p.packing.shapes[0], atoms=60, configurations=11, widths=(p.packing.shapes[0].widths[0],)
    )
    roomy.packing = dataclasses.replace(p.packing, shapes=(shape,))
    members = p.plans("train")[0].configurations
    tight = p.plans("train")[0]
    wide = roomy.packing._plan(shape, members[members >= 0].tolist())
    gradient = [jax.jit(jax.grad(lambda q, a, plan: p.loss(q, a, plan)[0]))(params, p.arrays, x) for x in (tight, wide)]
    for a, b in zip(*map(jax.tree.leaves, gradient), strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_weight_of_energies_grows_to_its_last_value(path):
    last, p = problem(path), problem(path)
    p.ramp = 0.01
    params, plan = parameters(p), p.plans("train")[0]

    def loss(x, progress):
        arrays = {**x.arrays, "progress": jnp.asarray(progress)}
        return float(jax.jit(x.loss)(params, arrays, plan)[0])

    energy = loss(last, 1.0) - loss(p, 0.0)  # 0.99 of its term
    assert energy > 0
    assert loss(p, 1.0) == pytest.approx(loss(last, 0.0), rel=1e-12)
    assert loss(last, 1.0) - loss(p, 0.5) == pytest.approx(energy * 0.9 / 0.99, rel=1e-9)


@pytest.mark.slow
def test_offsets_of_meshes_are_added_to_energies_alone(path, tmp_path):
    datasets.write(labelled(((1, 24),), shift={(2, 2, 2, 0, 0, 0): 0.0, (3, 3, 3, 0, 0, 0): 0.0}), tmp_path / "two.h5")
    p = problem(tmp_path / "two.h5", free=np.array([False, True]))
    params = parameters(p, trained=True)
    moved = {**params, "offsets": np.array([5.0, 2.0])}
    before, after = predictions(p, params), predictions(p, moved)
    shift = np.where(p.examples.mesh == "Si 64", 2.0 * OFFSET_UNIT * 8, 0.0)
    np.testing.assert_allclose(after.energy - before.energy, shift, atol=1e-9)
    np.testing.assert_allclose(after.forces, before.forces)
    np.testing.assert_allclose(p.found_offsets(moved), [0.0, 2 * OFFSET_UNIT])


@pytest.mark.slow
def test_fixed_pair_terms_and_references_are_only_moved_from_the_model_to_the_labels(path):
    from jaxepi.training.energies.references import fit_references, without_references, without_terms

    module = TinyEnergy(terms=(ZBL((14,)),))
    everything = read(path)
    few = dataclasses.replace(everything, tables=()).connect(module.relations)
    bare, rest = without_terms(module, few, "float64")
    assert bare.terms == ()
    assert len(rest.tables) == 1
    references = fit_references(rest, (14,), offsets=False)
    rest = without_references(rest, references, (14,))
    fixed = {"reference": np.zeros(1), "scale": np.array(0.3)}
    p = EnergyProblem(bare, fixed, rest, pack(rest.sizes, rest.widths(), 24), np.zeros(2), np.zeros(2, bool), "float64")
    params = parameters(p)
    errors = p.errors(predictions(p, params))
    whole = Potential({**params["model"], "reference": references.energies, "scale": 0.3}, module)
    one, atoms = few.structure(0), slice(0, few.first[1])
    graph = whole.graph(one)
    energy = (whole.energy(one, graph) - few.energy[0]) / float(few.sizes[0])
    np.testing.assert_allclose(errors.energy[0], energy, atol=1e-9)
    np.testing.assert_allclose(errors.forces[atoms], whole.forces(one, graph) - few.forces[atoms], atol=1e-9)
    np.testing.assert_allclose(errors.stress[0], whole.stress(one, graph) - few.stress[0], atol=1e-9)


def test_errors_by_split_kind_and_temperature(path):
    e = read(path)
    errors = Prediction(np.full(len(e), 0.002), np.full_like(e.positions, -0.03), np.full_like(e.stress, 0.001))
    errors.energy[e.split == "test"] = 0.004
    rows = error_rows(e, errors)
    for row in rows:
        assert row.energy_rmse == pytest.approx(4.0 if row.split == "test" else 2.0)
        assert (row.forces_rmse, row.forces_largest, row.stress_rmse) == pytest.approx((30.0, 30.0, 1.0))
    for split in ("train", "validation", "test"):
        for group in ("kind", "temperature", "force", "atoms"):
            mine = [r for r in rows if (r.split, r.group) == (split, group)]
            assert sum(r.configurations for r in mine) == len(e.rows(split))
    assert {r.member for r in rows if r.group == "temperature" and r.split == "test"} == {"200 K"}
    for row in (r for r in rows if r.group == "force"):
        assert 3.0 / (int(row.member.split()[2])) <= row.forces_relative <= 3.0 / max(int(row.member.split()[0]), 1e-9)
    text = "\n".join(error_lines(rows))
    assert "meV/atom" in text
    assert "test, 200 K" in text
