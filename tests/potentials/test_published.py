"""Loading potentials by name and from files, and the ASE calculator."""

import json
from importlib import resources

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces

from jaxepi import potentials
from jaxepi.errors import InputError
from jaxepi.structure import Structure


def content() -> dict:
    return json.loads(resources.files("jaxepi.potentials").joinpath("published.json").read_text())


def test_every_published_set_loads_and_cites_its_source():
    for name in potentials.available():
        assert potentials.load(name).module.cutoff > 0
        assert potentials.citation(name)


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


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (broken(version=7), "version 7"),
        (broken(format="other"), "format 'other'"),
        ([1, 2], "format 'list'"),
        (broken(), "choose one of"),
        (broken(sets={}), "none"),
        (broken(sets={"x": {"form": "magic"}}), "form 'magic'"),
        (broken(sets={"x": {"form": "stillinger-weber", "species": ["Si"], "units": "Ry"}}), "units 'Ry'"),
        (broken(sets={"x": {"form": "modified-valence-force-field", "species": ["Si"], "units": "Ry"}}), "'Ry'"),
        (broken(sets={"x": {"form": "stillinger-weber", "species": ["Qq"]}}), "Qq"),
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


def test_ase_calculator():
    atoms = bulk("Si", a=5.431, cubic=True)
    atoms.calc = potentials.calculator(potentials.load("silicon-sw1985"))
    np.testing.assert_allclose(atoms.get_potential_energy() / 8, -4.3363, atol=5e-4)
    atoms.rattle(0.05, seed=0)
    graph = atoms.calc.graph
    numerical = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[3])
    np.testing.assert_allclose(atoms.get_forces()[3], numerical[0], atol=1e-6)
    assert atoms.calc.graph is graph
    atoms.set_cell(atoms.cell * 1.01, scale_atoms=True)
    assert atoms.get_stress().shape == (6,)
    assert atoms.calc.graph is not graph
    graph = atoms.calc.graph
    atoms.positions[0] += 0.8
    atoms.get_potential_energy()
    assert atoms.calc.graph is not graph
