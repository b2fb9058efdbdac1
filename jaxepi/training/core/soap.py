"""SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

Vyas et al., arXiv:2409.11321 (2024). Flows in: gradients. Flows out: directions. Every matrix W of the parameters keeps
averages of G G^T and G^T G of its gradients; Adam runs on the gradient turned into their eigenvectors, which are refreshed
by one step of the power method every `EVERY` steps. A scale per weight cannot tell stiff combinations of weights from soft
ones; in the turned basis it can.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

DECAY = 0.95
"""Of all averages: the defaults of the paper."""

EVERY = 10
"""Steps between two refreshments of the eigenvectors."""

LARGEST = 512
"""Sides of matrices longer than this are not turned: their eigenvectors would cost more than the gradient."""

TINY = 1e-12
"""Added to the root of the second moment; losses in eV^2 have gradients of 1e-8."""


class Side(NamedTuple):
    """The average of G G^T (or G^T G) and its eigenvectors, of all matrices of one parameter."""

    average: Float[Array, "p n n"]
    vectors: Float[Array, "p n n"]


Sides = tuple[Side | None, Side | None]
"""Left and right; None where nothing is turned."""


class State(NamedTuple):
    """Steps taken; first moments; second moments in the turned basis and sides, one a parameter in the order of leaves."""

    steps: Int[Array, ""]
    first: Any
    second: list[Array]
    sides: list[Sides]


def scale_by_soap() -> optax.GradientTransformation:
    """Gradients to directions of about unit size, to be multiplied by minus the learning rate.

    The first step only finds the eigenvectors: it moves nothing. The last two axes of a parameter are those of its
    matrices, leading ones count them; of a vector one side is turned, scalars are left to Adam.
    """

    def init(params: Any) -> State:
        zeros = jax.tree.map(jnp.zeros_like, params)
        second = [_matrices(x) for x in jax.tree.leaves(zeros)]
        sides = [(_begin(x, 1), _begin(x, 2)) for x in second]
        return State(jnp.zeros((), jnp.int32), zeros, second, sides)

    def update(gradients: Any, state: State, params: Any = None) -> tuple[Any, State]:
        count = optax.safe_increment(state.steps)
        matrices = [_matrices(g) for g in jax.tree.leaves(gradients)]
        sides = _refreshed(state.sides, matrices, count)
        # Both moments begin a step later, in the basis that the first gradient found. (A first moment that was ahead of the
        # second would be divided by nothing where the second batch gives a parameter no gradient.)
        begun, unbiased = count > 1, 1 - DECAY ** jnp.maximum(count - 1, 1).astype(float)
        first = jax.tree.map(lambda m, g: jnp.where(begun, DECAY * m + (1 - DECAY) * g, m), state.first, gradients)
        directions, second = [], []
        for g, m, v, pair in zip(matrices, jax.tree.leaves(first), state.second, sides, strict=True):
            v = jnp.where(begun, DECAY * v + (1 - DECAY) * _turned(g, pair) ** 2, v)
            scale = jnp.where(begun, 1 / unbiased, 0.0).astype(v.dtype)
            root = jnp.sqrt(v / unbiased.astype(v.dtype)) + TINY
            directions.append(_turned_back(scale * _turned(_matrices(m), pair) / root, pair).reshape(m.shape))
            second.append(v)
        return jax.tree.unflatten(jax.tree.structure(gradients), directions), State(count, first, second, sides)

    return optax.GradientTransformation(init, update)


def _matrices(x: Array) -> Float[Array, "p a b"]:
    """A parameter as matrices: scalars and vectors are rows."""
    return x.reshape(1, 1, -1) if x.ndim < 2 else x.reshape(-1, *x.shape[-2:])


def _begin(matrices: Float[Array, "p a b"], axis: int) -> Side | None:
    """One side before the first step; none for a length of one, or one that is too long."""
    count, length = matrices.shape[0], matrices.shape[axis]
    if not 1 < length <= LARGEST:
        return None
    unit = jnp.broadcast_to(jnp.eye(length, dtype=matrices.dtype), (count, length, length))
    return Side(jnp.zeros_like(unit), unit)


def _refreshed(sides: list[Sides], gradients: list[Array], count: Array) -> list[Sides]:
    """Averages with these gradients; eigenvectors anew in the first step and in every `EVERY`-th."""
    averages = [
        (_averaged(left, g @ g.mT), _averaged(right, g.mT @ g))
        for (left, right), g in zip(sides, gradients, strict=True)
    ]
    vectors = [tuple(None if side is None else side.vectors for side in pair) for pair in sides]
    which = jnp.where(count == 1, 1, jnp.where(count % EVERY == 0, 2, 0))
    branches = [
        lambda _, vectors: vectors,
        lambda averages, _: jax.tree.map(lambda a: jnp.linalg.eigh(a)[1][..., ::-1], averages),
        lambda averages, vectors: jax.tree.map(lambda a, q: jnp.linalg.qr(a @ q)[0], averages, vectors),
    ]
    vectors = jax.lax.switch(which, branches, averages, vectors)
    return jax.tree.map(Side, averages, vectors)


def _averaged(side: Side | None, square: Float[Array, "p n n"]) -> Float[Array, "p n n"] | None:
    return None if side is None else DECAY * side.average + (1 - DECAY) * square


def _turned(x: Float[Array, "p a b"], sides: Sides) -> Float[Array, "p a b"]:
    """Into the eigenvectors: Q_L^T X Q_R."""
    left, right = sides
    x = x if left is None else left.vectors.mT @ x
    return x if right is None else x @ right.vectors


def _turned_back(x: Float[Array, "p a b"], sides: Sides) -> Float[Array, "p a b"]:
    """Out of the eigenvectors: Q_L X Q_R^T."""
    left, right = sides
    x = x if left is None else left.vectors @ x
    return x if right is None else x @ right.vectors.mT
