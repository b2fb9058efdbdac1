"""Which blocks follow an atom: containers that are large enough, and those that are not."""

import jax
import pytest
from honeycomb import A

from jaxepi.epi import stencil
from jaxepi.errors import InputError

pytestmark = pytest.mark.slow


def test_containers_that_cannot_be_are_refused(crystal, cell):
    hamiltonian, known = crystal
    assert known.stencil.reach > A / 3**0.5 - 1e-9  # a neighbour's neighbour changes no block, a neighbour does
    with pytest.raises(InputError, match="container"):
        stencil(hamiltonian, cell, (1, 1, 1))
    with pytest.raises(InputError, match="outside jit"):
        jax.jit(lambda x: stencil(hamiltonian, cell.with_positions(x)).moved)(cell.positions)
