"""Densities of states: what they integrate to, their moments, derivatives at degenerate modes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import kpoints, sampling
from jaxepi.errors import InputError
from jaxepi.sampling.densities import corner_weights, tetrahedra


def test_tetrahedra_fill_the_mesh_and_share_their_states():
    """Each corner of a tetrahedron has a quarter of its states; on the way the density is the slope of the volume below."""
    corners = tetrahedra((3, 2, 1), np.diag([1.0, 2.0, 0.3]))
    assert (np.bincount(corners.ravel()) == 24).all()
    levels = jnp.asarray([[0.0, 0.7, 1.1, 2.0], [-1.0, -1.0, 0.5, 0.5], [0.2, 0.2, 0.2, 1.0]])
    grid = np.linspace(-1.5, 2.5, 2000)
    weights = np.asarray(jax.jit(jax.vmap(lambda e: corner_weights(levels, e)))(grid))
    np.testing.assert_allclose(weights.sum(axis=0) * (grid[1] - grid[0]), np.full((3, 4), 0.25), atol=2e-3)
    # Below the second level the volume is (E - v0)^3/((v1 - v0)(v2 - v0)(v3 - v0)).
    n = np.searchsorted(grid, 0.5)
    np.testing.assert_allclose(weights[n, 0].sum(), 3 * grid[n] ** 2 / (0.7 * 1.1 * 2.0), rtol=1e-12)


@pytest.mark.slow
def test_densities_have_all_states_and_their_moments(spring_gaas):
    """Six states a cell, and the mean square of the frequency, which is a trace of force constants, by either way."""
    f = np.linspace(-2.0, 11.0, 131)
    mean_square = sampling.normal_modes(spring_gaas, 4).frequencies ** 2
    for smearing, off in ((None, 1.5e-2), (0.3, 1e-3)):  # a step of 0.1 THz cuts the tips of what tetrahedra find
        found = sampling.density_of_states(spring_gaas, f, 4, smearing)
        np.testing.assert_allclose(np.trapezoid(found.projected.sum(axis=0), f), 6, rtol=off)
        second = np.trapezoid(found.total * f**2, f) - 6 * (smearing or 0) ** 2
        np.testing.assert_allclose(second, np.mean(np.sum(mean_square, axis=1)), rtol=2 * off)


@pytest.mark.slow
def test_a_smeared_density_has_derivatives_at_degenerate_modes(spring_gaas):
    images = sampling.images_of(spring_gaas)
    mesh = kpoints.mesh(2)

    @jax.jit
    def of(mass):
        fc = dataclasses.replace(spring_gaas, weights=jnp.stack([mass, jnp.asarray(74.9)]))
        return sampling.density_of_states(fc, [2.0, 6.0, 8.0], mesh, 0.5, images).projected

    found, step = jax.jit(jax.jacfwd(of))(69.7), 1e-3
    np.testing.assert_allclose(found, (of(69.7 + step) - of(69.7 - step)) / (2 * step), rtol=1e-4, atol=1e-9)


def test_refusals(spring_gaas):
    with pytest.raises(InputError, match="tetrahedra need a regular mesh"):
        sampling.density_of_states(spring_gaas, mesh=kpoints.mesh(2))
    with pytest.raises(InputError, match=r"smearing -1\.0 THz: give a positive width"):
        sampling.density_of_states(spring_gaas, mesh=2, smearing=-1.0)
