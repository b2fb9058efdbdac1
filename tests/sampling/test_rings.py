"""Ring polymers: their free modes, energies of oscillators, silicon's mean squares beside the harmonic crystal, resumption."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import potentials, sampling
from jaxepi.errors import InputError
from jaxepi.sampling import Dynamics, Integration, rings
from jaxepi.structure import Structure

BEADS = 56


@pytest.mark.parametrize("beads", [2, 5, 8])
def test_modes_diagonalise_the_springs_of_a_free_ring(beads):
    modes = rings.ring_modes(beads)
    np.testing.assert_allclose(modes @ modes.T, np.eye(beads), atol=1e-13)
    springs = 2 * np.eye(beads) - np.roll(np.eye(beads), 1, axis=0) - np.roll(np.eye(beads), -1, axis=0)
    np.testing.assert_allclose(modes @ springs @ modes.T, np.diag(rings.ring_frequencies(beads) ** 2), atol=1e-13)


@partial(jax.jit, static_argnames=("steps", "timestep"))
def mean_energy(harmonic, quartic, beta, key, steps, timestep=0.2):
    """Energy of one degree of freedom with V = a x^2/2 + b x^4/2 in units hbar = m = 1, of 64 atoms in three directions."""
    atoms, skipped = 64, 200
    mass, kt = jnp.ones((atoms, 1)), 1 / beta

    def forces(x):
        return -(harmonic * x + 2 * quartic * x**3)

    def once(ring, _):
        ring = rings.step(forces, ring, mass, kt, hbar=1.0, timestep=timestep, friction=1.0)
        x = ring.position
        potential = 0.5 * (harmonic * x**2 + quartic * x**4).sum(axis=(1, 2))
        return ring, (rings.virial_energies(x, ring.force, kt, 3 * atoms) + potential).mean()

    ring = rings.start(forces, jnp.zeros((BEADS, atoms, 3)), mass, kt, key)
    _, energies = jax.lax.scan(once, ring, length=steps)
    return energies[skipped:].mean() / (3 * atoms)


@pytest.mark.slow
def test_energies_of_a_harmonic_and_of_a_quartic_oscillator():
    """At beta hbar w = 8 to half a per cent, and the ground state 0.5302 of p^2/2 + x^4/2 to one."""
    beta = 8.0
    harmonic = float(mean_energy(1.0, 0.0, beta, jax.random.key(0), 3000))
    np.testing.assert_allclose(harmonic, 0.5 / np.tanh(beta / 2), rtol=5e-3)
    # Of this many beads the energy is known: <x^2> of a ring of springs.
    modes = (BEADS / beta * rings.ring_frequencies(BEADS)) ** 2
    np.testing.assert_allclose(harmonic, (1 / (modes + 1)).sum() / beta, rtol=4e-3)
    quartic = float(mean_energy(0.0, 1.0, 6.0, jax.random.key(1), 1200))
    np.testing.assert_allclose(quartic, 0.5302, rtol=1e-2)


@pytest.fixture(scope="module")
def silicon():
    return potentials.load("silicon-mvff"), Structure.from_ase(bulk("Si", a=5.431, cubic=True))


@pytest.mark.slow
def test_quantum_silicon_has_the_mean_squares_of_the_harmonic_crystal(silicon):
    """Eight atoms at 200 K, where classical nuclei have 0.6 of it; 64 atoms at 100 K: scripts/path_integrals.py."""
    potential, structure = silicon
    run = sampling.trajectories(
        potential,
        structure,
        temperatures=[200.0],
        count=8 * 60,
        key=jax.random.key(0),
        timestep=2.0,
        equilibration=300,
        interval=15,
        replicas=8,
        friction=0.03,
        beads=12,
        progress=False,
    )
    assert run.positions.shape == (1, 60, 96, 8, 3)
    drawn = run.snapshots()[0]
    assert drawn.statistics == "quantum"
    assert drawn.groups[:24] == (0,) * 12 + (1,) * 12
    square = (drawn.displacements**2).sum(axis=2).mean(axis=1)
    fc = sampling.force_constants(potential, structure)
    expected = float(np.trace(np.asarray(sampling.mean_square_displacements(fc, 200.0)).mean(axis=0)))
    assert float(drawn.standard_error(square)) < 0.03 * expected
    np.testing.assert_allclose(drawn.mean(square), expected, rtol=0.05)


@pytest.mark.slow
def test_a_run_that_is_taken_up_goes_on_as_if_nothing_had_been(silicon):
    potential, structure = silicon
    make = partial(Dynamics, potential, structure, [100.0, 300.0], jax.random.key(2), Integration(beads=4))
    whole, first, second = make(), make(), make()
    whole.advance(8)
    first.advance(8)
    second.restore(first.save())
    np.testing.assert_array_equal(second.advance(8).positions, whole.advance(8).positions)
    assert second.advance(1).positions.shape == (8, 8, 3)


def test_ring_polymers_need_langevin_dynamics():
    with pytest.raises(InputError, match="beads 4: ring polymers move by Langevin dynamics, not nve"):
        Integration("nve", beads=4)
    with pytest.raises(InputError, match="beads 0: give at least 1"):
        Integration(beads=0)
