"""Windows of states about the gap, and the polynomials that filter them out at least cost."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.optics.solvers import spectral
from jaxepi.optics.solvers.chebyshev import padded_order, rise, window
from jaxepi.optics.solvers.spectral import Levels
from jaxepi.tree import pytree, replace, static

LIFTED = float(np.log(1e2))
"""Logarithm of the polynomial's value, over its largest outside, from which a state belongs to a plan."""

ROUND_OFF, SINGLE_ROUND_OFF = 1e-15, 6e-8
"""Of a filtered vector, over the largest value of the polynomial."""

SPREAD = 10.0
"""Energy, eV, that residuals of random vectors have, about."""

MIRRORED = 2 * float(np.log(2))
"""What `rise` lacks at any order."""

DENSE_WORK = 0.008
"""Work of diagonalising among a block of m vectors, over that of m products with block rows."""


@pytree
class Window:
    """States that are asked for, and how they are filtered out: static.

    Attributes:
        levels: of H. low, high: the states in between are wanted, eV. outer: the polynomial rises inside this interval, eV.
        order: of the polynomial. block: vectors that are filtered. filled, empty: states that are kept on both sides,
            those of a plan; as many as there are where they are 0. passes: filters under tracing.
    """

    levels: Levels = static()
    low: float = static()
    high: float = static()
    outer: tuple[float, float] = static()
    order: int = static()
    block: int = static()
    filled: int = static(default=0)
    empty: int = static(default=0)
    passes: int = static(default=2)

    def holding(self, e: np.ndarray) -> "Window":
        """The same with the numbers of states that these energies ask for; those of a plan are kept.

        Raises:
            InputError: the plan keeps fewer.
        """
        middle = self.levels.middle
        sides = [((e > self.low) & (e < middle)).sum(), ((e > middle) & (e < self.high)).sum()]
        there = [(e < middle).sum(), ((e > middle) & (e < np.inf)).sum()]
        if not self.filled:
            filled, empty = (int(min(spectral.rounded(n, 8), most)) for n, most in zip(sides, there, strict=True))
            return replace(self, filled=filled, empty=empty)
        if sides[0] > self.filled or sides[1] > self.empty or there[0] < self.filled or there[1] < self.empty:
            raise InputError(
                f"{sides[0]} filled and {sides[1]} empty states take part in these transitions, and the plan keeps "
                f"{self.filled} and {self.empty}: plan again for this configuration"
            )
        return self

    def holds(self, e: Array) -> Array:
        """Whether `holding` takes these energies, by those of a plan: for tracing."""
        below, found = e < self.levels.middle, e < jnp.inf
        inside = (e > self.low) & (e < self.high)
        few = ((inside & below).sum() <= self.filled) & ((inside & ~below).sum() <= self.empty)
        return few & (below.sum() >= self.filled) & ((found & ~below).sum() >= self.empty)

    def with_guards(self, e: np.ndarray) -> "Window":
        """The same with all states that the polynomial lifts out of what is outside: derivatives need them.

        States follow H along all others but for the ratio of the polynomial's values, which is small only to those outside.
        """
        lifted = [
            rise(*self.outer, *self.levels.scale, self.order, float(x)) > LIFTED if np.isfinite(x) else False for x in e
        ]
        inside = e[np.array(lifted)]
        middle = self.levels.middle
        return replace(self, filled=int((inside < middle).sum()), empty=int((inside > middle).sum()))

    def steepness(self, energy: float) -> float:
        """Growth of the polynomial's logarithm with its order, at an energy over the outside."""
        return (rise(*self.outer, *self.levels.scale, 1000, energy) + MIRRORED) / 1000

    @property
    def edges(self) -> float:
        """The lesser `steepness` of both ends."""
        return min(self.steepness(self.low), self.steepness(self.high))

    def reducing(self, ratio: float) -> "Window":
        """The same with a polynomial, of at most the order of this, that brings residuals down to `ratio` of themselves."""
        order = (MIRRORED - np.log(ratio)) / self.edges
        return replace(self, order=min(self.order, filled_up(order)))

    def in_single(self, size: int) -> tuple["Window", float]:
        """The same with a polynomial for single precision, and the residuals, eV, that it leaves of random vectors.

        A higher order suppresses more and buries the states at the edges of the window deeper in the round-off of those in
        the middle.
        """
        edges, steep = self.edges, self.steepness(self.levels.middle)
        orders = np.unique([filled_up(float(n)) for n in range(1, self.order + 1, 16)])
        left = SPREAD * np.sqrt(size) * np.exp(MIRRORED - edges * orders)
        buried = SINGLE_ROUND_OFF * self.levels.scale[1] * np.exp((steep - edges) * orders)
        best = int(np.argmin(left + buried))
        return replace(self, order=min(self.order, int(orders[best]))), float((left + buried)[best])

    def coefficients(self, dtype: Any) -> Float[Array, "1 d"]:
        """Of the polynomial, padded with zeros."""
        found = window(*self.outer, *self.levels.scale, self.order)
        return jnp.asarray(np.pad(found, (0, padded_order(len(found)) - len(found)))[None], dtype)


def filled_up(order: float) -> int:
    """The highest order, of at least this one, whose polynomial is worked out in as many products (`padded_order`)."""
    return padded_order(np.ceil(order) + 1) - 1


def choose(density: spectral.Density, levels: Levels, depth: float, tolerance: float, size: int) -> Window:
    """The window that costs least: a wider one filters in fewer products, and more vectors.

    Args:
        depth: all transitions up to this energy, eV, are wanted. tolerance: of the vectors. size: orbitals.

    Raises:
        InputError: no transitions up to `depth`, or a window that holds most states.
    """
    low, high = levels.conduction - depth, levels.valence + depth
    filled, empty = (density.states(*side)[0] for side in ((low, levels.middle), (levels.middle, high)))
    if min(filled, empty) < 0.5:
        side = "filled" if filled < 0.5 else "empty"
        raise InputError(
            f"no {side} state is among those for transitions up to {depth:.2f} eV ({low:.2f} to {high:.2f} eV; the gap is "
            f"{levels.valence:.2f} to {levels.conduction:.2f}): raise joint"
        )
    best, least = None, np.inf
    for room in np.geomspace(0.15, 6.0, 24):
        outer = (float(low - room), float(high + room))
        held, error = density.states(*outer)
        block = spectral.rounded(held + 4 * error + 8)
        per_order = Window(levels, low, high, outer, 0, block).edges
        if per_order <= 0 or block >= size:
            continue
        order = filled_up(-np.log(tolerance / np.sqrt(size)) / per_order)
        cost = block * (order + DENSE_WORK * block)
        # What is filtered in the middle leaves its round-off in the states at the edges of the window.
        steep = [rise(*outer, *levels.scale, order, e) for e in (levels.middle, low, high)]
        floor = ROUND_OFF * levels.scale[1] * np.exp(steep[0] - min(steep[1:]))
        if cost < least and floor < 0.1 * tolerance:
            best, least = (outer, order, block), cost
    if best is None or filled + empty > 0.4 * size:
        raise InputError(
            f"transitions up to {depth:.2f} eV are among {filled + empty:.0f} of {size} states: a filter gains nothing; lower "
            "joint, or use solver=optics.Dense()"
        )
    outer, order, block = best
    return Window(levels, low, high, outer, order, block)
