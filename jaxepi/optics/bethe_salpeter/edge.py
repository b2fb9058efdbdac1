"""Absorption near an edge with the attraction of electron and hole in closed form (Elliott), and joined with brute force.

Elliott, Phys. Rev. 108, 1384 (1957). With Rydberg R and Sommerfeld's factor S(e) = 2 pi sqrt(R/e)/[1 - exp(-2 pi sqrt(R/e))],
what two parabolic bands absorb at an excess D over the gap becomes, over what they absorb without attraction,

    direct    S(D)
    indirect  [ int_0^D S(e) sqrt(e) sqrt(D - e) de + sum_n 4 pi R^(3/2)/n^3 sqrt(D + R/n^2) ] / (pi D^2/8)

of which the second tends to 1 + (16/3) sqrt(R/D). The weight 4 pi R^(3/2)/n^3 of a bound state (Elliott's, against sqrt(e) of
the free pair) joins the continuum without a step: n^3/2R states a unit of energy at the edge make 2 pi sqrt(R) = S sqrt(e).
"""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.guards import known, number, numbers, poisoned

Kind = Literal["indirect", "direct"]
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(64)
_BOUND = np.arange(1, 41)


def elliott_factor(excess: Float[Array, "..."], rydberg: float | Array, kind: Kind = "indirect") -> Float[Array, "..."]:
    """Absorption with attraction over absorption without it, at an excess over the gap.

    Args:
        excess: photon energy less the gap, for an indirect edge of each phonon branch or of their mean, eV; positive (NaN
            otherwise). rydberg: of the exciton, eV.

    Raises:
        InputError: a Rydberg that is not positive (NaN under tracing), or another kind of edge.
    """
    if kind not in ("indirect", "direct"):
        raise InputError(f"edge {kind!r}: choose indirect or direct")
    value = known(number("rydberg", rydberg, "eV"))
    if value is not None and not 0 < value < np.inf:
        raise InputError(f"rydberg {value:g} eV: give the positive binding energy of the exciton")
    excess = jnp.asarray(excess, jnp.result_type(float, jnp.asarray(excess).dtype))
    ok = (excess > 0) & (jnp.asarray(rydberg) > 0)
    d = jnp.where(ok, excess, 1.0)
    r = jnp.broadcast_to(jnp.where(jnp.asarray(rydberg) > 0, jnp.asarray(rydberg, d.dtype), 1.0), d.shape)
    factor = _sommerfeld(r / d) if kind == "direct" else _indirect(d, r)
    return factor * jnp.where(ok, 1.0, jnp.nan)


def _sommerfeld(ratio: Array) -> Array:
    x = 2 * jnp.pi * jnp.sqrt(ratio)
    return x / -jnp.expm1(-x)


def _indirect(d: Array, r: Array) -> Array:
    """With e = D sin^2 phi, where the integrand is smooth."""
    shape = (1,) * d.ndim + (-1,)
    phi = jnp.asarray(0.25 * np.pi * (_NODES + 1), d.dtype).reshape(shape)
    weights = jnp.asarray(0.25 * np.pi * _WEIGHTS, d.dtype).reshape(shape)
    sine, cosine = jnp.sin(phi), jnp.cos(phi)
    ratio = (r / d)[..., None]
    free = (weights * 2 * (sine * cosine) ** 2 * _sommerfeld(ratio / sine**2)).sum(axis=-1)
    n = jnp.asarray(_BOUND, d.dtype).reshape(shape)
    bound = (jnp.sqrt(1 + ratio / n**2) / n**3).sum(axis=-1) + 0.5 / (_BOUND[-1] + 0.5) ** 2
    return (free + 4 * jnp.pi * (r / d) ** 1.5 * bound) * 8 / jnp.pi


class Tail(NamedTuple):
    """An edge with attraction.

    Attributes:
        eps2: joined, shape (w,). mismatch: largest difference of both where they overlap, over their mean.
    """

    eps2: Array
    mismatch: Array


def join_tail(
    energies: Float[Array, " w"],
    independent: Float[Array, " w"],
    attracted: Float[Array, " w"],
    gap: float | Array,
    rydberg: float | Array,
    overlap: tuple[float, float] = (0.15, 0.3),
) -> Tail:
    """eps2 near an indirect edge: Elliott's factor times independent particles below, brute force above, both in between.

    A mesh holds the relative motion of a pair some tenths of an eV above the gap, not the bound exciton; Elliott's factor
    holds where bands are parabolic. Within one Rydberg of the gap, and below it, the factor is that of one Rydberg.

    Args:
        independent, attracted: eps2 without and with attraction, of the same snapshots. gap: thermal gap, eV.
        overlap: first and last excess over the gap, eV, between which one passes into the other.

    Raises:
        InputError: an overlap that is none, or a Rydberg that is not positive.
    """
    low, high = overlap
    if not 0 < low < high:
        raise InputError(f"overlap from {low:g} to {high:g} eV over the gap: give positive, increasing ones")
    energies = numbers("energies", energies, float, 1)
    excess = energies - jnp.asarray(gap, energies.dtype)
    closed = independent * elliott_factor(jnp.maximum(excess, rydberg), rydberg)
    share = jnp.clip((excess - low) / (high - low), 0, 1)
    share = share**2 * (3 - 2 * share)
    inside = (excess >= low) & (excess <= high)
    apart = jnp.abs(closed - attracted) / jnp.where(inside, 0.5 * (closed + attracted), 1.0)
    mismatch = jnp.max(jnp.where(inside, apart, 0.0))
    return Tail(poisoned((1 - share) * closed + share * attracted, jnp.isfinite(excess).all()), mismatch)
