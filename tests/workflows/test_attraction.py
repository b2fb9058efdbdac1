"""Electron-hole attraction in the absorption study: refused before any work where it cannot be, kept and read with the rest."""

import dataclasses
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import materials, optics
from jaxepi.errors import InputError
from jaxepi.optics import Screening
from jaxepi.optics.bethe_salpeter.setup import at_rest
from jaxepi.sampling import Snapshots
from jaxepi.workflows import absorption, attraction, quanta
from jaxepi.workflows.joining import joined
from jaxepi.workflows.reports import absorption as report
from jaxepi.workflows.settings import AbsorptionSettings

SMALL = AbsorptionSettings(
    crystal="silicon", hamiltonian="si-vogl1983", cell="primitive", supercell=1, kmesh=2, snapshots=2, temperatures=(300.0,),
    energies=(1.0, 6.0, 51), width=0.3, excitons=True, exciton_mesh=2, exciton_steps=20,
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gap_kind": "none"}, "a metal"),
        (
            {"crystal": "graphene", "hamiltonian": None, "potential": "graphene-pbe-d3", "gap_kind": "direct"},
            "three directions",
        ),
        ({"exciton_mesh": 60, "memory_gb": 0.5}, "GB"),
        ({"phonon_energies": True, "statistics": "classical"}, "phonon energies of classical nuclei"),
        ({"phonon_energies": True, "gap_kind": "direct"}, "whose gap is direct"),
    ],
)
def test_what_cannot_be_is_refused_before_snapshots_are_drawn(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        absorption.absorption(dataclasses.replace(SMALL, **changes), tmp_path / "none.h5")
    assert not (tmp_path / "none.h5").exists()


@pytest.mark.slow
def test_spectra_with_attraction_are_kept_beside_the_others(tmp_path, monkeypatch):
    """Strength moves down, and a second call reads what is there; phonon energies leave its amount, and carry it on."""
    monkeypatch.setattr(quanta, "CONSTANTS", 2)
    monkeypatch.setattr(quanta, "PAIRS", 4)
    asked = dataclasses.replace(SMALL, phonon_energies=True, kmesh=None, exciton_mesh=3, tamm_dancoff=False)
    found = absorption.absorption(asked, tmp_path / "spectra.h5")
    again = absorption.load(tmp_path / "spectra.h5")
    (attracted,), (without,) = found.attracted, found.spectra
    np.testing.assert_allclose(again.attracted[0].eps2, attracted.eps2, rtol=1e-12)
    low = np.asarray(without.energies) < 3.4
    below = [np.asarray(one.eps2).mean(axis=(0, 2, 3))[low].sum() for one in (attracted, without)]
    assert below[0] > 1.05 * below[1]
    np.testing.assert_allclose(again.attracted_quanta[0].eps2, found.attracted_quanta[0].eps2, rtol=1e-12)
    for spectrum, moved in ((without, found.quanta[0]), (attracted, found.attracted_quanta[0])):
        areas = [np.asarray(one.eps2).mean(axis=(0, 2, 3)).sum() for one in (spectrum, moved)]
        np.testing.assert_allclose(areas[1], areas[0], rtol=2e-2)
        assert not np.allclose(moved.eps2, spectrum.eps2, rtol=1e-3)
    report.write_csv(found, tmp_path / "spectra.csv")
    lines = [line for line in (tmp_path / "spectra.csv").read_text().splitlines() if line[0] != "#"]
    table = np.genfromtxt(lines, delimiter=",", names=True)
    assert len(table) == 6 * 51
    assert set(zip(table["attraction"], table["phonon_energies"], strict=True)) == {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert "with both" in report.summary(found)
    assert "beyond Tamm-Dancoff" in report.summary(found)
    # What pairs that are taken away add is in both spectra.
    silicon = materials.load("silicon", hamiltonian="si-vogl1983")
    for part, given in ((attraction.at_rest, ()), (attraction.of_snapshot, (at_rest(silicon.primitive), 0))):
        coupled, alone = (
            float(part(dataclasses.replace(asked, tamm_dancoff=t), silicon, *given, silicon.screening).static_eps1()[0])
            for t in (False, True)
        )
        assert coupled > 1.002 * alone


def test_screening_is_the_one_that_was_asked_for():
    silicon = materials.load("silicon", hamiltonian="si-vogl1983")
    known = silicon.screening
    assert known is not None
    model = attraction.screening(SMALL, silicon)
    assert float(model.eps0) == float(known.eps0)
    assert float(model.onsite) == pytest.approx(2.46, abs=0.01)
    other = attraction.screening(dataclasses.replace(SMALL, exciton_screening="onsite"), silicon)
    assert (other.eps0, other.onsite) == (known.eps0, 2.0)
    for kind in ("model", "onsite"):
        asked = dataclasses.replace(SMALL, exciton_screening=kind, dielectric_constant=8.0)
        assert float(attraction.screening(asked, silicon).eps0) == 8.0


@pytest.mark.slow
def test_too_few_steps_for_the_lines_are_warned_of():
    silicon = materials.load("silicon", hamiltonian="si-vogl1983")
    with pytest.warns(UserWarning, match="20 steps of the recursion do not resolve lines of 20 meV"):
        attraction.at_rest(dataclasses.replace(SMALL, width=0.02), silicon, silicon.screening)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        attraction.at_rest(dataclasses.replace(SMALL, exciton_steps=60), silicon, silicon.screening)


@pytest.mark.slow
@pytest.mark.parametrize("mesh", [2, 3])
def test_meshes_of_eight_snapshots_are_one_twice_as_fine(mesh):
    """Pairs that do not attract, lattice at rest: amount and mean energy of what absorbs, which few steps have exactly."""
    free, crystal = Screening(1e9, 0.0, 0.0), materials.load("silicon", hamiltonian="si-vogl1983")
    asked = dataclasses.replace(SMALL, kmesh=None, exciton_mesh=mesh, exciton_steps=4)
    one = at_rest(crystal.primitive)
    eight = Snapshots(crystal.primitive, jnp.repeat(one.positions, 8, axis=0), one.temperature)
    ours = joined([attraction.of_snapshot(asked, crystal, one, s, free) for s in range(8)], eight)
    theirs = optics.transitions(crystal.hamiltonian, one, 2 * mesh, tensor=False)
    for power in (0, 1):
        moments = [np.asarray(x.histogram).mean(axis=(0, 1)) @ x.grid.nodes**power for x in (ours, theirs)]
        np.testing.assert_allclose(moments[0], moments[1], rtol=2e-5)
