"""Distance laws of two-centre integrals: smooth functions of the bond length and a few parameters a pair."""

from collections.abc import Callable
from dataclasses import dataclass, field

import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclass(frozen=True)
class Law:
    """A function of distance (angstrom) and parameters; `neutral` are values with which it is zero and smooth."""

    function: Callable[..., Array]
    neutral: dict[str, float] = field(hash=False)

    def __call__(self, distance: Float[Array, " e"], **parameters: Array) -> Float[Array, " e"]:
        return self.function(distance, **parameters)


def _power(distance, value, exponent, length):
    """value (length/distance)^exponent (Harrison)."""
    return value * (length / distance) ** exponent


def _exponential(distance, value, decay, length, switch, width):
    """value exp(decay (1 - distance/length)), switched off by a Fermi function (Trambly de Laissardiere 2010)."""
    return value * jnp.exp(decay * (1 - distance / length)) / (1 + jnp.exp((distance - switch) / width))


def smooth_step(distance: Array, inner: float, outer: float) -> Array:
    """One up to `inner`, zero from `outer` on, with two continuous derivatives between."""
    x = jnp.clip((outer - distance) / (outer - inner), 0.0, 1.0)
    return x**3 * (10 + x * (6 * x - 15))


def nrl_switch(distance: Array, switch: Array, width: Array) -> Array:
    """F(d) = 1/(1 + exp((d - switch)/width + 5)) below `switch`, where it is cut at 0.7%, and zero beyond (NRL)."""
    return jnp.where(distance < switch, 1 / (1 + jnp.exp((distance - switch) / width + 5)), 0.0)


def _polynomial(distance, c0, c1, c2, c3, decay, switch, width):
    """(c0 + c1 d + c2 d^2 + c3 d^3) exp(-decay^2 d) F(d) (NRL)."""
    polynomial = c0 + distance * (c1 + distance * (c2 + distance * c3))
    return polynomial * jnp.exp(-(decay**2) * distance) * nrl_switch(distance, switch, width)


def _enveloped(distance, c0, c1, c2, c3, c4, origin, length, exponent, decay, stretch, switch, width, reach):
    """P(d - origin) (length/d)^exponent exp(-decay d^stretch) / (1 + exp((d - switch)/width)), with P of fourth order.

    It is what the laws of DeePTB have in common (`deeptb_models`). Its tail is cut at `reach`, where the Fermi function
    is that of eight widths, 3e-4.
    """
    x = distance - origin
    polynomial = c0 + x * (c1 + x * (c2 + x * (c3 + x * c4)))
    envelope = (length / distance) ** exponent * jnp.exp(-decay * distance**stretch)
    value = polynomial * envelope / (1 + jnp.exp((distance - switch) / width))
    return jnp.where(distance < reach, value, 0.0)


_ZERO = dict.fromkeys(("c0", "c1", "c2", "c3", "c4", "origin", "exponent", "decay"), 0.0)

LAWS: dict[str, Law] = {
    "power": Law(_power, {"value": 0.0, "exponent": 0.0, "length": 1.0}),
    "exponential": Law(_exponential, {"value": 0.0, "decay": 0.0, "length": 1.0, "switch": 1.0, "width": 1.0}),
    "polynomial": Law(
        _polynomial, {"c0": 0.0, "c1": 0.0, "c2": 0.0, "c3": 0.0, "decay": 0.0, "switch": 1.0, "width": 1.0}
    ),
    "enveloped": Law(_enveloped, _ZERO | {"length": 1.0, "stretch": 1.0, "switch": 1.0, "width": 1.0, "reach": 1.0}),
}
