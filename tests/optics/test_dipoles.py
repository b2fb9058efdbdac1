"""On-site dipoles: their symmetry, and the velocity they make against the commutator of matrices."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from scipy.spatial.transform import Rotation

from jaxepi import hamiltonians, optics
from jaxepi.hamiltonians import atomic
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian, hamiltonian_gradient, phases, scatter
from jaxepi.hamiltonians.two_centre import two_centre
from jaxepi.optics.momentum import momentum_operator
from jaxepi.sampling import Snapshots
from jaxepi.structure import Structure


def with_dipoles(name, scale=0.3, spin_orbit=False):
    h = hamiltonians.load(name, spin_orbit=spin_orbit)
    basis = dataclasses.replace(h.basis, spinor=False)
    shape = (len(basis.species), len(atomic.dipole_pairs(basis)))
    radial = scale * jax.random.normal(jax.random.key(0), shape)
    return dataclasses.replace(h, params={**h.params, "dipoles": radial})


def structure(name="GaAs", kind="zincblende", a=5.65):
    atoms = bulk(name, kind, a=a)
    atoms.rattle(0.05, seed=3)
    return Structure.from_ase(atoms)


@pytest.mark.slow
@pytest.mark.parametrize("spin_orbit", [False, True])
def test_the_momentum_operator_is_the_gradient_less_the_commutator(spin_orbit):
    h, s = with_dipoles("gaas-jancu1998", spin_orbit=spin_orbit), structure()
    graph, k = h.graph(s), jnp.asarray([0.13, 0.21, -0.37])
    blocks, vectors, q = h.blocks(s, graph), graph.vectors(s), cartesian(k, s)
    matrix = bloch_matrices(blocks, graph, vectors, q)[0]
    gradient = hamiltonian_gradient(h, s, graph, k)[0]
    none = jnp.zeros_like(blocks.hopping)
    w = momentum_operator(blocks, graph, vectors, phases(vectors, q)).apply(jnp.eye(blocks.size, dtype=complex))
    for a in range(3):
        d = scatter(blocks.dipoles[:, a], none, blocks, graph).astype(complex)
        velocity = gradient[a] - 1j * (d @ matrix - matrix @ d)
        assert np.allclose(1j * w[a], velocity, atol=1e-11)
        assert np.allclose(velocity, velocity.conj().T, atol=1e-11)


def test_dipoles_turn_like_vectors():
    h = with_dipoles("si-niquet2009")
    d = np.asarray(atomic.dipoles(h.basis, h.params["dipoles"]))[0]
    matrix = Rotation.from_rotvec([0.4, -0.9, 0.2]).as_matrix()
    turn = np.eye(10)
    where = h.basis.slices()
    turn[where["p"], where["p"]] = matrix
    n = Rotation.random(20, random_state=0).as_matrix()[:, 0]
    y, rotated = (two_centre(0, 2, jnp.asarray(x))[0][:, 0] for x in (n, n @ matrix.T))
    turn[where["d"], where["d"]] = np.linalg.lstsq(np.asarray(y), np.asarray(rotated), rcond=None)[0].T
    assert np.allclose(np.einsum("ab,ij,bjk,lk->ail", matrix, turn, d, turn), d, atol=1e-12)


@pytest.mark.slow
def test_spectra_with_dipoles_do_not_depend_on_where_the_supercell_is_folded():
    h, base = with_dipoles("si-niquet2009"), Structure.from_ase(bulk("Si", a=5.43))
    energies = jnp.linspace(2.0, 6.0, 9)

    def spectrum(s, mesh):
        still = Snapshots(s, s.positions[None], 0.0)
        return optics.dielectric(h, still, energies, kmesh=mesh, broadening=optics.Gaussian(0.1)).eps2.mean(axis=0)

    assert np.allclose(spectrum(base, 2), spectrum(base.supercell(2), 1), atol=1e-8)
    without = hamiltonians.load("si-niquet2009")
    still = Snapshots(base, base.positions[None], 0.0)
    other = optics.dielectric(without, still, energies, kmesh=2, broadening=optics.Gaussian(0.1)).eps2.mean(axis=0)
    assert float(jnp.abs(spectrum(base, 2) - other).max()) > 1e-2


@pytest.mark.slow
def test_derivatives_by_radial_integrals_are_those_of_finite_differences():
    h, s = with_dipoles("gaas-jancu1998"), structure()
    graph, energies = h.graph(s), jnp.linspace(2.0, 6.0, 5)
    still = Snapshots(s, s.positions[None], 0.0)

    def total(x):
        moved = dataclasses.replace(h, params={**h.params, "dipoles": h.params["dipoles"].at[0, 1].add(x)})
        found = optics.dielectric(moved, still, energies, kmesh=2, broadening=optics.Gaussian(0.2), graph=graph)
        return found.eps2.sum()

    slope, step = jax.grad(total)(0.0), 1e-4
    assert np.isclose(slope, (total(step) - total(-step)) / (2 * step), rtol=1e-6)
    assert abs(float(slope)) > 1e-3
