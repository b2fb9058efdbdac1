"""The committed training configurations: known keys, data sets that exist, models that can be built."""

import importlib.util
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small_orbitals import tables

import jaxepi.hamiltonians.learned as electrons_learned
import jaxepi.potentials.learned as ions_learned
from jaxepi.errors import InputError
from jaxepi.hamiltonians import e3
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.workflows import hamiltonian, training

FOLDER = Path(__file__).resolve().parents[2] / "experiments"


def script(path: str):
    """One of the experiments as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, FOLDER / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    peer = script("silicon/peer.py")
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
    table = script("bilayer_graphene/table.py")
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


@pytest.mark.parametrize("repeats", [7, 8, 10, 13])
def test_sorted_bands_are_followed_as_far_as_no_other_folded_state_is_lower(repeats):
    """First neighbours: all states that fold onto one point have |1 + exp(2 pi i k1) + exp(-2 pi i k2)|, the lowest of which is
    the cone's own up to the edge, and another one's beyond it (bands are not round, which moves the crossing a little)."""
    crystals = script("bilayer_graphene/dirac_crystals.py")
    crystal = crystals.Crystal("nearest", crystals.one_layer(2.46), None, None, 5)
    edge = crystal.edge(repeats)
    kappas = edge * np.array([0.2, 0.5, 0.8, 0.95, 1.1, 1.4])
    points = crystal.points(kappas)[:, None, :2]
    folded = points + np.indices((repeats, repeats)).reshape(2, -1).T / repeats
    own, every = (abs(1 + np.exp(2j * np.pi * k[..., 0]) + np.exp(-2j * np.pi * k[..., 1])) for k in (points, folded))
    ratios = every.min(axis=1) / own[:, 0]
    assert ratios[:4] == pytest.approx(1.0, abs=1e-12)
    assert np.all(ratios[4:] < 0.97)


def test_the_edge_of_cells_onto_whose_gamma_both_cones_fold_counts_copies_of_the_cones_alone():
    crystals = script("bilayer_graphene/dirac_crystals.py")
    crystal = crystals.Crystal("nearest", crystals.one_layer(2.46), None, None, 5)
    between = 4 * np.pi / (3**0.5 * 2.46) / 9  # copies stand 30 degrees from the first lattice vector
    assert crystal.edge(9) == pytest.approx(between / (2 * np.cos(np.pi / 6 - crystals.ANGLE)))


@pytest.mark.parametrize("name", ["nearest-x", "nearest-0", "nearest-nan", "nearestfoo", "layer-2", "graphene"])
def test_a_crystal_that_is_not_known_is_refused(name):
    with pytest.raises(InputError, match="bilayer, layer, pi, nearest"):
        script("bilayer_graphene/dirac_crystals.py").loaded(name)


@jax.numpy_dtype_promotion("standard")
def test_a_fit_of_cones_gives_their_parameters_and_refuses_what_has_none():
    estimators = script("bilayer_graphene/estimators.py")
    kappas, given = np.array([0.05, 0.075, 0.1, 0.15]), np.array([0.7, -1.1, 5.2, 0.34, -0.4, 0.3, 0.01])
    energies = np.asarray(estimators.bands(given, kappas, -0.7, 2.46))
    found, miss = estimators.fitted(kappas, energies[None], (0.05, 0.15), -0.7, 2.46)
    assert found[0] == pytest.approx(given, abs=1e-4)
    assert miss < 1e-6
    for wrong in (energies[None, ::-1], np.full_like(energies[None], np.nan)):
        with pytest.raises(InputError, match="misses an energy"):
            estimators.fitted(kappas, wrong, (0.05, 0.15), -0.7, 2.46)


@pytest.mark.slow
def test_a_signal_ends_the_velocity_of_the_bilayer_in_one_line():
    code = """
import os, runpy, signal, sys, time
sys.path.insert(0, {folder!r})
import dirac_crystals
from jaxepi import signals

def stopped(name):
    with signals.noted("all parts are kept"), signals.postponed():
        os.kill(os.getpid(), signal.SIGTERM)
        while not signals.pending():
            time.sleep(0.01)

dirac_crystals.slope_of = stopped
sys.argv = ["fermi_velocity.py"]
runpy.run_path({folder!r} + "/fermi_velocity.py", run_name="__main__")
"""
    whole = code.format(folder=str(FOLDER / "bilayer_graphene"))
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (143, "\njaxepi: terminated; all parts are kept\n")
