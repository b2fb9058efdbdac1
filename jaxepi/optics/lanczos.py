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


@pytree
class Alternation:
    """Where the recursion of two operators in turn stands (`alternate`), one for each of p start vectors.

    Attributes:
        before, ahead: the last vector, and the next before it is normalised, shape (p, ...).
    """

    before: Inexact[Array, "p *d"]
    ahead: Inexact[Array, "p *d"]


def alternate(
    first: Product, second: Product, operator: Any, state: Alternation, steps: int
) -> tuple[Alternation, Float[Array, "p m"], Float[Array, "p m"]]:
    """Lanczos' recursion of second(first(x)), which is symmetric by the inner product Re <x|first(y)>.

    Both are linear in real numbers and symmetric by Re <x|y>, `first` positive. w X = second(Y) and w Y = first(X) have w^2 as
    their product (Shao et al., Linear Algebra Appl. 488, 148 (2016)). Two products a step.

    Returns:
        The state, the diagonal, and what precedes each of its entries: first of all the norm of the start vector. NaN once
        `first` has shown not to be positive.
    """
    once, again = (jax.vmap(one, in_axes=(None, 0)) for one in (first, second))

    def step(held, _):
        before, ahead, alpha, beta = held
        there = once(operator, ahead)
        square = _dot(ahead, there).real
        # A square that is round-off of the last coefficients: the space is used up.
        small = jnp.abs(square) <= (50 * jnp.finfo(square.dtype).eps) ** 2 * (jnp.abs(alpha) + beta) ** 2
        norm = jnp.where(small, 0.0, jnp.sqrt(square))
        scale = jnp.where(small, 0.0, 1 / jnp.where(small, 1.0, norm))
        last, there = (x * _wide(scale, x).astype(x.dtype) for x in (ahead, there))
        following = again(operator, there) - _wide(norm, last).astype(last.dtype) * before
        alpha = _dot(there, following).real
        following = following - _wide(alpha, last).astype(last.dtype) * last
        return (last, following, alpha, norm), (alpha, norm)

    zero = jnp.zeros(len(state.ahead), state.ahead.real.dtype)
    held, (alphas, betas) = jax.lax.scan(step, (state.before, state.ahead, zero, zero), None, length=steps)
    return Alternation(*held[:2]), alphas.T, betas.T


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
