"""Parameter files: every shipped set loads and cites its source; users' files; what is refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import hamiltonians
from jaxepi.errors import InputError
from jaxepi.hamiltonians.laws import LAWS
from jaxepi.hamiltonians.parameter_files import read
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 7}, "version 7; this jaxepi reads version 1"),
        ({"format": "other"}, "format 'other'"),
        ({"onsite_model": "magic"}, "on-site model 'magic' is unknown"),
    ],
)
def test_files_of_another_kind_are_refused(tmp_path, change, message):
    path = tmp_path / "set.json"
    path.write_text(json.dumps({**read("si-vogl1983"), **change}))
    with pytest.raises(InputError, match=message):
        hamiltonians.load(path)


def test_unreadable_files_and_unknown_names_are_refused(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(read("si-vogl1983"))[:200])
    with pytest.raises(InputError, match="not a readable parameter file"):
        hamiltonians.load(path)
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(InputError, match="not a readable parameter file"):
        hamiltonians.load(path)
    with pytest.raises(InputError, match=r"no Hamiltonian 'si-nobody'; shipped are .*si-niquet2009"):
        hamiltonians.load("si-nobody")
    with pytest.raises(InputError, match=r"missing\.json"):
        hamiltonians.load(tmp_path / "missing.json")


def test_foreign_elements_are_refused():
    with pytest.raises(InputError, match="no Hamiltonian parameters for Ge; this model knows Si"):
        hamiltonians.load("si-niquet2009").graph(Structure.from_ase(bulk("Ge", a=5.66)))
