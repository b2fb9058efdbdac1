"""On-site dipoles put into models and files: by name, kept through write and read, refused where they make no sense."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import hamiltonians, optics
from jaxepi.electrons.eigen import eigenvalues
from jaxepi.errors import InputError
from jaxepi.hamiltonians import dipoles, learned
from jaxepi.hamiltonians.base import BlockModule
from jaxepi.sampling import Snapshots
from jaxepi.structure import Structure

SMALL = {"channels": 1, "features": 2, "hidden": [4], "cutoff": 3.4, "switch": [2.9, 3.2], "base": "si-vogl1983"}
FOUND = {"Si": {"s-p": 0.7, "s*-p": -0.2}}
SILICON = Structure.from_ase(bulk("Si", a=5.43))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A learned model in a file, before and after dipoles were put into a copy."""
    before = tmp_path_factory.mktemp("models") / "model.npz"
    after = before.with_name("with.npz")
    learned.write(learned.build(SMALL, jax.random.key(0)), SMALL, before, {"citation": "test", "level": "pbe"})
    dipoles.write_into(before, after, FOUND, "fitted to a test")
    return before, after


def spectrum(h):
    still = Snapshots(SILICON, SILICON.positions[None], 0.0)
    grid = optics.EnergyGrid(0.05, 600)
    return np.asarray(optics.transitions(h, still, 2, grid).histogram)


def test_dipoles_stand_between_neighbouring_shells_of_each_element():
    assert dipoles.free(hamiltonians.load("si-niquet2009")) == (("Si", "s-p"), ("Si", "p-d"), ("Si", "s*-p"))
    names = dipoles.free(hamiltonians.load("gaas-jancu1998", spin_orbit=True))
    assert {element for element, _ in names} == {"Ga", "As"}
    assert len(names) == 6


def test_values_come_back_by_name():
    h = hamiltonians.load("gaas-jancu1998")
    radial = jnp.arange(6.0) / 10
    assert dipoles.values(h) == {}
    held = dipoles.values(dipoles.with_dipoles(h, radial))
    assert np.allclose(dipoles.ordered(h, held), radial)
    assert dipoles.ordered(h, {"As": {"p-d": 1.5}})[dipoles.free(h).index(("As", "p-d"))] == 1.5


@pytest.mark.slow
def test_they_survive_the_file(written):
    before, after = (hamiltonians.load(path) for path in written)
    assert dipoles.values(before) == {}
    assert dipoles.values(after)["Si"] == pytest.approx(FOUND["Si"])
    expected = dipoles.with_dipoles(before, jnp.asarray(dipoles.ordered(before, FOUND)))
    assert np.allclose(spectrum(after), spectrum(expected), atol=1e-9)
    assert np.abs(spectrum(after) - spectrum(before)).max() > 1e-3


@pytest.mark.slow
def test_bands_stay_and_the_card_says_where_they_come_from(written):
    points = np.array([[0.13, 0.21, -0.37]])
    once, again = (eigenvalues(hamiltonians.load(path), SILICON, points) for path in written)
    assert np.array_equal(once, again)
    (_, old), (_, new) = (learned.read(path) for path in written)
    assert new["dipoles_angstrom"] == {"radial_integrals": FOUND, "citation": "fitted to a test"}
    assert {n: v for n, v in new.items() if n != "dipoles_angstrom"} == dict(old)


def test_new_ones_take_the_place_of_the_old(written, tmp_path):
    dipoles.write_into(written[1], tmp_path / "other.npz", {"Si": {"s-p": 0.1}}, "others")
    held = dipoles.values(hamiltonians.load(tmp_path / "other.npz"))
    assert held["Si"] == pytest.approx({"s-p": 0.1, "s*-p": 0.0})


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"Ge": {"s-p": 1.0}}, "unknown key 'Ge'"),
        ({"Si": {"p-d": 1.0}}, "dipoles of Si: unknown key 'p-d'"),
        ({"Si": {"s-p": float("nan")}}, "s-p is nan; give a number in angstrom"),
    ],
)
def test_values_that_a_model_cannot_have_are_refused(found, message):
    with pytest.raises(InputError, match=message):
        dipoles.ordered(hamiltonians.load("si-vogl1983"), found)


def test_models_without_a_place_for_them_are_refused():
    with pytest.raises(InputError, match="has an overlap"):
        dipoles.free(hamiltonians.load("si-nrl1999"))
    with pytest.raises(InputError, match="2 radial integrals for 3: give one for each of Si s-p, Si p-d"):
        dipoles.with_dipoles(hamiltonians.load("si-niquet2009"), jnp.zeros(2))
    other = dataclasses.replace(hamiltonians.load("si-vogl1983"), module=_Fixed())
    with pytest.raises(InputError, match="_Fixed takes no on-site dipoles"):
        dipoles.free(other)


class _Fixed(BlockModule):
    """A module of another kind."""

    basis = hamiltonians.load("si-vogl1983").basis
    cutoff, skin = 3.0, 0.0

    def apply(self, variables, structure, graph):
        """Never reached: refused before."""
