"""Studies of renormalisation and unfolding on a small crystal: Monte Carlo beside second order, resumed; settings refused."""

import dataclasses

import honeycomb
import numpy as np
import pytest
from spring_crystals import springs

from jaxepi import plotting
from jaxepi.errors import InputError
from jaxepi.materials import Material
from jaxepi.workflows import renormalisation as renormalisations
from jaxepi.workflows.epi_settings import RenormalisationSettings, UnfoldingSettings
from jaxepi.workflows.renormalisation import renormalisation
from jaxepi.workflows.reports import epi as report
from jaxepi.workflows.unfolding import unfolding


@pytest.fixture(scope="module")
def crystal():
    cell = honeycomb.cell()
    constants = springs(cell.supercell((2, 2, 1)), 30.0, 8.0, 1.7)
    return Material(
        cell,
        cell,
        honeycomb.hamiltonian(general=True),
        None,
        "honeycomb",
        constants=constants,
        constants_name="springs",
    )


def test_the_last_mesh_is_the_largest():
    assert RenormalisationSettings(qmesh=(8, 6, 0, 4, 6)).meshes == (4, 6, 8)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"k": (0.0, 0.0, 0.0)}, "together"),
        ({"qmesh": (0,)}, "nothing to compute"),
        ({"snapshots": 2}, "two pairs"),
        ({"snapshots": 7}, "ask for 8"),
        ({"snapshots": 8, "supercell": 3}, "not among"),
        ({"dynamic": True, "statistics": "classical"}, "quanta"),
        ({"qmesh": (0,), "snapshots": 4, "path": "GX"}, "whole bands"),
    ],
)
def test_what_cannot_be_renormalised_is_refused(given, complaint):
    with pytest.raises(InputError, match=complaint):
        RenormalisationSettings(**given)


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"supercell": 1}, "nothing to unfold"),
        ({"snapshots": 3}, "pairs"),
        ({"energies": (1.0, -1.0, 9)}, "increasing"),
    ],
)
def test_what_cannot_be_unfolded_is_refused(given, complaint):
    with pytest.raises(InputError, match=complaint):
        UnfoldingSettings(**given)


def test_force_constants_are_those_of_the_settings_or_of_a_larger_file(crystal, monkeypatch):
    asked = []

    def stop(found, settings, repeats, progress):
        asked.append(repeats)
        raise InputError("enough")

    monkeypatch.setattr(renormalisations, "constants_of", stop)
    for one, repeats in ((crystal, 1), (crystal, 3), (dataclasses.replace(crystal, constants=None), 3)):
        with pytest.raises(InputError, match="enough"):
            renormalisation(RenormalisationSettings("honeycomb", constants=repeats), one)
    assert asked == [2, 3, 3]


@pytest.mark.slow
def test_monte_carlo_of_small_displacements_is_second_order(crystal, tmp_path):
    settings = RenormalisationSettings(
        "honeycomb", temperatures=(0.0, 300.0), qmesh=(2,), broadening=0.0, snapshots=64, amplitude=0.1, constants=2
    )
    target = tmp_path / "shifts.h5"
    found = renormalisation(settings, crystal, target)
    assert found.levels[:2] == ("valence", "conduction")
    assert found.carlo is not None
    mean, error = found.carlo.gap()
    assert (error > 0).all()
    assert (error < 0.5 * np.abs(mean)).all()
    np.testing.assert_array_less(np.abs(mean - found.gap()[0]), 4 * error)
    again = renormalisation(settings, crystal, target)
    np.testing.assert_array_equal(again.shifts, found.shifts)
    assert any("Monte Carlo" in line for line in report.lines(found))
    report.write_csv(found, tmp_path / "shifts.csv", "of a test")
    rows = (tmp_path / "shifts.csv").read_text().splitlines()
    assert len(rows) == 2 + len(found.levels) * 2 + 2
    plotting.save(plotting.renormalisation(found, report.differences(found), "honeycomb"), tmp_path / "shifts.png")


@pytest.mark.slow
def test_bands_of_a_path_shift_as_their_levels_do(crystal, tmp_path):
    """Dynamic, with more than one mesh; the path's first point is the level of its own k and band."""
    given = {"temperatures": (0.0, 300.0), "qmesh": (1, 2), "constants": 2, "dynamic": True}
    found = renormalisation(RenormalisationSettings("honeycomb", path="GM", points=2, **given), crystal)
    assert found.bands is not None
    assert found.band_shifts is not None
    assert found.band_shifts.shape == (2, len(found.bands), 2)
    settings = RenormalisationSettings("honeycomb", k=(0.5, 0.0, 0.0), band=1, **given)
    level = renormalisation(settings, crystal)
    corner = found.path.rows[-1]
    np.testing.assert_allclose(found.path.points[corner], [0.5, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(found.band_shifts[:, corner, 1], level.shifts[0, -1], rtol=1e-9)
    assert (np.abs(level.shifts) > 1e-4).all()
    drawn = plotting.renormalised_bands(
        found.path, found.bands, found.bands + found.band_shifts[1], found.rest[0], "honeycomb", "300 K"
    )
    plotting.save(drawn, tmp_path / "bands.png")


@pytest.mark.slow
def test_unstable_crystals_are_refused_by_name(crystal):
    from jaxepi import epi
    from jaxepi.epi.wave_vectors import refuse_unbound_modes
    from jaxepi.tree import replace

    constants = replace(crystal.constants, matrix=-crystal.constants.matrix)
    with pytest.raises(InputError, match="not stable in springs"):
        refuse_unbound_modes(constants, epi.wave_vectors(crystal.primitive, 2), "springs")
    light = replace(crystal.constants, weights=np.array([10.0, 0.0]))
    with pytest.raises(InputError, match="mass of atom 1"):
        refuse_unbound_modes(light, epi.wave_vectors(crystal.primitive, 2))


@pytest.mark.slow
def test_spectral_functions_of_a_path_are_kept_and_drawn(crystal, tmp_path):
    settings = UnfoldingSettings(
        "honeycomb", supercell=2, snapshots=2, path="GM", points=3, energies=(-40.0, 40.0, 800), broadening=0.3
    )
    found = unfolding(settings, crystal, tmp_path / "a.h5")
    step = found.energies[1] - found.energies[0]
    np.testing.assert_allclose(found.values.sum(axis=2) * step, 2, rtol=0.05)  # orbitals, less the tails
    again = unfolding(settings, crystal, tmp_path / "a.h5")
    np.testing.assert_array_equal(again.values, found.values)
    drawn = plotting.spectral_function(
        found.path, found.energies, found.values[0], found.bands, found.zero, "honeycomb"
    )
    plotting.save(drawn, tmp_path / "a.png")
    assert report.unfolded_lines(found)[0].split()[:2] == ["T", "(K)"]
