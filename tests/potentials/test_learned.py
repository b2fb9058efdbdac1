"""Learned potentials: exact symmetries, derivatives, smoothness, relations, checkpoints and refusals."""

import dataclasses
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene
from scipy.spatial.transform import Rotation

from jaxepi import potentials, sampling
from jaxepi.errors import InputError
from jaxepi.potentials import Potential, learned
from jaxepi.structure import Structure

SMALL = {"channels": 4, "radial_layers": [8, 8], "cutoff": 4.5, "repulsion": False, "skin": 0.4}
ROTATION = Rotation.from_rotvec([0.7, -0.4, 1.1]).as_matrix()


@functools.cache
def potential(species=(14,), **options):
    module = learned.build({**SMALL, **options}, species)
    return Potential(module.init(jax.random.key(1)), module)


def crystal(name="GaAs", structure="zincblende", a=5.65, size=0.1):
    atoms = bulk(name, structure, a=a, cubic=True)
    atoms.rattle(size, seed=1)
    return Structure.from_ase(atoms)


def bilayer():
    one = graphene(size=(2, 2, 1), vacuum=None)
    two = one.copy()
    two.positions += [0.3, 0.2, 3.3]
    both = one + two
    both.cell[2] = [0.0, 0.0, 20.0]
    both.pbc = (True, True, False)
    both.rattle(0.05, seed=2)
    return Structure.from_ase(both)


def energy(p, s):
    return p.energy(s, p.graph(s))


CASES = [
    (potential((31, 33)), crystal()),
    (potential((31, 33), interactions=3, correlation=2, hidden_lmax=2, lmax=2), crystal()),
    (potential((6,), relations="layers"), bilayer()),
]


@pytest.mark.slow
def test_atoms_gone_through_in_parts(monkeypatch):
    """16 atoms in parts of six, the last filled up: energies of the atoms, forces and derivatives by parameters are the same,
    of two configurations at once."""
    p, s = potential((6,), relations="layers", correlation=2, lmax=1), bilayer()
    graph = p.graph(s)
    two = jnp.stack([s.positions, 1.002 * s.positions])

    def found(rows):
        monkeypatch.setattr(learned, "ROWS", rows)

        def energy(x, params):
            energies = p.module.energies({"params": params}, s.with_positions(x), graph)
            return jnp.sum(energies), energies

        of_both = jax.vmap(jax.grad(energy, argnums=(0, 1), has_aux=True), in_axes=(0, None))
        (forces, by_params), energies = jax.jit(of_both)(two, p.params)
        return forces, energies, by_params

    *one, slopes = found(6)
    *other, whole = found(0)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)
    assert max(np.abs(b).max() for b in jax.tree.leaves(whole["network"])) > 1e-3
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max(initial=1)), slopes, whole
    )


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize(("p", "s"), CASES)
def test_symmetries(p, s, dtype, tolerance):
    order = np.random.default_rng(0).permutation(len(s))
    matrix = jnp.asarray(ROTATION)
    turned = Structure(s.positions @ matrix.T, s.cell @ matrix.T, s.species, s.pbc)
    inverted = Structure(-s.positions, s.cell, s.species, s.pbc)
    permuted = Structure(s.positions[order], s.cell, tuple(s.species[i] for i in order), s.pbc)
    moved = Structure(s.positions + jnp.asarray([[0.3, -0.7, 0.9]]), s.cell, s.species, s.pbc)
    s = s.astype(dtype)
    p = dataclasses.replace(p, params=jax.tree.map(lambda x: x.astype(dtype), p.params))
    e, f = energy(p, s), p.forces(s, p.graph(s))
    scale = float(jnp.abs(f).max())
    assert e.dtype == dtype == f.dtype
    assert scale > 1e-3
    for other, expected in ((turned, f @ matrix.T.astype(dtype)), (inverted, -f), (permuted, f[order]), (moved, f)):
        other = other.astype(dtype)
        assert abs(float(energy(p, other) - e)) < tolerance * abs(float(e))
        assert float(jnp.abs(p.forces(other, p.graph(other)) - expected).max()) < 10 * tolerance * scale
    assert float(jnp.abs(f.sum(axis=0)).max()) < 10 * tolerance * scale * len(s) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize(("p", "s"), CASES)
