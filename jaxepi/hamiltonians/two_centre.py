"""Two-centre blocks from direction cosines (Slater and Koster, Phys. Rev. 94, 1498 (1954)).

Written with tensors instead of tables: with n the unit vector from sender to receiver, Y(n) the d harmonics n.D_a.n and
G = (grad Y - 2 n Y)/sqrt(3) their normalised tangential derivative,

    s-p: n        s-d: Y        p-p: sigma n n + pi (1 - n n)        p-d: sigma n Y + pi G
    d-d: sigma Y Y + pi G^T G + delta (1 - Y Y - G^T G)

All are polynomials in n, so derivatives are finite for every bond direction; no Euler angles occur.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

BONDS = ("sigma", "pi", "delta")


def _d_tensors() -> np.ndarray:
    half = np.sqrt(3) / 2
    d = np.zeros((5, 3, 3))
    for a, (i, j) in zip((0, 1, 3), ((0, 2), (0, 1), (1, 2)), strict=True):
        d[a, i, j] = d[a, j, i] = half
    d[2] = np.diag([-0.5, 1.0, -0.5])
    d[4] = np.diag([-half, 0.0, half])
    return d


D_TENSORS = _d_tensors()
"""d_a(n) = n.D_a.n, in e3nn's order, normalised so that the squares sum to one; Tr(D_a D_b) = 3/2 delta_ab."""


def bond_tensors(direction: Float[Array, "e 3"]) -> tuple[Array, Array]:
    """d harmonics Y (e, 5) of unit vectors, and D_a n (e, 3, 5), half their gradient."""
    gradient = jnp.einsum("aij,ej->eia", jnp.asarray(D_TENSORS, direction.dtype), direction)
    return jnp.einsum("ei,eia->ea", direction, gradient), gradient


def two_centre(l1: int, l2: int, direction: Float[Array, "e 3"]) -> list[Array]:
    """Angular factors of the sigma, pi (and delta) integrals between a shell l1 on the sender and l2 on the receiver.

    Args:
        l1, l2: angular momenta, 0 to 2. direction: unit vectors from sender to receiver, shape (e, 3).

    Returns:
        min(l1, l2) + 1 arrays of shape (e, 2 l1 + 1, 2 l2 + 1).
    """
    if l1 > l2:
        sign = (-1.0) ** (l1 + l2)
        return [sign * jnp.swapaxes(block, 1, 2) for block in two_centre(l2, l1, direction)]
    n = direction
    if l2 == 0:
        return [jnp.ones((n.shape[0], 1, 1), n.dtype)]
    if l2 == 1:
        if l1 == 0:
            return [n[:, None, :]]
        sigma = n[:, :, None] * n[:, None, :]
        return [sigma, jnp.eye(3, dtype=n.dtype)[None] - sigma]
    y, half_gradient = bond_tensors(n)
    if l1 == 0:
        return [y[:, None, :]]
    tangential = (2 / jnp.sqrt(3.0).astype(n.dtype)) * (half_gradient - n[:, :, None] * y[:, None, :])
    if l1 == 1:
        return [n[:, :, None] * y[:, None, :], tangential]
    sigma = y[:, :, None] * y[:, None, :]
    pi = jnp.einsum("eia,eib->eab", tangential, tangential)
    return [sigma, pi, jnp.eye(5, dtype=n.dtype)[None] - sigma - pi]
