"""The learned Slater-Koster Hamiltonian: its beginning, exact symmetries, smoothness, checkpoints and refusals."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from scipy.spatial.transform import Rotation

from jaxepi import hamiltonians, materials
from jaxepi.electrons.eigen import eigenvalues
from jaxepi.errors import InputError
from jaxepi.hamiltonians import learned
from jaxepi.hamiltonians.bloch import Images, bloch_many, bloch_matrices, cartesian, phases, signs
from jaxepi.structure import Structure

SMALL = {"channels": 3, "features": 4, "hidden": [8], "cutoff": 4.2, "switch": [2.9, 3.4], "skin": 0.2}
POINTS = np.array([[0.13, 0.21, -0.37], [0.0, 0.5, 0.0]])


@functools.cache
def model(base="si-niquet2009", trained=True):
    """A model with random corrections and every number of its set off by 3%, or as it begins."""
    h = learned.build({**SMALL, "base": base}, jax.random.key(0))
    if not trained:
        return h
    random = np.random.default_rng(1)

    def noise(x):
        return random.normal(size=np.shape(x))

    return dataclasses.replace(
        h,
        params={
            "base": jax.tree.map(lambda x: x * (1 + 0.03 * noise(x)), h.params["base"]),
            "network": jax.tree.map(lambda x: x + 0.5 * noise(x), h.params["network"]),
        },
    )


def crystal(name="Si", structure="diamond", a=5.43, size=0.1):
    atoms = bulk(name, structure, a=a)
    atoms.rattle(size, seed=1)
    return Structure.from_ase(atoms)


CASES = [
    ("si-niquet2009", crystal()),
    ("gaas-jancu1998", crystal("GaAs", "zincblende", 5.65)),
    ("si-nrl1999", crystal()),
]


@pytest.mark.slow
@pytest.mark.parametrize(("base", "s"), CASES[:2])
def test_training_begins_at_the_published_set(base, s):
    published = hamiltonians.load(base)
    begins = eigenvalues(model(base, trained=False), s, POINTS)
    switched = dataclasses.replace(published, module=dataclasses.replace(published.module, switch=(2.9, 3.4)))
    assert np.allclose(begins, eigenvalues(switched, s, POINTS), atol=1e-11)
    assert np.allclose(begins, eigenvalues(published, s, POINTS), atol=1e-11)


@pytest.mark.slow
@pytest.mark.parametrize(("base", "s"), CASES)
def test_spectra_do_not_depend_on_orientation_origin_and_order(base, s):
    h = model(base)
    matrix = jnp.asarray(Rotation.from_rotvec([0.7, -0.4, 1.1]).as_matrix())
    once = eigenvalues(h, s, POINTS)
    assert float(jnp.abs(once - eigenvalues(model(base, trained=False), s, POINTS)).max()) > 0.1
    turned = Structure(s.positions @ matrix.T, s.cell @ matrix.T, s.species)
    mirrored = Structure(-s.positions, s.cell, s.species)
    exchanged = Structure(s.positions[::-1] + 0.3, s.cell, s.species[::-1])
    for other, points in ((turned, POINTS), (mirrored, -POINTS), (exchanged, POINTS)):
        assert np.allclose(eigenvalues(h, other, points), once, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["galliumarsenide-r2scan", "silicon-hse06", "silicon-pbe"])
def test_shipped_models_keep_the_degeneracies_of_the_crystal(name):
    h = hamiltonians.load(name)
    cell = materials.load(name.partition("-")[0]).primitive
    energies = np.asarray(eigenvalues(h, cell, np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])))
    filled = h.basis.occupied(cell.species)
    assert np.ptp(energies[0, filled - 3 : filled]) < 1e-9
    assert np.ptp(energies[1:], axis=0).max() < 1e-9


@pytest.mark.slow
def test_the_matrix_is_hermitian_and_folds():
    h, s = model(), crystal()
    matrix = jax.jit(hamiltonians.hamiltonian_k)(h, s, h.graph(s), jnp.asarray(POINTS[0]))[0]
    assert np.allclose(matrix, matrix.conj().T, atol=1e-12)
    small = np.concatenate([eigenvalues(h, s, np.array([[k, 0.0, 0.0]]))[0] for k in (0.0, 0.5)])
    assert np.allclose(eigenvalues(h, s.supercell((2, 1, 1)), np.zeros((1, 3)))[0], np.sort(small), atol=1e-9)


@pytest.mark.slow
def test_a_third_atom_mixes_what_two_centres_forbid():
    h, cell = model(), 30 * np.eye(3)

    def across(third):
        s = Structure.create([[0, 0, 0], [0, 0, 2.4], third], cell, (14, 14, 14))
        graph = h.graph(s)
        blocks = h.blocks(s, graph)
        bond = int(np.flatnonzero((np.asarray(graph.senders) == 0) & (np.asarray(graph.receivers) == 1))[0])
        return np.asarray(blocks.hopping[bond])[:1, 1:4]  # <s| |p>

    alone = np.abs(across([0.0, 0.0, -2.4]))
    assert (alone > 1e-7).sum() == 1  # the p orbital along the bond
    beside = np.abs(across([2.0, 0.0, -1.2]))
    assert (beside > 1e-7).sum() == 2  # and the one towards the third atom


@pytest.mark.slow
def test_blocks_vanish_smoothly_at_the_cutoff():
    h, cell = model(), 30 * np.eye(3)

    graph = h.graph(Structure.create([[0, 0, 0], [2.46, 0, 3.28]], cell, (14, 14)))

    def block(r):
        x = jnp.stack([jnp.zeros(3), r * jnp.asarray([0.6, 0.0, 0.8])])
        return h.blocks(Structure(x, jnp.asarray(cell), (14, 14)), graph).hopping[0]

    assert float(jnp.abs(jax.jit(block)(4.0)).max()) > 1e-6
    first = jax.jacfwd(block)
    all_orders = jax.jit(lambda r: (block(r), first(r), jax.jacfwd(first)(r)))
    for inside, outside, bound in zip(all_orders(4.2 - 1e-4), all_orders(4.2 + 1e-4), (1e-9, 1e-5, 1e-2), strict=True):
        assert float(jnp.abs(inside).max()) < bound
        assert not np.any(outside)


@pytest.mark.slow
@pytest.mark.parametrize(("base", "s"), CASES)
def test_many_k_points_at_once_are_the_plain_sums(base, s):
    h = model(base)
    graph = h.graph(s)
    images, k = Images.of(graph), cartesian(jnp.asarray(POINTS), s)

    @jax.jit
    def evaluate(h, s, graph):
        blocks, vectors = h.blocks(s, graph), graph.vectors(s)
        together = bloch_many(blocks, images, jax.vmap(lambda q: phases(vectors, q))(k))
        plain = jax.vmap(lambda q: bloch_matrices(blocks, graph, vectors, q))(k)
        return together, plain, bloch_many(blocks, images, signs(graph, jnp.asarray(POINTS[1]), vectors.dtype)[None])[0]

    together, plain, real = evaluate(h, s, graph)
    for one, many in zip(plain, together, strict=True):
        assert (one is None and many is None) or np.allclose(many, one, atol=1e-12)
    assert np.isrealobj(real)
    if plain[1] is None:
        assert np.allclose(np.linalg.eigvalsh(real[0]), np.linalg.eigvalsh(together[0][1]), atol=1e-10)


@pytest.mark.slow
def test_checkpoints_keep_the_model_and_spin_orbit_coupling_can_be_added(tmp_path):
    h, s = model(), crystal()
    learned.write(h, {**SMALL, "base": "si-niquet2009"}, tmp_path / "model.npz", {"citation": "a test"})
    again = hamiltonians.load(tmp_path / "model.npz")
    assert np.array_equal(eigenvalues(again, s, POINTS), eigenvalues(h, s, POINTS))
    assert hamiltonians.citation(tmp_path / "model.npz") == "a test"
    learned.write(model(trained=False), {**SMALL, "base": "si-niquet2009"}, tmp_path / "start.npz", {})
    spinor = hamiltonians.load(tmp_path / "start.npz", spin_orbit=True)
    perfect = Structure.from_ase(bulk("Si", a=5.43))
    at_gamma = np.sort(np.asarray(eigenvalues(spinor, perfect, np.zeros((1, 3)))[0]))
    assert 0.02 < at_gamma[7] - at_gamma[3] < 0.1  # four heavy and light holes above two split-off states


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "si-niquet2009", "chanels": 4}, "did you mean 'channels'"),
        ({"base": ""}, "names no published set"),
        ({"base": "si-boykin2004"}, "cannot be the base"),
        ({"base": "si-niquet2009", "switch": [3.0, 2.0]}, "switch"),
        ({"base": "si-niquet2009", "features": 0}, "features 0"),
        ({"base": "si-niquet2009", "features": 10**6}, "features 1000000: give a positive whole number up to 4096"),
        ({"base": "si-niquet2009", "switch": "a"}, "switch 'a': give a list of 2"),
        ({"base": "si-niquet2009", "switch": [2.9]}, "switch 2.9: give a list of 2"),
        ({"base": "si-niquet2009", "skin": 1e6}, "skin 1000000.0 angstrom: give zero or a positive number up to 100"),
        ({"base": "si-niquet2009", "cutoff": float("inf")}, "cutoff inf angstrom"),
        ({"base": 3}, "base 3: give a text"),
        ({"base": "si-niquet2009", "kind": "other"}, "kind 'other'"),
    ],
)
def test_bad_configurations_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        learned.build({**SMALL, **options}, jax.random.key(0))
