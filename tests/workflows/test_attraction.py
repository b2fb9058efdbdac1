"""Electron-hole attraction in the absorption study: refused before any work where it cannot be, kept and read with the rest."""

import dataclasses

import numpy as np
import pytest

from jaxepi.errors import InputError
from jaxepi.workflows import absorption
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
    ],
)
def test_what_cannot_be_is_refused_before_snapshots_are_drawn(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        absorption.absorption(dataclasses.replace(SMALL, **changes), tmp_path / "none.h5")
    assert not (tmp_path / "none.h5").exists()


@pytest.mark.slow
def test_spectra_with_attraction_are_kept_beside_the_others(tmp_path):
    """Strength moves down, and a second call reads what is there."""
    found = absorption.absorption(SMALL, tmp_path / "spectra.h5")
    again = absorption.load(tmp_path / "spectra.h5")
    (attracted,), (without,) = found.attracted, found.spectra
    np.testing.assert_allclose(again.attracted[0].eps2, attracted.eps2, rtol=1e-12)
    low = np.asarray(without.energies) < 3.4
    below = [np.asarray(one.eps2).mean(axis=(0, 2, 3))[low].sum() for one in (attracted, without)]
    assert below[0] > 1.05 * below[1]
