"""Phonon frequencies: measured ones, and interpolation between the wave vectors of the supercell."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import potentials, sampling
from jaxepi.errors import InputError
from jaxepi.structure import Structure

GAMMA, X, L = [0.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.5, 0.5, 0.5]


@pytest.fixture(scope="module")
def silicon():
    supercell = Structure.from_ase(bulk("Si", a=5.431)).supercell(4)
    return sampling.force_constants(potentials.load("silicon-mvff"), supercell)


@pytest.mark.slow
def test_silicon_frequencies(silicon):
    gamma, x, _ = np.asarray(sampling.frequencies_thz(silicon, [GAMMA, X, L]))
    np.testing.assert_allclose(gamma, [0, 0, 0, 15.65, 15.65, 15.65], atol=0.01)
    np.testing.assert_allclose(x[:2], 4.77, atol=0.01)


@pytest.mark.slow
def test_gallium_arsenide_frequencies():
    structure = Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532))
    fc = sampling.force_constants(potentials.load("galliumarsenide-mvff"), structure.supercell(2))
    gamma, x = np.asarray(sampling.frequencies_thz(fc, [GAMMA, X]))
    np.testing.assert_allclose(gamma[3:], 8.30, atol=0.01)
    np.testing.assert_allclose(x[:2], 2.60, atol=0.01)


def test_commensurate_points_equal_the_transform(silicon):
    points = silicon.commensurate(half=True)
    images = sampling.shortest_images(silicon.supercell)
    interpolated = jax.vmap(lambda q: sampling.dynamical_matrix(silicon, q, images))(jnp.asarray(points))
    np.testing.assert_allclose(interpolated, silicon.dynamical_matrices, atol=1e-12)


@pytest.mark.slow
def test_between_commensurate_points_a_larger_supercell_agrees(silicon):
    """The forces reach fewer than four cells, so shortest images make the interpolation exact."""
    larger = Structure.from_ase(bulk("Si", a=5.431)).supercell(5)
    fc = sampling.force_constants(potentials.load("silicon-mvff"), larger)
    points = fc.commensurate()[1:20]
    np.testing.assert_allclose(
        sampling.frequencies_thz(silicon, points), sampling.frequencies_thz(fc, points), atol=1e-6
    )


def test_cubic_symmetry_between_commensurate_points(silicon):
    """Equivalent wave vectors have equal frequencies: images on the Wigner-Seitz boundary are shared fairly."""
    cartesian = np.array([0.13, 0.04, 0.21])
    cell = np.asarray(silicon.base.cell)
    points = [(s * np.roll(cartesian, n)) @ cell.T / (2 * np.pi) for n in range(3) for s in (1, -1)]
    frequencies = sampling.frequencies_thz(silicon, points)
    np.testing.assert_allclose(frequencies, np.broadcast_to(frequencies[0], frequencies.shape), atol=1e-8)


@pytest.mark.slow
def test_a_conventional_cell_folds_the_same_modes(silicon):
    cubic = Structure.from_ase(bulk("Si", a=5.431, cubic=True)).supercell(2)
    fc = sampling.force_constants(potentials.load("silicon-mvff"), cubic)
    folded = np.asarray(sampling.frequencies_thz(fc, [GAMMA]))[0]
    for f in np.asarray(sampling.frequencies_thz(silicon, [X]))[0]:
        assert np.abs(folded - f).min() < 1e-6


@pytest.mark.slow
def test_group_velocity_by_differentiation(silicon):
    q, step = jnp.array([0.1, 0.23, 0.05]), 1e-5
    images = sampling.shortest_images(silicon.supercell)

    def trace(q):
        return jnp.trace(sampling.dynamical_matrix(silicon, q, images) @ sampling.dynamical_matrix(silicon, q, images))

    slope = jax.grad(lambda q: trace(q).real)(q)
    e = jnp.eye(3) * step
    expected = [(trace(q + d).real - trace(q - d).real) / (2 * step) for d in e]
    np.testing.assert_allclose(slope, expected, rtol=1e-6)


@pytest.mark.slow
def test_dispersion_along_the_standard_path(silicon):
    d = sampling.dispersion(silicon, count=40)
    assert [name for _, name in d.path.corners] == list("GXWKGLUWLKUX")
    assert len(d.path.breaks) == 1
    assert d.frequencies.shape == (len(d.path.points), 6)
    assert (np.diff(d.path.distance) > -1e-12).all()
    np.testing.assert_allclose(d.path.corners[-1][0], d.path.distance[-1])
    # Acoustic branches of silicon leave Gamma along X with the velocities that the elastic constants say.
    short = sampling.dispersion(silicon, [GAMMA, [0.005, 0.0, 0.005]], count=2)
    density = 2 * 28.085 / float(silicon.base.volume) * 103.6427
    c44, c11 = 79.35 * 0.00624151, 179.35 * 0.00624151
    expected = np.sqrt(np.array([c44, c44, c11]) / density) * 1e3 * short.path.distance[-1] / (2 * np.pi)
    np.testing.assert_allclose(short.frequencies[-1, :3], expected, rtol=2e-3)


def test_bad_paths(silicon):
    with pytest.raises(InputError, match="no special point 'Q'"):
        sampling.dispersion(silicon, "GQ")
    with pytest.raises(InputError, match="shape"):
        sampling.frequencies_thz(silicon, [0.0, 0.0, 0.0])
    with pytest.raises(InputError, match=r"shape \(1, 3\); give three"):
        sampling.dynamical_matrix(silicon, [GAMMA])
    np.testing.assert_allclose(
        sampling.dynamical_matrix(silicon, X), sampling.dynamical_matrix(silicon, jnp.array(X)), atol=1e-14
    )
