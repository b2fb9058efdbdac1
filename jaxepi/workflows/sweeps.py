"""Spectra of very many temperatures as one smooth function: from the absorption study, with derivatives by temperature.

All temperatures share one topology, one noise and one compiled program, so that a spectrum is a smooth function of temperature;
its derivative at each comes from the same pass. Between them, cubic Hermite polynomials through values and derivatives.
"""

import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi import labelled, optics
from jaxepi.errors import InputError
from jaxepi.guards import constant, number, poisoned, traced
from jaxepi.machines import Devices
from jaxepi.tree import field, pytree
from jaxepi.workflows.absorption import AbsorptionResult, absorption
from jaxepi.workflows.settings import AbsorptionSettings


@pytree
class Sweep:
    """The mean dielectric function at temperatures, with its derivative, and gaps.

    Attributes:
        temperatures: kelvin, ascending, shape (t,). energies: photon energies, eV, shape (w,).
        eps1, eps2: isotropic, mean over snapshots, shape (t, w). eps1_slope, eps2_slope: their derivatives, 1/K.
        gaps, gap_errors: between the band edges, mean over snapshots and its standard error, eV, shape (t,).
    """

    temperatures: Float[Array, " t"] = field(unit="K")
    energies: Float[Array, " w"] = field(unit="eV")
    eps1: Float[Array, "t w"] = field(unit="1")
    eps2: Float[Array, "t w"] = field(unit="1")
    eps1_slope: Float[Array, "t w"] = field(unit="1/K")
    eps2_slope: Float[Array, "t w"] = field(unit="1/K")
    gaps: Float[Array, " t"] = field(unit="eV")
    gap_errors: Float[Array, " t"] = field(unit="eV")

    @classmethod
    def of(cls, result: AbsorptionResult) -> "Sweep":
        """The sweep that an absorption study with `slopes` holds.

        Raises:
            InputError: it has no slopes, or a single temperature.
        """
        if not result.slopes or len(result.temperatures) < 2:
            raise InputError(
                "a sweep is a study of two temperatures or more with their slopes; ask for slopes (--slopes) and more "
                "--temperatures"
            )
        order = np.argsort(result.temperatures, kind="stable")
        eps1, eps2 = (np.stack([np.asarray(result.spectra[i].mean()[n]) for i in order]) for n in (0, 1))
        slope1, slope2 = (np.stack([np.asarray(result.slopes[i].mean()[n]) for i in order]) for n in (0, 1))
        drawn = [(result.snapshots[i], result.gaps[i]) for i in order]
        gaps = np.array([float(one.mean(values)) for one, values in drawn])
        errors = np.array([float(one.standard_error(values)) for one, values in drawn])
        temperatures = np.asarray(result.temperatures)[order]
        arrays = temperatures, result.spectra[0].energies, eps1, eps2, slope1, slope2, gaps, errors
        return cls(*(constant(array) for array in arrays))

    def at(self, temperature: float | Array) -> tuple[Float[Array, " w"], Float[Array, " w"]]:
        """eps1 and eps2 at a temperature between the first and the last: smooth, with the derivatives that were computed.

        Raises:
            InputError: a temperature outside (NaN under tracing).
        """
        number("temperature", temperature, "kelvin")
        t = self.temperatures
        if not traced(temperature, t) and not float(t[0]) <= float(temperature) <= float(t[-1]):
            raise InputError(
                f"temperature {float(temperature):g} K: the sweep goes from {float(t[0]):g} to {float(t[-1]):g} K"
            )
        inside = (temperature >= t[0]) & (temperature <= t[-1])
        return poisoned(_hermite(self, jnp.asarray(temperature, t.dtype)), inside)

    def absorption(self, temperature: float | Array | None = None) -> Float[Array, "*t w"]:
        """Absorption coefficient, 1/cm, at a temperature, or at all that were computed, shape (t, w)."""
        if temperature is not None:
            return optics.absorption(self.energies, *self.at(temperature))
        return jax.vmap(lambda e1, e2: optics.absorption(self.energies, e1, e2))(self.eps1, self.eps2)

    def absorption_slope(self, temperature: float | Array | None = None) -> Float[Array, "*t w"]:
        """Derivative of the absorption coefficient by temperature, 1/(cm K), at a temperature or at all."""
        if temperature is not None:
            kelvin = jnp.asarray(temperature, self.temperatures.dtype)
            return jax.jvp(self.absorption, (kelvin,), (jnp.ones_like(kelvin),))[1]

        def one(*held):
            return jax.jvp(lambda e1, e2: optics.absorption(self.energies, e1, e2), held[:2], held[2:])[1]

        return jax.vmap(one)(self.eps1, self.eps2, self.eps1_slope, self.eps2_slope)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` over temperatures (K) and photon energies (eV)."""
        over = ("temperature", "energy")
        variables: dict[str, Any] = {
            "eps1": (over, self.eps1, "1"),
            "eps2": (over, self.eps2, "1"),
            "eps1_slope": (over, self.eps1_slope, "1/K"),
            "eps2_slope": (over, self.eps2_slope, "1/K"),
            "absorption": (over, self.absorption(), "1/cm"),
            "absorption_slope": (over, self.absorption_slope(), "1/(cm K)"),
            "gap": (("temperature",), self.gaps, "eV"),
            "gap_error": (("temperature",), self.gap_errors, "eV"),
        }
        coordinates = {
            "temperature": ("temperature", self.temperatures, "K"),
            "energy": ("energy", self.energies, "eV"),
        }
        return labelled.dataset(variables, coordinates)


@jax.jit
def _hermite(sweep: Sweep, temperature: Array) -> tuple[Array, Array]:
    """Cubic Hermite polynomials through values and slopes at the temperatures on either side."""
    t = sweep.temperatures
    i = jnp.clip(jnp.searchsorted(t, temperature, side="right") - 1, 0, t.shape[0] - 2)
    width = t[i + 1] - t[i]
    x = (temperature - t[i]) / width

    def between(values: Array, slopes: Array) -> Array:
        low, high = values[i], values[i + 1]
        start, end = width * slopes[i], width * slopes[i + 1]
        value = (1 + 2 * x) * (1 - x) ** 2 * low + x**2 * (3 - 2 * x) * high
        return value + x * (1 - x) ** 2 * start + x**2 * (x - 1) * end

    return between(sweep.eps1, sweep.eps1_slope), between(sweep.eps2, sweep.eps2_slope)


def sweep(
    crystal: str,
    temperatures: Any = "0:600:20",
    output: str | os.PathLike | None = None,
    *,
    progress: bool = False,
    devices: Devices | None = None,
    **settings: Any,
) -> Sweep:
    """Spectra and gaps of a crystal at many temperatures, with derivatives by temperature.

    Args:
        crystal: a material or a structure file. temperatures: kelvin, a list or "start:stop:step".
        output: HDF5 file of the study, which a second call goes on with or reads; None keeps nothing.
        devices: over which snapshots are spread. settings: any of `AbsorptionSettings`, such as supercell, snapshots, kmesh.

    Raises:
        InputError: settings that cannot be, samplers without a derivative, or what `absorption` refuses.
    """
    asked = AbsorptionSettings(crystal=crystal, temperatures=temperatures, slopes=True, **settings)
    return Sweep.of(absorption(asked, output, progress, devices=devices))
