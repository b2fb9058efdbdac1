"""Unfolded spectral functions and self-energies: what is known at rest, and second order at small displacements."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import electrons, sampling
from jaxepi.epi import Level, Treatment, problem, self_energies, shift, spectral_functions
from jaxepi.epi.unfolding import orthonormal
from jaxepi.errors import InputError
from jaxepi.hamiltonians import hamiltonian_k
from jaxepi.kpoints import KPoints

pytestmark = pytest.mark.slow
ETA = 0.2
NARROW = 0.02


def test_at_rest_there_are_lorentzians_at_the_bands(crystal, constants, k):
    hamiltonian, _ = crystal
    cell, supercell = constants.base, constants.supercell
    still = sampling.Snapshots(supercell, supercell.positions[None], 0.0)
    energies = jnp.linspace(-400.0, 400.0, 16001)
    found = spectral_functions(hamiltonian, still, k[None], energies, ETA)[0, 0]
    bands = electrons.eigenvalues(hamiltonian, cell, k[None])[0]
    expected = (ETA / np.pi / ((energies[:, None] - bands[None]) ** 2 + ETA**2)).sum(axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert float(jnp.trapezoid(found, energies)) == pytest.approx(2, rel=1e-3)
    with pytest.raises(InputError, match="nothing to unfold"):
        spectral_functions(hamiltonian, sampling.Snapshots(cell, cell.positions[None], 0.0), k[None], energies, ETA)
    with pytest.raises(InputError, match="broadening"):
        spectral_functions(hamiltonian, still, k[None], energies, 0.0)
    with pytest.raises(InputError, match="independent group"):
        self_energies(hamiltonian, still, k[None], energies[:2], ETA)


def test_the_self_energy_of_small_displacements_is_that_of_second_order(crystal, constants, k):
    """Displacements whose outer products sum to the covariance, both signs of each; at the energy of a band."""
    hamiltonian, known = crystal
    supercell, cell = constants.supercell, constants.base
    count, small = 3 * len(supercell), 1e-3
    u = small * sampling.displacements(constants, 300.0, jnp.eye(count).reshape(count, -1, 3))
    drawn = sampling.Snapshots(
        supercell, supercell.positions[None] + jnp.concatenate([u, -u]), 300.0, None, tuple(range(count)) * 2
    )
    q = constants.commensurate()
    level = Level.at(hamiltonian, cell, k, 1)
    prepared = problem(hamiltonian, constants, level, known)
    energy = prepared.states.energy[0, 0].real
    sigma, error = self_energies(hamiltonian, drawn, k[None], energy[None], NARROW)
    own = jnp.linalg.eigh(orthonormal(*hamiltonian_k(hamiltonian, cell, known.graph, k)))[1][:, 1]
    expected = shift(prepared, KPoints(q, np.full(len(q), 1 / len(q))), 300.0, Treatment(NARROW)).total
    found = (own.conj() @ sigma[0, 0] @ own).real * count / small**2
    np.testing.assert_allclose(found, expected, rtol=5e-3, atol=1e-5)
    assert float(error.max()) > 0
