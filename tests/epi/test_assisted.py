"""Absorption with phonons against displaced supercells, which know nothing of couplings, and phonon energies put back."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import epi, hamiltonians, optics, potentials, sampling, units
from jaxepi.epi import assisted
from jaxepi.structure import Structure
from jaxepi.tree import replace

A = 5.431
CELL = Structure.create([[0.0, 0, 0], [A / 4, A / 4, A / 4]], A / 2 * (1 - np.eye(3)), [14, 14])
HAMILTONIAN = hamiltonians.load("si-vogl1983")
STIFF = 1e8  # force constants this much stiffer make displacements small: second order is then all there is


@pytest.mark.slow
def test_sum_over_modes_is_that_of_displaced_supercells_below_the_direct_gap():
    constants = sampling.force_constants(potentials.load("silicon-mvff"), CELL.supercell((2, 1, 1)))
    constants = replace(constants, matrix=STIFF * constants.matrix)
    energies, line = jnp.linspace(0.5, 3.0, 26), optics.Gaussian(0.05)
    found = optics.mode_spectra(HAMILTONIAN, constants, 0.0, energies, line)
    known = epi.topology(HAMILTONIAN, constants)
    crystal = assisted.crystal_of(HAMILTONIAN, constants, known)
    # The supercell's Gamma holds the centre and one L of the zone; light takes the electron from either to the other.
    k, q = jnp.array([[0.0, 0, 0], [0.5, 0, 0]]), jnp.array([[0.5, 0, 0], [0.5, 0, 0]])
    ours = assisted.assisted_transitions(crystal, k, q)
    scale = 4 * jnp.pi**2 * units.COULOMB * 2 / CELL.volume / 4
    lines = line.profile(energies[:, None, None, None] - ours.energies[None], 0.004)
    expected = scale * jnp.einsum("wpcv,pmcv->mw", lines, ours.strengths)
    total = found.parts.sum(axis=0)
    assert float(total.max()) > 1e3 * float(jnp.abs(total[:5]).max())
    np.testing.assert_allclose(total, expected.sum(axis=0), atol=2e-3 * float(total.max()))
    # Mode by mode: L has its six quanta, whose parts are the supercell's.
    for quantum, part in zip(ours.quanta[0], expected, strict=True):
        same = jnp.abs(found.quanta - quantum) < 1e-6 * quantum
        mine = expected[jnp.abs(ours.quanta[0] - quantum) < 1e-6 * quantum].sum(axis=0)
        np.testing.assert_allclose(found.parts[same].sum(axis=0), mine, atol=2e-3 * float(total.max()))
        assert part.shape == energies.shape
