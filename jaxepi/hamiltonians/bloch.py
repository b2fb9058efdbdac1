"""Bloch sums: H(k), S(k) and their k derivatives, from blocks.

Atomic gauge, H_ij(k) = sum_R exp(i k.(R + tau_j - tau_i)) H_ij(R): its k derivative is the momentum matrix. k is Cartesian
(1/angstrom) here; `cartesian` converts fractional k.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Inexact, Int

from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import Blocks, Hamiltonian
from jaxepi.linalg import alike
from jaxepi.structure import Structure
from jaxepi.tree import pytree


def cartesian(k: Float[Array, "*k 3"], structure: Structure) -> Float[Array, "*k 3"]:
    """Fractional k to Cartesian, 1/angstrom."""
    return jnp.asarray(k, structure.cell.dtype) @ structure.reciprocal


def phases(vectors: Float[Array, "e 3"], k: Float[Array, "3"]) -> Complex[Array, " e"]:
    """exp(i k.r) of every edge."""
    angle = vectors @ k
    return jax.lax.complex(jnp.cos(angle), jnp.sin(angle))


def signs(graph: Graph, k_fractional: Float[Array, "3"], dtype) -> Float[Array, " e"]:
    """exp(i k.R) = +-1 of every edge at a time-reversal invariant k, where the atomic-gauge H(k) can be made real.

    The unitary diag(exp(i k.tau)) takes the atomic gauge into this one, so spectra and |matrix elements| agree.
    """
    half_turns = graph.shifts @ jnp.round(2 * k_fractional).astype(graph.shifts.dtype)
    return (1 - 2 * (half_turns % 2)).astype(dtype)


def phased(phase: Inexact[Array, " e"], blocks: Inexact[Array, "e o o"]) -> Inexact[Array, "e o o"]:
    """Blocks of edges times a number an edge."""
    phase, blocks = alike(phase, blocks)
    return phase[:, None, None] * blocks


def scatter(diagonal: Inexact[Array, "n o o"] | None, edges: Inexact[Array, "e o o"], blocks: Blocks, graph: Graph):
    """Dense (N, N) matrix from per-atom and per-edge blocks, by one scatter-add; padding is dropped."""
    index = jnp.asarray(blocks.basis.index(blocks.species))
    rows, columns, values = index[graph.senders], index[graph.receivers], edges
    if diagonal is not None:
        rows, columns = jnp.concatenate([index, rows]), jnp.concatenate([index, columns])
        values = jnp.concatenate([diagonal.astype(edges.dtype), edges])
    size = blocks.size
    out = jnp.zeros((size, size), values.dtype)
    return out.at[rows[:, :, None], columns[:, None, :]].add(values, mode="drop")


def bloch_matrices(
    blocks: Blocks, graph: Graph, vectors: Float[Array, "e 3"], k: Float[Array, "3"]
) -> tuple[Complex[Array, "N N"], Complex[Array, "N N"] | None]:
    """H(k) and S(k) in the atomic gauge; S is None for an orthogonal basis.

    Args:
        vectors: edge vectors of the configuration (`graph.vectors(structure)`), angstrom. k: Cartesian, 1/angstrom.
    """
    phase = phases(vectors, k)
    h = scatter(blocks.onsite, phased(phase, blocks.hopping), blocks, graph)
    if blocks.overlap is None:
        return h, None
    return h, scatter(blocks.own_overlap, phased(phase, blocks.overlap), blocks, graph)


@pytree
class Images:
    """The edges between every ordered pair of atoms, for many k points of small cells.

    Attributes:
        edges: shape (n*n, m), padded with zero. mask: which are edges.
    """

    edges: Int[Array, "p m"]
    mask: Bool[Array, "p m"]

    @classmethod
    def of(cls, graph: Graph, width: int = 1) -> "Images":
        """Of a graph on the host; `width` is the least m."""
        count, n = graph.n_edges, graph.n_atoms
        pair = np.asarray(graph.senders) * n + np.asarray(graph.receivers)
        order = np.argsort(pair, kind="stable")
        held = np.bincount(pair, minlength=n * n)
        most = max(int(held.max()), width)
        where = np.zeros((n * n, most), np.int32)
        where[pair[order], np.arange(count) - np.repeat(np.cumsum(held) - held, held)] = order
        return cls(jnp.asarray(where), jnp.asarray(np.arange(most) < held[:, None]))


def bloch_many(
    blocks: Blocks, images: Images, phase: Inexact[Array, "k e"]
) -> tuple[Inexact[Array, "k N N"], Inexact[Array, "k N N"] | None]:
    """H(k) and S(k) at many k points as matrix products, one a pair of atoms: for small cells.

    Args:
        phase: of every edge at every k: `phases` (complex), or `signs` at time-reversal invariant points (real).
    """
    n, width = blocks.onsite.shape[0], blocks.basis.block_size
    index = blocks.basis.index(blocks.species)
    kept = np.flatnonzero(index.ravel() < blocks.size)
    of_pairs = jnp.where(images.mask, phase[:, images.edges], 0)

    def assemble(diagonal: Array, edges: Array) -> Array:
        values = edges.reshape(-1, width * width)[images.edges].astype(np.result_type(phase.dtype, edges.dtype))
        h = jnp.einsum("kpm,pmo->kpo", of_pairs, values).reshape(-1, n, n, width, width)
        atoms = jnp.arange(n)
        h = h.at[:, atoms, atoms].add(diagonal.astype(h.dtype))
        h = jnp.swapaxes(h, 2, 3).reshape(-1, n * width, n * width)
        return h if len(kept) == n * width else h[:, kept][:, :, kept]

    h = assemble(blocks.onsite, blocks.hopping)
    if blocks.overlap is None:
        return h, None
    return h, assemble(blocks.own_overlap, blocks.overlap)


def hamiltonian_k(
    hamiltonian: Hamiltonian, structure: Structure, graph: Graph, k: Float[Array, "3"]
) -> tuple[Complex[Array, "N N"], Complex[Array, "N N"] | None]:
    """H(k) and S(k) of a structure at one fractional k point, atomic gauge.

    Raises:
        InputError: the graph does not hold (NaN under tracing: `Hamiltonian.blocks`).
    """
    graph = graph.check(structure)
    return _matrices(hamiltonian, structure, graph, k)


@jax.jit
def _matrices(hamiltonian: Hamiltonian, structure: Structure, graph: Graph, k: Float[Array, "3"]):
    blocks = hamiltonian.blocks(structure, graph)
    return bloch_matrices(blocks, graph, graph.vectors(structure), cartesian(k, structure))


def hamiltonian_gradient(
    hamiltonian: Hamiltonian, structure: Structure, graph: Graph, k: Float[Array, "3"]
) -> tuple[Complex[Array, "3 N N"], Complex[Array, "3 N N"] | None]:
    """dH/dk and dS/dk at one fractional k point, eV angstrom and angstrom, by forward differentiation.

    Raises:
        InputError: the graph does not hold (NaN under tracing: `Hamiltonian.blocks`).
    """
    graph = graph.check(structure)
    return _gradients(hamiltonian, structure, graph, k)


@jax.jit
def _gradients(hamiltonian: Hamiltonian, structure: Structure, graph: Graph, k: Float[Array, "3"]):
    blocks, vectors = hamiltonian.blocks(structure, graph), graph.vectors(structure)
    dh, ds = jax.jacfwd(lambda q: bloch_matrices(blocks, graph, vectors, q))(cartesian(k, structure))
    return jnp.moveaxis(dh, -1, 0), None if ds is None else jnp.moveaxis(ds, -1, 0)
