"""Excitons of two parabolic bands against hydrogen, Elliott's factor and phonon energies in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import optics, plotting, units
from jaxepi.errors import InputError
from jaxepi.optics import lanczos
from jaxepi.optics.bethe_salpeter import ModeSpectra, Screening, elliott_factor, join_tail, lowest
from jaxepi.optics.bethe_salpeter.interaction import attraction_table
from jaxepi.optics.bethe_salpeter.pairs import Pairs
from jaxepi.optics.bethe_salpeter.spectrum import run
from jaxepi.structure import Structure
from jaxepi.tree import replace

SIDE, EPS0, RADIUS = 2.0, 10.0, 8.0  # angstrom
RYDBERG = units.COULOMB / (2 * EPS0 * RADIUS)
CUBIC = Structure.create([[0.0, 0, 0]], SIDE * np.eye(3), [14])
MEAN_INVERSE = 2.3800774  # of the distance in a cube of unit side from its centre: the attraction on one site


def two_bands(n):
    """A conduction and a valence band of equal mass, each of one orbital on one site, with a gap of 1 eV."""
    hopping = RADIUS * units.COULOMB / (EPS0 * 4 * SIDE**2)
    k = 2 * np.pi * np.stack(np.meshgrid(*[np.arange(n) / n] * 3, indexing="ij"), -1).reshape(-1, 3)
    energy = 1 + 4 * hopping * (3 - np.cos(k).sum(axis=1)) + 0j
    orbital = np.zeros((2, n**3, 2, 1), complex)
    orbital[0, :, 0] = orbital[1, :, 1] = 1
    w = attraction_table(Screening(EPS0, MEAN_INVERSE * units.COULOMB / EPS0 / SIDE), CUBIC, (n, n, n))
    electrons, holes = jnp.asarray(orbital)
    energies = jnp.asarray(energy[:, None, None])
    dipoles = jnp.ones((1, n**3, 1, 1), complex)
    zero = jnp.zeros_like(energies)
    return Pairs(electrons, holes, energies, zero, dipoles, w, None, atoms=(0, 0), mesh=(n, n, n), chunk=2), k


@pytest.fixture(scope="module")
def hydrogen():
    return two_bands(32)


def ritz(pairs):
    alpha, beta, _ = run(pairs, 140, lambda _: None)
    return (np.asarray(x)[0] for x in lanczos.ritz(alpha, beta))


@pytest.mark.slow
def test_two_bands_bind_a_rydberg_and_absorb_by_elliott(hydrogen):
    pairs, _ = hydrogen
    energies, weights = ritz(pairs)
    assert (1 - energies[0]) / RYDBERG == pytest.approx(1, abs=0.05)
    free, alone = ritz(replace(pairs, attraction=jnp.zeros_like(pairs.attraction)))
    for excess in RYDBERG * np.array([6.0, 10, 15, 20]):
        # An indirect edge: the pair's centre of mass takes any momentum, with a density of states that grows as a root.
        both = [w @ np.sqrt(np.maximum(1 + excess - e, 0)) for e, w in ((energies, weights), (free, alone))]
        assert both[0] / both[1] == pytest.approx(float(elliott_factor(jnp.asarray(excess), RYDBERG)), rel=0.05)


@pytest.mark.slow
def test_the_lowest_exciton_is_hydrogen(hydrogen):
    pairs, k = hydrogen
    found = lowest.of_pairs(pairs, CUBIC, k / (2 * np.pi), 1)
    assert float(found.binding[0]) / RYDBERG == pytest.approx(1, abs=0.05)
    assert float(found.sizes[0]) == pytest.approx(3**0.5 * RADIUS, rel=0.1)  # a quarter of the radius a site
    assert bool(found.held[0])
    # |psi(k)|^2 falls as 1/(1 + k^2 a^2)^4
    at = np.flatnonzero(np.abs(k[:, 1:]).sum(axis=1) == 0)[:3]
    expected = 1 / (1 + (k[at, 0] / SIDE * RADIUS) ** 2) ** 4
    np.testing.assert_allclose(found.weights[0, at] / found.weights[0, 0], expected, rtol=0.1)
    drawn = plotting.exciton_weights(found, CUBIC, "two bands").axes[0]
    assert "eV, bound by" in drawn.get_legend().get_texts()[0].get_text()


def test_elliott_far_from_and_near_the_edge():
    far = 1 + 16 / 3 * jnp.sqrt(1e-6)
    np.testing.assert_allclose(elliott_factor(jnp.asarray(1e6), 1.0), far, rtol=2e-5)
    np.testing.assert_allclose(elliott_factor(jnp.asarray(1e6), 1.0, "direct"), 1 + np.pi * 1e-3, rtol=1e-4)
    # At the edge the bound states alone absorb: 4 pi R^2 sum_n n^-4 over pi D^2/8.
    small = 1e-7
    expected = 32 * np.pi**4 / 90 / small**2
    np.testing.assert_allclose(elliott_factor(jnp.asarray(small), 1.0), expected, rtol=1e-3)
    assert np.isnan(elliott_factor(jnp.asarray(-0.1), 1.0))
    with pytest.raises(InputError, match="rydberg -1"):
        elliott_factor(jnp.asarray(1.0), -1.0)


def test_a_tail_is_joined_where_both_agree():
    energies = jnp.linspace(0.9, 2.0, 221)
    excess = jnp.maximum(energies - 1.1, 0.0)
    true = excess**2 * jnp.where(excess > 0, elliott_factor(jnp.maximum(excess, 0.0147), 0.0147), 0.0)
    tail = join_tail(energies, excess**2, true * 1.03, 1.1, 0.0147)
    np.testing.assert_allclose(tail.mismatch, 0.03 / 1.015, rtol=1e-6)
    np.testing.assert_allclose(tail.eps2[energies < 1.2], true[energies < 1.2], rtol=1e-12)
    np.testing.assert_allclose(tail.eps2[energies > 1.5], 1.03 * true[energies > 1.5], rtol=1e-12)


def test_phonon_energies_of_a_parabolic_edge():
    energies, quantum, temperature = jnp.linspace(0.8, 2.0, 1201), 0.058, 300.0
    excess = jnp.maximum(energies - 1.1, 0.0)
    found = ModeSpectra(energies, excess[None] ** 2, jnp.array([quantum]), temperature)
    n = 1 / np.expm1(quantum / (units.KB * temperature))
    d = np.array([0.1, 0.2, 0.4, 0.7])
    expected = (n * (d + quantum) ** 2 + (n + 1) * (d - quantum) ** 2) / ((2 * n + 1) * d**2)
    np.testing.assert_allclose(jnp.interp(jnp.asarray(1.1 + d), energies, found.factor()), expected, rtol=1e-3)
    onset = float(energies[np.flatnonzero(np.asarray(found.shifted()[0]) > 0)[0]])
    assert onset == pytest.approx(1.1 - quantum, abs=2e-3)
    np.testing.assert_allclose(found.applied(excess**2), found.shifted()[0], atol=1e-15)
    # A spectrum twice as strong, half of which needs no phonon: that half stays, and the map is linear.
    twice = found.applied(2 * excess**2, 0.5)
    np.testing.assert_allclose(twice, excess**2 + found.shifted()[0], atol=1e-14)
    slope = jax.grad(lambda scale: found.applied(scale * excess**2)[600])(1.0)
    np.testing.assert_allclose(slope, found.shifted()[0, 600], rtol=1e-12)
    # Parts of another gap go where that is.
    np.testing.assert_allclose(found.aligned(0.05).parts[0, 500], found.parts[0, 450], rtol=1e-9)


def test_spectra_with_quanta_obey_kramers_and_kronig():
    energies = jnp.linspace(0.05, 12.0, 240)
    modes = ModeSpectra(energies, jnp.exp(-((energies - 1.5) ** 2))[None], jnp.array([0.4]), 300.0)
    eps2 = jnp.exp(-((energies - 3.0) ** 2))
    eps1 = optics.kramers_kronig(energies, eps2)
    spectrum = optics.Spectrum(energies, eps1[None, :, None, None], eps2[None, :, None, None])
    moved = optics.with_quanta(spectrum, modes, 0.25 * eps2)
    expected = 0.25 * eps2 + 0.75 * modes.applied(eps2)
    np.testing.assert_allclose(moved.eps2[0, :, 0, 0], expected, atol=1e-12)
    np.testing.assert_allclose(moved.eps1[0, :, 0, 0], optics.kramers_kronig(energies, expected), atol=1e-10)
    with pytest.raises(InputError, match="at the energies of the spectrum"):
        optics.with_quanta(spectrum, ModeSpectra(energies[:-1], modes.parts[:, :-1], modes.quanta, 300.0))
