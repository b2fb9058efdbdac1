"""Modes of a supercell and quasi-random amplitudes: a complete basis, even strata, second moments, groups, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from scipy.special import ndtr
from spring_crystals import springs

from jaxepi import sampling
from jaxepi.errors import InputError
from jaxepi.sampling.modes import modes_of
from jaxepi.structure import Structure


@pytest.fixture(scope="module")
def crystal():
    """Odd and even repeats: wave vectors that are their own opposites, and pairs."""
    return springs(Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532)).supercell((3, 2, 1)))


def real_modes(fc):
    """All real modes as rows, and their eigenvalues."""
    modes = modes_of(fc)
    found, values = [], []
    for q, m in np.ndindex(modes.eigenvalues.shape):
        for part in (1.0, -1j)[: 1 + int(modes.paired[q])]:
            amplitude = np.zeros((1, *modes.eigenvalues.shape), complex)
            amplitude[0, q, m] = part
            found.append(modes.field(amplitude).ravel())
            values.append(modes.eigenvalues[q, m])
    return np.array(found), np.array(values)


def test_real_modes_are_an_orthonormal_basis_of_eigenvectors(crystal):
    rows, values = real_modes(crystal)
    size = 3 * len(crystal.supercell)
    np.testing.assert_allclose(rows @ rows.T, np.eye(size), atol=1e-12)
    # D of the whole supercell, from its frequencies and modes, has the rows of the base cell's force constants.
    d = (rows.T * values) @ rows
    weight = 1 / np.sqrt(np.repeat(crystal.supercell.masses, 3))
    expected = np.asarray(crystal.matrix).reshape(6, size) * weight[:6, None] * weight
    np.testing.assert_allclose(d[:6], expected, atol=1e-12)


def test_the_amplitudes_of_each_scramble_fall_one_in_each_stratum(crystal):
    noise = np.asarray(sampling.sobol_noise(crystal, 3, 32, scrambles=2, antithetic=False)).reshape(32, -1)
    rows, values = real_modes(crystal)
    amplitudes = noise @ rows.T
    bound = np.argsort(values)[3:]
    for scramble in (amplitudes[:16, bound], amplitudes[16:, bound]):
        strata = np.sort(np.floor(16 * ndtr(scramble)).astype(int), axis=0)
        np.testing.assert_array_equal(strata, np.tile(np.arange(16)[:, None], (1, len(bound))))
    assert np.abs(amplitudes[:16] - amplitudes[16:]).max() > 0.1


def test_some_modes_alone_are_quasi_random(crystal):
    noise = np.asarray(sampling.sobol_noise(crystal, 3, 16, antithetic=False, modes=5)).reshape(16, -1)
    rows, values = real_modes(crystal)
    strata = np.floor(16 * ndtr(noise @ rows.T)).astype(int)
    even = np.array([len(set(column)) == 16 for column in strata.T])
    assert even[np.argsort(values)[3:8]].all()
    assert even.sum() < 10


def test_means_of_squares_are_nearer_than_those_of_chance_and_unbiased(crystal):
    quasi, random = (
        sampling.harmonic(crystal, temperature=300.0, count=256, key=1, antithetic=True, points=points)
        for points in ("sobol", "random")
    )
    exact = 6 * float(np.einsum("naa->", sampling.mean_square_displacements(crystal, 300.0)))
    means, errors = np.array(
        [
            (s.mean(square), s.standard_error(square))
            for s in (quasi, random)
            for square in [(s.displacements**2).sum((1, 2))]
        ]
    ).T
    assert errors[0] < 0.45 * errors[1]
    # The scatter of the scrambles is the error of their mean: it covers the exact one.
    assert abs(means[0] - exact) < 4 * errors[0]


def test_scrambles_are_the_groups_and_hold_their_pairs(crystal):
    drawn, again = (
        sampling.harmonic(crystal, temperature=0.0, count=256, key=key, antithetic=True, points="sobol", scrambles=2)
        for key in (0, jax.random.key(0))
    )
    assert drawn.groups == ((0,) * 64 + (1,) * 64) * 2
    np.testing.assert_allclose(drawn.displacements[:128], -drawn.displacements[128:], atol=1e-14)
    np.testing.assert_array_equal(drawn.positions, again.positions)


def test_what_sobol_points_cannot_be(crystal):
    with pytest.raises(InputError, match=r"count 12: pairs of Sobol points in 4 scrambles .* ask for 16"):
        sampling.harmonic(crystal, temperature=0.0, count=12, key=0, antithetic=True, points="sobol")
    with pytest.raises(InputError, match="modes are chosen on the host: make the noise outside jit"):
        jax.eval_shape(
            lambda m: sampling.sobol_noise(sampling.ForceConstants(crystal.supercell, m), 0, 2), crystal.matrix
        )
    with pytest.raises(InputError, match="Sobol points: made on the host"):
        jax.eval_shape(lambda s: sampling.sobol_noise(crystal, jax.random.key(s), 2), jnp.asarray(0))
