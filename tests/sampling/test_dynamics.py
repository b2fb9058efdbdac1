"""Molecular dynamics: conserved energy, thermostats, replicas, refusals."""

import jax
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import potentials, sampling
from jaxepi.errors import InputError
from jaxepi.structure import Structure
from jaxepi.units import KB

KEY = jax.random.key(3)


@pytest.fixture(scope="module")
def silicon():
    return potentials.load("silicon-mvff"), Structure.from_ase(bulk("Si", a=5.431, cubic=True)).supercell(2)


def test_nve_conserves_energy_and_settles_at_the_target(silicon):
    run = sampling.trajectories(
        *silicon,
        temperatures=[300.0],
        count=40,
        key=KEY,
        ensemble="nve",
        equilibration=200,
        interval=20,
        progress=False,
    )
    per_atom = np.asarray(run.energies[0, :, 0]) / 64
    assert per_atom.std() < 3e-5
    assert abs(np.polyfit(np.arange(40) * 0.02, per_atom, 1)[0]) < 5e-5
    np.testing.assert_allclose(per_atom.mean(), 3 * KB * 300 * 63 / 64, rtol=1e-3)
    np.testing.assert_allclose(run.kinetic_temperatures.mean(), 300, rtol=0.05)


@pytest.mark.parametrize("ensemble", ["langevin", "nose-hoover"])
def test_thermostats_over_replicas_and_temperatures(silicon, ensemble):
    run = sampling.trajectories(
        *silicon,
        temperatures=[200.0, 600.0],
        count=60,
        replicas=3,
        key=KEY,
        ensemble=ensemble,
        equilibration=310,
        interval=30,
        progress=False,
    )
    assert run.positions.shape == (2, 20, 3, 64, 3)
    measured = np.asarray(run.kinetic_temperatures).mean(axis=(1, 2))
    np.testing.assert_allclose(measured, [200, 600], rtol=0.08)
    assert not np.allclose(run.positions[0, 0, 0], run.positions[0, 0, 1])
    cold, hot = run.snapshots()
    assert (len(cold), float(hot.temperature)) == (60, 600.0)
    # The centre of mass stays.
    np.testing.assert_allclose(hot.displacements.mean(axis=1), 0, atol=1e-10)
    # At these temperatures the crystal is nearly harmonic: its spread is the classical one.
    fc = sampling.force_constants(*silicon)
    expected = np.trace(sampling.mean_square_displacements(fc, 200.0, "classical")[0])
    np.testing.assert_allclose((np.asarray(cold.displacements) ** 2).sum(axis=2).mean(), expected, rtol=0.15)


def test_one_temperature_gives_snapshots(silicon):
    snapshots = sampling.molecular_dynamics(
        *silicon, temperature=300.0, count=2, key=KEY, equilibration=5, interval=5, progress=False
    )
    assert snapshots.positions.shape == (2, 64, 3)
    assert float(snapshots.temperature) == 300.0


def test_an_explosion_names_the_step(silicon):
    with pytest.raises(InputError, match=r"300 K reached .* by step 20: the dynamics exploded"):
        sampling.molecular_dynamics(
            *silicon, temperature=300.0, count=1, key=KEY, ensemble="nve", timestep=60.0, interval=20, progress=False
        )


def test_leaving_the_skin_is_refused(silicon):
    with pytest.raises(InputError, match=r"at 20000 K an atom moved by .* skin"):
        sampling.molecular_dynamics(*silicon, temperature=20000.0, count=1, key=KEY, interval=50, progress=False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, r"temperature -1.0 K"),
        ({"temperature": 0.0}, r"temperature 0.0 K"),
        ({"count": 0}, "count 0"),
        ({"count": 3, "replicas": 2}, "3 snapshots cannot be shared by 2 replicas"),
        ({"timestep": 0.0}, "timestep 0.0"),
        ({"interval": 0}, "interval 0"),
        ({"equilibration": -1}, "equilibration -1"),
        ({"friction": -1.0}, "friction -1.0"),
    ],
)
def test_bad_requests(silicon, options, message):
    with pytest.raises(InputError, match=message):
        sampling.molecular_dynamics(*silicon, **{"temperature": 300.0, "count": 2, "key": KEY, **options})


def test_no_temperatures(silicon):
    with pytest.raises(InputError, match="no temperatures"):
        sampling.trajectories(*silicon, temperatures=[], count=1, key=KEY)