def test_forces_and_stress_are_derivatives(p, s):
    graph = p.graph(s)
    direction = jax.random.normal(jax.random.key(0), s.positions.shape)
    h = 1e-4
    ahead, back = (p.energy(s.with_positions(s.positions + x * h * direction), graph) for x in (1, -1))
    assert np.allclose((back - ahead) / (2 * h), jnp.vdot(p.forces(s, graph), direction), rtol=1e-6, atol=1e-8)
    strain = jnp.asarray([[0.3, 0.2, 0.0], [0.2, -0.1, 0.1], [0.0, 0.1, 0.4]])
    ahead, back = (p.energy(s.strained(x * h * strain), graph) for x in (1, -1))
    assert np.allclose((ahead - back) / (2 * h * s.volume), jnp.vdot(p.stress(s, graph), strain), rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_supercells_multiply_the_energy():
    p, s = potential((31, 33)), crystal()
    assert np.allclose(energy(p, s.supercell((2, 1, 1))), 2 * energy(p, s), rtol=1e-11)


@pytest.mark.slow
def test_the_energy_is_smooth_through_the_cutoff():
    p = potential(skin=2.0)  # the atoms move by up to 1 angstrom
    cell = 30 * jnp.eye(3)

    def pair(r):
        x = jnp.stack([jnp.zeros(3), jnp.asarray([1.0, 0.0, 0.0]) * r])
        return p.energy(Structure(x, cell, (14, 14)), graph)

    graph = p.graph(Structure.create([[0, 0, 0], [4.4, 0, 0]], cell, (14, 14)))
    first = jax.grad(pair)
    all_orders = jax.jit(lambda r: (pair(r) - pair(5.0), first(r), jax.grad(first)(r)))
    for inside, outside, bound in zip(all_orders(4.5 - 1e-4), all_orders(4.5 + 1e-4), (1e-9, 1e-5, 1e-2), strict=True):
        assert float(outside) == 0.0
        assert abs(float(inside)) < bound
    assert abs(float(all_orders(2.5)[0])) > 1e-3


@pytest.mark.slow
def test_isolated_atoms_and_cells_of_one_atom_have_finite_forces():
    p = potential()
    alone = Structure.create([[0, 0, 0]], 30 * np.eye(3), (14,))
    single = Structure.from_ase(bulk("Si", "sc", a=2.5))
    for s in (alone, single):
        f = p.forces(s, p.graph(s))
        assert np.isfinite(f).all()
        assert np.allclose(f, 0.0, atol=1e-10)
    assert float(energy(p, alone)) == float(energy(p, alone.strained(0.01 * jnp.eye(3))))


@pytest.mark.slow
def test_layers_differ_only_through_their_weights():
    """With equal weights in both relations, the heterogeneous network is the homogeneous one with halved sums."""
    s = bilayer()
    layered = potential((6,), relations="layers", neighbours=(10.0, 10.0))
    whole = potential((6,), neighbours=(10.0,))
    network = dict(whole.params["network"])
    for t in range(2):
        network[f"convolution_{t}_1"] = network[f"convolution_{t}_0"]
    same = dataclasses.replace(layered, params={**whole.params, "network": network})
    assert np.allclose(energy(same, s), energy(whole, s), rtol=1e-12)
    network["convolution_1_1"] = layered.params["network"]["convolution_1_1"]
    other = dataclasses.replace(layered, params={**whole.params, "network": network})
    assert abs(float(energy(other, s) - energy(whole, s))) > 1e-4


@pytest.mark.slow
def test_an_image_of_a_layer_that_no_bonds_lead_to_is_another_layer():
    """Graphite with one layer a cell has half the energy of the cell repeated along its normal."""
    layer = graphene(vacuum=None)
    layer.cell[2], layer.pbc = [0.7, 0.4, 3.3], True
    layer.rattle(0.02, seed=1)
    s, p = Structure.from_ase(layer), potential((6,), relations="layers", neighbours=(10.0, 10.0))
    assert (np.asarray(p.graph(s).tables[1].mask).sum(axis=1) > 0).all()
    np.testing.assert_allclose(energy(p, s.supercell((1, 1, 2))), 2 * energy(p, s), rtol=1e-12)
    np.testing.assert_allclose(energy(p, s.supercell((2, 1, 1))), 2 * energy(p, s), rtol=1e-12)


@pytest.mark.slow
def test_force_constants_and_batches_work_like_for_any_potential():
    p = potential()
    base = Structure.from_ase(bulk("Si", cubic=False, a=5.43))
    constants = sampling.force_constants(p, base.supercell(2))
    s = constants.supercell
    graph, h = p.graph(s), 1e-4
    up, down = (p.forces(s.with_positions(s.positions.at[0, 0].add(x)), graph) for x in (h, -h))
    row = constants.matrix[0, 0].reshape(-1, 3)
    assert np.allclose(row, (down - up) / (2 * h), atol=1e-6)
    shaken = s.positions[None] + 0.01 * jax.random.normal(jax.random.key(0), (3, *s.positions.shape))
    together = jax.vmap(lambda x: p.forces(s.with_positions(x), graph))(shaken)
    assert np.allclose(together[1], p.forces(s.with_positions(shaken[1]), graph), atol=1e-11)


@pytest.mark.slow
def test_the_domain_ends_at_the_strangest_training_atom():
    p = potential((31, 33))
    known = [crystal(size=0.02 * (i + 1)) for i in range(4)]
    variables = {"params": p.params}
    features = np.concatenate([p.module.features(variables, s, p.graph(s)) for s in known])
    species = np.concatenate([[p.module.species.index(z) for z in s.species] for s in known])
    domain = jax.tree.map(jnp.asarray, learned.domain(np.asarray(features), species, 2))
    p = dataclasses.replace(p, params={**p.params, "domain": domain})
    far = [float(p.module.novelty({"params": p.params}, s, p.graph(s))) for s in known]
    assert np.isclose(max(far), 1.0)
    assert min(far) < 0.99
    squeezed = crystal(size=0.02).strained(-0.1 * jnp.eye(3))
    assert float(p.module.novelty({"params": p.params}, squeezed, p.graph(squeezed))) > 1.5


def test_checkpoints_keep_the_potential(tmp_path):
    p, s = potential((31, 33)), crystal()
    learned.write(p, {**SMALL, "relations": "homogeneous"}, tmp_path / "model.npz", {"citation": "a test"})
    again = potentials.load(tmp_path / "model.npz")
    assert float(energy(again, s)) == float(energy(p, s))
    assert potentials.citation(str(tmp_path / "model.npz")) == "a test"
    assert again.module == p.module


def test_parameters_of_another_network_are_refused(tmp_path):
    p = potential((31, 33))
    learned.write(p, {**SMALL, "channels": 5}, tmp_path / "model.npz", {})
    with pytest.raises(InputError, match="shape"):
        potentials.load(tmp_path / "model.npz")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chanels": 4}, "did you mean 'channels'"),
        ({"kind": "nequip"}, "kind 'nequip'"),
        ({"relations": "many"}, "relations 'many'"),
        ({"lmax": 1, "hidden_lmax": 2}, "hidden_lmax 2 exceeds"),
        ({"correlation": 4}, "correlation 4"),
        ({"repulsion": 0.75}, "repulsion 0.75"),
        ({"channels": 0}, "channels 0"),
        ({"channels": "many"}, "channels 'many': give a positive whole number"),
        ({"channels": 4.7}, "channels 4.7"),
        ({"cutoff": "five"}, "cutoff 'five': give a number from 0.001"),
        ({"cutoff": -1.0}, "cutoff -1.0"),
        ({"skin": -0.1}, "skin -0.1"),
        ({"radial_layers": {}}, "radial_layers {}: give a list"),
        ({"radial_layers": [-4]}, "radial_layers"),
        ({"dispersion": "yes"}, "dispersion 'yes'"),
        ({"dispersion": {"cutof": 9.0}}, "did you mean 'cutoff'"),
        ({"dispersion": {"cutoff": "far"}}, "dispersion: cutoff 'far': give a positive number"),
        ({"neighbours": [1.0, 2.0]}, "neighbours"),
        ({"channels": 10**6}, "channels 1000000: give a positive whole number up to 1024"),
        ({"interactions": 10**6}, "interactions 1000000: give a positive whole number up to 16"),
        ({"cutoff": 1e6}, "cutoff 1000000.0 angstrom: give a number from 0.001 up to 100"),
        ({"skin": float("nan")}, "skin nan angstrom"),
        ({"radial_layers": ["a"]}, "radial_layers 'a'"),
        ({"lmax": True}, "lmax True"),
        ({"lmax": 5, "correlation": 3}, "lmax 5: products of three factors are built up to lmax 4"),
    ],
)
def test_bad_configurations_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        learned.build({**SMALL, **options}, (14,))


