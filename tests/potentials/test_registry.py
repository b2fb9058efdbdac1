"""Loading potentials by name and from files."""

import csv
import json
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from jaxepi import potentials, training
from jaxepi.errors import InputError
from jaxepi.structure import Structure

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


def content() -> dict:
    return json.loads(resources.files("jaxepi.potentials").joinpath("published.json").read_text())


def test_every_published_set_loads_and_cites_its_source():
    for name in potentials.available():
        assert potentials.load(name).module.cutoff > 0
        assert potentials.citation(name)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*outside the training data")
@pytest.mark.parametrize(
    ("name", "material", "atoms"),
    [
        ("silicon-pbe", "silicon", 8),
        ("galliumarsenide-r2scan", "gallium_arsenide", 8),
        ("graphene-pbe-d3", "bilayer_graphene", 2),
    ],
)
def test_a_shipped_potential_has_the_errors_of_its_table(name, material, atoms):
    """Forces in the smallest cells of the test set, through ASE: weights, basis and units still belong together."""
    folder = EXPERIMENTS / material
    table = csv.DictReader((folder / "potential" / "errors.csv").open())
    (row,) = (r for r in table if (r["split"], r["group"], r["member"]) == ("test", "atoms", str(atoms)))
    settings = training.read_settings(folder / "potential.toml")
    held = training.read_examples(settings.data, settings.loss, settings.run.seed)
    chosen = np.flatnonzero((held.split == "test") & (held.sizes == atoms))
    assert len(chosen) == int(row["configurations"])
    calculator, errors = potentials.calculator(potentials.load(name), "float32"), []
    for c in chosen:
        mine = slice(held.first[c], held.first[c + 1])
        cell = Atoms(held.numbers[mine], held.positions[mine], cell=held.cell[c], pbc=held.pbc[c])
        errors.append(calculator.get_forces(cell) - held.forces[mine])
    np.testing.assert_allclose(1e3 * np.sqrt(np.mean(np.square(errors))), float(row["forces_rmse"]), rtol=2e-3)


def test_unknown_names_list_the_known():
    with pytest.raises(InputError, match=r"'unobtainium'.*silicon-mvff"):
        potentials.load("unobtainium")
    with pytest.raises(InputError, match="silicon-mvff"):
        potentials.citation("unobtainium")


def test_a_file_of_the_same_format_loads(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content()))
    structure = Structure.from_ase(bulk("Si", a=5.2))
    energies = [
        p.energy(structure, p.graph(structure))
        for p in (potentials.load(path, "silicon-vink2001"), potentials.load("silicon-vink2001"))
    ]
    assert energies[0] == energies[1]
    single = content()
    single["sets"] = {"mine": single["sets"]["silicon-mvff"]}
    path.write_text(json.dumps(single))
    assert potentials.load(str(path)).module == potentials.load("silicon-mvff").module


def broken(**changes):
    return {**content(), **changes}


def changed(key, value):
    """A file of one set, of which one entry is another, or missing."""
    entry = {**content()["sets"]["silicon-sw1985"], key: value}
    return broken(sets={"x": {n: v for n, v in entry.items() if v is not ...}})


def number(key, value):
    parameters = {**content()["sets"]["silicon-sw1985"]["parameters"], key: value}
    return changed("parameters", {n: v for n, v in parameters.items() if v is not ...})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (broken(version=7), "version 7"),
        (broken(format="other"), "format 'other'"),
        ([1, 2], "format 'list'"),
        (broken(), "choose one of"),
        (broken(sets={}), "none"),
        (broken(sets={"x": {"form": "magic"}}), "form 'magic'"),
        (broken(sets=[1]), "sets = 1: give a table"),
        (broken(sets={"x": [1]}), r"sets\.x = 1: give a table"),
        (broken(sets={"x": {"form": None}}), r"sets\.x\.form = None: give a text"),
        (broken(more=1), "unknown key 'more'"),
        (changed("units", "Ry"), r"sets\.x\.units = 'Ry': give one of eV, angstrom"),
        (changed("species", ["Qq"]), r"sets\.x\.species\[0\] = 'Qq': give one of H, He"),
        (changed("species", "Si"), r"sets\.x\.species = 'Si': give a list"),
        (changed("species", []), r"sets\.x\.species"),
        (changed("parameters", None), r"sets\.x\.parameters = None: give a table"),
        (changed("paramters", {}), "unknown key 'paramters'; did you mean 'parameters'"),
        (number("sigma", "2.1"), r"sets\.x\.parameters\.sigma = '2\.1': give a number"),
        (number("sigma", float("nan")), r"parameters\.sigma = nan angstrom: give a number from 0\.1"),
        (number("epsilon", 1e300), r"parameters\.epsilon = 1e\+300 eV: give a number"),
        (number("A", True), r"parameters\.A = True: give a number"),
        (number("p", 4.5), r"parameters\.p = 4\.5: give zero or a positive whole number"),
        (number("Sigma", 2.0), "unknown key 'Sigma'; did you mean 'sigma'"),
        (number("gamma", ...), r"sets\.x\.parameters\.gamma is missing"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, value, message):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(value))
    with pytest.raises(InputError, match=message):
        potentials.load(path)


def test_unreadable_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        potentials.load(tmp_path / "absent.json")
    (tmp_path / "cut.json").write_text('{"format": ')
    with pytest.raises(InputError, match="cannot be read"):
        potentials.load(tmp_path / "cut.json")
