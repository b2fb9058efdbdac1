"""Absorption with phonons against displaced supercells, which know nothing of couplings, and phonon energies put back."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import epi, hamiltonians, kpoints, optics, potentials, sampling
from jaxepi.epi import assisted
from jaxepi.structure import Structure
from jaxepi.tree import replace

A = 5.431
CELL = Structure.create([[0.0, 0, 0], [A / 4, A / 4, A / 4]], A / 2 * (1 - np.eye(3)), [14, 14])
HAMILTONIAN = hamiltonians.load("si-vogl1983")
STIFF = 1e8  # force constants this much stiffer make displacements small: second order is then all there is


@pytest.mark.slow
def test_parts_are_those_of_displaced_supercells_below_the_direct_gap(monkeypatch):
    """On the eight points that a supercell's Gamma holds: eps2 itself, no ratio, and each part with its quantum."""
    constants = sampling.force_constants(potentials.load("silicon-mvff"), CELL.supercell(2))
    constants = replace(constants, matrix=STIFF * constants.matrix)
    energies, line = jnp.linspace(0.5, 2.7, 23), optics.Gaussian(0.1)
    expected = optics.mode_spectra(HAMILTONIAN, constants, 0.0, energies, line)
    step = assisted.QUANTUM_STEP * STIFF**0.5
    monkeypatch.setattr(assisted, "QUANTUM_STEP", step)
    monkeypatch.setattr(assisted, "quasirandom", lambda count: kpoints.mesh(2, time_reversal=False))
    known = epi.topology(HAMILTONIAN, constants)
    found = epi.assisted_absorption(HAMILTONIAN, constants, energies, line, known, points=8, pairs=64)
    assert 0.5 < float(found.gap) < 2.0
    assert float(found.direct) > 3.1  # and 2.7 eV is four widths below
    quanta = np.unique(np.asarray(expected.quanta).round(3))
    apart = np.flatnonzero(np.diff(quanta) > 2 * step)
    assert len(apart) >= 4
    most = float(expected.parts.sum(axis=0).max())
    for bound in (*(quanta[apart] + quanta[apart + 1]) / 2, np.inf):
        ours, theirs = (one.parts[np.asarray(one.quanta) < bound].sum(axis=0) for one in (found, expected))
        np.testing.assert_allclose(ours, theirs, atol=2e-3 * most)
