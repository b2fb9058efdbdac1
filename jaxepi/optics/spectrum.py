"""Optical constants from the dielectric function, with their spread over snapshots."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxepi import units
from jaxepi.tree import field, pytree, stored


@stored
@pytree
class Spectrum:
    """Dielectric function at photon energies, one tensor a snapshot, and the optical constants that follow.

    A snapshot's spectrum is not an observable; the thermal average of the dielectric function is (Williams and Lax). So
    constants are computed from the mean tensor, and their spread from those of the single snapshots.

    Attributes:
        energies: photon energies, eV, shape (w,).
        eps1, eps2: real and imaginary part, shape (s, w, 3, 3); (s, w, 1, 1) when only the isotropic mean was computed.
    """

    energies: Float[Array, " w"] = field(unit="eV")
    eps1: Float[Array, "s w a a"] = field(unit="1")
    eps2: Float[Array, "s w a a"] = field(unit="1")

    def __len__(self) -> int:
        return self.eps2.shape[0]

    def isotropic(self) -> tuple[Float[Array, "s w"], Float[Array, "s w"]]:
        """eps1 and eps2 averaged over directions, a snapshot."""
        return tuple(jnp.einsum("swaa->sw", e) / e.shape[-1] for e in (self.eps1, self.eps2))  # type: ignore[return-value]

    def mean(self) -> tuple[Float[Array, " w"], Float[Array, " w"]]:
        """Thermal average of the isotropic eps1 and eps2."""
        eps1, eps2 = self.isotropic()
        return eps1.mean(axis=0), eps2.mean(axis=0)

    def _constant(self, function: Callable[[Array, Array, Array], Array]) -> Array:
        return function(self.energies, *self.mean())

    def absorption(self) -> Float[Array, " w"]:
        """Absorption coefficient, 1/cm: E eps2/(n hbar c)."""
        return self._constant(absorption)

    def refractive_index(self) -> Float[Array, " w"]:
        """Refractive index n."""
        return self._constant(refractive_index)

    def extinction(self) -> Float[Array, " w"]:
        """Extinction coefficient k."""
        return self._constant(extinction)

    def reflectivity(self) -> Float[Array, " w"]:
        """Reflectivity at normal incidence from vacuum."""
        return self._constant(reflectivity)

    def energy_loss(self) -> Float[Array, " w"]:
        """Energy-loss function Im(-1/eps)."""
        return self._constant(energy_loss)

    def spread(self, function: Callable[[Array, Array, Array], Array] | None = None) -> Float[Array, " w"]:
        """Standard deviation over snapshots of an optical constant (the absorption coefficient by default)."""
        values = (function or absorption)(self.energies, *self.isotropic())
        return values.std(axis=0, ddof=1 if len(self) > 1 else 0)

    def standard_error(self, function: Callable[[Array, Array, Array], Array] | None = None) -> Float[Array, " w"]:
        """Standard error of the mean over snapshots: spread/sqrt(snapshots)."""
        return self.spread(function) / jnp.sqrt(1.0 * len(self))


def refractive_index(energies: Array, eps1: Array, eps2: Array) -> Array:
    """n = sqrt((|eps| + eps1)/2)."""
    return jnp.sqrt(0.5 * (jnp.hypot(eps1, eps2) + eps1))


def extinction(energies: Array, eps1: Array, eps2: Array) -> Array:
    """k = eps2/(2 n): keeps its relative accuracy where eps2 is tiny, unlike sqrt((|eps| - eps1)/2)."""
    n = refractive_index(energies, eps1, eps2)
    return jnp.where(eps1 > 0, eps2 / (2 * jnp.where(n > 0, n, 1.0)), jnp.sqrt(0.5 * (jnp.hypot(eps1, eps2) - eps1)))


def absorption(energies: Array, eps1: Array, eps2: Array) -> Array:
    """alpha = 2 E k/(hbar c), 1/cm."""
    return 2 * energies * extinction(energies, eps1, eps2) / units.HBAR_C_CM


def reflectivity(energies: Array, eps1: Array, eps2: Array) -> Array:
    """R = ((n - 1)^2 + k^2)/((n + 1)^2 + k^2)."""
    n, k = refractive_index(energies, eps1, eps2), extinction(energies, eps1, eps2)
    return ((n - 1) ** 2 + k**2) / ((n + 1) ** 2 + k**2)


def energy_loss(energies: Array, eps1: Array, eps2: Array) -> Array:
    """Im(-1/eps) = eps2/|eps|^2."""
    return eps2 / (eps1**2 + eps2**2)
