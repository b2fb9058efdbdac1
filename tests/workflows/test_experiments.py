"""The committed training configurations: known keys, data sets that exist, models that can be built."""

import importlib.util
import tomllib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_orbitals import tables

import jaxepi.hamiltonians.learned as electrons_learned
import jaxepi.potentials.learned as ions_learned
from jaxepi.hamiltonians import e3
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.workflows import hamiltonian, training

FOLDER = Path(__file__).resolve().parents[2] / "experiments"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*/*.toml")), ids=lambda p: f"{p.parent.name}/{p.name}")
def test_a_training_configuration_can_be_run(path):
    model = tomllib.loads(path.read_text()).get("model", {})  # another's parameters bring their model along
    blocks = model.get("kind") == "equivariant"
    electrons = "base" in model or blocks
    settings = (hamiltonian if electrons else training).configured(path)
    assert all(Path(entry.path).is_file() for entry in settings.data.sets)
    if blocks:
        overlap, _ = Overlap.of(tables())
        e3.configured(settings.model, e3.carried(overlap, overlap.shells, 6, 4.0), overlap)
    elif electrons:
        electrons_learned.configured(settings.model)
    else:
        ions_learned.build(settings.model, (14,))


def test_the_window_of_the_peer_is_aligned_where_it_is_counted_from():
    """A model that differs from the labels in its lowest band alone has no error in a window about the valence edge, and
    one whose conduction bands are off by 0.2 eV has that error there; of all bands both are wrong by other amounts."""
    spec = importlib.util.spec_from_file_location("peer", FOLDER / "silicon" / "peer.py")
    peer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(peer)
    label = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 5, 4)) + np.array([-12.0, -3.0, 2.0, 3.5])
    group = SimpleNamespace(energies=label, occupied=2)
    deep = label + np.array([1.0, 0, 0, 0])
    found = peer.measures(group, deep, np.array([0, 1]))
    assert found["window"] == pytest.approx(0.0, abs=1e-9)
    assert found["bands"] == pytest.approx(1e3 * 0.75**0.5)  # aligned at the minimum, the other three are off by 1 eV
    wide = peer.measures(group, label + np.array([0, 0, 0.2, 0.2]), np.array([1]))
    edge = label[1] - label[1, :, :2].max()
    inside = (edge >= -5) & (edge <= 4)
    assert wide["window"] == pytest.approx(200 * (inside[:, 2:].sum() / inside.sum()) ** 0.5)
    assert wide["gap_bias"] == pytest.approx(200)


def test_runs_that_differ_by_their_seed_are_one_line_of_the_table():
    spec = importlib.util.spec_from_file_location("table", FOLDER / "bilayer_graphene" / "table.py")
    table = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(table)
    model = {"interactions": 1, "relations": "layers", "channels": 8, "baseline": "linear"}
    card = {"provenance": {"settings": {"model": model, "run": {"seed": 3, "epochs": 5}}, "data_hash": "a"}}
    name, seed, recipe = table.described(card)
    assert (name, seed) == ("edges within and between layers, 1 interaction, 8 channels, 5 epochs, baseline", 3)
    card["provenance"]["settings"]["run"]["seed"] = 4
    assert table.described(card)[2] == recipe
    card["provenance"]["settings"]["loss"] = {"onsite": 2.0}
    assert table.described(card)[2] != recipe
    model |= {"interactions": 0, "baseline": "two-centre"}
    assert table.described(card)[0] == "two-centre baseline alone"
    errors = [dict.fromkeys(table.COLUMNS, x) for x in (1.0, 2.0)]
    runs = [
        {"environments": 7, "parameters": 9, "bilayer": e, "twisted": {c: 0.5 * v for c, v in e.items()}}
        for e in errors
    ]
    cells = [c.strip() for c in table.line("a", runs).split("|")][1:-1]
    assert cells[:4] == ["a", "2", "7", "9"]
    assert cells[4] == "1.500 +- 0.707"
    assert cells[-1] == "0.50 +- 0.00"
