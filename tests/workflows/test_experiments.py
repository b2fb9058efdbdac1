"""The committed training configurations: known keys, data sets that exist, models that can be built."""

import tomllib
from pathlib import Path

import pytest

import jaxepi.hamiltonians.learned as electrons_learned
import jaxepi.potentials.learned as ions_learned
from jaxepi.workflows import hamiltonian, training

FOLDER = Path(__file__).resolve().parents[2] / "experiments"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.toml")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_training_configuration_can_be_run(path):
    electrons = "base" in tomllib.loads(path.read_text())["model"]
    settings = (hamiltonian if electrons else training).configured(path)
    assert all(Path(entry.path).is_file() for entry in settings.data.sets)
    if electrons:
        electrons_learned.configured(settings.model)
    else:
        ions_learned.build(settings.model, (14,))
