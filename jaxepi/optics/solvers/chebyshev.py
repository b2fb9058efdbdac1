"""Chebyshev sums of a Hermitian operator on blocks of vectors, with a derivative that keeps no vector of the recursion.

    Y_j = sum_n C_jn T_n(H) R,      T_{n+1} = 2 H T_n - T_{n-1}

serves filters (one j) and vectors at many energies (one j each) alike. The reverse rule runs the recursion backwards, which is
as stable as forwards, beside Clenshaw's recursion of the cotangents: memory does not grow with the order.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxepi.optics.solvers.bonds import Bonds
from jaxepi.tree import replace

TOGETHER = 32
"""Orders that are summed by one matrix product."""


def padded_order(order: Any) -> int:
    """The number of terms of a sum of at least `order`: few lengths, so that few programs are compiled."""
    step = max(TOGETHER, 2 ** max(int(np.log2(max(order, 1))) - 3, 0))
    return int(-(-max(order, 2) // step) * step)


def chebyshev_sums(
    operator: Bonds, start: Inexact[Array, "n o m"], coefficients: Float[Array, "j d"]
) -> Inexact[Array, "j n o m"]:
    """Y_j = sum_n C_jn T_n(H) R of an operator with all eigenvalues within [-1, 1]; coefficients are constants.

    The number of terms d is a multiple of `TOGETHER`.
    """
    return several_sums(operator, (start,), (coefficients,))[0]


@jax.custom_vjp
def several_sums(operator: Bonds, starts: tuple[Array, ...], coefficients: tuple[Array, ...]) -> tuple[Array, ...]:
    """`chebyshev_sums` of several blocks of vectors, each with coefficients of its own, by one recursion.

    A product with few columns takes as long as reading the operator, however few they are.
    """
    return _forward(operator, starts, coefficients)[0]


def _step(operator: Bonds, state: tuple[Array, Array]) -> tuple[Array, Array]:
    before, last = state
    return last, 2 * operator.apply(last) - before


def _combine(coefficients: Float[Array, "j q"], stack: Inexact[Array, "q *d"]) -> Array:
    """sum_q C_jq X_q, with real arithmetic for real coefficients."""
    flat = stack.reshape(stack.shape[0], -1)
    out = (
        jax.lax.complex(coefficients @ flat.real, coefficients @ flat.imag)
        if jnp.iscomplexobj(flat)
        else coefficients @ flat
    )
    return out.reshape(coefficients.shape[0], *stack.shape[1:])


def _chunks(coefficients: Float[Array, "j d"]) -> Float[Array, "c j q"]:
    j = coefficients.shape[0]
    return jnp.moveaxis(coefficients.reshape(j, -1, TOGETHER), 1, 0)


def _ends(blocks: tuple[Array, ...]) -> list[int]:
    """Columns at which one block of several side by side ends and the next begins."""
    return [int(x) for x in np.cumsum([b.shape[-1] for b in blocks])[:-1]]


def _forward(operator, starts, coefficients):
    ends, start = _ends(starts), jnp.concatenate(starts, axis=-1)

    def chunk(carry, weights):
        state, totals = carry

        def one(state, _):
            return _step(operator, state), state[0]

        state, stack = jax.lax.scan(one, state, None, length=TOGETHER)
        parts = zip(totals, weights, jnp.split(stack, ends, axis=-1), strict=True)
        return (state, tuple(total + _combine(own, part) for total, own, part in parts)), None

    coefficients = tuple(c.astype(start.real.dtype) for c in coefficients)
    totals = tuple(jnp.zeros((len(c), *s.shape), s.dtype) for c, s in zip(coefficients, starts, strict=True))
    state = (start, operator.apply(start))
    (state, totals), _ = jax.lax.scan(chunk, (state, totals), tuple(map(_chunks, coefficients)))
    return totals, (operator, coefficients, state)


def _backward(residuals, total_bars):
    operator, coefficients, (last, beyond) = residuals
    ends = _ends(total_bars)
    # The pair (T_d, T_{d+1}) one step back: (T_{d-1}, T_d).
    last, beyond = 2 * operator.apply(last) - beyond, last

    def chunk(carry, weights):
        parts = [_combine(own.T, bar) for own, bar in zip(weights, total_bars, strict=True)]
        sources = jnp.concatenate(parts, axis=-1)

        def one(carry, source):
            g, g_next, t, t_next, bar = carry
            bar = bar + 2 * operator.cotangent(g, t)
            return (source + 2 * operator.adjoint_free(g) - g_next, g, 2 * operator.apply(t) - t_next, t, bar), None

        return jax.lax.scan(one, carry, sources, reverse=True)[0], None

    nothing = jnp.zeros_like(last)
    start = (nothing, nothing, last, beyond, jnp.zeros_like(operator.blocks))
    (g0, g1, _, t0, bar), _ = jax.lax.scan(chunk, start, tuple(map(_chunks, coefficients)), reverse=True)
    # The first step is T_1 = H T_0, half of what the loop took it for.
    bar = bar - operator.cotangent(g1, t0)
    start_bar = g0 - operator.adjoint_free(g1)
    none = np.zeros
    operator_bar: Any = replace(
        operator,
        blocks=bar,
        receivers=none(operator.receivers.shape, jax.dtypes.float0),
        kept=none(operator.kept.shape, jax.dtypes.float0),
    )
    return operator_bar, tuple(jnp.split(start_bar, ends, axis=-1)), jax.tree.map(jnp.zeros_like, coefficients)


several_sums.defvjp(_forward, _backward)


def expansion(
    function: Callable[[Array], Array], centre: Any, half: Any, count: int, dtype: Any
) -> Float[Array, "j d"]:
    """Coefficients of functions of energy, function(E of shape (1, q)) -> (j, q), on [centre - half, centre + half]."""
    nodes = 2 * count
    angle = np.pi * (np.arange(nodes) + 0.5) / nodes
    values = function(centre + half * jnp.cos(jnp.asarray(angle, dtype))[None])
    # A type-2 cosine transform, by FFT of the values mirrored about both ends.
    mirrored = jnp.concatenate([values, values[:, ::-1]], axis=1)
    turn = jnp.asarray(np.exp(-1j * np.pi * np.arange(count) / (2 * nodes)), np.result_type(dtype, np.complex64))
    found = (jnp.fft.fft(mirrored, axis=1)[:, :count] * turn[None]).real / nodes
    return found.at[:, 0].multiply(0.5).astype(dtype)


def window(low: float, high: float, centre: float, half: float, order: int) -> np.ndarray:
    """Coefficients of the polynomial that stays small outside [low, high], eV, and rises as steeply as any within, to one.

    A Dolph-Chebyshev window in the angle whose cosine is the scaled energy (Dolph, Proc. IRE 34, 335 (1946)), which spans as
    many degrees to both sides of the middle.

    Returns:
        Shape (order + 1,), to be padded with zeros.
    """
    middle, wide = _angles(low, high, centre, half)
    angles = 2 * np.pi * np.arange(2 * order + 2) / (2 * order + 2)
    x = np.cos(0.5 * angles) / np.cos(0.5 * wide)
    largest = 2 * order * np.arccosh(1 / np.cos(0.5 * wide))
    rising = 2 * order * np.arccosh(np.maximum(np.abs(x), 1.0))
    grown = 0.5 * (np.exp(rising - largest) + np.exp(-rising - largest))
    values = np.where(np.abs(x) > 1, grown, np.cos(2 * order * np.arccos(np.clip(x, -1, 1))) * np.exp(-largest))
    series = np.fft.rfft(values).real / len(values)
    n = np.arange(order + 1)
    return 8 * series[: order + 1] * np.cos(n * middle) * np.where(n == 0, 0.5, 1.0)


def _angles(low: float, high: float, centre: float, half: float) -> tuple[float, float]:
    """Middle and half width, radians, of an interval of energies."""
    upper, lower = (float(np.arccos(np.clip((e - centre) / half, -1, 1))) for e in (low, high))
    return 0.5 * (upper + lower), 0.5 * (upper - lower)


def rise(low: float, high: float, centre: float, half: float, order: int, energy: float) -> float:
    """Logarithm of what `window` is at an energy within over its largest value outside."""
    middle, wide = _angles(low, high, centre, half)
    x = np.cos(0.5 * (np.arccos(np.clip((energy - centre) / half, -1, 1)) - middle)) / np.cos(0.5 * wide)
    # The mirrored window doubles what is outside.
    return float(2 * order * np.arccosh(max(x, 1.0)) - 2 * np.log(2))


def gaussians(
    energies: Float[Array, " j"], width: float, power: float, centre: Any, half: Any, count: int
) -> Float[Array, "j d"]:
    """Coefficients of Gaussians of deviation `width`, eV, and unit area at energies, to a power."""

    def lines(e):
        return ((2 * np.pi * width**2) ** -0.5 * jnp.exp(-0.5 * ((e - energies[:, None]) / width) ** 2)) ** power

    return expansion(lines, centre, half, count, energies.dtype)


def gaussian_order(half: float, width: float, accuracy: float = 1e-5) -> int:
    """Terms after which a Gaussian's expansion misses `accuracy` of its height."""
    return padded_order(np.sqrt(-2 * np.log(accuracy)) * half / width)
