"""Velocities of bands: slopes of energies over a window of k, of snapshots or of shifted levels.

Flows in: distances from a Dirac point (or any k) and energies there. Flows out: eV angstrom, one a snapshot; `Snapshots.mean`
and `Snapshots.standard_error` average them. What a window and an estimator of the energies give is a property of both: the
adiabatic velocity at a Dirac point has no limit as the window shrinks.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.guards import numbers, traced


def velocity(
    distances: Any, energies: Float[Array, "*s k"], window: tuple[float, float] = (0.0, np.inf)
) -> Float[Array, "*s"]:
    """Slope of the line of least squares through energies, eV angstrom.

    Args:
        distances: from the point, 1/angstrom, shape (k,). energies: at each, eV. window: distances that count, 1/angstrom.

    Raises:
        InputError: fewer than two distances in the window, or distances that are being traced.
    """
    if traced(distances):
        raise InputError("which distances lie in the window is found on the host: let only energies be traced")
    energies = jnp.asarray(energies)
    x = np.asarray(distances, dtype=float)
    inside = np.flatnonzero((x >= window[0]) & (x <= window[1]))
    if x.shape != energies.shape[-1:]:
        raise InputError(
            f"{x.size} distances for energies of shape {energies.shape}: give one a k point, the last axis"
        )
    if len(np.unique(x[inside])) < 2:
        raise InputError(
            f"window {window[0]:g} to {window[1]:g} 1/angstrom holds {len(inside)} distances; a slope needs two"
        )
    away = numbers("distances", x[inside] - x[inside].mean(), energies.dtype, 1)
    return energies[..., inside] @ away / jnp.sum(away**2)
