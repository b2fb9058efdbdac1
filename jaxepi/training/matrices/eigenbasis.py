"""Errors of H where they move bands: between eigenstates of the label at a few k points, near the Fermi level most.

Flows in: `Matrices` and a baseline. Flows out: what a batch needs to compare blocks in that basis. With label states c_n at
energies E_n (c^+ S c = 1) and w_n = d/(d + |E_n - E_F|), the error of H becomes sqrt(w_n) c_n^+ dH c_m sqrt(w_m): its
diagonal is the first-order shift of a band, in full at the Fermi level and less the farther off. If its norm is below some
epsilon, no energy E moves by more than epsilon (1 + |E - E_F|/d); so it also keeps combinations of orbitals that nearly cancel,
of energies far up, from falling among the bands, which an error of H(R) of a few meV can make them do.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg as sl
from jaxtyping import Array, Complex, Float

from jaxepi.errors import InputError
from jaxepi.training.matrices.labels import Matrices

CANDIDATES = 3
"""So many times as many k points are drawn as are kept: those with most states near the Fermi level."""


def bloch(
    held: Matrices,
    c: int,
    onsite: Float[np.ndarray, "n o o"],
    edges: Float[np.ndarray, "e o o"],
    k: Float[np.ndarray, "3"],
) -> Complex[np.ndarray, "N N"]:
    """H(k) or S(k) of one configuration, cell gauge; k fractional."""
    atoms, mine = slice(held.first[c], held.first[c + 1]), np.flatnonzero(held.edge_of == c)
    n, o = int(held.first[c + 1] - held.first[c]), onsite.shape[1]
    out = np.zeros((n, n, o, o), complex)
    phase = np.exp(2j * np.pi * held.shifts[mine] @ k)[:, None, None]
    np.add.at(out, (held.senders[mine] - held.first[c], held.receivers[mine] - held.first[c]), phase * edges[mine])
    out[np.arange(n), np.arange(n)] += onsite[atoms]
    return out.swapaxes(1, 2).reshape(n * o, n * o)


def states(
    held: Matrices, c: int, k: Float[np.ndarray, "3"], filled: int, width: float
) -> tuple[Complex[np.ndarray, "N N"], Float[np.ndarray, "N"]]:
    """sqrt(w_n) c_n as columns, and w_n, of a configuration's labels at a fractional k.

    Args:
        filled: number of filled bands; E_F is in the middle between these and the others. width: d, eV.

    Raises:
        InputError: S(k) is not positive definite.
    """
    h, s = (bloch(held, c, a, b, k) for a, b in ((held.onsite, held.hopping), (held.own_overlap, held.overlap)))
    try:
        energies, vectors = sl.eigh(h, s)
    except np.linalg.LinAlgError as error:
        raise InputError(
            f"configuration {c}: S(k) is not positive definite at k = {np.round(k, 3).tolist()}; label with a basis that "
            "depends less on itself, or set [loss] eigenbasis = 0"
        ) from error
    weights = width / (width + np.abs(energies - energies[filled - 1 : filled + 1].mean()))
    return vectors * np.sqrt(weights), weights


def points(held: Matrices, c: int, count: int, filled: int, width: float, seed: int) -> Float[np.ndarray, "p 3"]:
    """Fractional k points of a configuration, drawn by the seed.

    Args:
        count: p. filled, width, and what is raised: as in `states`.
    """
    drawn = np.random.default_rng((seed, 2, c)).random((CANDIDATES * count, 3)) - 0.5
    many = [states(held, c, k, filled, width)[1].sum() for k in drawn]
    return drawn[np.sort(np.argsort(many)[-count:])]


def assembled(
    onsite: Float[Array, "n o o"], near: Any, hopping: tuple[Array, ...], k: Float[Array, "n 3"]
) -> Complex[Array, "N N"]:
    """sum of blocks with their phases, of a batch of configurations side by side.

    Args:
        near: tables of a batch with `receivers`, `mask` and `shifts`. hopping: of the slots of every table. k: of each atom.
    """
    n, o = onsite.shape[0], onsite.shape[1]
    own = jnp.arange(n, dtype=jnp.int32)
    kind = np.result_type(onsite.dtype, np.complex64)
    matrix = jnp.zeros((n, n, o, o), kind).at[own, own].add(onsite.astype(kind))
    for table, values in zip(near, hopping, strict=True):
        angle = 2 * np.pi * jnp.einsum("nma,na->nm", table["shifts"], k)
        phase = jax.lax.complex(jnp.cos(angle), jnp.sin(angle)) * table["mask"].astype(kind)
        blocks = phase[..., None, None] * values.reshape(*phase.shape, o, o).astype(kind)
        matrix = matrix.at[own[:, None], table["receivers"]].add(blocks)
    return matrix.swapaxes(1, 2).reshape(n * o, n * o)


def spread_of(
    errors: Complex[Array, "N N"], weights: Float[Array, "N"], configuration: Any, count: int
) -> Float[Array, " c"]:
    """Weighted root mean square of the errors between label states, c_n^+ dH c_m, eV: of each configuration of a batch, shape
    (c,), zero where there is none. No error of a band, which is one element of the diagonal.

    Args:
        errors: in the weighted basis, eV. weights: w_n, zero where a batch is padded. configuration: of each atom, shape (n,).
            count: c.
    """
    orbitals = len(weights) // len(configuration)
    of = jnp.repeat(configuration, orbitals)
    square = jax.ops.segment_sum(jnp.sum(errors.real**2 + errors.imag**2, axis=1), of, count)
    whole = jax.ops.segment_sum(weights, of, count)
    there = whole > 0
    return jnp.where(there, jnp.sqrt(jnp.where(there, square, 0.0) + 1e-12) / jnp.where(there, whole, 1.0), 0.0)
