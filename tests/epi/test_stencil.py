"""Which blocks follow an atom, and how: containers that are large enough, and derivatives against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from honeycomb import A

from jaxepi.epi import couplings, stencil
from jaxepi.errors import InputError
from jaxepi.hamiltonians import bloch_matrices

pytestmark = pytest.mark.slow


def test_a_bloch_sum_is_the_difference_in_a_supercell(crystal, cell):
    """Every Cartesian direction of both atoms, at a wave vector that the supercell fits."""
    hamiltonian, known = crystal
    found = couplings(hamiltonian, cell, known.stencil)
    supercell, q = cell.supercell((2, 1, 1)), jnp.array([0.5, 0.0, 0.0]) @ cell.reciprocal
    graph, k = hamiltonian.graph(supercell), jnp.array([0.3, -0.2, 0.0])
    alike = jnp.kron(jnp.ones((2, 1)), jnp.eye(2)).astype(complex) / 2**0.5
    there = alike * jnp.exp(1j * (supercell.positions @ q).astype(complex))[:, None]

    def matrices(u):
        moved = supercell.with_positions(supercell.positions + u)
        return bloch_matrices(hamiltonian.blocks(moved, graph), graph, graph.vectors(supercell), k)

    expected = []
    for atom, axis in np.ndindex(2, 3):
        u = jnp.zeros((4, 3)).at[jnp.array([atom, atom + 2]), axis].set(jnp.array([1e-5, -1e-5]))
        plus, minus = matrices(u), matrices(-u)
        expected.append(
            [None if a is None else there.conj().T @ (a - b) @ alike / 2e-5 for a, b in zip(plus, minus, strict=True)]
        )
    for i, matrix in enumerate(found.between(k, q)):
        if matrix is not None:
            np.testing.assert_allclose(matrix, jnp.array([each[i] for each in expected]), atol=1e-7)


def test_containers_that_cannot_be_are_refused(crystal, cell):
    hamiltonian, known = crystal
    assert known.stencil.reach > A / 3**0.5 - 1e-9  # a neighbour's neighbour changes no block, a neighbour does
    with pytest.raises(InputError, match="container"):
        stencil(hamiltonian, cell, (1, 1, 1))
    with pytest.raises(InputError, match="outside jit"):
        jax.jit(lambda x: stencil(hamiltonian, cell.with_positions(x)).moved)(cell.positions)
