"""Real spherical harmonics of edge directions, in e3nn's order, and the couplings between them."""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def directions(vectors: Float[Array, "*e 3"]) -> tuple[Float[Array, "*e"], Float[Array, "*e 3"]]:
    """Lengths and unit vectors, with finite derivatives at zero length (the unit vector is zero there)."""
    squared = jnp.sum(vectors**2, axis=-1)
    zero = squared == 0
    length = jnp.sqrt(jnp.where(zero, 1.0, squared))
    return jnp.where(zero, 0.0, length), jnp.where(zero[..., None], 0.0, vectors / length[..., None])


def harmonics(units: Float[Array, "*e 3"], lmax: int) -> tuple[Float[Array, "*e m"], ...]:
    """Spherical harmonics Y_l of unit vectors for l = 0 ... lmax, each normalised to |Y_l|^2 = 2l + 1."""
    import e3nn_jax as e3nn

    orders = list(range(lmax + 1))
    unit = e3nn.IrrepsArray("1o", units)
    # Without e3nn's rule for derivatives, whose products are made after `full_precision` is left; plain ones cost as much.
    plain = ("recursive", "dense")
    whole = e3nn.spherical_harmonics(orders, unit, normalize=False, normalization="component", algorithm=plain)
    return tuple(whole.chunks[l][..., 0, :] for l in orders)


@lru_cache(maxsize=256)
def coupling(l1: int, l2: int, l3: int) -> np.ndarray:
    """Clebsch-Gordan coefficients of e3nn, shape (2 l1 + 1, 2 l2 + 1, 2 l3 + 1), scaled so that components of unit
    variance couple to components of unit variance.

    They are those of rotations and hold for every parity, that of the product being the product of the parities. Where l1 +
    l2 + l3 is odd, as in the cross product (1, 1, 1), l1 = l2 couple antisymmetrically.
    """
    import e3nn_jax as e3nn

    return np.asarray(e3nn.clebsch_gordan(l1, l2, l3)) * (2 * l3 + 1) ** 0.5
