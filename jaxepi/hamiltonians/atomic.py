"""Terms of single atoms: position matrix elements between the orbitals of one atom, and spin-orbit coupling."""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxepi.hamiltonians.base import Blocks
from jaxepi.hamiltonians.basis import SHELLS, Basis
from jaxepi.hamiltonians.two_centre import D_TENSORS
from jaxepi.linalg import alike


def dipole_pairs(basis: Basis) -> tuple[tuple[str, str], ...]:
    """Pairs of shells of one atom between which the position has matrix elements: l and l + 1."""
    shells = [s for s in basis.all_shells if s != "pz"]
    return tuple((a, b) for a in shells for b in shells if SHELLS[b][0] == SHELLS[a][0] + 1)


def dipoles(basis: Basis, radial: Float[Array, "kinds pairs"]) -> Float[Array, "kinds 3 o o"]:
    """Position matrix elements <mu| r_a |nu> on an atom, angstrom, spinless.

    Args:
        radial: integrals int R_a R_b r^3 dr of `dipole_pairs`, angstrom, a species. Angular factors: <s|n_a|p_b> =
            delta_ab/sqrt(3), <p_i|n_a|d_m> = (2/sqrt 15) D_m,ia (`two_centre.D_TENSORS`).
    """
    where = basis.slices()
    angular = {0: np.eye(3)[:, None, :] / 3**0.5, 1: 2 / 15**0.5 * np.moveaxis(D_TENSORS, 0, 2)}
    factors = np.zeros((len(dipole_pairs(basis)), 3, basis.width, basis.width))
    for i, (a, b) in enumerate(dipole_pairs(basis)):
        block = angular[SHELLS[a][0]]
        factors[i][:, where[a], where[b]] = block
        factors[i][:, where[b], where[a]] = np.swapaxes(block, 1, 2)
    return jnp.einsum("kp,paij->kaij", radial, jnp.asarray(factors, radial.dtype))


def angular_momentum(l: int) -> Complex[np.ndarray, "3 m m"]:
    """<m| L_a |m'> between the real harmonics of a shell, in the order of `basis`."""
    turn = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        turn[i, j, k], turn[i, k, j] = 1, -1
    if l == 0:
        return np.zeros((3, 1, 1), complex)
    if l == 1:
        return -1j * turn
    turned = np.einsum("kij,bjl->kbil", turn, D_TENSORS)
    return -1j * 4 / 3 * np.einsum("ail,kbil->kab", D_TENSORS, turned)


def spin_orbit(basis: Basis, strengths: Float[Array, "kinds shells"]) -> Complex[Array, "kinds o o"]:
    """Spin-orbit blocks 2 lambda L.S in the spinor basis, a species; of a p shell, lambda = Delta/3, eV."""
    pauli = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
    width, where = basis.block_size // 2, basis.slices()
    block = np.zeros((len(where), 2, width, 2, width), dtype=complex)
    for i, (name, place) in enumerate(where.items()):
        l, kept = SHELLS[name]
        own = angular_momentum(l)[:, np.array(kept)][:, :, np.array(kept)]
        block[i, :, place, :, place] = np.einsum("kab,kst->satb", own, pauli)
    dtype = np.result_type(strengths.dtype, np.complex64)
    blocks = jnp.asarray(block.reshape(len(where), 2 * width, 2 * width), dtype)
    return jnp.einsum("ks,sab->kab", strengths.astype(dtype), blocks)


def with_spin_orbit(blocks: Blocks, basis: Basis, strengths: Float[Array, "kinds shells"]) -> Blocks:
    """Blocks of a spinless model in the spinor basis `basis`, with spin-orbit coupling on every atom."""
    blocks = blocks.as_spinor()
    coupling = spin_orbit(basis, strengths)[jnp.asarray(basis.kinds(blocks.species))]
    onsite, coupling = alike(blocks.onsite, coupling.astype(np.result_type(blocks.onsite.dtype, np.complex64)))
    return dataclasses.replace(blocks, onsite=onsite + coupling)
