"""Molecular dynamics: conserved energy, canonical temperatures, replicas, rebuilt graphs, what stops and what warns."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import potentials, sampling
from jaxepi.errors import InputError
from jaxepi.potentials import Potential
from jaxepi.sampling import Dynamics, DynamicsError, Integration
from jaxepi.sampling.integrators import engine
from jaxepi.structure import Structure
from jaxepi.units import KB

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def silicon():
    return potentials.load("silicon-mvff"), Structure.from_ase(bulk("Si", a=5.431, cubic=True)).supercell(2)


@pytest.fixture(scope="module")
def stillinger_weber():
    """A potential whose bonds may break, with a skin that hot atoms leave soon, and 64 atoms."""
    potential = potentials.load("silicon-sw1985")
    structure = Structure.from_ase(bulk("Si", a=5.431, cubic=True)).supercell(2)
    return Potential(potential.params, dataclasses.replace(potential.module, skin=0.6)), structure


@pytest.mark.slow
def test_nve_conserves_energy_and_settles_at_the_target(stillinger_weber):
    """Two picoseconds: what wavers and drifts is far below the 1e-4 eV an atom that is asked of ten."""
    potential, structure = stillinger_weber
    run = sampling.trajectories(
        potential,
        structure,
        temperatures=[300.0],
        count=100,
        key=KEY,
        ensemble="nve",
        equilibration=200,
        interval=20,
        progress=False,
    )
    per_atom = np.asarray(run.energies[0, :, 0]) / 64
    assert np.abs(per_atom - per_atom[0]).max() < 5e-5
    assert abs(np.polyfit(run.times / 1e4, per_atom, 1)[0]) < 2e-5
    at_rest = float(potential.energy(structure, potential.graph(structure))) / 64
    np.testing.assert_allclose(per_atom.mean() - at_rest, 3 * KB * 300 * 63 / 64, rtol=1e-3)
    np.testing.assert_allclose(run.kinetic_temperatures.mean(), 300, rtol=0.05)
    np.testing.assert_allclose(run.times, 200 + 20 * np.arange(1, 101))


def test_a_single_atom_is_refused():
    silicon = Structure.from_ase(bulk("Si", crystalstructure="sc", a=2.5))
    with pytest.raises(InputError, match="give a supercell"):
        sampling.Dynamics(potentials.load("silicon-sw1985"), silicon, [300.0], KEY)


@pytest.mark.slow
@pytest.mark.parametrize("ensemble", ["langevin", "nose-hoover"])
def test_canonical_temperatures_of_four_targets_in_one_call(ensemble):
    """Mean T and variance 2 T^2/(3n - 3) within four standard errors, which are small."""
    targets, replicas = np.array([200.0, 400.0, 700.0, 1000.0]), 4
    silicon = potentials.load("silicon-sw1985"), Structure.from_ase(bulk("Si", a=5.431, cubic=True))
    run = sampling.trajectories(
        *silicon,
        temperatures=targets,
        count=replicas * 700,
        replicas=replicas,
        key=KEY,
        ensemble=ensemble,
        equilibration=1100,
        interval=20,
        friction=0.03,
        progress=False,
    )
    for target, kelvin in zip(targets, np.asarray(run.kinetic_temperatures), strict=True):
        found, (mean, variance) = sampling.average(kelvin), sampling.canonical(target, 8)
        assert found.mean_error < 0.03 * target
        assert found.variance_error < 0.12 * variance
        assert abs(found.mean - mean) < 4 * found.mean_error
        assert abs(found.variance - variance) < 4 * found.variance_error
    assert run.positions.shape == (4, 700, 4, 8, 3)
    assert not np.allclose(run.positions[0, 0, 0], run.positions[0, 0, 1])
    cold, *_, hot = run.snapshots()
    assert (len(hot), float(hot.temperature)) == (2800, 1000.0)
    # The centre of mass stays.
    np.testing.assert_allclose(hot.displacements.mean(axis=1), 0, atol=1e-10)
    if ensemble == "langevin":
        # At the lowest temperature the crystal is nearly harmonic: its spread is the classical one. (A chain leaves each of
        # the few modes with the energy it happened to get for very long, so four replicas would not do.)
        spread = sampling.mean_square_displacements(sampling.force_constants(*silicon), 200.0, "classical")
        expected = np.trace(spread, axis1=1, axis2=2).mean()
        np.testing.assert_allclose((np.asarray(cold.displacements) ** 2).sum(axis=2).mean(), expected, rtol=0.08)


@pytest.mark.slow
def test_rebuilt_graphs_and_a_restart_change_nothing(stillinger_weber):
    """Melting silicon on graphs that are built again many times, against one graph wide enough for the whole run."""
    narrow, structure = stillinger_weber
    wide = Potential(narrow.params, dataclasses.replace(narrow.module, skin=5.0))
    settings, targets = Integration("nose-hoover"), [1500.0, 4000.0]
    run, steady = (Dynamics(p, structure, targets, KEY, settings) for p in (narrow, wide))
    run.advance(80)
    again = Dynamics(narrow, structure, targets, jax.random.key(99), settings)
    again.restore(run.save())
    expected = steady.advance(150)
    for one in (run, again):
        found = one.advance(70)
        assert one.step == 150
        np.testing.assert_allclose(found.positions, expected.positions, atol=1e-9)
        np.testing.assert_allclose(found.potential, expected.potential, atol=1e-9)
        np.testing.assert_allclose(found.closest, expected.closest, atol=1e-9)
    assert (run.rebuilt > 5, steady.rebuilt) == (True, 0)
    assert np.abs(expected.positions - np.asarray(structure.positions)).max() > 0.6


@pytest.mark.slow
def test_energy_is_conserved_and_little_is_compiled_while_graphs_change(stillinger_weber):
    """Atoms that diffuse: the energy of the frames is that of a new graph, and new topologies fit into old shapes."""
    potential, structure = stillinger_weber
    settings = Integration("nve", timestep=0.5)
    run = Dynamics(potential, structure, [3000.0], KEY, settings)
    frames = [run.advance(50) for _ in range(20)]
    total = np.array([f.potential[0] + f.kinetic[0] for f in frames]) / 64
    assert run.rebuilt > 20
    # Two steps of half a femtosecond a period of the fastest modes would be 1e-4; nothing is lost where graphs change.
    assert np.ptp(total) < 4e-4
    for frame in frames[::5]:
        moved = structure.with_positions(jnp.asarray(frame.positions[0]))
        np.testing.assert_allclose(frame.potential[0], potential.energy(moved, potential.graph(moved)), rtol=1e-9)
    assert engine(settings).advance._cache_size() <= 4
    # An atom that leaves a graph in the very step after it was built moves too far in one step.
    run._rebuild()
    with pytest.raises(DynamicsError, match=r"after step 1000 .* in one step; use a shorter timestep"):
        run._rebuild()


@pytest.mark.slow
def test_a_restart_goes_on_with_the_same_noise(silicon):
    def begin(key):
        return Dynamics(*silicon, [300.0], key, Integration("langevin"))

    straight, again = begin(KEY), begin(jax.random.key(99))
    straight.advance(20)
    again.restore(straight.save())
    np.testing.assert_array_equal(again.advance(20).positions, straight.advance(20).positions)


@pytest.mark.slow
def test_one_temperature_gives_snapshots(silicon):
    snapshots = sampling.molecular_dynamics(
        *silicon, temperature=300.0, count=2, key=KEY, equilibration=5, interval=5, progress=False
    )
    assert snapshots.positions.shape == (2, 64, 3)
    assert float(snapshots.temperature) == 300.0


def test_an_explosion_names_the_step_and_keeps_the_frames(silicon):
    """Just above the limit of stability, 2/omega = 20.3 fs for the fastest mode, it takes a while."""
    with pytest.raises(DynamicsError, match=r"300 K reached \d.* K by step \d+: the dynamics exploded") as caught:
        sampling.trajectories(
            *silicon,
            temperatures=[300.0],
            count=400,
            key=KEY,
            ensemble="nve",
            timestep=20.4,
            equilibration=0,
            interval=1,
            progress=False,
        )
    stop = caught.value
    assert f"by step {stop.step}:" in str(stop)
    kept = stop.trajectory
    assert kept.positions.shape == (1, stop.step - 1, 1, 64, 3)
    assert kept.positions.shape[1] > 3
    assert np.isfinite(kept.positions).all()
    assert kept.kinetic_temperatures.max() < 300 * (4 + 10 * (2 / 189) ** 0.5)


def test_permanent_bonds_are_not_built_again(silicon):
    with pytest.raises(
        DynamicsError, match=r"after step \d+ an atom is about to move by more than half.*permanent bonds"
    ):
        sampling.molecular_dynamics(*silicon, temperature=20000.0, count=1, key=KEY, interval=50, progress=False)


@pytest.mark.slow
def test_a_lost_atom_stops_the_run():
    """A dimer that is far too hot flies apart."""
    potential = potentials.load("silicon-sw1985")
    pair = Structure.create([[0, 0, 0], [2.35, 0, 0]], np.eye(3) * 40, [14, 14], (False,) * 3)
    with pytest.raises(
        DynamicsError, match=r"30000 K lost an atom by step \d+: its nearest neighbour is .* away"
    ) as caught:
        sampling.trajectories(
            potential, pair, temperatures=[30000.0], count=50, key=KEY, equilibration=0, interval=10, progress=False
        )
    kept = caught.value.trajectory.positions[0, :, 0]
    assert len(kept) == caught.value.step / 10 - 1
    assert (np.linalg.norm(kept[:, 1] - kept[:, 0], axis=1) < potential.module.cutoff).all()


@dataclasses.dataclass(frozen=True)
class Informed(potentials.EnergyModule):
    """A potential that knows its training data: atoms within 0.15 angstrom of their sites, 2.3 angstrom apart."""

    inside: potentials.StillingerWeber
    minimum_distance: float = 2.3

    cutoff = property(lambda self: self.inside.cutoff)
    skin = property(lambda self: self.inside.skin)
    species = property(lambda self: self.inside.species)

    def apply(self, variables, structure, graph):
        return self.inside.apply(variables, structure, graph)

    def novelty(self, variables, structure, graph):
        return jnp.linalg.norm(structure.positions - graph.positions, axis=1).max() / 0.15


@pytest.mark.slow
def test_leaving_the_training_data_warns_once(stillinger_weber):
    potential, structure = stillinger_weber
    informed = Potential(potential.params, Informed(dataclasses.replace(potential.module, skin=2.0)))
    run = Dynamics(informed, structure, [50.0, 900.0], KEY, Integration())
    first = run.advance(1)
    assert first.novelty.shape == (2,)
    with pytest.warns(UserWarning, match="the run at 900 K") as told:
        frames = [run.advance(50) for _ in range(5)]
    about = [str(warning.message) for warning in told]
    assert len(about) == 2
    (distance,) = (m for m in about if "closer than in any training structure (2.300)" in m)
    assert distance.startswith(f"step 51: the run at 900 K has two atoms {frames[0].closest[1]:.3f} angstrom apart")
    (novelty,) = (m for m in about if "outside the training data of the potential" in m)
    assert f"(distance {frames[0].novelty[1]:.2f}, where 1 is the edge)" in novelty
    assert frames[0].novelty[0] < 1 < frames[0].novelty[1]
    # The shortest distance is that of the minimum image.
    x = frames[0].positions[1]
    away = x[:, None] - x[None]
    away -= np.round(away / 10.862) * 10.862
    expected = np.linalg.norm(away + 100 * np.eye(64)[..., None], axis=2).min()
    np.testing.assert_allclose(frames[0].closest[1], expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, r"temperature -1.0 K"),
        ({"temperature": 0.0}, r"temperature 0.0 K"),
        ({"count": 0}, "count 0"),
        ({"count": 3, "replicas": 2}, "3 snapshots cannot be shared by 2 replicas"),
        ({"timestep": 0.0}, r"timestep 0\.0"),
        ({"interval": 0}, "interval 0"),
        ({"equilibration": -1}, "equilibration -1"),
        ({"friction": -1.0}, r"friction -1\.0"),
        ({"replicas": 0}, "replicas 0"),
    ],
)
def test_bad_requests(silicon, options, message):
    with pytest.raises(InputError, match=message):
        sampling.molecular_dynamics(*silicon, **{"temperature": 300.0, "count": 2, "key": KEY, **options})


def test_no_temperatures(silicon):
    with pytest.raises(InputError, match="no temperatures"):
        sampling.trajectories(*silicon, temperatures=[], count=1, key=KEY)
    with pytest.raises(InputError, match="ceiling"):
        Integration(heating=5.0)
    with pytest.raises(InputError, match="settling"):
        Integration(settling=-1.0)


def test_when_momenta_are_drawn_anew():
    thermostat = Integration("nose-hoover", timestep=2.0, settling=200.0)
    drawn = [step for step in range(300) if thermostat.redraws(step)]
    assert drawn == [25, 50, 75, 100]
    assert [thermostat.until_redrawn(step) for step in (0, 24, 25, 99)] == [25, 1, 25, 1]
    assert thermostat.until_redrawn(100) > 10**6
    assert not any(Integration("langevin").redraws(step) for step in range(300))
