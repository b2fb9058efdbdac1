"""What keeps orbitals physical while eigenvalues are fitted: distances from the published set, and an overlap that stays
positive.

Eigenvalues do not fix a Hamiltonian: any rotation of the orbitals leaves them. These terms hold the learned corrections
small where the data does not ask for them, so that orbitals keep their meaning (matrix elements, transfer, wave functions).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from jaxepi.electrons.eigen import eigvalsh
from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import Blocks


def onsite_change(blocks: Blocks, published: Blocks) -> Float[Array, ""]:
    """Mean over orbitals of the squared change of on-site blocks (rows), eV^2; a common shift of all energies is free."""
    change = blocks.onsite - published.onsite
    index = blocks.basis.index(blocks.species)
    present = jnp.asarray(index < blocks.size)
    change = jnp.where(present[:, :, None] & present[:, None, :], change, 0.0)
    diagonal = jnp.diagonal(change, axis1=1, axis2=2)
    shift = jnp.sum(diagonal) / blocks.size
    return jnp.sum(jnp.abs(change) ** 2) / blocks.size - jnp.abs(shift) ** 2


def hopping_change(blocks: Blocks, published: Blocks, graph: Graph) -> Float[Array, ""]:
    """Squared change of hoppings over the squared hoppings of the published set, summed over all edges."""
    real = _edges(graph)
    change = jnp.sum(jnp.where(real, jnp.abs(blocks.hopping - published.hopping) ** 2, 0.0))
    return change / jnp.sum(jnp.where(real, jnp.abs(published.hopping) ** 2, 0.0))


def _edges(graph: Graph) -> Array:
    """Which edges are no padding (those are listed by no atom), as a factor of blocks."""
    listed = jnp.zeros(graph.n_edges + 1, bool).at[graph.neighbours.reshape(-1)].set(True)
    return listed[:-1, None, None]


def indefinite(overlaps: Inexact[Array, "k N N"], least: float) -> Float[Array, ""]:
    """Mean over k of the sum of (1 - s/least)^2 over eigenvalues s of S(k) below `least`."""
    s = jax.vmap(eigvalsh)(overlaps)
    return jnp.mean(jnp.sum(jnp.maximum(1 - s / least, 0.0) ** 2, axis=1))
