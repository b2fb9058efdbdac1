"""Special displacements: every mode has its thermal width, moments approach the exact ones, any supercell, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from spring_crystals import springs

from jaxepi import sampling
from jaxepi.errors import InputError
from jaxepi.sampling.modes import modes_of
from jaxepi.sampling.special_displacements import _hadamard
from jaxepi.structure import Structure
from jaxepi.tree import replace
from jaxepi.units import HBAR, KB, thz_from_eigenvalue

CELL = Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532))


@pytest.fixture(scope="module")
def crystals():
    return {n: springs(CELL.supercell(n)) for n in (2, 3, 4)}


def hessian(fc):
    """The whole matrix of force constants, shape (3n, 3n), from the rows of the first cell."""
    b, repeats = fc.matrix.shape[0], fc.supercell.repeats
    grid = np.indices(repeats).reshape(3, -1).T
    between = (grid[None] - grid[:, None]) % np.asarray(repeats)
    rows = np.asarray(fc.matrix)[:, :, np.ravel_multi_index(tuple(np.moveaxis(between, -1, 0)), repeats)]
    return np.transpose(rows, (2, 0, 1, 3, 4, 5)).reshape(3 * b * len(grid), -1)


def energies(fc, u, kelvin):
    """Harmonic energy of displacements, and half the mean energy of all modes, eV."""
    matrix, u = hessian(fc), np.asarray(u).ravel()
    weight = np.repeat(np.tile(np.asarray(fc.inverse_root_masses)[:, 0], len(fc.supercell) // len(fc.base)), 3)
    omega = 2e-3 * np.pi * np.asarray(thz_from_eigenvalue(np.linalg.eigvalsh(matrix * np.outer(weight, weight))))[3:]
    return 0.5 * u @ matrix @ u, (0.25 * HBAR * omega / np.tanh(HBAR * omega / (2 * KB * kelvin))).sum()


def test_every_mode_has_its_thermal_width_and_the_pair_its_energy(crystals):
    fc = crystals[2]
    pair = sampling.special(fc, temperature=300.0)
    assert (len(pair), pair.groups, pair.statistics) == (2, (0, 0), "quantum")
    np.testing.assert_allclose(pair.displacements[0], -pair.displacements[1], atol=1e-14)
    np.testing.assert_allclose(*energies(fc, pair.displacements[0], 300.0), rtol=1e-9)


@pytest.mark.slow
def test_second_moments_approach_the_thermal_ones_with_size(crystals):
    """54 and 128 atoms: 7 and 3 per cent; 432 atoms have half a per cent (scripts/sampling_convergence.py).

    Means of eight pairs: what one has left depends on the vectors that an eigensolver takes of degenerate modes.
    """
    found = {}
    for n, fc in crystals.items():
        x = sampling.special(fc, temperature=300.0, count=16).positions
        pairs = [sampling.Snapshots(fc.supercell, x[i::8], jnp.asarray(300.0)) for i in range(8)]
        found[n] = np.mean([sampling.departure(pair, fc).mean_square for pair in pairs])
    assert found[3] < 0.12
    assert found[4] < 0.035
    assert found[4] < 0.5 * found[3] < 0.25 * found[2]


@pytest.mark.slow
def test_more_pairs_start_from_other_signs_and_tell_an_error(crystals):
    drawn = sampling.special(crystals[3], temperature=300.0, count=4, key=1)
    assert drawn.groups == (0, 1, 0, 1)
    assert np.abs(drawn.displacements[0] - drawn.displacements[1]).max() > 0.01
    first = sampling.special(crystals[3], temperature=300.0, count=2, key=5)
    np.testing.assert_allclose(first.displacements[0], drawn.displacements[0], atol=1e-13)
    square = (drawn.displacements**2).sum(axis=(1, 2))
    assert 0 < float(drawn.standard_error(square)) < 0.05 * float(drawn.mean(square))


def test_columns_of_signs_are_orthogonal_over_each_period():
    signs = _hadamard(np.arange(16), 6)
    for part in (signs[:8], signs[8:]):
        np.testing.assert_array_equal(part.T @ part, 8 * np.eye(6, dtype=int))
    other = _hadamard(np.arange(16), 6, np.random.default_rng(0))
    np.testing.assert_array_equal(other.T @ other, 16 * np.eye(6, dtype=int))


@pytest.mark.slow
def test_a_skew_supercell_with_atoms_in_any_order(crystals):
    """16 atoms, no multiple of the cell along its own axes: each mode keeps its width, so that the pair has its energy."""
    matrix = np.array([[2, 1, 0], [-1, 2, 1], [0, 1, 2]])
    assert round(np.linalg.det(matrix)) == 8
    cell = matrix @ np.asarray(CELL.cell)
    wide = CELL.supercell(8)
    inside = np.asarray(wide.positions) - np.asarray(CELL.cell).sum(axis=0) * 4
    fractional = inside @ np.linalg.inv(cell)
    kept = np.flatnonzero(((fractional > -1e-6) & (fractional < 1 - 1e-6)).all(axis=1))
    kept = np.random.default_rng(0).permutation(kept)
    skew = Structure.create(inside[kept], cell, np.array(wide.species)[kept])
    fc = sampling.resampled(crystals[4], skew)
    pair = sampling.special(crystals[4], skew, temperature=100.0)
    np.testing.assert_allclose(*energies(fc, pair.displacements[0], 100.0), rtol=1e-8)


@pytest.mark.slow
def test_derivatives_through_the_samplers_with_common_random_numbers(crystals):
    """By temperature and by the masses of both elements, of a mean that is not quadratic, against finite differences."""
    fc, weights = crystals[2], jnp.asarray(crystals[2].base.masses)

    @jax.jit
    def mean(temperature, weights, noise):
        u = sampling.displacements(replace(fc, weights=weights), temperature, noise)
        bonds = u[:, 1::2] - u[:, ::2] + jnp.array([1.4, 1.4, 1.4])[None, None]
        return jnp.sqrt((bonds**2).sum(axis=2)).mean() + (u[:, 0, 0] ** 4).mean()

    gradient = jax.jit(jax.grad(mean, argnums=(0, 1)))
    for noise in (
        sampling.white_noise(jax.random.key(0), 4, 16, antithetic=True),
        sampling.sobol_noise(fc, 0, 4),
        sampling.special_noise(fc, 300.0, 4),
    ):
        slope = gradient(300.0, weights, noise)
        expected = (mean(303.0, weights, noise) - mean(297.0, weights, noise)) / 6.0
        np.testing.assert_allclose(slope[0], expected, rtol=1e-4)
        for i in range(2):
            step = jnp.zeros(2).at[i].set(0.05)
            expected = (mean(300.0, weights + step, noise) - mean(300.0, weights - step, noise)) / 0.1
            np.testing.assert_allclose(slope[1][i], expected, rtol=1e-4)


def test_requests_that_make_no_sense(crystals):
    with pytest.raises(InputError, match="3 is odd; ask for 4"):
        sampling.special(crystals[2], temperature=300.0, count=3)
    with pytest.raises(InputError, match="signs are chosen on the host"):
        jax.eval_shape(lambda t: sampling.special(crystals[2], temperature=t).positions, jnp.asarray(300.0))
    with pytest.raises(InputError, match="snapshots of 16 atoms for force constants of 54"):
        sampling.departure(sampling.special(crystals[2], temperature=0.0), crystals[3])
    soft = replace(crystals[2], matrix=-crystals[2].matrix)
    with pytest.raises(InputError, match="the crystal is not stable"):
        sampling.special(soft, temperature=300.0)
    assert modes_of(crystals[2]).cells == 8
