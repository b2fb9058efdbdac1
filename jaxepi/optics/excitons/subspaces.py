"""Filled and empty states with derivatives that are right at degeneracies, for results that turn with no state inside its set.

A spectrum of electron-hole pairs depends on the space of the filled states and on that of the empty ones, not on the basis in
them. So energies are kept as matrices in that basis, and the derivative of the states goes along the rest of the space alone:
dU_a = sum_{n outside} U_n <n|dH|a>/(E_a - E_n), d(U^+ H U) = U^+ dH U. Inside the set nothing is divided by differences.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact

from jaxepi.linalg import degeneracy_tolerance

Bands = tuple[int, int, int]
"""First active filled band, first empty one, and the first empty one that is not active."""


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def subspaces(bands: Bands, h: Inexact[Array, "N N"]) -> tuple[Array, Array, Array, Array, Float[Array, " N"]]:
    """Energies as matrices (filled, empty), states (filled, empty) as columns, and all eigenvalues, at one k point.

    Eigenvalues carry the derivative of single states: sum degenerate ones before they are differentiated.
    """
    first, middle, last = bands
    e, u = jnp.linalg.eigh(h)
    diagonal = jnp.diag(e.astype(u.dtype))
    return (
        diagonal[first:middle, first:middle],
        diagonal[middle:last, middle:last],
        u[:, first:middle],
        u[:, middle:last],
        e,
    )


@subspaces.defjvp
def _subspaces_jvp(bands, primals, tangents):
    (h,), (dh,) = primals, tangents
    first, middle, last = bands
    e, u = jnp.linalg.eigh(h)
    dh = 0.5 * (dh + dh.conj().T)
    inner = u.conj().T @ dh @ u
    near = degeneracy_tolerance(e)

    def outside(start: int, stop: int) -> Array:
        """Change of the states start to stop along all others."""
        gap = e[None, start:stop] - e[:, None]
        own = jnp.arange(e.shape[0])
        inside = ((own >= start) & (own < stop))[:, None]
        # A degenerate set that the window cuts has no derivative; its part is left out.
        kept = ~inside & (jnp.abs(gap) > near)
        turn = jnp.where(kept, 1 / jnp.where(kept, gap, 1.0), 0.0).astype(u.dtype)
        return u @ (turn * inner[:, start:stop])

    diagonal = jnp.diag(e.astype(u.dtype))
    values = (
        diagonal[first:middle, first:middle],
        diagonal[middle:last, middle:last],
        u[:, first:middle],
        u[:, middle:last],
        e,
    )
    changes = (
        inner[first:middle, first:middle],
        inner[middle:last, middle:last],
        outside(first, middle),
        outside(middle, last),
        jnp.diagonal(inner).real,
    )
    return values, changes


@jax.custom_jvp
def over_gaps(
    upper: Inexact[Array, "c c"], lower: Inexact[Array, "v v"], w: Inexact[Array, "a c v"]
) -> Inexact[Array, "a c v"]:
    """r of upper r - r lower = w, for diagonal energy matrices: dipoles <c|r|v> of momenta <c|w|v>."""
    gap = jnp.diagonal(upper).real[:, None] - jnp.diagonal(lower).real[None, :]
    open_ = jnp.abs(gap) > 1e-6
    return w * jnp.where(open_, 1 / jnp.where(open_, gap, 1.0), 0.0)[None].astype(w.dtype)


@over_gaps.defjvp
def _over_gaps_jvp(primals, tangents):
    upper, lower, w = primals
    dupper, dlower, dw = tangents
    r = over_gaps(upper, lower, w)
    return r, over_gaps(upper, lower, dw - dupper @ r + r @ dlower)
