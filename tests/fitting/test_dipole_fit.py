"""Fitting dipoles to spectra: the quadratic form against the kernel, a fit that is known, derivatives, refusals, files."""

import dataclasses

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import hamiltonians, optics
from jaxepi.errors import InputError
from jaxepi.fitting import dipoles
from jaxepi.fitting.dipoles import DipoleSettings
from jaxepi.hamiltonians.dipoles import with_dipoles
from jaxepi.optics.peaks import area, peak_windows
from jaxepi.sampling import Snapshots
from jaxepi.structure import Structure

pytestmark = pytest.mark.slow

TRUE = jnp.array([0.8, -0.3])
GRID = optics.EnergyGrid(0.05, 800)
ENERGIES = np.arange(0.0, 8.0, 0.1)
LINE = optics.Lorentzian(0.2)


def crystal():
    atoms = bulk("Si", a=5.43)
    atoms.rattle(0.05, seed=2)
    return Structure.from_ase(atoms)


def direct(h, structure):
    """eps1 and eps2 along x, y, z by the kernel alone."""
    still = Snapshots(structure, structure.positions[None], 0.0)
    found = optics.transitions(h, still, 2, GRID).spectrum(jnp.asarray(ENERGIES), LINE)
    return tuple(np.einsum("waa->aw", x[0]) for x in (found.eps1, found.eps2))


@pytest.fixture(scope="module")
def model():
    return hamiltonians.load("si-vogl1983")


@pytest.fixture(scope="module")
def reference(model):
    """The spectrum of known dipoles."""
    structure = crystal()
    return dipoles.Reference(structure, ENERGIES, *direct(with_dipoles(model, TRUE), structure), 2, LINE)


@pytest.fixture(scope="module")
def form(model, reference):
    return dipoles.spectral_form(model, reference, GRID)


def test_the_form_is_the_kernel_for_any_dipoles(model, reference, form):
    radial = jnp.array([-0.37, 1.1])
    expected = direct(with_dipoles(model, radial), reference.structure)
    for ours, theirs in zip(form.at(radial), expected, strict=True):
        assert np.allclose(ours, theirs, atol=1e-9, rtol=1e-9)
    assert np.abs(np.subtract(form.at(radial)[1], form.at(jnp.zeros(2))[1])).max() > 0.1


def test_known_dipoles_are_found_again(form, reference):
    found, value = dipoles.fit([form], [reference], DipoleSettings(window=(1.0, 7.0), ridge=0.0))
    assert np.allclose(found, TRUE, atol=1e-6)
    assert float(value) < 1e-12
    windows = {"peak 1": (2.0, 4.0), "peak 2": (4.0, 6.0)}
    shown = dipoles.comparison(form, reference, found, windows)
    assert [row["ratio"] for row in shown] == pytest.approx([1.0] * 3, abs=1e-6)
    without = dipoles.comparison(form, reference, 0 * found, windows)
    assert all(abs(row["ratio"] - 1) > 1e-3 for row in without)
    assert without[0]["quantity"] == "peak 1, 2.00 to 4.00 eV"


def test_the_ridge_shortens_them(form, reference):
    lengths = [
        float(jnp.linalg.norm(dipoles.fit([form], [reference], DipoleSettings(ridge=ridge))[0])) for ridge in (0.0, 1.0)
    ]
    assert lengths[0] > 2 * lengths[1]


def test_the_loss_is_differentiable_by_dipoles_and_by_the_hamiltonian(model, reference, form):
    settings, radial, step = DipoleSettings(), jnp.array([0.2, 0.4]), 1e-5

    def at(x):
        return dipoles.loss([form], [reference], settings, x)

    slope = jax.jit(jax.grad(at))(radial)
    for i, e in enumerate(np.eye(2)):
        difference = (at(radial + step * e) - at(radial - step * e)) / (2 * step)
        assert np.isclose(slope[i], difference, rtol=1e-6)
    graph = model.graph(reference.structure)

    def through(shift):
        moved = {**model.params, "onsite": model.params["onsite"].at[0, 0].add(shift)}
        other = dipoles.spectral_form(dataclasses.replace(model, params=moved), reference, GRID, graph)
        return dipoles.loss([other], [reference], settings, radial)

    through = jax.jit(jax.value_and_grad(through))
    _, slope = through(0.0)
    difference = (through(1e-4)[0] - through(-1e-4)[0]) / 2e-4
    assert np.isclose(slope, difference, rtol=1e-5)


