"""Free energy, entropy, heat capacity and mean squares: laws, limits, derivatives, and phonopy's numbers."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import kpoints, potentials, sampling
from jaxepi.errors import InputError
from jaxepi.structure import Structure
from jaxepi.units import HBAR, KB

MESH = kpoints.mesh(3)
"""With Gamma, and with degenerate modes on its axes."""

FUNCTIONS = (sampling.free_energy, sampling.vibrational_energy, sampling.entropy, sampling.heat_capacity)


@pytest.fixture(scope="module")
def modes(spring_gaas):
    return sampling.normal_modes(spring_gaas, MESH)


def all_of(modes, temperature, statistics="quantum"):
    return jnp.stack([f(modes, temperature, statistics) for f in FUNCTIONS])


def test_thermodynamic_identities(modes):
    """S = -dF/dT, C = dU/dT = T dS/dT, U = F + TS, at the zero of temperature too; one compilation for all temperatures."""
    t = jnp.array([0.0, 1e-6, 5.0, 60.0, 300.0, 3000.0])
    one = partial(all_of, modes)
    values, slopes = jax.jit(jax.vmap(lambda x: jax.jvp(one, (x,), (jnp.ones_like(x),))))(t)
    f, u, s, c = values.T
    df, du, ds, _ = slopes.T
    np.testing.assert_allclose(s, -df, atol=1e-14)
    np.testing.assert_allclose(c, du, atol=1e-14)
    np.testing.assert_allclose(c, t * ds, atol=1e-13)
    np.testing.assert_allclose(u, f + t * s, atol=1e-13)
    np.testing.assert_array_equal([s[:2], c[:2]], 0)
    # Zero-point energy, and Dulong and Petit's law with its first correction, but for the free modes at Gamma.
    bound = np.asarray(modes.frequencies) > 0.01
    quanta = 2e-3 * np.pi * HBAR * np.where(bound, modes.frequencies, 0)
    np.testing.assert_allclose(f[0], 0.5 * modes.weights @ quanta.sum(axis=1), rtol=1e-12)
    hot = (bound - (quanta / (KB * 3000.0)) ** 2 / 12).sum(axis=1)
    np.testing.assert_allclose(c[-1] / KB, modes.weights @ hot, rtol=1e-6)
    np.testing.assert_allclose(all_of(modes, 1e5, "classical"), all_of(modes, 1e5), rtol=2e-5)


@pytest.mark.slow
def test_derivatives_by_masses_and_force_constants(spring_gaas):
    """Against finite differences, on a mesh with exactly degenerate modes: the derivatives table of docs/how-to/phonons.md."""
    images = sampling.images_of(spring_gaas)
    weights = jnp.array([69.7, 74.9])

    @jax.jit
    def of(shift):
        fc = dataclasses.replace(
            spring_gaas, weights=weights * (1 + shift[:2]), matrix=spring_gaas.matrix * (1 + shift[2])
        )
        modes = sampling.normal_modes(fc, MESH, images)
        squares = sampling.mean_squares(fc, 300.0, MESH, images=images)
        return jnp.array([sampling.free_energy(modes, 300.0), squares[0, 0, 0], squares[1, 2, 2]])

    found, step = jax.jit(jax.jacfwd(of))(jnp.zeros(3)), 1e-4
    assert np.isfinite(found).all()
    for n, moved in enumerate(step * jnp.eye(3)):
        np.testing.assert_allclose(found[:, n], (of(moved) - of(-moved)) / (2 * step), rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_a_mesh_of_the_supercell_gives_its_mean_squares(spring_gaas):
    mesh = kpoints.mesh(2)
    for statistics in ("quantum", "classical"):
        np.testing.assert_allclose(
            sampling.mean_squares(spring_gaas, 300.0, mesh, statistics),
            sampling.mean_square_displacements(spring_gaas, 300.0, statistics),
            rtol=1e-9,
            atol=1e-12,
        )


def test_unstable_modes_are_named(spring_gaas):
    soft = dataclasses.replace(spring_gaas, matrix=-spring_gaas.matrix)
    with pytest.raises(InputError, match=r"mode at q = \[.*\] has -\d.* THz .*24 such modes of 24.*not stable"):
        sampling.normal_modes(soft, 2)
    dropped = sampling.normal_modes(soft, 2, imaginary="drop")
    assert float(sampling.free_energy(dropped, 300.0)) == 0
    images = sampling.images_of(soft)
    unseen = jax.jit(lambda fc: sampling.free_energy(sampling.normal_modes(fc, 2, images), 300.0))(soft)
    assert np.isnan(unseen)
    with pytest.raises(InputError, match="temperature -1"):
        sampling.free_energy(dropped, -1.0)
    with pytest.raises(InputError, match="temperatures"):
        sampling.thermodynamics(spring_gaas, [-5.0])
    assert np.isnan(jax.jit(lambda t: sampling.free_energy(dropped, t))(-1.0))


@pytest.mark.slow
def test_derivatives_by_strain():
    """Through the force constants of a potential, on degenerate modes, against finite differences to 1e-4."""
    potential = potentials.load("silicon-sw1985")
    cell = Structure.from_ase(bulk("Si", a=5.431))
    graph, mesh = potential.graph(cell), kpoints.mesh(2)
    images = sampling.shortest_images(cell)
    axis = jnp.diag(jnp.array([1.0, 0.0, 0.0]))

    @jax.jit
    def of(strain):
        fc = sampling.force_constants(potential, cell.strained(strain * axis), graph)
        modes = sampling.normal_modes(fc, mesh, images)
        return jnp.stack(
            [sampling.free_energy(modes, 300.0), sampling.mean_squares(fc, 300.0, mesh, images=images)[0, 0, 0]]
        )

    found, step = jax.jit(jax.jacfwd(of))(0.0), 1e-4
    np.testing.assert_allclose(found, (of(step) - of(-step)) / (2 * step), rtol=1e-4)
