"""The expanded spectrum against Lanczos, and its derivatives against finite differences, at degenerate bands."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from spring_crystals import springs

from jaxepi import hamiltonians, optics, sampling
from jaxepi.optics.bethe_salpeter import Screening, chebyshev, exciton_spectrum, excitons
from jaxepi.sampling import Snapshots
from jaxepi.structure import Structure
from jaxepi.tree import replace

A = 5.431
CELL = Structure.create([[0.0, 0, 0], [A / 4, A / 4, A / 4]], A / 2 * (1 - np.eye(3)), [14, 14])
HAMILTONIAN = hamiltonians.load("si-vogl1983")
GRAPH = HAMILTONIAN.graph(CELL)
ENERGIES = jnp.array([2.5, 3.7, 5.0])
WIDE = optics.Gaussian(0.5)
MESH = (2, 1, 1)  # Gamma and L: every band but one is degenerate
OPTIONS = {"broadening": WIDE, "moments_count": 180, "conduction": 6, "polarisations": [[1, 2, 0]], "graph": GRAPH}
CONSTANTS = springs(CELL)
NOISE = sampling.white_noise(jax.random.key(0), 1, 2)
STEPS = (1e-2, 1e-2, 1e-3, 1e-3, 1e-3, 2.0)
SEED = jnp.array([1.0, -0.5, 0.7, 1.3, 0.4, -0.9])


def spectrum(eps0=11.7, onsite=2.0, moved=0.0, scale=1.0, strain=0.0, temperature=300.0, warm=0.0):
    """Of one snapshot, whose thermal displacement (of fixed noise) counts `warm` times."""
    direction = jnp.array([[0.0, 0, 0], [0.3, -0.1, 0.2]])
    cell = CELL.strained(strain * jnp.array([[1.0, 0.2, 0.0], [0.2, -0.4, 0.0], [0.0, 0.0, 0.5]]))
    thermal = sampling.displacements(CONSTANTS, temperature, NOISE)[:1]
    positions = (cell.positions + moved * direction)[None] + warm * thermal
    scaled = replace(HAMILTONIAN, params=jax.tree.map(lambda p: p * scale, HAMILTONIAN.params))
    drawn = Snapshots(cell, positions, temperature)
    found = exciton_spectrum(scaled, drawn, ENERGIES, MESH, Screening(eps0, onsite, 0.5), **OPTIONS)
    return jnp.concatenate([found.eps1, found.eps2], axis=1).ravel()


@pytest.mark.slow
def test_the_expansion_is_lanczos_and_its_derivatives_are_right():
    def projected(*args):
        found = spectrum(*args)
        return found @ SEED, found

    # One program for values and slopes: compiling is what takes the time.
    both = jax.jit(jax.value_and_grad(projected, argnums=tuple(range(len(STEPS))), has_aux=True))
    for args in ((11.7, 2.0, 0.0, 1.0, 0.0, 300.0, 0.0), (11.7, 2.0, 0.1, 1.0, 0.01, 300.0, 1.0)):
        for i, (step, found) in enumerate(zip(STEPS, both(*args)[1], strict=True)):
            ends = [both(*(a + s * step * (i == j) for j, a in enumerate(args)))[0][0] for s in (-2, -1, 1, 2)]
            expected = (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step)
            assert np.isfinite(found)
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # A strained cell has the images of the graph's, whether it is being traced or not.
    np.testing.assert_allclose(spectrum(*args), both(*args)[0][1], rtol=1e-7)
    other = excitons(HAMILTONIAN, CELL, MESH, Screening(11.7, 2.0, 0.5), 4, 6, 60, [[1, 2, 0]], graph=GRAPH)
    rest = other.spectrum(ENERGIES, WIDE)
    expected = jnp.concatenate([rest.eps1, rest.eps2], axis=1).ravel()
    np.testing.assert_allclose(both(11.7, 2.0, 0.0, 1.0, 0.0, 300.0, 0.0)[0][1], expected, rtol=2e-3, atol=2e-3)


def test_too_few_moments_are_refused():
    enough, complaint = chebyshev._enough(jnp.asarray(12.0), jnp.asarray(0.1), 300)
    need = int(re.search("moments_count=([0-9]+)", complaint())[1])
    assert not enough
    assert chebyshev._enough(jnp.asarray(12.0), jnp.asarray(0.1), need)[0]
    # The terms that are left out are as large as is said.
    line = chebyshev.gaussian(jnp.asarray(0.5))
    terms = chebyshev.coefficients(lambda x: line(5.0 - x)[None], jnp.asarray(6.0), jnp.asarray(7.0), 160)[0]
    height = 1 / np.sqrt(2 * np.pi) / 0.5
    assert jnp.abs(terms[60:]).max() < 2 * chebyshev.truncation(7.0, 0.5, 60) * height
    cosines = jnp.cos(jnp.arange(160.0) * jnp.arccos((5.3 - 6) / 7))
    np.testing.assert_allclose(terms @ cosines, height * np.exp(-0.5 * 0.6**2), rtol=1e-10)
    z = np.array([-40.0, -2.3, 0.0, 1e-3, 0.9, 7.7])
    np.testing.assert_allclose(chebyshev.dawson(jnp.asarray(z)), scipy.special.dawsn(z), rtol=1e-12, atol=1e-15)
