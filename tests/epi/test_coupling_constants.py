"""Coupling constants against what first neighbours alone give in closed form."""

import honeycomb
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.epi import coupling_constants, topology
from jaxepi.tree import replace
from jaxepi.units import AMU_ANGSTROM2_PER_FS2, HBAR


@pytest.mark.slow
def test_hoppings_of_first_neighbours_couple_the_dirac_states_by_their_slope(constants):
    """Sum of |D|^2 over modes and over the four pairs of states, over four: 9/2 (dt/dd)^2 at Gamma and at K, where E2g (its two
    modes) and A1' have all of it (Piscanec et al., Phys. Rev. Lett. 93, 185503 (2004))."""
    hamiltonian, mass = honeycomb.hamiltonian(general=False), 12.0
    constants = replace(constants, weights=jnp.full(2, mass))
    bond = honeycomb.A / 3**0.5
    slope = 3.4 * 2.7 / 1.42 * (1.42 / bond) ** 4.4
    known, corner = topology(hamiltonian, constants), np.array([1 / 3, 1 / 3, 0.0])
    for q in (np.zeros(3), corner):
        found = coupling_constants(hamiltonian, constants, corner, q, known)
        frequency = 2e-3 * np.pi * np.abs(found.thz)
        squares = found.strength().sum(axis=(1, 2)) / 4 * 2 * mass * AMU_ANGSTROM2_PER_FS2 * frequency / HBAR
        assert float(squares.sum()) == pytest.approx(4.5 * slope**2, rel=1e-6)
        assert np.sort(squares)[-2 if q.any() else -3] < 1e-6 * slope**2