@pytest.mark.slow
def test_an_atom_is_lost_when_the_network_no_longer_sees_it():
    """Whatever dispersion reaches."""
    module = potential((6,), dispersion=True).module
    assert (module.reach, module.cutoff) == (4.5, 12.0)


@pytest.mark.slow
def test_other_elements_are_refused_and_close_atoms_warned_of():
    p = potential()
    with pytest.raises(InputError, match=r"atom 0 is C; .* has parameters for Si only"):
        p.graph(Structure.from_ase(bulk("C")))
    module = dataclasses.replace(p.module, minimum_distance=2.2)
    close = Structure.from_ase(Atoms("Si2", [[0, 0, 0], [2.0, 0, 0]], cell=[10, 10, 10], pbc=True))
    with pytest.warns(UserWarning, match=r"2\.000 angstrom apart"):
        dataclasses.replace(p, module=module).graph(close)


@pytest.mark.slow
def test_the_calculator_warns_once_of_what_was_not_learned():
    p = potential()
    p = dataclasses.replace(p, module=dataclasses.replace(p.module, minimum_distance=2.2))
    atoms = bulk("Si", a=5.43)
    atoms.calc = potentials.calculator(p)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()
        kept = atoms.calc.graph
    atoms.positions[1] -= 0.1
    with pytest.warns(UserWarning, match=r"Si2 has two atoms 2\.\d+ angstrom apart, closer than in any training"):
        atoms.get_potential_energy()
    assert atoms.calc.graph is kept
    atoms.positions[1] -= 0.05
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        atoms.get_potential_energy()
