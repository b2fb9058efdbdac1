"""Radial bases that vanish smoothly at a cutoff."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def bessel(r: Float[Array, "*e"], cutoff: float, count: int) -> Float[Array, "*e count"]:
    """sqrt(2/c) sin(j pi r/c)/r for j = 1 ... count (Gasteiger et al., ICLR 2020, eq. 7), finite at r = 0.

    Args:
        r: lengths, angstrom. cutoff: c, angstrom.
    """
    order = jnp.arange(1, count + 1, dtype=r.dtype).reshape(*(1,) * r.ndim, count)
    # sinc(x) = sin(pi x)/(pi x) and its derivatives stay finite at zero.
    return (2 / cutoff) ** 0.5 * jnp.pi * order / cutoff * jnp.sinc(order * r[..., None] / cutoff)


def polynomial_cutoff(r: Float[Array, "*e"], cutoff: float, p: int = 5) -> Float[Array, "*e"]:
    """One at zero, zero from the cutoff on; p - 1 derivatives vanish at zero, two at the cutoff (same paper, eq. 8)."""
    x = jnp.minimum(r / cutoff, 1.0)
    value = 1 - (p + 1) * (p + 2) / 2 * x**p + p * (p + 2) * x ** (p + 1) - p * (p + 1) / 2 * x ** (p + 2)
    return jnp.where(r < cutoff, value, 0.0)


def radial_basis(r: Float[Array, "*e"], cutoff: float, count: int, p: int = 5) -> Float[Array, "*e count"]:
    """Bessel functions times the polynomial cutoff."""
    return bessel(r, cutoff, count) * polynomial_cutoff(r, cutoff, p)[..., None]
