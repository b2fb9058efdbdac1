"""Eigenvalues and bands of a Hamiltonian, batched over k points, degeneracy-safe where sets are summed."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian
from jaxepi.kpoints import fractional
from jaxepi.linalg import call_lapack, inverse_cholesky
from jaxepi.structure import Structure


@jax.custom_jvp
def eigvalsh(matrix: Inexact[Array, "n n"]) -> Float[Array, " n"]:
    """Ascending eigenvalues of a Hermitian matrix.

    The derivative is the diagonal of U^+ dA U: right for every sum over a whole degenerate set, never NaN. Single members
    of a degenerate set have no derivative.
    """
    return jnp.linalg.eigvalsh(matrix)


@eigvalsh.defjvp
def _eigvalsh_jvp(primals, tangents):
    (matrix,), (tangent,) = primals, tangents
    e, u = jnp.linalg.eigh(matrix)
    return e, jnp.einsum("ij,ik,kj->j", u.conj(), tangent, u).real


def generalized_eigvalsh(h: Inexact[Array, "n n"], s: Inexact[Array, "n n"] | None) -> Float[Array, " n"]:
    """Ascending eigenvalues of (H - E S) c = 0, by Cholesky; S None means the identity."""
    if s is None:
        return eigvalsh(h)
    x = inverse_cholesky(s)
    inner = x @ h @ x.conj().T
    return eigvalsh(0.5 * (inner + inner.conj().T))


@partial(jax.jit, static_argnames="batch_size")
def _eigenvalues(hamiltonian, structure, graph, points, batch_size):
    blocks, vectors = hamiltonian.blocks(structure, graph), graph.vectors(structure)

    def at(k):
        return generalized_eigvalsh(*bloch_matrices(blocks, graph, vectors, cartesian(k, structure)))

    return jax.lax.map(at, points, batch_size=batch_size)


def eigenvalues(
    hamiltonian: Hamiltonian,
    structure: Structure,
    points: Any,
    graph: Graph | None = None,
) -> Float[Array, "k N"]:
    """Eigenvalues, eV, ascending, at fractional k points of the structure's cell.

    Args:
        points: shape (k, 3), or `KPoints`.
        graph: topology; built from `structure` by default (needed when this is called under jit).

    Raises:
        InputError: an element without parameters, or k points of another shape.
    """
    points = jnp.asarray(fractional(points), structure.positions.dtype)
    if graph is None:
        graph = hamiltonian.graph(structure)
    size = hamiltonian.basis.size(structure.species)
    batch = max(1, min(len(points), 200_000 // size**2))
    return call_lapack(size, _eigenvalues, hamiltonian, structure, graph, points, batch)
