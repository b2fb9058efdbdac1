"""`jaxepi phonons`: what follows from force constants, as text, as files, and what is said where modes are unstable."""

import dataclasses

import numpy as np
import pytest
from spring_crystals import gallium_arsenide

from jaxepi import sampling
from jaxepi.workflows import vibrations
from jaxepi.workflows.reports.phonons import vibration_lines
from jaxepi.workflows.settings import PhononsSettings


@pytest.fixture(scope="module")
def spring_gaas():
    return gallium_arsenide()


@pytest.mark.slow
def test_what_follows_from_force_constants(spring_gaas, tmp_path):
    asked = PhononsSettings(mesh=3, temperatures=(0.0, 300.0))
    found = vibrations.vibrations(spring_gaas, asked)
    # Springs: the elastic constants by the slope of the acoustic modes, along a cube axis sqrt(C44/rho) twice.
    slow, same, fast = found.sound["X"]
    np.testing.assert_allclose(slow, same, rtol=1e-9)
    assert 0 < slow < fast
    step = 0.01 * np.asarray(spring_gaas.base.cell)[:, 0] / (2 * np.pi)
    thz = np.asarray(sampling.frequencies_thz(spring_gaas, [step, 1.01 * step]))[:, 2]
    along_x = np.sort(np.asarray(sampling.group_velocities(spring_gaas, [step], (1.0, 0, 0)))[0, :3, 0])
    np.testing.assert_allclose(along_x, found.sound["X"], rtol=1e-6)
    np.testing.assert_allclose(2e-3 * np.pi * np.diff(thz) / 1e-4, fast, rtol=1e-3)
    text = vibration_lines(found, spring_gaas.base)
    rows = [line.split() for line in text]
    assert rows[1][:6] == ["T", "(K)", "F", "(eV)", "U", "(eV)"]
    assert rows[2][0] == "0" and rows[2][3:5] == ["0.0000", "0.0000"]  # noqa: PT018
    columns = found.density.columns()
    vibrations.write_csv(tmp_path / "dos.csv", columns, ["THz"], "a test")
    _, total, *atoms = np.loadtxt(tmp_path / "dos.csv", delimiter=",", skiprows=3).T
    np.testing.assert_allclose(total, sum(atoms), atol=1e-7)


@pytest.mark.slow
def test_unstable_modes_are_named_in_place_of_a_table(spring_gaas):
    soft = dataclasses.replace(spring_gaas, matrix=-spring_gaas.matrix)
    found = vibrations.vibrations(soft, PhononsSettings(mesh=2), source="these springs")
    assert found.thermodynamics is None
    assert any(
        "no thermodynamics: mode at q = [" in note and "not stable in these springs" in note for note in found.notes
    )
    dropped = vibrations.vibrations(soft, PhononsSettings(mesh=2, imaginary="drop"))
    assert dropped.thermodynamics is not None
