"""The spectral function of transitions: bins, values against plain sums, derivatives on exactly degenerate matrices."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxepi.errors import InputError
from jaxepi.optics import EnergyGrid, Gaussian, Lorentzian, joint_density_of_states, transition_histogram
from jaxepi.optics.broadening import check_width
from jaxepi.optics.transitions import VOIGT, DenseOperator, deposit

GRID = EnergyGrid.covering(12.0, 0.02)
LEVELS = np.array([-3, -3, -1, -1, -1, 1, 1, 2, 2, 2, 3, 4.0])
OCCUPIED = 5


def matrices(real, seed=0, levels=LEVELS):
    """An exactly degenerate Hermitian H and anti-Hermitian W, with a Hermitian and an anti-Hermitian direction."""
    rng, n = np.random.default_rng(seed), len(levels)

    def noise():
        return rng.normal(size=(n, n)) + (0 if real else 1j * rng.normal(size=(n, n)))

    q, _ = np.linalg.qr(noise())
    h = (q * levels) @ q.conj().T
    w = np.stack([noise() for _ in range(3)])
    dh, dw = noise(), np.stack([noise() for _ in range(3)])
    anti = [m - np.swapaxes(m.conj(), -1, -2) for m in (w, dw)]
    return tuple(jnp.asarray(m) for m in (0.5 * (h + h.conj().T), anti[0], dh + dh.conj().T, anti[1]))


def plain_sum(h, w, weight):
    """sum over pairs of a smooth weight(p, E) |<c|r|v>|^2, with NumPy."""
    e, u = np.linalg.eigh(h)
    x = np.einsum("nc,anm,mv->acv", u[:, OCCUPIED:].conj(), w, u[:, :OCCUPIED])
    gap = e[OCCUPIED:, None] - e[None, :OCCUPIED]
    return [np.sum(weight(gap) * (x[a].conj() * x[b]).real / gap**2) for a, b in VOIGT]


@settings(max_examples=20, deadline=None)
@given(st.floats(0.05, 11.5))
def test_bins_keep_sum_and_first_moment(energy):
    bins = deposit(GRID, jnp.array([energy]), jnp.array([[2.0]]))[0]
    np.testing.assert_allclose(bins.sum(), 2.0, rtol=1e-12)
    np.testing.assert_allclose(bins @ GRID.nodes, 2.0 * energy, rtol=1e-12)
    variance = bins @ (GRID.nodes - energy) ** 2 / 2.0
    np.testing.assert_allclose(variance, GRID.step**2 / 3, rtol=1e-6)


def test_weights_are_smooth_in_energy():
    x = jnp.linspace(0.501, 0.703, 23)
    _, _, slopes = GRID.weights(x)
    step = 1e-6
    np.testing.assert_allclose(slopes, (GRID.weights(x + step)[1] - GRID.weights(x - step)[1]) / (2 * step), atol=1e-3)


def test_energies_beyond_the_grid_are_dropped_and_chunks_change_nothing(monkeypatch):
    energies = jnp.asarray(np.random.default_rng(0).uniform(0.1, 14.0, 1000))
    strengths = jnp.ones((2, 1000))
    whole = deposit(GRID, energies, strengths)
    np.testing.assert_allclose(whole[0].sum(), (energies < GRID.nodes[-1]).sum(), atol=2)
    monkeypatch.setattr(importlib.import_module("jaxepi.optics.transitions"), "PAIR_CHUNK", 64)
    np.testing.assert_allclose(deposit(GRID, energies, strengths), whole, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("real", [True, False])
def test_histogram_equals_a_plain_sum(real):
    h, w, _, _ = matrices(real)
    bins, e = transition_histogram(h[None], DenseOperator(w[None]), jnp.ones(1), OCCUPIED, GRID)
    np.testing.assert_allclose(e[0], LEVELS, atol=1e-12)
    np.testing.assert_allclose(bins.sum(axis=1), plain_sum(h, w, np.ones_like), atol=1e-10)
    np.testing.assert_allclose(bins @ GRID.nodes, plain_sum(h, w, lambda gap: gap), atol=1e-9)
    mean, _ = transition_histogram(h[None], DenseOperator(w[None]), jnp.ones(1), OCCUPIED, GRID, tensor=False)
    np.testing.assert_allclose(mean[0], bins[:3].mean(axis=0), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("tensor", [True, False])
@pytest.mark.parametrize("kind", ["degenerate", "nearly degenerate", "generic", "small gap"])
def test_derivatives_equal_finite_differences(real, tensor, kind):
    """By H and W at once; 'small gap' has transitions inside the first bin, of which a part falls off the grid."""
    spread = np.random.default_rng(4).uniform(-1, 1, len(LEVELS))
    levels = LEVELS + {"degenerate": 0, "nearly degenerate": 1e-6, "generic": 0.2, "small gap": 0.0}[kind] * spread
    if kind == "small gap":
        levels = np.where(levels > 0, levels - 1.988, levels)
    h, w, dh, dw = matrices(real, 1, levels)
    profile = jnp.asarray(np.random.default_rng(2).normal(size=(6 if tensor else 1, 1)))
    smooth = profile * jnp.exp(-((GRID.nodes[None] - 3.3) ** 2) / (2 * 1.1**2))
    if kind == "small gap":
        smooth = profile * (1 + GRID.nodes / GRID.nodes[-1])[None]

    @jax.jit
    def scalar(t, s):
        t, s = (jnp.asarray(x).astype(h.dtype) for x in (t, s))
        operator = DenseOperator((w + s * dw)[None])
        bins, e = transition_histogram((h + t * dh)[None], operator, jnp.ones(1), OCCUPIED, GRID, tensor)
        return jnp.sum(bins * smooth) + 0.3 * e[0, :OCCUPIED].sum()

    step = 1e-5 if kind == "small gap" else 1e-4
    for argument in (0, 1):
        ends = [scalar(*(step * sign * np.eye(2)[argument])) for sign in (2, 1, -1, -2)]
        finite = (8 * (ends[1] - ends[2]) - (ends[0] - ends[3])) / (12 * step)
        got = jax.jit(jax.grad(scalar, argument))(0.0, 0.0)
        np.testing.assert_allclose(got, finite, rtol=1e-4 if kind == "small gap" else 1e-6)


def test_lines_are_normalised():
    x = jnp.linspace(-400.0, 400.0, 800_001)
    for line, tolerance in ((Gaussian(0.05), 1e-10), (Lorentzian(0.05), 1e-4)):
        np.testing.assert_allclose(line.profile(x, 0.0).sum() * 1e-3, 1.0, rtol=tolerance)
    profile = Gaussian(0.05).profile(x, 0.02)
    np.testing.assert_allclose((profile * x**2).sum() * 1e-3, 0.05**2 - 0.02**2 / 3, rtol=1e-8)
    np.testing.assert_allclose(Lorentzian(0.05).profile(jnp.array(0.05), 0.0), 0.5 / (np.pi * 0.05), rtol=1e-12)


def test_binning_then_broadening_equals_broadening_every_line():
    energies = np.random.default_rng(1).uniform(1.0, 5.0, 40)
    bins = deposit(GRID, jnp.asarray(energies), jnp.ones((1, 40)))[0]
    at = jnp.linspace(0.8, 5.2, 60)
    width = 0.08
    binned = Gaussian(width).profile(at[:, None] - GRID.nodes[None], GRID.step) @ bins
    every = Gaussian(width).profile(at[:, None] - energies[None], 0.0).sum(axis=1)
    np.testing.assert_allclose(binned, every, atol=2e-3 * every.max())


def test_joint_density_of_states_equals_brute_force():
    rng = np.random.default_rng(3)
    e, weights = np.sort(rng.normal(size=(7, 6)) * 2, axis=1), rng.uniform(size=7)
    weights /= weights.sum()
    at, width = np.linspace(0.5, 6.0, 9), 0.2
    expected = np.zeros(9)
    for k in range(7):
        for v in range(2):
            for c in range(2, 6):
                x = (at - (e[k, c] - e[k, v])) / width
                expected += weights[k] * np.exp(-(x**2) / 2) / (np.sqrt(2 * np.pi) * width)
    args = (jnp.asarray(e), jnp.asarray(weights), 2, jnp.asarray(at), Gaussian(width))
    np.testing.assert_allclose(joint_density_of_states(*args), expected, rtol=1e-10)
    total = joint_density_of_states(*args[:3], jnp.linspace(-10.0, 25.0, 3501), Gaussian(width)).sum() * 0.01
    np.testing.assert_allclose(total, 2 * 4, rtol=1e-6)


def test_widths_that_make_no_sense_are_refused():
    for width in (0.0, -0.1, float("nan")):
        with pytest.raises(InputError, match=f"broadening of {width} eV: give a positive width"):
            check_width(Gaussian(width), GRID)
    with pytest.raises(InputError, match=r"0\.03 eV is finer than two energy bins of 0\.02"):
        check_width(Lorentzian(0.03), GRID)
    for maximum, step in ((5.0, 0.0), (5.0, -1.0), (0.1, 0.2)):
        with pytest.raises(InputError, match=f"energy bins of {step} eV up to {maximum} eV"):
            EnergyGrid.covering(maximum, step)
