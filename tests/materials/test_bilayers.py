"""Bilayers by stacking and twist: as many atoms as the formula says, three bonds each, turned by the angle, or refused."""

import jax
import numpy as np
import pytest
from vesin import NeighborList

from jaxepi import materials
from jaxepi.errors import InputError
from jaxepi.layers import layers
from jaxepi.materials import bilayers


def neighbours(structure, cutoff):
    finder = NeighborList(cutoff=cutoff, full_list=True)
    x, cell = (np.asarray(a, float) for a in (structure.positions, structure.cell))
    return finder.compute(points=x, box=cell, periodic=np.asarray(structure.pbc), quantities="ijD")


@pytest.mark.parametrize(
    ("m", "r", "atoms", "degrees"),
    [(1, 1, 28, 21.787), (2, 1, 76, 13.174), (1, 3, 28, 38.213), (3, 2, 196, 16.426), (30, 1, 11164, 1.0845)],
)
def test_a_twist_has_the_atoms_bonds_and_angle_of_its_formula(m, r, atoms, degrees):
    found = bilayers.twisted(m, r)
    assert len(found) == atoms
    assert bilayers.angle(m, r) == pytest.approx(degrees, abs=6e-4)
    assert degrees == pytest.approx(
        np.degrees(np.arccos((3 * m**2 + 3 * m * r + r**2 / 2) / (3 * m**2 + 3 * m * r + r**2))), abs=6e-4
    )
    i, _, vectors = neighbours(found, 1.6)
    assert (np.bincount(i, minlength=atoms) == 3).all()
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), bilayers.A / 3**0.5, atol=1e-8)
    np.testing.assert_allclose(vectors[:, 2], 0.0, atol=1e-9)
    # Bonds of a layer point along three directions; those of the layers are the twist apart, up to turns of 60 degrees.
    turns = np.degrees(np.angle((vectors[:, 0] + 1j * vectors[:, 1]) ** 6)) / 6
    upper = np.asarray(found.positions)[i, 2] > bilayers.HEIGHT / 2
    between = (turns[upper].mean() - turns[~upper].mean() - degrees) % 60
    assert min(between, 60 - between) == pytest.approx(0.0, abs=1e-3)
    assert np.ptp(turns[upper]) < 1e-6


def test_stackings_are_what_they_are_called():
    over = {}
    for name in bilayers.STACKINGS:
        found = bilayers.stacked(name, distance=3.4)
        assert layers(found).tolist() in ([0, 0, 1, 1], [1, 1, 0, 0])
        vectors = neighbours(found, 3.41)[2]
        over[name] = int((np.abs(vectors[:, 2]) > 1).sum()) // 2
    assert over == {"AA": 2, "AB": 1, "SP": 0}


def test_names_give_bilayers_and_twists_that_do_not_fit_name_the_nearest():
    assert len(materials.load("bilayer-graphene-AB").primitive) == 4
    with jax.enable_x64(True):
        assert len(materials.load("twisted-bilayer-graphene-13.17").structure) == 76
    assert bilayers.nearest(1.08) == (30, 1)
    assert bilayers.named("silicon") is None
    with pytest.raises(InputError, match=r"nearest is 1\.1213: twisted-bilayer-graphene-m29-r1, 10444 atoms"):
        materials.known("twisted-bilayer-graphene-1.11")
    with pytest.raises(InputError, match=r"m=1, r=2 is the same twist"):
        materials.known("twisted-bilayer-graphene-m2-r4")
    with pytest.raises(InputError, match="choose one of AA, AB, SP"):
        materials.load("bilayer-graphene-BA")
    with pytest.raises(InputError, match="atoms are more than 100000"):
        bilayers.twisted(200)
    with pytest.raises(InputError, match="between 0 and 60"):
        bilayers.nearest(60.0)
    with pytest.raises(InputError, match="0 is less than 1"):
        bilayers.twisted(0)
    with pytest.raises(InputError, match="give 1 to 10"):
        bilayers.stacked("AB", distance=30.0)
