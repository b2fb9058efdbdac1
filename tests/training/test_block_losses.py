"""H(R) and S(R) as labels, and penalties: matched to a model's orbitals and edges, values, derivatives, refusals."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from scipy.linalg import eigh
from small_spectra import LEVEL, MESH, MODEL

from jaxepi import datasets, hamiltonians
from jaxepi.datasets.blocks import PairBlocks
from jaxepi.electrons.eigen import eigenvalues
from jaxepi.errors import InputError
from jaxepi.graph import padded, shape_of
from jaxepi.hamiltonians import Blocks, bloch_matrices, learned
from jaxepi.hamiltonians.bloch import cartesian
from jaxepi.structure import Structure
from jaxepi.training import OptimizerSettings, RunSettings, blocks, fit
from jaxepi.training.bands import penalties, spectra
from jaxepi.training.settings import BandLossSettings
from jaxepi.workflows import hamiltonian as study

pytestmark = pytest.mark.slow

BILAYERS = Path(__file__).parents[2] / "experiments/bilayer_graphene/data/lcao.h5"
WITH_OVERLAP = {**MODEL, "base": "si-nrl1999", "cutoff": 3.6, "switch": [3.1, 3.4]}


def pair_blocks(h, structure, letters, index, stretch):
    """Blocks of a model as a data set holds them: each pair once, orbitals in another order, none of norm one."""
    graph = h.graph(structure)
    found = h.blocks(structure, graph)
    n, width = len(structure), found.onsite.shape[1]
    edges = np.column_stack([graph.senders, graph.receivers, graph.shifts])
    once = [r for r, (i, j, *x) in enumerate(edges.tolist()) if (i, j, *x) <= (j, i, *(-y for y in x))]
    own = np.column_stack([np.arange(n)] * 2 + [np.zeros((n, 3), int)])
    overlap = np.zeros_like(found.hopping) if found.overlap is None else np.asarray(found.overlap)
    h_all = np.concatenate([found.onsite, np.asarray(found.hopping)[once]])
    s_all = np.concatenate([np.tile(np.eye(width), (n, 1, 1)), overlap[once]])
    size = np.asarray(stretch)[:, None] * stretch
    h_all, s_all = ((size * x)[:, index][:, :, index] for x in (h_all, s_all))
    pairs = np.concatenate([own, edges[once]])
    return PairBlocks(np.array([0, len(pairs)]), pairs, h_all, s_all, letters, 5.0, "pbe")


def labelled(h, letters, index, stretch, count=6):
    """Displaced crystals with eigenvalues and blocks of a Hamiltonian."""
    parts = []
    for i in range(count):
        atoms = bulk("Si", a=5.43)
        atoms.rattle(0.05, seed=i)
        atoms.positions, atoms.cell = atoms.positions.round(8), atoms.cell.array.round(8)
        s = Structure.from_ase(atoms)
        e = np.asarray(eigenvalues(h, s, MESH.points))[:, :7]
        more = {"kpoints": MESH.points, "weights": MESH.weights, "occupied": 4}
        more["blocks"] = pair_blocks(h, s, letters, index, stretch)
        parts.append(datasets.single(atoms.positions, atoms.cell.array, s.species, {"pbe": {"eigenvalues": e}}, **more))
    whole = datasets.gather("test", LEVEL, parts)
    splits = ("train",) * (count - 2) + ("validation", "test")
    return dataclasses.replace(whole, groups=(dataclasses.replace(whole.groups[0], split=splits),))


def perturbed(h, size=0.3):
    """With other learned corrections than none."""
    random = np.random.default_rng(1)
    moved = jax.tree.map(lambda x: x + size * random.normal(size=x.shape), h.params["network"])
    onsite = h.params["base"]["onsite"] + size * random.normal(size=h.params["base"]["onsite"].shape)
    return dataclasses.replace(h, params={"base": {**h.params["base"], "onsite": onsite}, "network": moved})


@pytest.fixture(scope="module")
def orthogonal():
    """A model, one to learn from, and its labels: shells p s s instead of s p s*."""
    start = learned.build(MODEL, jax.random.key(0))
    teacher = perturbed(start)
    index = np.array([1, 2, 3, 0, 4])
    return start, teacher, labelled(teacher, ("p", "s", "s"), index, np.ones(5))


@pytest.fixture(scope="module")
def overlapping():
    """The same with an overlap: shells d s p, none of norm one."""
    start = learned.build(WITH_OVERLAP, jax.random.key(0))
    teacher = perturbed(start, 0.05)
    index = np.array([4, 5, 6, 7, 8, 0, 1, 2, 3])
    return start, teacher, labelled(teacher, ("d", "s", "p"), index, np.repeat([1.0, 0.7, 1.6], [1, 3, 5]))


def group_of(data, model, **changes):
    held = dataclasses.replace(data.groups[0], **changes)
    return spectra.Group.of(held, "pbe", 1.0, model, 0, False, True)


LOSS = {"align": "none", "hamiltonian": 2.0, "overlap": 3.0}


@pytest.mark.parametrize("which", ["orthogonal", "overlapping"])
def test_a_model_has_no_error_against_its_own_blocks(which, request):
    start, teacher, data = request.getfixturevalue(which)
    problem = spectra.BandProblem(start, [group_of(data, start)], BandLossSettings(**LOSS), 4, "float64")
    plan = problem.plans("train")[0]
    outputs = jax.jit(problem.outputs)
    same, other = (outputs(p, problem.arrays, plan) for p in (teacher.params, start.params))
    assert np.abs(same.blocks).max() < 1e-18
    assert (other.blocks[:, 0] > 1e-5).all()
    assert np.all(other.blocks[:, 1] > 1e-8) == (which == "overlapping")
    base = dict(teacher.params["base"])
    if "density" in base:
        base["density"] = {**base["density"], "coefficients": base["density"]["coefficients"].at[:, 0].add(0.3)}
    else:
        base["onsite"] = base["onsite"] + 0.3
    lifted = {**teacher.params, "base": base}
    orbitals, elements = len(data.groups[0].species) * teacher.basis.block_size, float(_elements(problem, plan))
    found = outputs(lifted, problem.arrays, plan).blocks[0, 0]
    assert np.isclose(found, 0.09 * orbitals / elements, rtol=1e-9)


def _elements(problem, plan):
    target = problem.groups[0].blocks
    width = target.onsite.shape[-1]
    return (target.edges[plan.members[0]].sum() + target.onsite.shape[1]) * width**2


def test_a_shift_of_all_energies_is_no_error_unless_asked_for(overlapping):
    start, teacher, data = overlapping
    group = group_of(data, start)
    graph, target = (jax.tree.map(lambda x: x[0], x) for x in (group.graphs, group.blocks))
    structure = Structure.create(group.held.positions[0], group.held.cell[0], group.held.species)
    own = teacher.blocks(structure, graph)
    unit = jnp.eye(own.onsite.shape[1])
    shifted = dataclasses.replace(own, onsite=own.onsite + 0.7 * unit[None], hopping=own.hopping + 0.7 * own.overlap)
    assert float(blocks.block_errors(shifted, target, graph, True)[0]) < 1e-20
    assert float(blocks.block_errors(shifted, target, graph, False)[0]) > 1e-3


def test_losses_and_penalties_have_the_derivatives_of_finite_differences(overlapping):
    start, _, data = overlapping
    weights = {"keep_onsite": 0.7, "keep_hopping": 0.4, "positive_overlap": 0.2, "least_overlap": 0.9}
    loss = BandLossSettings(**LOSS | weights | {"eigenvalues": 0.5, "gap": 0.1})
    module, params = learned.configured(WITH_OVERLAP)
    published = hamiltonians.Hamiltonian(params, module.base)
    problem = spectra.BandProblem(start, [group_of(data, start)], loss, 4, "float64", published=published)
    arrays, plan, moved = problem.arrays, problem.plans("train")[0], perturbed(start, 0.2).params
    random = np.random.default_rng(2)
    direction = jax.tree.map(lambda x: random.normal(size=np.shape(x)), moved)
    line = jax.jit(jax.value_and_grad(lambda t: problem.loss(_moved(moved, direction, t), arrays, plan)[0]))
    value, slope = line(0.0)
    step = 1e-6
    assert np.isclose(slope, (line(step)[0] - line(-step)[0]) / (2 * step), rtol=1e-5)
    outputs = jax.jit(problem.outputs)
    found, begins = (outputs(p, arrays, plan) for p in (moved, start.params))
    assert (found.penalty > 1e-3).all()
    structure = Structure.create(data.groups[0].positions[0], data.groups[0].cell[0], data.groups[0].species)
    s = np.stack([bloch_matrices_of(start, structure, k)[1] for k in MESH.points])
    expected = 0.2 * np.mean([(np.maximum(1 - np.linalg.eigvalsh(x) / 0.9, 0) ** 2).sum() for x in s])
    assert np.isclose(begins.penalty[0], expected, rtol=1e-9)
    plans = problem.plans("train")
    scores = problem.scores("train", plans, [outputs(moved, arrays, p) for p in plans])
    bands = spectra.band_errors(problem.groups[0], problem.collect([plan], [found])[0], plan.members, loss)["loss"]
    total = bands + found.blocks @ np.array([2.0, 3.0]) + found.penalty
    assert np.isclose(value, total.mean(), rtol=1e-9)
    assert {"hamiltonian_mev", "overlap"} <= scores.keys()


def _moved(params, direction, t):
    return jax.tree.map(lambda x, d: x + t * d, params, direction)


def bloch_matrices_of(h, structure, k):
    graph = h.graph(structure)
    found = h.blocks(structure, graph)
    return bloch_matrices(found, graph, graph.vectors(structure), cartesian(jnp.asarray(k), structure))


def test_blocks_alone_teach_a_model_its_bands(orthogonal):
    start, _, data = orthogonal
    loss = BandLossSettings(eigenvalues=0.0, gap=0.0, hamiltonian=1.0)
    problem = spectra.BandProblem(start, [group_of(data, start)], loss, 12, "float64")
    outputs, plans = jax.jit(problem.outputs), problem.plans("test")
    before = problem.scores("test", plans, [outputs(start.params, problem.arrays, p) for p in plans])
    settings = OptimizerSettings(learning_rate=0.03, schedule="cosine")
    found = fit(problem, problem.initial(), settings, RunSettings(epochs=60, dtype="float64"), progress=False)
    after = problem.scores("test", plans, [outputs(found.params, problem.arrays, p) for p in plans])
    assert after["hamiltonian_mev"] < 0.4 * before["hamiltonian_mev"]
    assert after["bands_mev"] < 0.4 * before["bands_mev"]
    assert found.history[-1]["validation_hamiltonian_mev"] < 0.4 * before["hamiltonian_mev"]


def test_penalties_measure_the_distance_from_the_published_set(orthogonal):
    start, _, data = orthogonal
    structure = Structure.create(data.groups[0].positions[0], data.groups[0].cell[0], data.groups[0].species)
    graph = start.graph(structure)
    wide = padded(graph, tuple(n + 3 for n in shape_of(graph)))
    own = start.blocks(structure, wide)
    assert float(penalties.onsite_change(own, own)) == 0
    lifted = dataclasses.replace(own, onsite=own.onsite + 0.4 * jnp.eye(5)[None])
    assert float(penalties.onsite_change(lifted, own)) < 1e-15
    diagonal = jnp.diag(jnp.array([1.0, 0.0, 0.0, 0.0, 0.0]))
    changed = dataclasses.replace(own, onsite=own.onsite + 0.5 * diagonal[None], hopping=1.1 * own.hopping)
    assert np.isclose(penalties.onsite_change(changed, own), 0.25 * (0.2 - 0.2**2))
    assert np.isclose(penalties.hopping_change(changed, own, wide), 0.01)
    s = jnp.asarray(np.diag([0.02, 0.5, 1.0]))[None]
    assert np.isclose(penalties.indefinite(s, 0.1), 0.8**2)
    assert np.isclose(jax.grad(lambda x: penalties.indefinite(x * s, 0.1))(1.0), -2 * 0.8 * 0.2)


def test_bands_of_ab_initio_blocks_are_those_of_their_labels(tmp_path):
    held = next(group for group in datasets.read(BILAYERS).groups if len(group.species) == 4)
    path = tmp_path / "carbon.json"
    path.write_text(json.dumps(carbon(["2s", "2p", "3s", "3p", "3d"])))
    model = hamiltonians.load(path)
    structure = Structure.create(held.positions[0], held.cell[0], held.species, held.pbc)
    graph = model.graph(structure)
    target = blocks.targets(held.take([0]), [graph], model, held.blocks.level)
    arrays = (jnp.asarray(x[0]) for x in (target.onsite, target.hopping, target.overlap))
    found = Blocks(*arrays, model.basis, held.species)
    label = held.labels[held.blocks.level]["eigenvalues"][0]
    for k, e in list(zip(held.kpoints, label, strict=True))[::7]:
        matrices = bloch_matrices(found, graph, graph.vectors(structure), cartesian(jnp.asarray(k), structure))
        assert np.allclose(eigh(*matrices, eigvals_only=True)[:12], e[:12], atol=1e-3)
    short = hamiltonians.Hamiltonian(model.params, dataclasses.replace(model.module, cutoff=3.0))
    with pytest.warns(UserWarning, match=r"reaches 2.62 eV beyond the model's cutoff of 3 angstrom"):
        blocks.targets(held.take([0]), [short.graph(structure)], short, held.blocks.level)
    path.write_text(json.dumps(carbon(["2s", "2p"])))
    with pytest.raises(
        InputError, match="have shells s p s p d an atom, the model has 2s 2p; begin from a set with these"
    ):
        blocks.targets(held, [], hamiltonians.load(path), held.blocks.level)
    with pytest.raises(InputError, match=r"no H\(R\) at level 'hse06'"):
        blocks.targets(held, [], model, "hse06")


def carbon(shells):
    """A set for carbon with given shells, in which nothing is coupled."""
    l = ["spd".index(x[1]) for x in shells]
    pairs = [(i, j) for i in range(len(shells)) for j in range(i, len(shells))]
    zero = {
        f"{shells[i]}-{shells[j]}:{bond}": {"value": 0.0}
        for i, j in pairs
        for bond in ("sigma", "pi", "delta")[: min(l[i], l[j]) + 1]
    }
    species = {"C": {"shells": shells, "electrons": 4, "onsite": dict.fromkeys(shells, 0.0)}}
    shared = {"exponent": 2.0, "length": 1.42}
    head = {"format": "jaxepi-slater-koster", "version": 1, "name": "carbon", "citation": "none", "law": "power"}
    head |= {"cutoff": 6.6, "skin": 0.0, "lattice_constant": 2.46, "onsite_model": "constant", "species": species}
    return head | {"pairs": [{"species": ["C", "C"], "shared": shared, "hopping": zero, "overlap": zero}]}


def test_blocks_that_a_model_cannot_have_are_refused(orthogonal, overlapping):
    (first, _, data), (second, _, other) = orthogonal, overlapping
    spinless = data.groups[0]
    with pytest.raises(InputError, match="no H"):
        group_of(data, first, blocks=None)
    with pytest.raises(InputError, match="have shells d s p an atom, the model has s p s"):
        group_of(other, first)
    same = dataclasses.replace(other.groups[0].blocks, shells=("p", "s", "s"))
    small = dataclasses.replace(same, hamiltonian=same.hamiltonian[:, :5, :5], overlap=same.overlap[:, :5, :5])
    with pytest.raises(InputError, match="the model is orthogonal; begin from a set with an overlap"):
        group_of(other, first, blocks=small)
    unit = dataclasses.replace(other.groups[0].blocks, overlap=0 * other.groups[0].blocks.overlap)
    own = (unit.pairs[:, 0] == unit.pairs[:, 1]) & ~unit.pairs[:, 2:].any(axis=1)
    unit.overlap[own] = np.eye(9)
    with pytest.raises(InputError, match="orthogonal and the model has an overlap"):
        group_of(other, second, blocks=unit)
    spinor = hamiltonians.load("si-jancu1998", spin_orbit=True)
    with pytest.raises(InputError, match="spinless and the model has spin"):
        blocks.targets(spinless, [], spinor, "pbe")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hamiltonian": -1.0}, "hamiltonian -1.0: give zero or a positive number"),
        ({"keep_onsite": float("inf")}, "keep_onsite inf"),
        ({"least_overlap": 0.0}, "least_overlap 0.0: give a positive number below 1"),
        ({"eigenvalues": 0.0, "gap": 0.0}, "nothing is left to learn from"),
    ],
)
def test_weights_that_make_no_sense_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        BandLossSettings(**change)


def test_penalties_that_a_model_has_no_place_for_are_refused(orthogonal):
    start, _, data = orthogonal
    group = group_of(data, start)
    with pytest.raises(InputError, match="hold a model to its published set, and this one has none"):
        spectra.BandProblem(start, [group], BandLossSettings(keep_onsite=1.0))
    with pytest.raises(InputError, match="positive_overlap: this model is orthogonal"):
        spectra.BandProblem(start, [group], BandLossSettings(positive_overlap=1.0))


def test_the_study_takes_blocks_and_penalties_from_its_file(orthogonal, tmp_path):
    datasets.write(orthogonal[2], tmp_path / "silicon.h5")
    model = "\n".join(f"{name} = {json.dumps(value)}" for name, value in MODEL.items())
    text = f'[data]\nsets = ["silicon.h5"]\nlevel = "pbe"\n[model]\n{model}\n[loss]\nhamiltonian = 0.5\nkeep_onsite = 0.1\n'
    (tmp_path / "config.toml").write_text(text)
    problem, _ = study.prepare(study.configured(tmp_path / "config.toml"))
    target = problem.groups[0].blocks
    assert target is not None
    assert target.overlap is None
    assert problem.settings.keep_onsite == 0.1
    assert problem.published is not None
    (tmp_path / "config.toml").write_text(text.replace("hamiltonian = 0.5", "overlap = 0.0"))
    without, _ = study.prepare(study.configured(tmp_path / "config.toml"))
    assert without.groups[0].blocks is None
    assert study.data_hash(problem) != study.data_hash(without)
