"""Harmonic sampling: against dense algebra, exact covariances, limits, derivatives and transformations."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import potentials, sampling
from jaxepi.errors import InputError
from jaxepi.potentials.base import Potential
from jaxepi.sampling.harmonic import variance
from jaxepi.structure import Structure
from jaxepi.units import AMU_ANGSTROM2_PER_FS2, HBAR, KB, thz_from_eigenvalue

KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def arsenide():
    """Potential, structure and force constants of a 3 x 2 x 2 supercell: odd and even repeats, two masses."""
    potential = potentials.load("galliumarsenide-mvff")
    supercell = Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532)).supercell((3, 2, 2))
    return potential, supercell, sampling.force_constants(potential, supercell)


@pytest.fixture(scope="module")
def dense(arsenide):
    """The whole Hessian, shape (3n, 3n), and masses, shape (3n,)."""
    potential, supercell, _ = arsenide
    graph = potential.graph(supercell)
    hessian = jax.jit(jax.jacfwd(lambda x: -potential.forces(supercell.with_positions(x), graph)))(supercell.positions)
    size = 3 * len(supercell)
    return np.asarray(hessian).reshape(size, size), np.repeat(supercell.masses, 3)


@pytest.mark.slow
def test_rows_equal_the_dense_hessian(arsenide, dense):
    fc, (hessian, _) = arsenide[2], dense
    np.testing.assert_allclose(fc.matrix.reshape(6, -1), hessian[:6], atol=1e-10)
    np.testing.assert_allclose(fc.matrix.sum(axis=(2, 3)), 0, atol=1e-12)


def test_working_in_batches_changes_nothing(arsenide):
    potential, supercell, fc = arsenide
    np.testing.assert_allclose(sampling.force_constants(potential, supercell, batch=2).matrix, fc.matrix, atol=1e-12)


@pytest.mark.slow
def test_force_constants_of_a_large_supercell_are_those_of_a_part_that_holds_their_reach():
    potential = potentials.load("galliumarsenide-mvff")
    supercell = Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532)).supercell(6)
    found = sampling.large_force_constants(potential, supercell, extent=12.0)
    np.testing.assert_allclose(found.matrix, sampling.force_constants(potential, supercell).matrix, atol=1e-12)
    with pytest.raises(InputError, match="extent -1"):
        sampling.large_force_constants(potential, supercell, extent=-1.0)
    single = Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532)).astype("float32").supercell(6)
    assert sampling.large_force_constants(potential, single, extent=12.0).matrix.dtype == np.float32
    moved = supercell.with_positions(supercell.positions.at[100].add(0.1))
    with pytest.raises(InputError, match="atom 100 is 0"):
        sampling.large_force_constants(potential, moved, extent=12.0)
    with pytest.warns(UserWarning, match="larger extent"):
        sampling.large_force_constants(potential, supercell, extent=5.0)


def test_dense_and_reciprocal_frequencies_agree(arsenide, dense):
    fc, (hessian, masses) = arsenide[2], dense
    direct = thz_from_eigenvalue(np.linalg.eigvalsh(hessian / np.sqrt(masses[:, None] * masses)))
    waves = sampling.frequencies_thz(fc, fc.commensurate())
    np.testing.assert_allclose(np.sort(waves.ravel()), direct, atol=1e-5)


@pytest.mark.parametrize("statistics", ["quantum", "classical"])
def test_covariance_equals_dense(arsenide, dense, statistics):
    fc, (hessian, masses) = arsenide[2], dense
    eigenvalues, modes = np.linalg.eigh(hessian / np.sqrt(masses[:, None] * masses))
    w = np.sqrt(eigenvalues[3:] / AMU_ANGSTROM2_PER_FS2)
    spread = HBAR / (2 * w) / np.tanh(HBAR * w / (2 * KB * 250)) if statistics == "quantum" else KB * 250 / w**2
    modes = modes[:, 3:] / np.sqrt(masses)[:, None]
    expected = (modes * spread) @ modes.T / AMU_ANGSTROM2_PER_FS2
    c = sampling.covariance(fc, 250.0, statistics)
    np.testing.assert_allclose(c.reshape(6, -1), expected[:6], atol=1e-12)
    diagonal = sampling.mean_square_displacements(fc, 250.0, statistics)
    np.testing.assert_allclose(diagonal[1], expected[3:6, 3:6], atol=1e-12)


def test_displacements_are_the_root_of_the_covariance(arsenide, dense):
    """Unit noise on every coordinate gives the columns of A with A A^T the covariance, without any statistics."""
    fc, size = arsenide[2], len(dense[1])
    noise = jnp.eye(size).reshape(size, -1, 3)
    columns = sampling.displacements(fc, 250.0, noise).reshape(size, size)
    np.testing.assert_allclose(columns.T[:6] @ columns, sampling.covariance(fc, 250.0).reshape(6, -1), atol=1e-12)
    np.testing.assert_allclose(columns @ dense[1], 0, atol=1e-9)


def test_samples_have_the_covariance(arsenide):
    fc = arsenide[2]
    snapshots = sampling.harmonic(fc, temperature=300.0, count=4000, key=KEY)
    u = np.asarray(snapshots.displacements)
    expected = np.trace(sampling.mean_square_displacements(fc, 300.0), axis1=1, axis2=2)
    measured = (u**2).sum(axis=2).mean(axis=0).reshape(-1, 2).mean(axis=0)
    np.testing.assert_allclose(measured, expected, rtol=0.02)
    np.testing.assert_allclose(u.mean(axis=0), 0, atol=0.01)


def test_equipartition(arsenide, dense):
    """Classically, every mode but the translations holds kT/2 of potential energy."""
    fc, hessian = arsenide[2], dense[0]
    u = np.asarray(sampling.harmonic(fc, temperature=400.0, count=2000, key=KEY, statistics="classical").displacements)
    u = u.reshape(len(u), -1)
    energy = 0.5 * np.einsum("si,ij,sj->s", u, hessian, u).mean()
    np.testing.assert_allclose(energy, 0.5 * KB * 400 * (len(hessian) - 3), rtol=0.01)


def test_quantum_becomes_classical_when_hot(arsenide):
    fc = arsenide[2]
    quantum, classical = (sampling.mean_square_displacements(fc, 5000.0, s) for s in ("quantum", "classical"))
    np.testing.assert_allclose(quantum, classical, rtol=1e-3, atol=1e-9)
    cold = [sampling.mean_square_displacements(fc, 30.0, s)[0, 0, 0] for s in ("quantum", "classical")]
    assert cold[0] > 2 * cold[1]


@pytest.mark.slow
def test_zero_temperature(arsenide):
    fc = arsenide[2]

    def spread(t):
        return sampling.harmonic(fc, temperature=t, count=2, key=KEY).displacements.std()

    assert spread(0.0) > 0.03
    np.testing.assert_allclose(spread(0.0), spread(1.0), rtol=1e-4)
    assert np.isfinite(jax.grad(spread)(0.0))
    assert np.isfinite(jax.grad(spread)(1e-2))
    still = sampling.harmonic(fc, temperature=0.0, count=2, key=KEY, statistics="classical").displacements
    np.testing.assert_allclose(still, 0, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("statistics", ["quantum", "classical"])
def test_derivative_by_temperature(arsenide, statistics):
    fc = arsenide[2]
    noise = sampling.white_noise(KEY, 1, 24)
    move = partial(sampling.displacements, fc, noise=noise, statistics=statistics)
    _, slope = jax.jvp(lambda t: move(t), (300.0,), (1.0,))
    np.testing.assert_allclose(slope, (move(300.05) - move(299.95)) / 0.1, atol=1e-9)
    backward = jax.grad(lambda t: jnp.sum(move(t) ** 3))(300.0)
    np.testing.assert_allclose(backward, jnp.sum(3 * move(300.0) ** 2 * slope), rtol=1e-8)


@pytest.mark.slow
def test_derivative_by_parameters_and_cell(arsenide):
    """Through degenerate modes of the perfect crystal: one parameter and the volume, against finite differences."""
    potential, supercell, _ = arsenide
    graph = potential.graph(supercell)
    noise = sampling.white_noise(KEY, 1, len(supercell))

    def result(scale, strain):
        changed = Potential({**potential.params, "beta": potential.params["beta"] * scale}, potential.module)
        fc = sampling.force_constants(changed, supercell.strained(strain * jnp.eye(3)), graph, force_tolerance=10.0)
        return jnp.sum(sampling.displacements(fc, 100.0, noise) ** 3)

    result = jax.jit(result)
    gradient = jax.grad(result, argnums=(0, 1))(1.0, 0.0)
    h = 1e-4
    np.testing.assert_allclose(gradient[0], (result(1 + h, 0.0) - result(1 - h, 0.0)) / (2 * h), rtol=1e-5)
    np.testing.assert_allclose(gradient[1], (result(1.0, h) - result(1.0, -h)) / (2 * h), rtol=1e-5)


@pytest.mark.slow
def test_jit_and_vmap_over_temperature(arsenide):
    fc = arsenide[2]
    noise = sampling.white_noise(KEY, 3, 24)
    temperatures = jnp.array([0.0, 100.0, 400.0])
    together = jax.jit(jax.vmap(lambda t: sampling.displacements(fc, t, noise)))(temperatures)
    for t, u in zip(temperatures, together, strict=True):
        np.testing.assert_allclose(u, sampling.displacements(fc, t, noise), atol=1e-12)
    drawn = jax.jit(lambda fc, t: sampling.harmonic(fc, temperature=t, count=3, key=KEY).displacements)(fc, 100.0)
    np.testing.assert_allclose(drawn, together[1], atol=1e-10)


def test_antithetic_snapshots_cancel(arsenide):
    u = sampling.harmonic(arsenide[2], temperature=300.0, count=6, key=KEY, antithetic=True).displacements
    np.testing.assert_allclose(u[:3], -u[3:], atol=1e-14)
    np.testing.assert_allclose(u.mean(axis=0), 0, atol=1e-15)


def test_snapshots_remember_where_they_come_from(arsenide):
    potential, supercell, fc = arsenide
    snapshots = sampling.harmonic(potential, supercell, temperature=77, count=2, key=KEY)
    assert snapshots.positions.shape == (2, 24, 3)
    assert snapshots.temperature == 77
    again = sampling.harmonic(fc, supercell, temperature=77, count=2, key=KEY)
    np.testing.assert_allclose(again.positions, snapshots.positions)
    assert len(snapshots.to_ase()) == 2


@pytest.mark.slow
def test_single_precision_and_no_repeats(arsenide):
    """The supercell taken as its own base cell, in single precision, moves as the repeated one in double precision."""
    potential, supercell, fc = arsenide
    lonely = Structure(supercell.positions, supercell.cell, supercell.species).astype(jnp.float32)
    single = sampling.force_constants(potential, lonely)
    assert sampling.harmonic(single, temperature=300.0, count=2, key=KEY).positions.dtype == jnp.float32
    spread = sampling.mean_square_displacements(single, 300.0)
    expected = jnp.tile(sampling.mean_square_displacements(fc, 300.0), (12, 1, 1))
    np.testing.assert_allclose(spread, expected, atol=1e-6)


def test_variance_of_one_mode():
    """hbar/2w coth(hbar w/2kT) written out, at 15 THz and 300 K."""
    w = 2e-3 * np.pi * 15
    expected = HBAR / (2 * w) / np.tanh(HBAR * w / (2 * KB * 300)) / AMU_ANGSTROM2_PER_FS2
    eigenvalue = jnp.asarray(w**2 * AMU_ANGSTROM2_PER_FS2)
    np.testing.assert_allclose(variance(eigenvalue, jnp.asarray(300.0)), expected, rtol=1e-12)


@pytest.fixture(scope="module")
def unstable():
    """Silicon with its angular forces reversed: transverse modes are imaginary."""
    silicon = potentials.load("silicon-mvff")
    params = {**silicon.params, "beta": -silicon.params["beta"], "nu": -silicon.params["nu"]}
    supercell = Structure.from_ase(bulk("Si", a=5.431)).supercell(2)
    return sampling.force_constants(Potential(params, silicon.module), supercell)


@pytest.mark.slow
def test_imaginary_modes_are_refused_or_dropped(unstable):
    with pytest.raises(InputError, match=r"q = \[.*\] has -\d+\.\d+ THz.*imaginary='drop'"):
        sampling.harmonic(unstable, temperature=300.0, count=1, key=KEY)
    snapshots = sampling.harmonic(unstable, temperature=300.0, count=2, key=KEY, imaginary="drop")
    assert np.isfinite(snapshots.positions).all()
    assert snapshots.displacements.std() > 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -5.0}, r"temperature -5.0 K"),
        ({"temperature": float("nan")}, r"temperature nan K"),
        ({"count": 0}, "count 0: give at least 1"),
        ({"count": 3, "antithetic": True}, "3 is odd; ask for 4"),
    ],
)
def test_bad_requests(arsenide, options, message):
    with pytest.raises(InputError, match=message):
        sampling.harmonic(arsenide[2], **{"temperature": 300.0, "count": 2, "key": KEY, **options})


@pytest.mark.slow
def test_bad_structures(arsenide):
    potential, supercell, fc = arsenide
    with pytest.raises(InputError, match="needs a supercell"):
        sampling.harmonic(potential, temperature=300.0, count=1, key=KEY)
    with pytest.raises(InputError, match=r"supercell \(3, 2, 2\) of 24 atoms"):
        sampling.harmonic(fc, fc.base, temperature=300.0, count=1, key=KEY)
    moved = supercell.positions.at[5, 0].add(0.05)
    with pytest.raises(InputError, match=r"atom 5 is 0\.05 angstrom"):
        sampling.force_constants(potential, supercell.with_positions(moved))
    with pytest.raises(InputError, match="not at rest: the largest force"):
        sampling.force_constants(potential, fc.base.with_positions(fc.base.positions.at[1, 0].add(0.05)))


def test_snapshots_say_how_they_were_drawn(arsenide):
    fc = arsenide[2]
    drawn = sampling.harmonic(fc, temperature=300, count=4, key=0, antithetic=True, statistics="classical")
    assert drawn.groups == (0, 1, 0, 1)
    assert drawn.statistics == "classical"
    alone = sampling.harmonic(fc, temperature=np.float32(300), count=3, key=jax.random.key(0))
    assert (alone.groups, alone.statistics, alone.weights) == ((), "quantum", None)
    # The seed is the key of the seed; odd functions of a pair cancel, so that their mean has no error.
    again = sampling.harmonic(
        fc, temperature=300, count=4, key=jax.random.key(0), antithetic=True, statistics="classical"
    )
    np.testing.assert_array_equal(drawn.positions, again.positions)
    np.testing.assert_allclose(drawn.standard_error(drawn.displacements[:, 0, 0]), 0, atol=1e-12)
    some = drawn.take([1, 3])
    assert some.groups == (1, 1)
    np.testing.assert_array_equal(some.positions, drawn.positions[jnp.array([1, 3])])
    with pytest.raises(InputError, match="from 0 to 3"):
        drawn.take([4])


@pytest.mark.slow
def test_temperatures_that_are_none_give_nan_under_tracing(arsenide):
    """Below zero kelvin, and at NaN, the quantum amplitude was once that of 0 K."""
    fc = arsenide[2]

    def drawn(t):
        return sampling.harmonic(fc, temperature=t, count=2, key=3).positions.sum()

    kelvin = jnp.array([-1.0, 300.0, jnp.nan, jnp.inf])
    for function in (drawn, jax.grad(drawn), lambda t: sampling.mean_square_displacements(fc, t).sum()):
        assert np.isfinite(jax.jit(jax.vmap(function))(kelvin)).tolist() == [False, True, False, False]
    np.testing.assert_allclose(jax.jit(drawn)(300.0), drawn(300.0), rtol=1e-12)
    with pytest.raises(InputError, match=r"temperature -1\.0 K"):
        sampling.mean_square_displacements(fc, -1.0)
    with pytest.raises(InputError, match=r"noise has shape \(2, 3, 3\)"):
        sampling.displacements(fc, 300.0, jnp.ones((2, 3, 3)))
