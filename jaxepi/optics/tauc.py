"""Tauc fits: the gap from the onset of absorption, with its window and how far the answer depends on it.

Indirect: (E^2 eps2)^(1/2) = A (E - Eg), the form averaged over phonon absorption and emission; direct allowed:
(E^2 eps2)^2 = A (E - Eg). In the adiabatic Williams-Lax theory phonon energies vanish, so the onset lies at the gap.
"""

from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxepi.errors import InputError
from jaxepi.guards import number, numbers, refuse_or_nan
from jaxepi.optics.broadening import PhotonEnergies
from jaxepi.tree import field, pytree, stored

Kind = Literal["indirect", "direct"]

POOR = 0.1
"""Root mean square of what a line misses, over its mean ordinate, from which a fit is called poor."""


@stored
@pytree
class TaucFit:
    """Result of a Tauc fit.

    Attributes:
        gap: intercept with the energy axis, eV. slope: A. residual: root mean square of the fit over its mean ordinate.
        window: energies the fit used, eV. sensitivity: half the range of gaps when each end of the window is moved by a
            fifth of its width, eV.
    """

    gap: Float[Array, ""] = field(unit="eV")
    slope: Float[Array, ""] = field(unit="ordinate/eV")
    residual: Float[Array, ""] = field(unit="1")
    window: tuple[Float[Array, ""], Float[Array, ""]] = field(unit="eV")
    sensitivity: Float[Array, ""] = field(unit="eV")

    @property
    @jax.jit
    def poor(self) -> Bool[Array, ""]:
        """Whether the line misses its curve by more than `POOR` of the mean ordinate, falls, gives no positive gap, or meets
        zero inside its window, past a tenth of it."""
        low, high = self.window
        return ~((self.residual <= POOR) & (self.slope > 0) & (self.gap > 0) & (self.gap <= low + 0.1 * (high - low)))


@partial(jax.jit, static_argnames="kind")
def ordinate(energies: Float[Array, " w"], eps2: Float[Array, "*s w"], kind: Kind) -> Float[Array, "*s w"]:
    """(E^2 eps2)^(1/2) for an indirect, (E^2 eps2)^2 for a direct gap."""
    strength = energies**2 * eps2
    if kind == "direct":
        return strength**2
    positive = strength > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, strength, 1.0)), 0.0)


def tauc_fit(
    energies: PhotonEnergies,
    eps2: PhotonEnergies,
    kind: Kind = "indirect",
    window: tuple[float | Array, float | Array] = (1.5, 2.5),
) -> TaucFit:
    """Fit a straight line to the Tauc ordinate inside `window` (eV) and extrapolate it to zero.

    Differentiable in eps2 and usable under jit and vmap; the window selects points by weights.

    Raises:
        InputError: another kind, a window that holds fewer than two of the energies (NaN under tracing), shapes that differ.
    """
    eps2 = jnp.asarray(np.asarray(eps2) if isinstance(eps2, list | tuple) else eps2)
    eps2 = eps2 if jnp.issubdtype(eps2.dtype, jnp.floating) else eps2.astype(float)
    energies = numbers("photon energies", energies, eps2.dtype, 1)
    if kind not in get_args(Kind):
        raise InputError(f"kind {kind!r} of gap: choose one of {', '.join(get_args(Kind))}")
    if eps2.shape != energies.shape:
        raise InputError(f"eps2 has shape {eps2.shape} at {energies.shape[0]} photon energies: give one value at each")
    y = ordinate(energies, eps2, kind)
    low, high = (jnp.asarray(number("end of the window", end, "eV"), eps2.dtype) for end in window)
    gap, slope, residual = _line(energies, y, (energies >= low) & (energies <= high))
    shift = 0.2 * (high - low)
    moved = [
        _line(energies, y, (energies >= low + a * shift) & (energies <= high + b * shift))[0]
        for a, b in ((-1, 0), (1, 0), (0, -1), (0, 1))
    ]
    all_gaps = jnp.stack([gap, *moved])
    fit = TaucFit(gap, slope, residual, (low, high), 0.5 * (all_gaps.max() - all_gaps.min()))
    inside = jnp.sum((energies >= low) & (energies <= high))
    return refuse_or_nan(
        fit,
        inside >= 2,
        lambda: f"the window from {low:g} to {high:g} eV holds {inside} photon energies: give a wider one",
    )


def _line(x: Float[Array, " w"], y: Float[Array, " w"], chosen: Bool[Array, " w"]) -> tuple[Array, Array, Array]:
    """Least squares on the chosen points: intercept with the x axis, slope, relative residual."""
    weight = chosen.astype(y.dtype)
    total = weight.sum()
    x_mean, y_mean = (weight * x).sum() / total, (weight * y).sum() / total
    slope = (weight * (x - x_mean) * (y - y_mean)).sum() / (weight * (x - x_mean) ** 2).sum()
    misfit = y - y_mean - slope * (x - x_mean)
    residual = jnp.sqrt((weight * misfit**2).sum() / total) / y_mean
    return x_mean - y_mean / slope, slope, residual