def test_peaks_are_separated_at_their_minima():
    energies = np.linspace(0.0, 10.0, 1001)
    heights, places = (10.0, 30.0, 20.0), (3.0, 4.0, 5.5)
    lines = [h * np.exp(-0.5 * ((energies - x) / 0.2) ** 2) for h, x in zip(heights, places, strict=True)]
    windows = peak_windows(energies, sum(lines))
    assert windows[0][0] == 0.0
    assert all(low < x < high for (low, high), x in zip(windows, places, strict=True))
    for window, height in zip(windows, heights, strict=True):
        assert area(energies, sum(lines), window) == pytest.approx(height * 0.2 * (2 * np.pi) ** 0.5, rel=0.03)
    assert area(energies, np.ones(1001), (1.234, 2.345)) == pytest.approx(1.111)
    with pytest.raises(InputError, match="3 peaks up to 10 eV where 4"):
        peak_windows(energies, sum(lines), 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": (7.0, 1.0)}, "the lower first"),
        ({"ridge": -1.0}, "ridge -1.0 1/angstrom.2: give zero or a positive number"),
        ({"smoothing": float("inf")}, "smoothing inf eV"),
        ({"starts": 1.5}, "starts 1.5: give zero or a positive whole number"),
        ({"eps1": 0.0, "eps2": 0.0}, "both zero"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        DipoleSettings(**change)


def test_references_that_do_not_reach_are_refused(reference):
    with pytest.raises(InputError, match="no reference spectrum"):
        dipoles.refuse([], DipoleSettings())
    with pytest.raises(InputError, match=r"ends at 7.9 eV and the window at 9; lower"):
        dipoles.refuse([reference], DipoleSettings(window=(2.0, 9.0)))
    late = dataclasses.replace(reference, energies=ENERGIES + 2.0)
    with pytest.raises(InputError, match=r"begins at 2 eV; eps1 is asked for up to 1.5"):
        dipoles.refuse([late], DipoleSettings())


def test_a_scissor_moves_transitions_and_keeps_their_dipoles():
    energies = np.arange(0.0, 12.0, 0.02)

    def lines(places):
        """Two lines of equal dipoles, narrow, and their static eps1."""
        eps2 = sum(np.exp(-0.5 * ((energies - x) / 0.1) ** 2) for x in places) / (0.1 * (2 * np.pi) ** 0.5)
        return np.tile(eps2, (3, 1))

    one = dipoles.Reference(crystal(), energies, np.full((3, 600), 2.0), lines((3.0, 5.0)), 1, LINE)
    found = dipoles.shifted(one, 0.8)
    assert np.allclose(found.eps2, lines((3.8, 5.8)), atol=0.01)
    expected = 2 / np.pi * sum(1 / (x + 0.8) - 1 / x for x in (3.0, 5.0))
    assert np.allclose(found.eps1[:, 0] - 2.0, expected, atol=1e-3)
    assert np.allclose(dipoles.shifted(one, 0.0).eps1, one.eps1, atol=1e-9)


def test_references_are_read_from_a_file(reference, tmp_path):
    path = tmp_path / "spectra.h5"
    with h5py.File(path, "w") as file:
        file.attrs["eta"] = 0.2
        group = file.create_group("crystal")
        group.attrs["divisions"] = 2
        held = {"positions": reference.structure.positions, "cell": reference.structure.cell, "numbers": [14, 14]}
        for name, value in {**held, **{n: getattr(reference, n) for n in ("energies", "eps1", "eps2")}}.items():
            group[name] = np.asarray(value)
    (found,) = dipoles.read_references(path).values()
    assert np.array_equal(found.eps2, reference.eps2)
    assert (found.kmesh, found.broadening.width, found.structure.species) == (2, 0.2, (14, 14))
    with h5py.File(path, "a") as file:
        del file["crystal/eps2"]
    with pytest.raises(InputError, match="is no file of spectra"):
        dipoles.read_references(path)
    with pytest.raises(InputError, match="there is no file of spectra"):
        dipoles.read_references(tmp_path / "none.h5")
