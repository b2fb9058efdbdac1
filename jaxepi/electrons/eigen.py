"""Eigenvalues and bands of a Hamiltonian, batched over k points, degeneracy-safe where sets are summed."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Num

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import constant
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian
from jaxepi.kpoints import fractional
from jaxepi.linalg import call_lapack, inverse_cholesky
from jaxepi.structure import Structure

LARGEST = 1e5
"""eV: no band of a model is farther from zero."""


def plausible(energies: Any, of: str = "the crystal") -> np.ndarray:
    """Energies (eV, any shape) on the host, unless a damaged model has made NaN or absurd numbers of them.

    Args:
        of: whose bands these are, for the message.

    Raises:
        InputError: one that is NaN, or beyond `LARGEST`.
    """
    found = np.asarray(energies)
    if not (np.abs(found) < LARGEST).all():
        raise InputError(
            f"the bands of {of} reach {np.abs(found).max():.3g} eV: the parameters of the Hamiltonian are damaged, or the "
            "structure is far from all it was made for"
        )
    return found


def eigvalsh(matrix: Num[Array, "n n"] | np.ndarray) -> Float[Array, " n"]:
    """Ascending eigenvalues of a Hermitian matrix.

    The derivative is the diagonal of U^+ dA U: right for every sum over a whole degenerate set, never NaN. Single members
    of a degenerate set have no derivative.

    Raises:
        InputError: a matrix that is not square.
    """
    return _eigvalsh(_square(matrix))


def _square(matrix: Any) -> Inexact[Array, "n n"]:
    array = jnp.asarray(matrix)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise InputError(
            f"a matrix of shape {array.shape} has no eigenvalues: give a square one (jax.vmap goes over several)"
        )
    return array if jnp.issubdtype(array.dtype, jnp.inexact) else array.astype(float)


@jax.custom_jvp
def _eigvalsh(matrix: Inexact[Array, "n n"]) -> Float[Array, " n"]:
    return jnp.linalg.eigvalsh(matrix)


@_eigvalsh.defjvp
def _eigvalsh_jvp(primals, tangents):
    (matrix,), (tangent,) = primals, tangents
    e, u = jnp.linalg.eigh(matrix)
    return e, jnp.einsum("ij,ik,kj->j", u.conj(), tangent, u).real


def generalized_eigvalsh(
    h: Num[Array, "n n"] | np.ndarray, s: Num[Array, "n n"] | np.ndarray | None
) -> Float[Array, " n"]:
    """Ascending eigenvalues of (H - E S) c = 0, by Cholesky; S None means the identity. NaN where S is not positive.

    Raises:
        InputError: matrices that are not square, or of two sizes.
    """
    h = _square(h)
    if s is None:
        return eigvalsh(h)
    s = _square(s)
    if s.shape != h.shape:
        raise InputError(f"H has shape {h.shape} and S {s.shape}: give matrices of one size")
    x = inverse_cholesky(s)
    inner = x @ h @ x.conj().T
    return eigvalsh(0.5 * (inner + inner.conj().T))


@partial(jax.jit, static_argnames="batch_size")
def _eigenvalues(hamiltonian, structure, graph, points, batch_size):
    blocks, vectors = hamiltonian.blocks(structure, graph), graph.vectors(structure)

    def at(k):
        return generalized_eigvalsh(*bloch_matrices(blocks, graph, vectors, cartesian(k, structure)))

    # As many as fill the last batch: what is left over would be compiled a second time.
    missing = -len(points) % batch_size
    return jax.lax.map(at, jnp.pad(points, ((0, missing), (0, 0))), batch_size=batch_size)[: len(points)]


def eigenvalues(
    hamiltonian: Hamiltonian,
    structure: Structure,
    points: Any,
    graph: Graph | None = None,
) -> Float[Array, "k N"]:
    """Eigenvalues, eV, ascending, at fractional k points of the structure's cell.

    Args:
        points: shape (k, 3), or `KPoints`.
        graph: topology; built from `structure` by default (needed where that is traced).

    Raises:
        InputError: an element without parameters, k points of another shape, a graph that does not hold (NaN under tracing).
    """
    points = constant(fractional(points), structure.positions.dtype)
    if graph is None:
        graph = hamiltonian.graph(structure)
    graph = graph.check(structure)
    size = hamiltonian.basis.size(structure.species)
    batch = max(1, 200_000 // size**2)
    batch = math.ceil(len(points) / math.ceil(len(points) / batch)) if len(points) else 1
    return call_lapack(size, _eigenvalues, hamiltonian, structure, graph, points, batch)
