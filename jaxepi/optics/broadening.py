"""Line shapes: small frozen objects with a width in eV, and the smooth binning that precedes them.

Transitions are deposited once on a fine uniform grid with cubic B-splines (twice differentiable in the transition energy,
moments exact up to the spline's variance step^2/3) and broadened once, so the cost of the transitions does not depend on
the number of frequencies.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Num

from jaxepi.errors import InputError
from jaxepi.guards import known, number, numbers
from jaxepi.tree import pytree, static, stored

PhotonEnergies = Num[Array, " w"] | np.ndarray | Sequence[float | int]
"""Photon energies, eV: an array or a list."""

MOST_BINS = 10_000_000
"""Grids of more bins are refused: a spectrum on them takes gigabytes."""


CARRIED = 0.9
"""Part of a line's width that lines of solvers for large cells carry already; what is left is put on when it is known."""


@runtime_checkable
class Broadening(Protocol):
    """A normalised line shape."""

    @property
    def width(self) -> Array | float: ...

    def profile(self, detuning: Array, step: float) -> Array: ...


@pytree
class Gaussian:
    """Gaussian of standard deviation `width`, eV. Its tail falls fast enough to resolve absorption over many decades."""

    width: Float[Array, ""] | float

    def profile(self, detuning: Array, step: float) -> Array:
        """Density (1/eV) at `detuning` (eV) of a line that was binned with `step`; the spline's variance is taken out."""
        variance = jnp.asarray(self.width) ** 2 - step**2 / 3
        return jnp.exp(-0.5 * detuning**2 / variance) / jnp.sqrt(2 * jnp.pi * variance)


@pytree
class Lorentzian:
    """Lorentzian of half width at half maximum `width`, eV. Its tail hides indirect absorption below the direct gap."""

    width: Float[Array, ""] | float

    def profile(self, detuning: Array, step: float) -> Array:
        """Density (1/eV) at `detuning` (eV)."""
        width = jnp.asarray(self.width)
        return width / jnp.pi / (detuning**2 + width**2)


@stored
@pytree
class EnergyGrid:
    """Uniform bins of transition energy: `count` nodes 0, step, 2 step, ... in eV. Static."""

    step: float = static()
    count: int = static()

    @classmethod
    def covering(cls, maximum: float, step: float) -> "EnergyGrid":
        """Nodes from zero to beyond `maximum` eV."""
        if not 0 < step < maximum < np.inf:
            raise InputError(f"energy bins of {step} eV up to {maximum} eV: give a positive step below the maximum")
        if maximum / step > MOST_BINS:
            raise InputError(f"energy bins of {step} eV up to {maximum} eV: more than {MOST_BINS}; give a larger step")
        return cls(float(step), int(maximum / step) + 4)

    @property
    def nodes(self) -> Float[Array, " bins"]:
        """Node energies, eV."""
        return self.step * jnp.arange(self.count, dtype=float)

    def weights(self, energy: Array) -> tuple[Array, Array, Array]:
        """Cubic B-spline assignment of energies (any shape) to four nodes each.

        Returns:
            The first node, shape (...); weights, and their derivatives by energy (1/eV), both shape (..., 4).
        """
        scaled = energy / self.step
        cell = jnp.floor(scaled)
        t = scaled - cell
        s = 1 - t
        w = jnp.stack([s**3, 3 * t**3 - 6 * t**2 + 4, 3 * s**3 - 6 * s**2 + 4, t**3], axis=-1) / 6
        dw = jnp.stack([-(s**2), 3 * t**2 - 4 * t, 4 * s - 3 * s**2, t**2], axis=-1) / (2 * self.step)
        return cell.astype(jnp.int32) - 1, w, dw


def resolves(broadening: Broadening, grid: EnergyGrid) -> Bool[Array, ""]:
    """Whether a width is positive, finite, and not below two bins."""
    return (jnp.asarray(broadening.width) >= 2 * grid.step) & (jnp.asarray(broadening.width) < jnp.inf)


def check_width(broadening: Broadening, grid: EnergyGrid) -> None:
    """Refuse a width that is known and not positive, or that the bins cannot resolve."""
    width = known(number("broadening", broadening.width, "eV"))
    if width is None:
        return
    if not 0 < width < np.inf:
        raise InputError(f"broadening of {width} eV: give a positive width")
    if width < 2 * grid.step:
        raise InputError(
            f"broadening of {width} eV is finer than two energy bins of {grid.step} eV; use a smaller step"
        )


def check_carried(broadening: Broadening, carried: float) -> None:
    """Refuse what lines that carry a Gaussian of deviation `carried`, eV, already cannot become: other shapes, or narrower."""
    if not carried:
        return
    if not isinstance(broadening, Gaussian):
        raise InputError("these lines are Gaussians already: give optics.Gaussian(width), or solve with optics.Dense()")
    width = known(broadening.width)
    if width is not None and width < (1 - 1e-9) * carried / CARRIED:
        raise InputError(
            f"broadening of {width} eV: these lines are {carried / CARRIED:g} eV wide already; give that, or solve with a "
            "smaller width"
        )


def photon_energies(energies: PhotonEnergies, dtype: Any, static: bool = False) -> Float[Array, " w"]:
    """Photon energies (eV) as an array; what is known is checked.

    Args:
        static: whether zero, the static limit, is one.

    Raises:
        InputError: not a list of numbers, none at all, or energies that are not positive and finite.
    """
    array = numbers("photon energies", energies, dtype, 1)
    if not array.shape[0]:
        raise InputError("no photon energies: give a list of energies in eV")
    values = known(array)
    if values is not None:
        good = ((values > 0) | (static & (values == 0))) & (values < np.inf)
        if not good.all():
            raise InputError(f"photon energy {values[~good][0]:g} eV: give positive energies")
    return array
