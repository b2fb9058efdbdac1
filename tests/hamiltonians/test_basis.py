"""Orbital bases: indices, ragged species, electrons, and what is refused."""

import numpy as np
import pytest

from jaxepi.errors import InputError
from jaxepi.hamiltonians import Basis

# Silicon with d, carbon without: the blocks of carbon carry padding.
RAGGED = Basis(((6, ("s", "p")), (14, ("s", "p", "d"))), ((6, 4.0), (14, 4.0)))


def test_every_orbital_has_one_index_in_the_order_of_atoms():
    index = RAGGED.index((14, 6, 14))
    assert index.shape == (3, 9)
    assert RAGGED.size((14, 6, 14)) == 22
    np.testing.assert_array_equal(index[0], np.arange(9))
    np.testing.assert_array_equal(index[1], [9, 10, 11, 12, 22, 22, 22, 22, 22])
    np.testing.assert_array_equal(index[2], np.arange(13, 22))


def test_a_spinor_holds_up_then_down_of_each_atom():
    spinor = Basis(RAGGED.shells, RAGGED.electrons, True)
    assert spinor.block_size == 18
    assert spinor.size((6, 14)) == 26
    np.testing.assert_array_equal(spinor.index((6, 14))[0, :4], [0, 1, 2, 3])
    np.testing.assert_array_equal(spinor.index((6, 14))[0, 9:13], [4, 5, 6, 7])
    assert (RAGGED.spin_degeneracy, spinor.spin_degeneracy) == (2, 1)
    assert (RAGGED.occupied((6, 14)), spinor.occupied((6, 14))) == (4, 8)


def test_bases_compare_by_value():
    assert Basis(RAGGED.shells, RAGGED.electrons) == RAGGED
    assert hash(Basis(RAGGED.shells, RAGGED.electrons)) == hash(RAGGED)


def test_foreign_elements_are_refused_by_name():
    with pytest.raises(InputError, match="no Hamiltonian parameters for O, Ge; this model knows C, Si"):
        RAGGED.kinds((14, 32, 8))


def test_half_filled_bands_are_refused():
    odd = Basis(((5, ("s", "p")),), ((5, 3.0),))
    with pytest.raises(InputError, match="3 electrons do not fill whole bands"):
        odd.occupied((5,))
    assert odd.occupied((5, 5)) == 3
