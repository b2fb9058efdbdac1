"""Which blocks follow an atom, and how: containers that are large enough, and derivatives against differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import hamiltonians
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
    there = alike * jnp.exp(1j * (supercell.positions @ q))[:, None]

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
    hamiltonian, _ = crystal
    with pytest.raises(InputError, match="container"):
        stencil(hamiltonian, cell, (1, 1, 1))
    with pytest.raises(InputError, match="outside jit"):
        jax.jit(lambda x: stencil(hamiltonian, cell.with_positions(x)).moved)(cell.positions)


def test_what_surroundings_do_to_a_block_is_in_its_derivatives():
    """On-site terms that depend on the bonds: moving a neighbour changes them, and a uniform motion does not."""
    from ase.build import bulk

    from jaxepi.structure import Structure

    silicon = Structure.from_ase(bulk("Si", "diamond", a=5.431))
    hamiltonian = hamiltonians.load("si-nrl1999")
    found = couplings(hamiltonian, silicon, stencil(hamiltonian, silicon))
    dh, ds = found.between(jnp.array([0.1, 0.2, 0.3]), jnp.zeros(3))
    for matrices in (dh, ds):
        whole = matrices.reshape(2, 3, *matrices.shape[1:]).sum(axis=0)
        assert float(jnp.abs(whole).max()) < 1e-12 * float(jnp.abs(matrices).max())
    assert float(jnp.abs(dh[0, 9:, 9:]).max()) > 0.1
