"""Optical constants from the dielectric function, with their spread over snapshots."""

import functools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi import html, units
from jaxepi.guards import traced
from jaxepi.sampling import averages
from jaxepi.sampling.averages import Groups
from jaxepi.tree import field, pytree, static, stored


@stored
@pytree
class Spectrum:
    """Dielectric function at photon energies, one tensor a snapshot, and the optical constants that follow.

    A snapshot's spectrum is not an observable; the thermal average of the dielectric function is (Williams and Lax). So
    constants are computed from the mean tensor, and their spread from those of the single snapshots.

    Attributes:
        energies: photon energies, eV, shape (w,).
        eps1, eps2: real and imaginary part, shape (s, w, 3, 3); (s, w, 1, 1) when only the isotropic mean was computed.
        weights, groups: of the snapshots (see `Snapshots`).
    """

    energies: Float[Array, " w"] = field(unit="eV")
    eps1: Float[Array, "s w a a"] = field(unit="1")
    eps2: Float[Array, "s w a a"] = field(unit="1")
    weights: Float[Array, "s"] | None = field(unit="1", default=None)
    groups: Groups = static(default=())

    def __len__(self) -> int:
        return self.eps2.shape[0]

    def _repr_html_(self) -> str | None:
        if traced(self):
            return None
        alpha, energies = np.asarray(self.absorption(), dtype=float), np.asarray(self.energies, dtype=float)
        rows = [
            ("snapshots", len(self)),
            ("photon energies (eV)", f"{energies[0]:g} to {energies[-1]:g}, {len(energies)}"),
        ]
        for i in np.unique(np.linspace(0, len(energies) - 1, 6).round().astype(int)):
            rows.append((f"absorption at {energies[i]:.2f} eV (1/cm)", f"{alpha[i]:.4g}"))
        return html.table("Spectrum", rows) + html.curve(energies, alpha, "photon energy (eV)", "absorption (1/cm)")

    def isotropic(self) -> tuple[Float[Array, "s w"], Float[Array, "s w"]]:
        """eps1 and eps2 averaged over directions, a snapshot."""
        return tuple(jnp.einsum("swaa->sw", e) / e.shape[-1] for e in (self.eps1, self.eps2))  # type: ignore[return-value]

    def mean(self) -> tuple[Float[Array, " w"], Float[Array, " w"]]:
        """Thermal average of the isotropic eps1 and eps2."""
        eps1, eps2 = self.isotropic()
        return averages.mean(eps1, self.weights), averages.mean(eps2, self.weights)

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
        return averages.spread(values, self.weights)

    def standard_error(self, function: Callable[[Array, Array, Array], Array] | None = None) -> Float[Array, " w"]:
        """Standard error of an optical constant over the independent groups of snapshots; NaN for fewer than two.

        The constant is computed of the mean tensor of each group, as that of the whole is of the whole.
        """
        eps1, eps2 = self.isotropic()
        (eps1, totals), (eps2, _) = (averages.group_means(eps, self.groups, self.weights) for eps in (eps1, eps2))
        return averages.standard_error((function or absorption)(self.energies, eps1, eps2), weights=totals)


Values = Array | np.ndarray | float | Sequence[float | int]


def _of_arrays(function: Callable[[Array, Array, Array], Array]) -> Callable[[Values, Values, Values], Array]:
    """The same function, of numbers and lists too."""

    @functools.wraps(function)
    def constant(energies: Values, eps1: Values, eps2: Values) -> Array:
        values = [jnp.asarray(x) for x in (energies, eps1, eps2)]
        floating = [x.dtype for x in values if jnp.issubdtype(x.dtype, jnp.floating) and not x.weak_type]
        dtype = jnp.result_type(*floating) if floating else float
        most = max(x.ndim for x in values)
        return function(*(x.astype(dtype).reshape((1,) * (most - x.ndim) + x.shape) for x in values))

    return constant


@_of_arrays
def refractive_index(energies: Array, eps1: Array, eps2: Array) -> Array:
    """n = sqrt((|eps| + eps1)/2)."""
    return jnp.sqrt(0.5 * (jnp.hypot(eps1, eps2) + eps1))


@_of_arrays
def extinction(energies: Array, eps1: Array, eps2: Array) -> Array:
    """k = eps2/(2 n): keeps its relative accuracy where eps2 is tiny, unlike sqrt((|eps| - eps1)/2)."""
    n = refractive_index(energies, eps1, eps2)
    # The root is kept off zero where it is not used: its derivative there is infinite.
    root = jnp.sqrt(0.5 * jnp.where(eps1 > 0, 1.0, jnp.hypot(eps1, eps2) - eps1))
    return jnp.where(eps1 > 0, eps2 / (2 * jnp.where(n > 0, n, 1.0)), root)


@_of_arrays
def absorption(energies: Array, eps1: Array, eps2: Array) -> Array:
    """alpha = 2 E k/(hbar c), 1/cm."""
    return 2 * energies * extinction(energies, eps1, eps2) / units.HBAR_C_CM


@_of_arrays
def reflectivity(energies: Array, eps1: Array, eps2: Array) -> Array:
    """R = ((n - 1)^2 + k^2)/((n + 1)^2 + k^2)."""
    n, k = refractive_index(energies, eps1, eps2), extinction(energies, eps1, eps2)
    return ((n - 1) ** 2 + k**2) / ((n + 1) ** 2 + k**2)


@_of_arrays
def energy_loss(energies: Array, eps1: Array, eps2: Array) -> Array:
    """Im(-1/eps) = eps2/|eps|^2."""
    return eps2 / (eps1**2 + eps2**2)
