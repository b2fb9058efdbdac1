"""Coupling constants of electrons and phonons, g_mn,nu(k, q).

Flows in: a Hamiltonian, force constants, k and q. Flows out: matrix elements between states at k and k + q, eV.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxepi.epi.levels import Electrons
from jaxepi.epi.perturbation import Topology
from jaxepi.errors import InputError
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.harmonic import variance
from jaxepi.sampling.phonons import interpolated, short_ranged
from jaxepi.units import thz_from_eigenvalue


class CouplingConstants(NamedTuple):
    """Coupling at one pair of wave vectors.

    Attributes:
        g: eV, shape (modes, m, n): sqrt(hbar/2w) <m, k+q| dH/dQ |n, k>; zero for modes that are not bound.
        here, there: energies at k and at k + q, eV, ascending. thz: frequencies at q, imaginary ones negative.
    """

    g: Complex[Array, "modes m n"]
    here: Float[Array, " n"]
    there: Float[Array, " m"]
    thz: Float[Array, " modes"]

    def strength(self) -> Float[Array, "modes m n"]:
        """|g|^2, eV^2: of single members of degenerate sets arbitrary, summed over sets not."""
        return (self.g * self.g.conj()).real


def coupling_constants(
    hamiltonian: Hamiltonian, constants: ForceConstants, k: Any, q: Any, known: Topology
) -> CouplingConstants:
    """g_mn,nu(k, q) of the primitive cell; of a basis with overlap that of S^(-1/2) H S^(-1/2), Hermitian.

    Args:
        k, q: fractional, shape (3,). known: `topology(hamiltonian, constants)`.

    Raises:
        InputError: k or q of another shape.
    """
    for name, vector in (("k", k), ("q", q)):
        if np.shape(vector) != (3,):
            raise InputError(f"{name} has shape {np.shape(vector)}; give three fractional coordinates")
    dtype = constants.matrix.dtype
    return CouplingConstants(*_constants(hamiltonian, constants, jnp.asarray(k, dtype), jnp.asarray(q, dtype), known))


@jax.jit
def _constants(hamiltonian: Hamiltonian, constants: ForceConstants, k: Array, q: Array, known: Topology):
    cell = constants.base
    electrons = Electrons.of(hamiltonian, cell, known.graph, known.stencil)
    start, step = k @ cell.reciprocal, q @ cell.reciprocal
    here, there = electrons.at(start), electrons.at(start + step)
    dh, _ = electrons.perturbations(start, step, here, there)
    weight = constants.inverse_root_masses.ravel()
    d = interpolated(constants, short_ranged(constants, known.images), q, known.images)
    d = d.reshape(len(weight), -1) * (weight[:, None] * weight[None]).astype(d.dtype)
    (e, u), (e_there, u_there), (squares, modes) = (jnp.linalg.eigh(m) for m in (here[0], there[0], d))
    amplitude = jax.vmap(lambda s: variance(s, jnp.zeros_like(s)))(squares) ** 0.5
    weighted = modes * weight[:, None].astype(modes.dtype) * amplitude[None].astype(modes.dtype)
    g = jnp.einsum("pm,apr,rn,av->vmn", u_there.conj(), dh, u, weighted)
    return g, e, e_there, thz_from_eigenvalue(squares)
