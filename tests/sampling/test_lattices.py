"""Supercells of any shape as repeats, and atoms of one crystal in two descriptions."""

import numpy as np
import pytest
from ase.build import bulk, graphene
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxepi.errors import InputError
from jaxepi.sampling.lattices import diagonal, sites, warn_of_strain
from jaxepi.structure import Structure

GAAS = Structure.from_ase(bulk("GaAs", "zincblende", a=5.65))


@given(arrays(np.int64, (3, 3), elements=st.integers(-5, 5)))
def test_any_supercell_is_repeats_of_a_cell_of_the_same_lattice(matrix):
    size = round(np.linalg.det(matrix))
    if size < 1:
        return
    left, counts, right = diagonal(matrix)
    np.testing.assert_array_equal(left @ matrix @ right, np.diag(counts))
    assert min(counts) > 0
    assert np.prod(counts) == size
    assert round(np.linalg.det(left)) == round(np.linalg.det(right)) == 1


def test_repeats_stay_as_they_are():
    left, counts, right = diagonal(np.diag([4, 1, 6]))
    assert counts == (4, 1, 6)
    np.testing.assert_array_equal(left @ right, np.eye(3))


@pytest.mark.parametrize("seed", range(3))
def test_atoms_in_any_order_and_place_are_found(seed):
    rng = np.random.default_rng(seed)
    atoms = bulk("GaAs", "zincblende", a=5.65, cubic=True).repeat((1, 2, 1))
    atoms = atoms[rng.permutation(len(atoms))]
    shift = rng.normal(size=3)
    atoms.translate(shift)
    atoms.wrap()
    found = sites(Structure.from_ase(atoms), GAAS)
    assert round(np.linalg.det(found.matrix)) == 8
    assert (np.asarray(GAAS.species)[found.atom] == atoms.numbers).all()
    placed = np.asarray(GAAS.positions)[found.atom] + found.translation @ np.asarray(GAAS.cell)
    away = (placed - atoms.positions) @ np.linalg.inv(atoms.cell.array)
    np.testing.assert_allclose(away - away[0] - np.rint(away - away[0]), 0, atol=1e-9)


def test_the_box_of_a_layer_does_not_matter():
    base = graphene("C2", a=2.46, vacuum=6.0)
    base.pbc = True
    layer = graphene("C2", a=2.46, vacuum=10.0)
    layer.pbc = (True, True, False)
    found = sites(Structure.from_ase(layer).supercell(2), Structure.from_ase(base))
    assert round(np.linalg.det(found.matrix)) == 4


def test_another_crystal_is_refused_by_name():
    def refused(atoms, match):
        with pytest.raises(InputError, match=match):
            sites(Structure.from_ase(atoms), GAAS, "phonopy.yaml")

    refused(bulk("Si", a=5.43), "phonopy.yaml: of .*AsGa|GaAs.* structure is Si")
    refused(bulk("GaAs", "zincblende", a=6.2), r"lattice vectors .* no supercell of it")
    turned = bulk("GaAs", "zincblende", a=5.65)
    turned.rotate(30, "z", rotate_cell=True)
    refused(turned, "orientations must agree")
    inverted = bulk("GaAs", "zincblende", a=5.65)
    inverted.positions *= -1
    refused(inverted, r"atom 1 \(As\) of the structure has no counterpart in phonopy.yaml: .* 2.83 angstrom")
    with pytest.warns(UserWarning, match="phonopy.yaml: the lattice constant differs by 0.50%"):
        warn_of_strain(sites(GAAS.scaled(1.005), GAAS), "phonopy.yaml")
