"""Ring polymers: quantum nuclei as beads joined by springs, moved by path-integral Langevin dynamics in their normal modes
(PILE).

P beads x_j with H = sum_j [p_j^2/2m + V(x_j) + m w_P^2 (x_j - x_j+1)^2/2], w_P = P kT/hbar, at the temperature P T have the
positions of quantum nuclei at T as P grows. Friction is local: 2 w_k for the mode of frequency w_k = 2 w_P sin(k pi/P), and
that of the thermostat for the centroid (Ceriotti et al., J. Chem. Phys. 133, 124104 (2010)). The free ring moves by the
square root of the Cayley transform on either side of the thermostat, which stays stable and keeps its distribution whatever
the time step (Korol, Bou-Rabee and Miller, J. Chem. Phys. 151, 124103 (2019)).

Flows in: functions that give forces. Flows out: states; any units that agree with each other.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key


class Ring(NamedTuple):
    """A ring polymer: beads of n atoms."""

    position: Float[Array, "p n 3"]
    momentum: Float[Array, "p n 3"]
    force: Float[Array, "p n 3"]
    rng: Key[Array, ""]


@lru_cache(maxsize=32)
def ring_modes(beads: int) -> Float[np.ndarray, "p p"]:
    """Normal modes of a free ring as rows, orthonormal; the first is sqrt(P) times the centroid."""
    j, k = np.arange(beads)[None], np.arange(beads)[:, None]
    angle = 2 * np.pi * (j * k % beads) / beads
    rows = np.where(2 * k <= beads, np.cos(angle), np.sin(angle))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def ring_frequencies(beads: int) -> Float[np.ndarray, " p"]:
    """Frequencies of the normal modes over w_P."""
    return 2 * np.sin(np.arange(beads) * np.pi / beads)


def step(
    forces: Callable[[Array], Array],
    state: Ring,
    mass: Float[Array, "n 1"],
    kt: Float[Array, ""],
    *,
    hbar: float,
    timestep: float,
    friction: float,
    rest: bool = False,
) -> Ring:
    """One step: half a kick, half of the free ring, thermostat, half of the free ring, half a kick.

    Args:
        forces: on all beads, shape (p, n, 3). kt: of the nuclei; that of the ring is P times as large.
        friction: of the centroid. rest: the centre of mass of every bead stays at rest.
    """
    beads, dtype = len(state.position), state.position.dtype
    modes = jnp.asarray(ring_modes(beads), dtype)
    hot = beads * kt
    omega = (jnp.asarray(ring_frequencies(beads), dtype) * hot / hbar)[:, None, None]
    rate = jnp.where(omega > 0, 2 * omega, jnp.asarray(friction, dtype))
    kept = jnp.exp(-rate * timestep)
    scale = 1 / jnp.sqrt(1 + (0.5 * omega * timestep) ** 2)

    def freely(q: Array, p: Array) -> tuple[Array, Array]:
        half = 0.5 * timestep
        return scale * (q + half * p / mass[None]), scale * (p - half * mass[None] * omega**2 * q)

    momentum = state.momentum + 0.5 * timestep * state.force
    q, p = (jnp.einsum("kj,jna->kna", modes, x) for x in (state.position, momentum))
    q, p = freely(q, p)
    rng, key = jax.random.split(state.rng)
    noise = jnp.sqrt((1 - kept**2) * hot * mass[None]) * jax.random.normal(key, p.shape, dtype)
    p = kept * p + noise
    if rest:
        p = at_rest(p, mass)
    q, p = freely(q, p)
    position, momentum = (jnp.einsum("kj,kna->jna", modes, x) for x in (q, p))
    force = forces(position)
    momentum = momentum + 0.5 * timestep * force
    return Ring(position, at_rest(momentum, mass) if rest else momentum, force, rng)


def start(
    forces: Callable[[Array], Array],
    position: Float[Array, "p n 3"],
    mass: Float[Array, "n 1"],
    kt: Float[Array, ""],
    key: Key[Array, ""],
    rest: bool = False,
) -> Ring:
    """A ring with random momenta of the temperature P T."""
    rng, drawn = jax.random.split(key)
    beads = len(position)
    momentum = jnp.sqrt(beads * kt * mass)[None] * jax.random.normal(drawn, position.shape, position.dtype)
    return Ring(position, at_rest(momentum, mass) if rest else momentum, forces(position), rng)


def at_rest(momentum: Float[Array, "p n 3"], mass: Float[Array, "n 1"]) -> Float[Array, "p n 3"]:
    """Momenta without those of the centre of mass, bead by bead or mode by mode."""
    return momentum - (mass / mass.sum())[None] * momentum.sum(axis=1, keepdims=True)


def virial_energies(
    position: Float[Array, "p n 3"], force: Float[Array, "p n 3"], kt: Float[Array, ""], freedom: int
) -> Float[Array, " p"]:
    """Kinetic energy by the centroid virial, what each bead adds to it: their mean is the estimate.

    f kT/2 - sum_i (x_i - centroid).F_i/2 (Herman, Bruskin and Berne, J. Chem. Phys. 76, 5150 (1982); Parrinello and Rahman
    1984): of finite variance however many beads there are.

    Args:
        freedom: degrees of freedom of the nuclei.
    """
    away = position - position.mean(axis=0, keepdims=True)
    return 0.5 * freedom * kt - 0.5 * (away * force).sum(axis=(1, 2))
