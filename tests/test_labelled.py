"""Spectra, bands and gaps as tables of pandas and xarray, and spectra in files."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import labelled
from jaxepi.errors import InputError
from jaxepi.kpoints import Path
from jaxepi.optics import Spectrum
from jaxepi.sampling import Snapshots
from jaxepi.structure import Structure
from jaxepi.workflows.bands import Bands, ThermalGaps

ENERGIES = jnp.linspace(1.0, 2.0, 5)
EPS = jnp.arange(1.0, 61.0).reshape(3, 5, 2, 2)
SPECTRUM = Spectrum(ENERGIES, 10 + EPS, 0.1 * EPS, jnp.array([1.0, 2.0, 1.0]), (0, 1, 0))
PATH = Path(np.eye(3), np.array([0.0, 1.0, 2.5]), [(0.0, "G"), (2.5, "X")], (0, 2))
FOUND = Bands(PATH, np.arange(6.0).reshape(3, 2), 1)


def test_a_spectrum_reads_back_as_it_was(tmp_path):
    for spectrum in (SPECTRUM, Spectrum(ENERGIES, EPS, EPS)):
        spectrum.save(tmp_path / "s.npz")
        found = Spectrum.load(tmp_path / "s.npz")
        assert found.groups == spectrum.groups
        for name in ("energies", "eps1", "eps2", "weights"):
            np.testing.assert_array_equal(getattr(found, name), getattr(spectrum, name))


def test_files_that_are_no_spectra_are_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"s\.h5: a spectrum is kept as a NumPy archive; give a name that ends in \.npz"
    ):
        SPECTRUM.save(tmp_path / "s.h5")
    with pytest.raises(InputError, match=r"none\.npz cannot be read as a spectrum"):
        Spectrum.load(tmp_path / "none.npz")
    SPECTRUM.save(tmp_path / "s.npz")
    whole = (tmp_path / "s.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-200])
    with pytest.raises(InputError, match=r"cut\.npz cannot be read as a spectrum"):
        Spectrum.load(tmp_path / "cut.npz")
    np.savez(tmp_path / "other.npz", **{"header.json": np.array(json.dumps({"format": "model"}))})
    with pytest.raises(InputError, match=r"other\.npz cannot be read as a spectrum \(it is 'model'\)"):
        Spectrum.load(tmp_path / "other.npz")


def test_a_library_that_is_missing_is_named():
    with pytest.raises(InputError, match=r"no_such_library is not installed; .*pip install 'jaxepi\[tables\]'"):
        labelled._library("no_such_library")


@pytest.mark.slow  # pandas takes seconds to import
def test_frames_of_pandas():
    pytest.importorskip("pandas")
    table = SPECTRUM.to_pandas()
    np.testing.assert_allclose(table["absorption"].to_numpy(), SPECTRUM.absorption())
    np.testing.assert_allclose(table["absorption_error"].to_numpy(), SPECTRUM.standard_error())
    np.testing.assert_allclose(table.index, ENERGIES)
    assert table.attrs["units"]["absorption"] == "1/cm"
    bands = FOUND.to_pandas()
    assert list(bands.columns) == ["k1", "k2", "k3", "corner", "band 1", "band 2"]
    assert list(bands["corner"]) == ["G", "", "X"]
    np.testing.assert_array_equal(bands["band 2"], [1, 3, 5])
    gaps = thermal().to_pandas()
    assert gaps.loc[(300.0, 1), "gap"] == 3.0


@pytest.mark.slow
def test_datasets_of_xarray():
    pytest.importorskip("xarray")
    data = SPECTRUM.to_xarray()
    np.testing.assert_allclose(data["absorption"], SPECTRUM.absorption())
    assert data["absorption"].attrs["units"] == "1/cm"
    assert data["eps2_tensor"].dims == ("snapshot", "energy", "direction", "field")
    assert FOUND.to_xarray()["energy"].dims == ("point", "band")
    found = thermal().to_xarray()
    np.testing.assert_array_equal(found["gap"].sel(temperature=100.0), [0, 1])


def thermal():
    cell = Structure.create([[0.0, 0, 0]], 3 * np.eye(3), [14])
    sets = tuple(Snapshots(cell, jnp.zeros((2, 1, 3)), t) for t in (100.0, 300.0))
    return ThermalGaps(sets, np.arange(4.0).reshape(2, 2))
