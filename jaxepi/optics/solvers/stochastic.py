"""The stochastic solver: spectra of very large cells from random vectors (`estimators`), with an error bar from the vectors."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.guards import poisoned
from jaxepi.optics.broadening import EnergyGrid
from jaxepi.optics.solvers import estimators
from jaxepi.optics.solvers.case import Case, Found, check_served, operators_of, without_far_slots
from jaxepi.optics.solvers.chebyshev import gaussian_order
from jaxepi.optics.solvers.estimators import Lines, Sides
from jaxepi.optics.solvers.spectral import Levels, check_edges, check_width, levels_of, refuse_beyond, united, within
from jaxepi.tree import pytree, replace, static

DEFAULT_WIDTH = 0.03
"""Narrowest line shape, eV, where nothing says which will be asked for."""

LEAK_TWO_SIDED, LEAK_ONE_SIDED = 1e-4, 1e-3
"""What the expansions of Gaussians may miss of their height; two-sided it is squared."""

RAMP = 0.2
"""Energy, eV, over which one estimator takes over from the other."""


@pytree
class Stochastic:
    """Transitions from random vectors: linear in the number of atoms, for gapped crystals.

    Attributes:
        vectors: random vectors of the two-sided estimator, of which all pairs count; at least 3.
        ceiling: photon energy, eV, up to which it is used; above, where absorption is strong, the one-sided one does.
        above: random vectors of the latter, 2 to `vectors`; 0 leaves transitions above the ceiling out (and most of eps1).
        width: narrowest line shape, eV, that the result will be broadened by (default: that of `dielectric`, or 0.03).
        seed: of the random vectors, which are the same wherever it is: so are those of two calculations that are compared or
            differentiated.
        gap: edges between filled and empty states, eV, where they are known (default: found in a density of states).
        levels: what `planned` found, for tracing.
    """

    vectors: int = static(default=8)
    ceiling: float = static(default=3.0)
    above: int = static(default=2)
    width: float | None = static(default=None)
    seed: int = static(default=0)
    gap: tuple[float, float] | None = static(default=None)
    levels: Levels | None = static(default=None)

    def __post_init__(self) -> None:
        if self.vectors < 3:
            raise InputError(f"vectors {self.vectors}: pairs of them give the spectrum and its error; give at least 3")
        if self.above != 0 and not 2 <= self.above <= self.vectors:
            raise InputError(
                f"above {self.above}: give 2 random vectors, whose difference is their error, to {self.vectors} (vectors), or 0"
            )
        if not self.ceiling > 0:
            raise InputError(f"ceiling {self.ceiling} eV: give a positive photon energy")
        check_edges(self.gap)
        check_width(self.width)

    def resolving(self, width: float) -> "Stochastic":
        """The same for line shapes of `width`, eV, where none was asked for."""
        return self if self.width is not None else replace(self, width=float(width))

    def lines(self, grid: EnergyGrid) -> Lines:
        """What is resolved."""
        return Lines.of(DEFAULT_WIDTH if self.width is None else self.width, grid)

    def plan(self, case: Case) -> "Stochastic":
        """The same with the levels of all configurations and k points of a case."""
        check_served(case)
        case = without_far_slots(case)
        found = []
        for s, k in np.ndindex(len(case.positions), len(case.points)):
            h, _ = operators_of(case, s, k)
            found.append(levels_of(h, case.occupied, self.gap))
        return replace(self, levels=united(found))

    def needs(self, case: Case, grid: EnergyGrid) -> float:
        """Gigabytes of working memory, about."""
        lines, block = self.lines(grid), case.hamiltonian.basis.block_size
        number = 8.0
        rows = len(case.structure) * block
        slots = 4 * len(case.graph.senders) * block**2
        energies = 2 * self.ceiling / lines.spacing
        two = 3.5 * rows * energies * 2 * self.vectors
        # Real and imaginary parts of all pairs along three axes, their products, and copies of these in order.
        pairs = 24.0 * (self.vectors * (self.ceiling + RAMP) / lines.spacing) ** 2
        one = 4.0 * rows * 38.0 / lines.spacing * (1 if case.real else 2) if self.above else 0.0
        return float(number * (2 * slots * (1 if case.real else 2) + max(two + pairs, one))) / 1e9

    def solve(self, case: Case, grid: EnergyGrid, tensor: bool, memory_gb: float) -> Found:
        """Transitions of all configurations; see `optics.transitions`."""
        check_served(case)
        need = self.needs(case, grid)
        if need > memory_gb:
            raise InputError(
                f"{self.vectors} random vectors at all energies need about {need:.1f} GB of working memory, more than "
                f"{memory_gb:g} GB; raise memory_gb, or give fewer vectors, a lower ceiling, a larger width"
            )
        case = without_far_slots(case)
        parts = [self.of_snapshot(case, s, grid, tensor) for s in range(len(case.positions))]
        histogram, replicas = (jnp.stack([part[i] for part in parts]) for i in range(2))
        none = jnp.zeros((len(parts), len(case.points), 0), histogram.dtype)
        return Found(histogram, none, 0, case.plasma(), self.lines(grid).deviation, replicas)

    def of_snapshot(self, case: Case, s: int, grid: EnergyGrid, tensor: bool) -> tuple[Array, Array]:
        """Histograms of one configuration, summed over k: of all vectors, and of all but one each."""
        lines = self.lines(grid)
        displaced = case.structure.with_positions(case.positions[s])
        total: Any = 0.0
        for k in range(len(case.points)):
            h, w = operators_of(case, s, k)
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), s), k)
            found = self.at(h, w, case.occupied, key, lines, tensor)
            total = total + case.weights[k] * found
        total = case.prefactor(displaced) * total
        if not case.graph.checked:
            total = poisoned(total, case.graph.holds(displaced))
        return total[0], total[1:]

    def at(self, h, w, occupied: int, key: Array, lines: Lines, tensor: bool) -> Float[Array, "r p bins"]:
        """Squared dipoles a bin at one k point: of all vectors, then of all but one each."""
        levels, ok = self.levels, True
        if levels is None:
            levels = levels_of(h, occupied, self.gap)
        else:
            refuse_beyond(h, levels)
            ok = within(h, levels)
        low = two_sided(h, w, levels, key, lines, tensor, self.vectors, self.ceiling + RAMP)
        energies = lines.spacing * jnp.arange(lines.nodes, dtype=low.dtype)
        weight = estimators.ramp(energies, self.ceiling, RAMP)[None, None]
        found = low * (1 - weight)
        if self.above:
            high = one_sided(h, w, levels, key, lines, tensor, self.above)
            found = found + left_out(high, self.vectors) * weight
        return poisoned(estimators.on_bins(found, lines), ok)


def two_sided(h, w, levels: Levels, key: Array, lines: Lines, tensor: bool, vectors: int, depth: float) -> Array:
    """Squared dipoles a node up to `depth` eV: of all pairs of vectors, then without one each, shape (1 + r, p, nodes)."""
    sides = Sides.of(levels, lines, depth)
    order = gaussian_order(levels.scale[1], lines.deviation, LEAK_TWO_SIDED)
    pairs = estimators.two_sided(h, w, *arguments(levels, sides, h), key, lines, vectors, order, tensor)
    pairs = pairs * (1 - jnp.eye(vectors, dtype=pairs.dtype))[:, :, None, None]
    every = pairs.sum(axis=(0, 1))
    without = every[None] - pairs.sum(axis=0) - pairs.sum(axis=1)
    r = vectors
    every, without = every / (r * (r - 1)), without / ((r - 1) * (r - 2))
    return estimators.dipoles(jnp.concatenate([every[None], without]), lines)


def one_sided(h, w, levels: Levels, key: Array, lines: Lines, tensor: bool, vectors: int) -> Array:
    """Squared dipoles a node at all energies, of each vector, shape (m, p, nodes)."""
    sides = Sides.of(levels, lines, None)
    order = gaussian_order(levels.scale[1], lines.single, LEAK_ONE_SIDED)
    keys = jax.random.split(jax.random.fold_in(key, 1), vectors)
    found = [estimators.one_sided(h, w, *arguments(levels, sides, h), key, lines, order, tensor) for key in keys]
    return estimators.dipoles(jnp.stack(found), lines)


def left_out(each: Float[Array, "m p nodes"], replicas: int) -> Float[Array, "q p nodes"]:
    """The mean over vectors, then so many replicas whose jackknife error is the standard error of the mean."""
    mean, m, r = each.mean(axis=0, keepdims=True), len(each), replicas
    # Means without one vector each; where there are fewer of them than replicas, further from the mean, and the rest on it.
    apart = (mean - each) / (m - 1) * float(np.sqrt((m - 1) / m * r / (r - 1)))
    return mean + jnp.concatenate([jnp.zeros_like(mean), apart, jnp.zeros((r - m, *each.shape[1:]), each.dtype)])


def arguments(levels: Levels, sides: Sides, h) -> tuple[Any, ...]:
    """Scale, energies and first difference as arrays: other levels compile nothing again."""
    dtype = h.blocks.real.dtype
    scale = tuple(jnp.asarray(x, dtype) for x in levels.scale)
    return scale, jnp.asarray(sides.filled, dtype), jnp.asarray(sides.empty, dtype), jnp.asarray(sides.first)
