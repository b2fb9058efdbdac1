"""Kramers-Kronig, optical constants and Tauc fits against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import units
from jaxepi.optics import Spectrum, absorption, kramers_kronig, tauc_fit
from jaxepi.tree import replace

OSCILLATORS = ((16.0, 3.4, 0.4), (9.0, 5.1, 0.8))


def oscillator(e, strength, centre, damping):
    e = np.asarray(e)
    return strength / (centre**2 - e**2 - 1j * damping * e)


@pytest.fixture(scope="module")
def fine():
    """Energies and eps2 of two Lorentz oscillators, up to where their tails are gone."""
    energies = jnp.concatenate([jnp.linspace(5e-4, 30.0, 60_000), jnp.geomspace(30.0, 3000.0, 2000)[1:]])
    return energies, jnp.asarray(np.stack([oscillator(energies, *o).imag for o in OSCILLATORS]))


def test_kramers_kronig_of_lorentz_oscillators(fine):
    energies, eps2 = fine
    at = jnp.linspace(0.05, 12.0, 240)
    got = jax.jit(kramers_kronig)(energies, eps2, at)
    for row, o in zip(got, OSCILLATORS, strict=True):
        np.testing.assert_allclose(row, 1 + oscillator(np.asarray(at), *o).real, atol=1e-5)


@pytest.mark.slow
def test_kramers_kronig_is_linear_batched_and_differentiable(fine):
    energies, eps2 = fine[0][::100], fine[1][:, ::100]
    at = jnp.array([1.0, 3.0, float(energies[40])])
    both = kramers_kronig(energies, eps2, at)
    np.testing.assert_allclose(kramers_kronig(energies, eps2[1], at), both[1], atol=1e-12)
    mixed = kramers_kronig(energies, 2 * eps2[0] - 3 * eps2[1], at)
    np.testing.assert_allclose(mixed - 1, 2 * (both[0] - 1) - 3 * (both[1] - 1), atol=1e-11)
    np.testing.assert_allclose(jax.vmap(lambda y: kramers_kronig(energies, y, at))(eps2), both, atol=1e-12)
    gradient = jax.grad(lambda y: kramers_kronig(energies, y, at).sum())(eps2[0])
    np.testing.assert_allclose(gradient @ eps2[0], both[0].sum() - 3, rtol=1e-10)
    by_energy = jax.jacfwd(lambda w: kramers_kronig(energies, eps2[0], w))(at)
    assert np.isfinite(by_energy).all()
    assert kramers_kronig(energies, eps2).shape == eps2.shape


def spectrum(eps):
    e = jnp.asarray(np.linspace(1.0, 6.0, eps.shape[-1]))
    return Spectrum(e, jnp.asarray(eps.real)[:, :, None, None], jnp.asarray(eps.imag)[:, :, None, None])


def test_optical_constants_follow_from_the_complex_index():
    e = np.linspace(1.0, 6.0, 50)
    eps = 1 + sum(oscillator(e, *o) for o in OSCILLATORS)
    index = np.sqrt(eps)
    s = spectrum(eps[None])
    np.testing.assert_allclose(s.refractive_index(), index.real, rtol=1e-12)
    np.testing.assert_allclose(s.extinction(), index.imag, rtol=1e-12)
    np.testing.assert_allclose(s.reflectivity(), np.abs((index - 1) / (index + 1)) ** 2, rtol=1e-12)
    np.testing.assert_allclose(s.energy_loss(), (-1 / eps).imag, rtol=1e-12)
    np.testing.assert_allclose(s.absorption(), 2 * e * index.imag / units.HBAR_C_CM, rtol=1e-12)
    # The two forms of the absorption coefficient agree: E eps2/(n hbar c).
    np.testing.assert_allclose(s.absorption(), e * eps.imag / index.real / units.HBAR_C_CM, rtol=1e-12)


def test_tiny_absorption_keeps_its_digits_in_single_precision():
    got = absorption(jnp.array([1.2], jnp.float32), jnp.array([12.0], jnp.float32), jnp.array([1e-9], jnp.float32))
    np.testing.assert_allclose(got, 1.2e-9 / np.sqrt(12) * 1.2 / 1.2 / units.HBAR_C_CM, rtol=1e-5)
    assert got.dtype == jnp.float32


@pytest.mark.slow
def test_the_mean_is_of_dielectric_functions_and_the_spread_of_constants():
    eps = np.array([[10 + 1j, 8 + 4j], [12 + 3j, 6 + 2j], [11 + 2j, 7 + 3j]])
    s = spectrum(eps)
    np.testing.assert_allclose(s.mean()[1], [2.0, 3.0])
    single = absorption(s.energies, jnp.asarray(eps.real), jnp.asarray(eps.imag))
    np.testing.assert_allclose(s.spread(), np.std(single, axis=0, ddof=1), rtol=1e-12)
    np.testing.assert_allclose(s.standard_error(), s.spread() / np.sqrt(3), rtol=1e-12)
    assert float(spectrum(eps[:1]).spread().max()) == 0.0
    assert np.isnan(spectrum(eps[:1]).standard_error()).all()


@pytest.mark.slow
def test_errors_of_spectra_count_antithetic_pairs_once():
    """The first pair has the mean of the second: the mean is known without error, whatever the single snapshots do."""
    eps = np.array([[10 + 1j], [12 + 2j], [14 + 5j], [12 + 4j]])
    paired = replace(spectrum(eps), groups=(0, 1, 0, 1))
    np.testing.assert_allclose(paired.standard_error(), 0.0, atol=1e-6)
    assert spectrum(eps).standard_error()[0] > 1000
    assert np.isnan(replace(spectrum(eps), groups=(0, 0, 0, 0)).standard_error()).all()
    heavy = replace(spectrum(eps), weights=jnp.array([3.0, 0.0, 1.0, 0.0]))
    np.testing.assert_allclose(heavy.mean(), [[11.0], [2.0]])


def test_constants_take_numbers_and_lists():
    np.testing.assert_allclose(
        absorption([1.0, 2.0], [10.0, 9.0], [1, 2]), absorption(*jnp.array([[1.0, 2], [10, 9], [1, 2]]))
    )
    assert float(jax.grad(lambda eps2: absorption(1.0, 12.0, eps2))(0.0)) > 0


@pytest.mark.parametrize(("kind", "power"), [("indirect", 2.0), ("direct", 0.5)])
def test_tauc_fits_recover_a_straight_onset(kind, power):
    e = jnp.linspace(1.0, 3.0, 400)
    eps2 = 3.0 * jnp.maximum(e - 1.17, 0) ** power / e**2
    fit = jax.jit(tauc_fit, static_argnames="kind")(e, eps2, kind=kind, window=(1.6, 2.4))
    np.testing.assert_allclose(fit.gap, 1.17, atol=1e-10)
    assert float(fit.residual) < 1e-10
    assert float(fit.sensitivity) < 1e-10
    assert [float(x) for x in fit.window] == [1.6, 2.4]
    np.testing.assert_allclose(fit.slope, 3.0 ** (1 / power), rtol=1e-9)


def test_a_line_that_misses_its_curve_is_a_poor_fit():
    e = jnp.linspace(0.5, 4.0, 500)
    straight = 3.0 * jnp.maximum(e - 1.17, 0) ** 2 / e**2
    assert not tauc_fit(e, straight, window=(1.6, 2.4)).poor
    assert not tauc_fit(e, straight, window=(1.17, 2.4)).poor
    bent = jnp.maximum(e - 1.17, 0) ** 6 / e**2  # the ordinate is a cube
    fit = tauc_fit(e, bent, window=(1.5, 3.0))
    assert float(fit.residual) > 0.1
    assert fit.poor
    assert tauc_fit(e, e**-4.0, window=(1.6, 2.4)).poor  # falls
    assert tauc_fit(e, (1 + e) ** 2 / e**2, window=(1.6, 2.4)).poor  # no positive gap
    tail = jnp.exp((e - 1.6) / 0.2)
    assert tauc_fit(e, tail / e**2, window=(1.2, 1.5)).gap < 1.2
    step = tauc_fit(e, jnp.maximum(e - 2.0, 0) ** 2 / e**2, window=(1.6, 2.4))
    assert step.gap > 1.6
    assert step.poor  # the line begins inside its window
    assert jax.jit(lambda y: tauc_fit(e, y, window=(1.5, 3.0)).poor)(bent)


def test_a_window_across_the_onset_shows_in_the_sensitivity():
    e = jnp.linspace(0.5, 3.0, 500)
    eps2 = jnp.maximum(e - 1.2, 0) ** 2 / e**2
    fit = tauc_fit(e, eps2, window=(1.0, 1.6))
    assert abs(float(fit.gap) - 1.2) > 0.01
    assert float(fit.sensitivity) > 0.02
    assert float(fit.residual) > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["indirect", "direct"])
def test_tauc_gaps_differentiate_and_batch(kind):
    e = jnp.linspace(1.0, 3.0, 100)

    def gap(shift):
        return tauc_fit(e, (jnp.maximum(e - 1.2 - shift, 0) ** 2.3 + 1e-3) / e**2, kind, (1.5, 2.5)).gap

    finite = (gap(1e-5) - gap(-1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jit(jax.grad(gap))(0.0), finite, rtol=1e-6)
    many = jax.vmap(gap)(jnp.array([0.0, 0.1]))
    np.testing.assert_allclose(many, [gap(0.0), gap(0.1)], atol=1e-12)
    # Where absorption vanishes inside the window, the derivative is finite too.
    dark = jax.grad(lambda y: tauc_fit(e, y, kind, (1.5, 2.5)).gap)(jnp.where(e > 2, e - 2, 0.0))
    assert np.isfinite(dark).all()
