"""Parameter files: every shipped set loads and cites its source; users' files; what is refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import hamiltonians
from jaxepi.errors import InputError
from jaxepi.hamiltonians.laws import LAWS
from jaxepi.hamiltonians.parameter_files import check, read
from jaxepi.structure import Structure


@pytest.mark.parametrize("name", hamiltonians.parameter_files.sets())
def test_every_shipped_set_loads_and_names_its_paper(name):
    hamiltonian = hamiltonians.load(name)
    assert any(year in hamiltonians.citation(name) for year in ("1983", "1998", "1999", "2002", "2004", "2009", "2010"))
    assert hash(hamiltonian.module) == hash(hamiltonians.load(name).module)
    couplings = any(s.get("spin_orbit") for s in read(name)["species"].values())
    if couplings:
        assert hamiltonians.load(name, spin_orbit=True).basis.spinor
    else:
        with pytest.raises(InputError, match=f"{name} has no spin-orbit couplings"):
            hamiltonians.load(name, spin_orbit=True)


def test_the_cutoff_of_a_set_holds_exactly_its_shell():
    for name, neighbours in (("si-niquet2009", 4), ("gaas-boykin2002", 4), ("ge-jancu1998", 4)):
        symbol = {"si": "Si", "ga": "GaAs", "ge": "Ge"}[name[:2]]
        kind = "zincblende" if symbol == "GaAs" else "diamond"
        structure = Structure.from_ase(bulk(symbol, kind, a=read(name)["lattice_constant"]))
        graph = hamiltonians.load(name).graph(structure)
        assert graph.n_edges == neighbours * len(structure)


def test_a_user_can_load_a_set_of_their_own(tmp_path):
    data = read("si-vogl1983")
    data["name"] = "mine"
    data["species"]["Si"]["onsite"]["s"] += 1.0
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(data))
    mine, theirs = hamiltonians.load(path), hamiltonians.load("si-vogl1983")
    s = mine.basis.all_shells.index("s")
    np.testing.assert_allclose((mine.params["onsite"] - theirs.params["onsite"])[0, s], 1.0)
    assert hamiltonians.load(str(path)).module.name == "mine"


def test_reversed_pairs_are_filled_in():
    hopping = hamiltonians.load("gaas-boykin2002").params["hopping"]
    np.testing.assert_allclose(hopping["s-p:sigma"]["value"], hopping["p-s:sigma"]["value"].T)


@pytest.mark.parametrize("law", LAWS)
def test_laws_are_zero_and_smooth_where_parameters_are_neutral(law):
    d = jnp.linspace(1.0, 8.0, 50)
    value = LAWS[law](d, **{k: jnp.asarray(v) for k, v in LAWS[law].neutral.items()})
    np.testing.assert_array_equal(value, 0.0)


def test_the_power_law_is_harrisons():
    numbers = {"value": jnp.array(-1.5), "exponent": jnp.array(2.0), "length": jnp.array(2.0)}
    value = LAWS["power"](jnp.array([2.0, 4.0]), **numbers)
    np.testing.assert_allclose(value, [-1.5, -1.5 / 4])


def at(data, key, value):
    """Put a value at a key such as "species.Si.electrons", or leave the key out (...)."""
    *folders, last = key.split(".")
    for folder in folders:
        data = data[int(folder) if folder.isdigit() else folder]
    if value is ...:
        del data[last]
    else:
        data[last] = value


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("version", 7, "version 7; this jaxepi reads version 1"),
        ("version", True, "version True"),
        ("format", "other", "format 'other'"),
        ("format", ["x"], r"format \['x'\]"),
        ("onsite_model", "magic", "onsite_model = 'magic': give one of constant, niquet"),
        ("onsite_model", "boykin", "onsite_parameters is missing"),
        ("onsite_model", "niquet", "needs the shell d"),
        ("onsite_parameters", {"x": 1}, "unknown key 'x'"),
        ("law", "powr", "law = 'powr': give one of power"),
        ("law", "exponential", "unknown key 'exponent'; known are value, decay"),
        ("cutoff", -1.0, r"cutoff = -1\.0 angstrom: give a number from 0\.1"),
        ("cutoff", 1e6, r"cutoff = 1000000\.0 angstrom: give"),
        ("cutoff", "2.6", r"cutoff = '2\.6': give a number"),
        ("cutoff", 2.0, r"bonds of 2\.35169 angstrom, which cutoff = 2 leaves out"),
        ("skin", float("nan"), "skin = nan angstrom: give"),
        ("skin", None, "skin = None: give"),
        ("skin", ..., "skin is missing; give it"),
        ("cuttof", 3.0, "unknown key 'cuttof'; did you mean 'cutoff'"),
        ("species", ["Si"], r"species = \['Si'\]: give a table"),
        ("species", {}, "species = {}: give a table of at least 1"),
        ("species.Zz", {}, "unknown key 'Zz'"),
        ("species.Si", 14, r"species\.Si = 14: give a table with shells"),
        ("species.Si.shells", ["s", "p", "q"], "shell 'q' is not known"),
        ("species.Si.shells", ["s", "p", "p"], "names a shell twice"),
        ("species.Si.shells", [], r"species\.Si\.shells = \[\]: give a list of at least 1"),
        ("species.Si.shells", ["s", "p"], "unknown key 's\\*'"),
        ("species.Si.electrons", -4, r"species\.Si\.electrons = -4: give zero or a positive number"),
        ("species.Si.electrons", 11, r"species\.Si\.electrons = 11.* up to 10"),
        ("species.Si.electrons", True, r"species\.Si\.electrons = True: give"),
        ("species.Si.onsite.s", float("inf"), r"species\.Si\.onsite\.s = inf eV: give"),
        ("species.Si.onsite.s", 1e30, r"species\.Si\.onsite\.s = 1e\+30 eV: give"),
        ("species.Si.onsite.s", ..., r"species\.Si\.onsite\.s is missing"),
        ("species.Si.onsite.d", 1.0, "unknown key 'd'"),
        ("pairs", [], r"pairs = \[\]: give a list of at least 1"),
        ("pairs", {}, "pairs = {}: give a list"),
        ("pairs.0.species", ["Si", "Ge"], r"pairs\[0\]\.species\[1\] = 'Ge': give one of Si"),
        ("pairs.0.species", "Si", r"pairs\[0\]\.species = 'Si': give a list of 2"),
        ("pairs.0.shared", {"lenght": 2.0}, "unknown key 'lenght'; did you mean 'length'"),
        ("pairs.0.shared", {}, "lacks length; give it there or in shared"),
        ("pairs.0.hopping.s-s:sigma", {"value": 1.0}, "s-s:sigma lacks exponent; give it there or in shared"),
        ("pairs.0.hopping", {}, r"pairs\[0\]\.hopping = {}: give a table of at least 1"),
        ("pairs.0.hopping.s-d:sigma", {"value": 1.0, "exponent": 2.0}, "unknown key 's-d:sigma'"),
        ("pairs.0.hopping.s-s:pi", {"value": 1.0, "exponent": 2.0}, "unknown key 's-s:pi'"),
        ("pairs.0.hopping.s-s:sigma", -2.0, r"hopping\.s-s:sigma = -2\.0: give a table"),
        ("pairs.0.hopping.s-s:sigma.value", [1], r"s-s:sigma\.value = 1: give a number"),
        ("pairs.0.hopping.s-s:sigma.value", 1e6, r"hopping reaches 1.*e\+06 at the lengths of bonds"),
        ("pairs.0.hopping.s-s:sigma.exponent", 50, "reaches .* at the lengths of bonds"),
    ],
)
def test_what_a_file_may_not_hold_is_refused_by_key(tmp_path, key, value, message):
    path, data = tmp_path / "set.json", read("si-vogl1983")
    at(data, key, value)
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match=message) as error:
        hamiltonians.load(path)
    assert "set.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", hamiltonians.parameter_files.sets())
def test_shipped_sets_hold_what_users_files_must(name):
    check(read(name), name)


def test_names_and_pairs_stand_once(tmp_path):
    path, data = tmp_path / "set.json", read("si-vogl1983")
    data["pairs"] = 2 * data["pairs"]
    path.write_text(json.dumps(data))
    with pytest.raises(InputError, match="the pair Si-Si stands twice"):
        hamiltonians.load(path)
    path.write_text(json.dumps(read("si-vogl1983")).replace('"skin"', '"cutoff": 1.0, "skin"'))
    with pytest.raises(InputError, match="the name 'cutoff' stands twice"):
        hamiltonians.load(path)


def test_a_structure_without_bonds_is_refused():
    """Its bands would be flat, and nobody would know."""
    wide = Structure.from_ase(bulk("Si", a=9.0))
    with pytest.raises(InputError, match=r"no two atoms are within its cutoff of 2\.58.* angstrom"):
        hamiltonians.load("si-vogl1983").graph(wide)


def test_unreadable_files_and_unknown_names_are_refused(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(read("si-vogl1983"))[:200])
    with pytest.raises(InputError, match=r"parameter file .* cannot be read"):
        hamiltonians.load(path)
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match=r"parameter file .* cannot be read"):
        hamiltonians.load(path)
    with pytest.raises(InputError, match=r"no Hamiltonian 'si-nobody'; shipped are .*si-niquet2009"):
        hamiltonians.load("si-nobody")
    with pytest.raises(InputError, match=r"missing\.json"):
        hamiltonians.load(tmp_path / "missing.json")


def test_foreign_elements_are_refused():
    with pytest.raises(InputError, match="no Hamiltonian parameters for Ge; this model knows Si"):
        hamiltonians.load("si-niquet2009").graph(Structure.from_ase(bulk("Ge", a=5.66)))
