"""Thermal expansion in the quasi-harmonic approximation: at every volume the crystal is harmonic.

Flows in: energies and normal modes of a crystal at several lattice constants. Flows out: lattice constant, expansion
coefficient, bulk modulus and heat capacities as functions of temperature and pressure. F(f, T) = E(f) + F_vib(f, T), all
lengths along periodic directions being f times those of a reference; polynomials in f^-2 (Birch's strain) go through them
by least squares. Everything is differentiable: by temperature, masses, parameters of the potential.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi import html
from jaxepi.guards import refuse_or_nan, traced
from jaxepi.sampling.harmonic import Temperature, in_kelvin
from jaxepi.sampling.snapshots import Statistics
from jaxepi.sampling.vibrations import Modes, entropy, free_energy, heat_capacity
from jaxepi.structure import Structure
from jaxepi.tree import field, pytree, stored

DEGREE = 6
"""Of the polynomials, two less than there are volumes where these are few."""

_STEPS = 12
"""Newton's, from the lowest of the volumes; each squares what is left."""


@stored
@pytree
class QuasiHarmonic:
    """Energies and vibrations of a crystal at several lattice constants.

    Attributes:
        structure: the cell that factors stretch (its periodic directions), and that energies are of.
        factors: of all lengths, shape (v,), ascending.
        energies: at rest. points, weights, eigenvalues: as of `Modes`, at each.
    """

    structure: Structure
    factors: Float[Array, " v"] = field(unit="1")
    energies: Float[Array, " v"] = field(unit="eV")
    points: Float[Array, "q 3"] = field(unit="1")
    weights: Float[Array, " q"] = field(unit="1")
    eigenvalues: Float[Array, "v q m"] = field(unit="eV/(angstrom^2 amu)")

    def _repr_html_(self) -> str | None:
        if traced(self):
            return None
        ends = f"{float(self.factors[0]):.4f} to {float(self.factors[-1]):.4f}"
        rows = [("volumes", len(self.factors)), ("lengths, relative", ends), ("wave vectors", len(self.weights))]
        return html.table(f"Quasi-harmonic crystal {self.structure.to_ase().symbols}", rows)


class Expanded(NamedTuple):
    """A crystal at a temperature and a pressure; extensive values per cell of `QuasiHarmonic.structure`.

    Attributes:
        factor: of its lengths. coefficient: of linear expansion, d ln(length)/dT, 1/K.
        free_energy: with that of the lattice at rest, eV. modulus: isothermal, eV/angstrom^3 (of an area: eV/angstrom^2).
        constant_volume, constant_pressure: heat capacities, eV/K. gruneisen: of the crystal, V (dP/dU)_V.
    """

    factor: Float[Array, ""]
    coefficient: Float[Array, ""]
    free_energy: Float[Array, ""]
    modulus: Float[Array, ""]
    constant_volume: Float[Array, ""]
    constant_pressure: Float[Array, ""]
    gruneisen: Float[Array, ""]


def expanded(
    crystal: QuasiHarmonic,
    temperature: Temperature,
    pressure: Float[Array, ""] | float = 0.0,
    statistics: Statistics = "quantum",
) -> Expanded:
    """The crystal at a temperature, at the lattice constant that its free energy wants. Pure.

    Args:
        temperature: kelvin, one number (jax.vmap goes over several). pressure: eV/angstrom^3.

    Raises:
        InputError: a temperature below zero or infinite, or one at which the crystal is larger or smaller than all volumes
            (NaN under tracing).
    """
    kelvin = in_kelvin(temperature, statistics, crystal.factors.dtype)
    found, inside = _expanded(crystal, kelvin, jnp.asarray(pressure, crystal.factors.dtype), statistics)

    def complaint() -> str:
        low, high = float(crystal.factors[0]), float(crystal.factors[-1])
        return (
            f"at {float(kelvin):g} K the free energy has no minimum within lengths of {low:.4f} to {high:.4f} of those at "
            "rest: take a wider range of volumes (--strain), or a potential that the crystal is stable in"
        )

    return refuse_or_nan(found, inside, complaint)


@partial(jax.jit, static_argnames="statistics")
def _expanded(crystal: QuasiHarmonic, kelvin: Array, pressure: Array, statistics: Statistics) -> tuple[Expanded, Array]:
    periodic = np.flatnonzero(crystal.structure.pbc)
    dimensions = len(periodic)
    rows = crystal.structure.cell[periodic]
    size = jnp.sqrt(jnp.linalg.det(rows @ rows.T))  # volume, area or length of the cell
    centre = jnp.mean(crystal.factors)

    def of_modes(function):
        def one(eigenvalues: Array) -> Array:
            return function(Modes(crystal.points, crystal.weights, eigenvalues), kelvin, statistics)

        return jax.vmap(one)(crystal.eigenvalues)

    def strain(f: Array) -> Array:
        return 0.5 * ((f / centre) ** -2 - 1)

    degree = min(DEGREE, len(crystal.factors) - 2)
    scale = jnp.max(jnp.abs(strain(crystal.factors)))
    table = jnp.stack([(strain(crystal.factors) / scale) ** n for n in range(degree + 1)], axis=1)
    values = jnp.stack([crystal.energies + of_modes(free_energy), of_modes(entropy), of_modes(heat_capacity)], axis=1)
    fits = jnp.linalg.lstsq(table, values)[0]

    def at(column: int, f: Array) -> Array:
        return jnp.polyval(fits[::-1, column], strain(f) / scale)

    def enthalpy(f: Array) -> Array:
        return at(0, f) + pressure * size * f**dimensions

    slope, curvature = jax.grad(enthalpy), jax.grad(jax.grad(enthalpy))
    start = crystal.factors[jnp.argmin(values[:, 0] + pressure * size * crystal.factors**dimensions)]

    def step(f: Array, _: None) -> tuple[Array, None]:
        bent = curvature(f)
        move = slope(f) / jnp.where(bent > 0, bent, jnp.inf)
        return f - jnp.clip(move, -0.005, 0.005), None

    found = jax.lax.stop_gradient(jax.lax.scan(step, start, None, length=_STEPS)[0])
    # One step more with derivatives: they are those of the minimum (implicit function theorem).
    f = found - slope(found) / jax.lax.stop_gradient(curvature(found))
    inside = (f > crystal.factors[0]) & (f < crystal.factors[-1]) & (curvature(f) > 0)
    inside &= (kelvin >= 0) & (kelvin < jnp.inf)
    pull = jax.grad(lambda g: at(1, g))(f)
    bent = curvature(f)
    heat = at(2, f)
    coefficient = pull / (f * bent)
    # With V = size f^d, at the minimum: B = V d2F/dV2 = V enthalpy''/(dV/df)^2, and V (dP/dT)_V = (dS/df) f/d.
    return Expanded(
        factor=f,
        coefficient=coefficient,
        free_energy=at(0, f),
        modulus=bent * f ** (2 - dimensions) / (dimensions**2 * size),
        constant_volume=heat,
        constant_pressure=heat + kelvin * pull**2 / bent,
        gruneisen=jnp.where(heat > 0, pull * f / dimensions / jnp.where(heat > 0, heat, 1.0), 0.0),
    ), inside
