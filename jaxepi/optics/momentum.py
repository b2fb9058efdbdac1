"""H(k) and the momentum matrices W = -i hbar v of one configuration at one k point, in an orthonormal basis."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import Blocks
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian, phased, phases, scatter, signs
from jaxepi.linalg import alike, inverse_cholesky
from jaxepi.optics.transitions import DenseOperator, EdgeOperator
from jaxepi.structure import Structure


def momentum_operator(blocks: Blocks, graph: Graph, vectors: Float[Array, "e 3"], phase: Array) -> EdgeOperator:
    """W^a = -i hbar v_a of an orthogonal basis on the graph's edges: phase (r_a H - d_a H + H d_a), d the on-site dipoles."""
    weighted = jax.vmap(lambda x: phased(x, blocks.hopping))(jnp.multiply(*alike(phase[:, None], vectors)).T)
    receivers, neighbours = graph.receivers, graph.neighbours
    if blocks.dipoles is not None:
        d, hopping = alike(jnp.moveaxis(blocks.dipoles, 1, 0), phased(phase, blocks.hopping))
        weighted = weighted - d[:, graph.senders] @ hopping + hopping @ d[:, graph.receivers]
    padded = jnp.concatenate([weighted, jnp.zeros_like(weighted[:, :1])], axis=1)[:, neighbours]
    receivers = jnp.concatenate([receivers, jnp.zeros(1, receivers.dtype)])[neighbours]
    if blocks.dipoles is not None:
        onsite, d = alike(blocks.onsite, jnp.moveaxis(blocks.dipoles, 1, 0))
        own = (onsite @ d - d @ onsite).astype(padded.dtype)
        padded = jnp.concatenate([padded, own[:, :, None]], axis=2)
        itself = jnp.arange(graph.n_atoms, dtype=receivers.dtype)
        receivers = jnp.concatenate([receivers, itself[:, None]], axis=1)
    return EdgeOperator(padded, receivers, jnp.asarray(blocks.basis.index(blocks.species)), blocks.size)


def exact_momentum(
    blocks: Blocks, graph: Graph, vectors: Float[Array, "e 3"], phase: Inexact[Array, " e"]
) -> tuple[Inexact[Array, "N N"], DenseOperator]:
    """H and W_a = -i hbar v_a = -i dH/dk_a - [A_a, H] of an orthogonal basis, A the matrix of all position matrix elements.

    A reaches from atom to atom, so that the product with H has no longer blocks on the graph's edges alone.
    """
    h = scatter(blocks.onsite, phased(phase, blocks.hopping), blocks, graph)
    weights = jnp.multiply(*alike(phase[:, None], vectors)).T
    along = jax.vmap(lambda weight: scatter(None, phased(weight, blocks.hopping), blocks, graph))(weights)
    position = positions_at(blocks, graph, phase)
    return h, DenseOperator(along - position @ h + h @ position)


def positions_at(blocks: Blocks, graph: Graph, phase: Inexact[Array, " e"]) -> Inexact[Array, "3 N N"]:
    """The matrices of all position matrix elements at one k point, angstrom."""
    return jax.vmap(lambda onsite, edges: scatter(onsite, phased(phase, edges), blocks, graph), in_axes=(1, 1))(
        blocks.dipoles, blocks.edge_dipoles
    )


def orthonormal(
    blocks: Blocks, graph: Graph, vectors: Float[Array, "e 3"], k: Float[Array, "3"]
) -> tuple[Array, DenseOperator]:
    """H and W^a = -i hbar v^a of a non-orthogonal basis after a Cholesky transformation.

    The velocity <m| dH - (E_m + E_n)/2 dS + i (E_m - E_n) D |n>, D the position matrix elements from the middle of two atoms,
    becomes the matrix dH' - (H' dS' + dS' H')/2 + i (H' D' - D' H'). Without D dipoles are atom-centred.
    """
    if blocks.dipoles is not None and blocks.edge_dipoles is None:
        raise InputError(
            "this basis has an overlap and dipoles on atoms alone: give Blocks.edge_dipoles too, or leave dipoles out"
        )
    h, s = bloch_matrices(blocks, graph, vectors, k)
    assert s is not None
    assert blocks.overlap is not None
    weights = jnp.multiply(*alike(phases(vectors, k)[:, None], vectors)).T
    dh, ds = (
        jax.vmap(lambda weight, b=b: scatter(None, phased(weight, b), blocks, graph))(weights)
        for b in (blocks.hopping, blocks.overlap)
    )
    x = inverse_cholesky(s)
    h, dh, ds = (x @ m @ x.conj().T for m in (h, dh, ds))
    h = 0.5 * (h + h.conj().T)
    w = dh - 0.5 * (h @ ds + ds @ h)
    if blocks.edge_dipoles is not None:
        assert blocks.dipoles is not None
        d = x @ positions_at(blocks, graph, phases(vectors, k)) @ x.conj().T
        w = w + h @ d - d @ h
    return h, DenseOperator(0.5 * (w - jnp.swapaxes(w.conj(), 1, 2)))


def matrices_at(blocks: Blocks, graph: Graph, vectors: Float[Array, "e 3"], structure: Structure, real: bool, k):
    """H(k) and W = -i dH/dk of one configuration at one fractional k point, in an orthonormal basis.

    Args:
        real: whether H(k) is real there, by its signs.
    """
    q = cartesian(k, structure)
    if blocks.overlap is not None:
        return orthonormal(blocks, graph, vectors, q)
    phase = signs(graph, k, vectors.dtype) if real else phases(vectors, q)
    if blocks.edge_dipoles is not None:
        return exact_momentum(blocks, graph, vectors, phase)
    h = scatter(blocks.onsite, phased(phase, blocks.hopping), blocks, graph)
    return h, momentum_operator(blocks, graph, vectors, phase)
