"""Quasi-harmonic expansion: a crystal whose every answer is known, thermodynamic identities, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import sampling
from jaxepi.errors import InputError
from jaxepi.structure import Structure
from jaxepi.tree import replace
from jaxepi.units import AMU_ANGSTROM2_PER_FS2, HBAR, KB

CELL = Structure.create([[0.0, 0, 0]], 2.5 * np.eye(3), [29])
FACTORS = np.linspace(0.98, 1.03, 9)
STIFFNESS, GAMMA, QUANTUM = 60.0, 1.7, 0.03


def einstein(gamma=GAMMA, stiffness=STIFFNESS, structure=CELL):
    """Energy k (f - 1)^2/2 and three modes whose frequency goes as f^(-3 gamma), hbar w in eV at f = 1."""
    frequency = QUANTUM / HBAR * jnp.asarray(FACTORS) ** (-3 * gamma)
    eigenvalues = jnp.broadcast_to((frequency**2 * AMU_ANGSTROM2_PER_FS2)[:, None, None], (9, 1, 3))
    energies = 0.5 * stiffness * (jnp.asarray(FACTORS) - 1) ** 2
    return sampling.QuasiHarmonic(
        structure, jnp.asarray(FACTORS), energies, jnp.zeros((1, 3)), jnp.ones(1), eigenvalues
    )


@pytest.mark.slow
def test_a_crystal_of_which_all_is_known():
    """An Einstein crystal: the minimum by the equation of state, Grueneisen's law, C_P - C_V, the modulus."""
    crystal = einstein()
    t = jnp.array([0.0, 100.0, 300.0, 900.0])
    found = jax.jit(jax.vmap(lambda x: sampling.expanded(crystal, x)))(t)
    f = np.asarray(found.factor)
    quantum = QUANTUM * f ** (-3 * GAMMA)
    occupation = np.array([0.0, *(1 / np.expm1(quantum[1:] / (KB * t[1:])))])
    energy = 3 * quantum * (0.5 + occupation)
    np.testing.assert_allclose(STIFFNESS * (f - 1), 3 * GAMMA * energy / f, rtol=1e-5)
    np.testing.assert_allclose(found.gruneisen[1:], GAMMA, rtol=1e-5)
    assert found.coefficient[0] == 0
    volume = 2.5**3 * f**3
    law = GAMMA * np.asarray(found.constant_volume) / (3 * np.asarray(found.modulus) * volume)
    np.testing.assert_allclose(found.coefficient[1:], law[1:], rtol=1e-5)
    excess = t * found.modulus * volume * (3 * found.coefficient) ** 2
    np.testing.assert_allclose(found.constant_pressure - found.constant_volume, excess, rtol=1e-9, atol=1e-15)
    # The coefficient is the slope of the length; the modulus is that of the pressure.
    near = jax.jacfwd(lambda x: jnp.log(sampling.expanded(crystal, x).factor))(300.0)
    np.testing.assert_allclose(near, found.coefficient[2], rtol=1e-9)
    pushed = jax.jacfwd(lambda p: 3 * jnp.log(sampling.expanded(crystal, 300.0, p).factor))(0.0)
    np.testing.assert_allclose(-1 / pushed, found.modulus[2], rtol=1e-9)


@pytest.mark.slow
def test_derivatives_by_what_the_crystal_is_made_of():
    def length(x):
        return sampling.expanded(einstein(GAMMA * (1 + x[0]), STIFFNESS * (1 + x[1])), 300.0).factor

    found, step = jax.grad(length)(jnp.zeros(2)), 1e-4
    for n, moved in enumerate(step * jnp.eye(2)):
        np.testing.assert_allclose(found[n], (length(moved) - length(-moved)) / (2 * step), rtol=1e-6)


def test_a_layer_expands_in_its_plane():
    layer = einstein(structure=replace(CELL, pbc=(True, True, False)))
    found = sampling.expanded(layer, 300.0)
    assert found.modulus > 0
    np.testing.assert_allclose(found.modulus, STIFFNESS / (4 * 2.5**2), rtol=0.05)


def test_a_crystal_that_leaves_its_volumes_is_refused():
    with pytest.raises(InputError, match=r"at 20000 K the free energy has no minimum within lengths of 0\.98"):
        sampling.expanded(einstein(), 20000.0)
    assert np.isnan(jax.jit(lambda t: sampling.expanded(einstein(), t).factor)(20000.0))
