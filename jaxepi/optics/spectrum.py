"""Optical constants from the dielectric function, with their spread over snapshots."""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi import archive, html, labelled, units
from jaxepi.errors import InputError
from jaxepi.guards import traced
from jaxepi.sampling import averages
from jaxepi.sampling.averages import Groups
from jaxepi.tree import field, pytree, static, stored

_FORMAT, _VERSION = "jaxepi-spectrum", 1


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

    def save(self, path: str | os.PathLike) -> None:
        """Write the spectrum as a NumPy archive (.npz) with a header, whole or not at all.

        Raises:
            InputError: another suffix. OSError: the file cannot be written.
        """
        if Path(path).suffix != ".npz":
            raise InputError(f"{path}: a spectrum is kept as a NumPy archive; give a name that ends in .npz")
        arrays = {name: np.asarray(getattr(self, name)) for name in ("energies", "eps1", "eps2")}
        if self.weights is not None:
            arrays["weights"] = np.asarray(self.weights)
        shapes = {name: array.shape for name, array in arrays.items()}
        header = {"format": _FORMAT, "version": _VERSION, "shapes": shapes, "groups": self.groups, "energies": "eV"}
        archive.write(Path(path), header, arrays, compressed=True)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "Spectrum":
        """A spectrum that `save` wrote.

        Raises:
            InputError: there is no such file, or it is damaged, of another version or no spectrum; names it.
        """
        try:
            with archive.opened(Path(path)) as held, archive.damaged():
                header = held.header
                if header.get("format") != _FORMAT:
                    raise archive.DamagedError(f"it is {header.get('format')!r}")
                if header.get("version") != _VERSION:
                    raise archive.DamagedError(f"version {header.get('version')}; this jaxepi reads {_VERSION}")
                arrays = {name: jnp.asarray(held.array(name, shape)) for name, shape in header["shapes"].items()}
                return cls(**arrays, groups=tuple(int(group) for group in header["groups"]))
        except archive.DamagedError as error:
            raise InputError(f"{path} cannot be read as a spectrum ({error}); give what Spectrum.save wrote") from error

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` over photon energies (eV): constants of the mean, each with its spread and standard error.

        Units and meanings stand in its `attrs`.
        """
        columns: dict[str, Any] = {"energy": self.energies}
        for name, (function, _, _) in CONSTANTS.items():
            columns |= {name: self._constant(function), f"{name}_spread": self.spread(function)}
            columns[f"{name}_error"] = self.standard_error(function)
        table = labelled.frame(columns, "energy")
        table.attrs["units"] = {"energy": "eV", **{name: unit for name, (_, unit, _) in CONSTANTS.items()}}
        return table

    def to_xarray(self) -> Any:
        """An `xarray.Dataset`: the dielectric tensor of every snapshot, and the optical constants of their mean."""
        tensor = ("snapshot", "energy", "direction", "field")
        variables: dict[str, Any] = {f"{name}_tensor": (tensor, getattr(self, name), "1") for name in ("eps1", "eps2")}
        variables |= {n: (("energy",), self._constant(f), unit) for n, (f, unit, _) in CONSTANTS.items()}
        return labelled.dataset(variables, {"energy": ("energy", self.energies, "eV")})

    @jax.jit
    def isotropic(self) -> tuple[Float[Array, "s w"], Float[Array, "s w"]]:
        """eps1 and eps2 averaged over directions, a snapshot."""
        return tuple(jnp.einsum("swaa->sw", e) / e.shape[-1] for e in (self.eps1, self.eps2))  # type: ignore[return-value]

    @jax.jit
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
        eps1, eps2, totals = self._group_means()
        return averages.standard_error((function or absorption)(self.energies, eps1, eps2), weights=totals)

    @jax.jit
    def _group_means(self) -> tuple[Float[Array, "g w"], Float[Array, "g w"], Float[Array, " g"]]:
        eps1, eps2 = self.isotropic()
        (eps1, totals), (eps2, _) = (averages.group_means(eps, self.groups, self.weights) for eps in (eps1, eps2))
        return eps1, eps2, totals


Values = Array | np.ndarray | float | Sequence[float | int]


def _of_arrays(function: Callable[[Array, Array, Array], Array]) -> Callable[[Values, Values, Values], Array]:
    """The same function, compiled as a whole, of numbers and lists too."""

    @jax.jit
    def compiled(*values: Array) -> Array:
        floating = [x.dtype for x in values if jnp.issubdtype(x.dtype, jnp.floating) and not x.weak_type]
        dtype = jnp.result_type(*floating) if floating else float
        most = max(x.ndim for x in values)
        return function(*(x.astype(dtype).reshape((1,) * (most - x.ndim) + x.shape) for x in values))

    @functools.wraps(function)
    def constant(energies: Values, eps1: Values, eps2: Values) -> Array:
        return compiled(*(x if isinstance(x, jax.Array) else jnp.asarray(x) for x in (energies, eps1, eps2)))

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


CONSTANTS: dict[str, tuple[Callable[..., Array], str, str]] = {
    "absorption": (absorption, "1/cm", "absorption coefficient"),
    "n": (refractive_index, "1", "refractive index"),
    "k": (extinction, "1", "extinction coefficient"),
    "eps1": (lambda energies, eps1, eps2: eps1, "1", "real part of the dielectric function"),
    "eps2": (lambda energies, eps1, eps2: eps2, "1", "imaginary part of the dielectric function"),
    "reflectivity": (reflectivity, "1", "at normal incidence from vacuum"),
    "energy_loss": (energy_loss, "1", "Im(-1/eps)"),
}
"""Optical constants by the names they have in tables: function of energies, eps1, eps2; unit; meaning."""
