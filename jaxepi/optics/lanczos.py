"""Spectra <r| delta(E - H) |r> of a Hermitian operator that is known by its products, from Lanczos' recursion.

Ritz values and the first components of their vectors carry 2m moments of the spectrum exactly. No vector but the last two is
kept: lost orthogonality repeats Ritz values, with weights that share among them what one had (Paige), so that a broadened
spectrum keeps its accuracy. For one-off work; derivatives go through `chebyshev`.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from jaxepi.tree import pytree

Product = Callable[[Any, Array], Array]


@pytree
class Recursion:
    """Where Lanczos' recursion stands, one for each of p start vectors.

    Attributes:
        before, last: the last two vectors, shape (p, ...). beta: what couples the last to the next, shape (p,).
        norm: of the start vectors, shape (p,).
    """

    before: Inexact[Array, "p *d"]
    last: Inexact[Array, "p *d"]
    beta: Float[Array, " p"]
    norm: Float[Array, " p"]


def begin(start: Inexact[Array, "p *d"]) -> Recursion:
    """A recursion without a step."""
    norm = jnp.sqrt(_dot(start, start).real)
    unit = start / _wide(jnp.where(norm > 0, norm, 1.0), start).astype(start.dtype)
    return Recursion(jnp.zeros_like(start), unit, jnp.zeros_like(norm), norm)


def advance(
    product: Product, operator: Any, recursion: Recursion, steps: int
) -> tuple[Recursion, Float[Array, "p m"], Float[Array, "p m"]]:
    """So many steps more, and their coefficients: the diagonal, and what follows each of its entries.

    Args:
        product: product(operator, x) of one vector, in vectors' shape. operator: its arrays, arguments of compiled code.
    """
    apply = jax.vmap(product, in_axes=(None, 0))

    def step(state, _):
        before, last, beta = state
        ahead = apply(operator, last) - _wide(beta, last).astype(last.dtype) * before
        alpha = _dot(last, ahead).real
        ahead = ahead - _wide(alpha, last).astype(last.dtype) * last
        following = jnp.sqrt(_dot(ahead, ahead).real)
        # The space is used up where the rest is round-off: from there on nothing is coupled.
        small = following <= 50 * jnp.finfo(following.dtype).eps * (jnp.abs(alpha) + beta)
        following = jnp.where(small, 0.0, following)
        scale = jnp.where(small, 0.0, 1 / jnp.where(small, 1.0, following))
        return (last, ahead * _wide(scale, ahead).astype(ahead.dtype), following), (alpha, following)

    start = (recursion.before, recursion.last, recursion.beta)
    (before, last, beta), (alphas, betas) = jax.lax.scan(step, start, None, length=steps)
    return Recursion(before, last, beta, recursion.norm), alphas.T, betas.T


def ritz(alpha: Float[Array, "p m"], beta: Float[Array, "p m"]) -> tuple[Float[Array, "p m"], Float[Array, "p m"]]:
    """Ritz values and their weights, which sum to one, in double precision; shapes (p, m)."""
    alpha, beta = (x.astype(float) for x in (alpha, beta))

    def one(a, b):
        values, vectors = jnp.linalg.eigh(jnp.diag(a) + jnp.diag(b[:-1], 1) + jnp.diag(b[:-1], -1))
        return values, vectors[0] ** 2

    return jax.vmap(one)(alpha, beta)


def _dot(x: Array, y: Array) -> Array:
    axes = tuple(range(1, x.ndim))
    return jnp.sum(x.conj() * y, axis=axes)


def _wide(values: Float[Array, " p"], x: Array) -> Array:
    return values.reshape(-1, *(1,) * (x.ndim - 1))
