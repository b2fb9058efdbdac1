"""States next to an energy against whole spectra; overlaps that are next to singular or indefinite; large cells."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg as sl
import scipy.sparse as sp

from jaxepi import electrons, materials
from jaxepi.electrons.sparse import DENSE
from jaxepi.errors import InputError


def matrices(size, seed=0, width=6):
    """Sparse Hermitian H and positive S of a chain."""
    rng = np.random.default_rng(seed)
    h, s = sp.eye(size, format="lil", dtype=complex), 2.0 * sp.eye(size, format="lil", dtype=complex)
    for away in range(1, width):
        for target, scale in ((h, 1.0), (s, 0.15)):
            values = scale * (rng.normal(size=size) + 1j * rng.normal(size=size))[away:] / away**2
            target.setdiag(values, away)
            target.setdiag(values.conj(), -away)
    h.setdiag(rng.normal(size=size))
    return h.tocsc(), s.tocsc()


def test_states_next_to_an_energy_are_those_of_the_whole_spectrum():
    h, s = matrices(DENSE + 200)
    exact = sl.eigvalsh(h.toarray(), s.toarray())
    found = electrons.states_near(h, s, 0.1, 12)
    expected = np.sort(exact[np.argsort(np.abs(exact - 0.1))[:12]])
    np.testing.assert_allclose(found.energies, expected, atol=1e-9)
    assert found.residuals.max() < 1e-9
    inner = found.vectors.conj().T @ s @ found.vectors
    np.testing.assert_allclose(inner, np.eye(12), atol=1e-8)


def test_orbitals_that_depend_on_others_are_left_out_and_indefinite_overlaps_refused():
    h, s = matrices(40)
    twice = sp.csc_matrix(np.eye(40)[:, [*range(40), 0, 1]])
    found = electrons.states_near((twice.T @ h @ twice).tocsc(), (twice.T @ s @ twice).tocsc(), 0.1, 5)
    assert found.dropped == 2
    np.testing.assert_allclose(found.energies, electrons.states_near(h, s, 0.1, 5).energies, atol=1e-9)
    with pytest.raises(InputError, match="not positive definite"):
        electrons.states_near(h, (s - 3 * sp.eye(40)).tocsc(), 0.1, 5)
    with pytest.raises(InputError, match="from 1 to 40"):
        electrons.states_near(h, s, 0.1, 41)


@pytest.mark.slow
def test_bands_of_a_twisted_bilayer_next_to_an_energy_and_their_slopes():
    """76 atoms: the energies are those of all states, the velocities the slopes of those."""
    material = materials.load("twisted-bilayer-graphene-m2-r1")
    cell, model = material.primitive, material.hamiltonian
    k = np.array([[0.1, 0.2, 0.0]])
    found = electrons.bands_near(model, cell, k, 0.8, 6)
    step = 1e-4 * np.linalg.inv(np.asarray(cell.reciprocal))[0]
    exact = np.asarray(electrons.eigenvalues(model, cell, jnp.asarray(np.concatenate([k, k + step, k - step]))))
    near = np.sort(np.argsort(np.abs(exact[0] - 0.8))[:6])
    np.testing.assert_allclose(found.energies[0], exact[0, near], atol=1e-9)
    slopes = (exact[1, near] - exact[2, near]) / 2e-4
    np.testing.assert_allclose(found.velocities[0, :, 0], slopes, atol=1e-5)
    np.testing.assert_allclose(found.velocities[0, :, 2], 0.0, atol=1e-12)
