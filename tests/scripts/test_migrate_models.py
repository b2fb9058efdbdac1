"""Files that name their published set are refused with the remedy, which is the script that writes the set into them."""

import dataclasses

import jax
import migrate_models
import numpy as np
import pytest

from jaxepi import hamiltonians
from jaxepi.checkpoint import read_checkpoint, write_checkpoint
from jaxepi.errors import InputError
from jaxepi.hamiltonians import learned, parameter_files

SMALL = {"channels": 1, "features": 2, "hidden": [4], "correlation": 1, "lmax": 1, "cutoff": 3.4, "switch": [2.9, 3.2]}


@pytest.fixture
def old(tmp_path):
    """A file as earlier releases wrote it."""
    config = {**SMALL, "base": "si-vogl1983"}
    path = tmp_path / "model.npz"
    learned.write(learned.build(config, jax.random.key(0)), config, path, {"citation": "a test"})
    held = read_checkpoint(path)
    assert held.config["model"]["base"] == parameter_files.read("si-vogl1983")
    model = {**held.config["model"], "base": "si-vogl1983"}
    write_checkpoint(path, dataclasses.replace(held, config={**held.config, "model": model}))
    return path


@pytest.mark.slow
def test_old_files_are_refused_and_migrated_once(old, capsys):
    with pytest.raises(
        InputError, match=r"names its published set, 'si-vogl1983'.*scripts/migrate_models\.py .*model\.npz"
    ):
        hamiltonians.load(old)
    before = read_checkpoint(old)
    assert migrate_models.main([str(old)]) == 0
    assert "holds si-vogl1983 now; bands without spin-orbit coupling agree within 0.0e+00 eV" in capsys.readouterr().out
    found, card = learned.read(old)
    assert card == before.card
    assert found.citation == "a test"
    held, kept = (jax.tree.map(np.asarray, x) for x in (found.params, dict(before.params)))
    jax.tree.map(np.testing.assert_array_equal, held, kept)
    assert migrate_models.main([str(old)]) == 0
    assert "holds its set already" in capsys.readouterr().out


def test_a_set_that_is_nowhere_is_named(old, capsys):
    held = read_checkpoint(old)
    model = {**held.config["model"], "base": "/nowhere/mine.json"}
    write_checkpoint(old, dataclasses.replace(held, config={**held.config, "model": model}))
    assert migrate_models.main([str(old)]) == 2
    error = capsys.readouterr().err
    assert "names a published set that is not there" in error
    assert "mine.json" in error


def test_a_file_needs_no_other_file(tmp_path):
    """The set of a model may be gone: its parameters, orbitals and spin-orbit couplings are in the model's own file."""
    mine = tmp_path / "mine.json"
    mine.write_text((parameter_files.SHIPPED / "si-jancu1998.json").read_text().replace("si-jancu1998", "mine"))
    config = {**SMALL, "base": str(mine)}
    written = tmp_path / "model.npz"
    start = learned.build(config, jax.random.key(0))
    learned.write(start, config, written, {})
    mine.unlink()
    assert hamiltonians.load(written).module == start.module
    spinor = hamiltonians.load(written, spin_orbit=True)
    expected = hamiltonians.load("si-jancu1998", spin_orbit=True)
    assert spinor.basis == expected.basis
    np.testing.assert_array_equal(spinor.params["base"]["spin_orbit"], expected.params["spin_orbit"])
