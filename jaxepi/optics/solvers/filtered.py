"""The filtered solver: states about the gap by a Chebyshev filter, then transitions among them as exactly as the dense ones.

A block of random vectors is filtered by a polynomial of H that rises steeply inside a window about the gap
(`chebyshev.window`) and made orthonormal, and H is diagonalised among it (Rayleigh, Ritz). What the filter lets through shows
in residuals |H x - E x|, which bound the errors of energies and vectors; where they are too large, the block is filtered again
(subspace iteration; Zhou, Saad, Tiago and Chelikowsky, J. Comput. Phys. 219, 172 (2006)).

Derivatives: states X that are converged are those of p(H) X, which moves them along all others as perturbation theory does, up
to the filter's suppression. So the rule of `chebyshev_sums` differentiates them, and `transition_histogram` what follows.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxepi.errors import InputError
from jaxepi.guards import full_precision, poisoned, traced
from jaxepi.linalg import inverse_cholesky
from jaxepi.optics.broadening import EnergyGrid
from jaxepi.optics.solvers import estimators, spectral
from jaxepi.optics.solvers.bonds import Bonds
from jaxepi.optics.solvers.case import Case, Found, check_served, operators_of, without_far_slots
from jaxepi.optics.solvers.chebyshev import chebyshev_sums
from jaxepi.optics.solvers.estimators import Lines
from jaxepi.optics.solvers.spectral import Levels
from jaxepi.optics.solvers.stochastic import DEFAULT_WIDTH, Stochastic, one_sided
from jaxepi.optics.solvers.windows import Window, choose
from jaxepi.optics.transitions import DenseOperator, deposit, squared_dipoles, transition_histogram
from jaxepi.tree import astype, pytree, replace, static

COLUMNS = 128
"""Vectors that are filtered together."""

SPURIOUS = 1.0
"""Ritz vectors with larger residuals, eV, are no states."""

PASSES = 4
"""Filters of a block at most."""

SAFETY = 0.1
"""Part of the tolerance that filters after the first aim at."""

MARGIN = 9.0
"""Widths of a line above the joint up to which transitions are exact; the rest takes over from `TAKES_OVER` on."""

TAKES_OVER = (3.0, 6.0)


@partial(jax.jit, static_argnames="together")
@full_precision
def _filter(h: Bonds, block: Inexact[Array, "n o m"], scale, coefficients, together: int) -> Inexact[Array, "n o m"]:
    """The polynomial of H times a block of vectors, columns by columns."""
    n, o, m = block.shape
    at = h.scaled(*scale)
    missing = -m % together
    columns = jnp.moveaxis(jnp.pad(block, ((0, 0), (0, 0), (0, missing))).reshape(n, o, -1, together), 2, 0)
    found = jax.lax.map(lambda x: chebyshev_sums(at, x, coefficients)[0], columns)
    return jnp.moveaxis(found, 0, 2).reshape(n, o, -1)[..., :m]


@jax.jit
def _ritz(h: Bonds, block: Inexact[Array, "n o m"]) -> tuple[Array, Array, Array]:
    """Ritz values, eV, ascending, vectors and residuals, eV, of a block."""
    n, o, m = block.shape
    basis = jnp.linalg.qr(block.reshape(n * o, m))[0]
    inner = basis.conj().T @ h.apply(basis.reshape(n, o, m)).reshape(n * o, m)
    e, u = jnp.linalg.eigh(0.5 * (inner + inner.conj().T))
    vectors = (basis @ u).reshape(n, o, m)
    residuals = jnp.linalg.norm((h.apply(vectors) - vectors * e[None, None].astype(u.dtype)).reshape(n * o, m), axis=0)
    # Vectors to spare are mixtures of everything outside, whose Ritz values may lie anywhere.
    e = jnp.where(residuals < SPURIOUS, e, jnp.inf)
    order = jnp.argsort(e)
    return e[order], vectors[..., order], residuals[order]


@jax.custom_vjp
def following(h: Bonds, states: Inexact[Array, "n o m"], scale, coefficients) -> Inexact[Array, "n o m"]:
    """Converged eigenvectors, which follow H in reverse mode: as p(H) X, each over its own p(E), does."""
    return states


def _following_forward(h, states, scale, coefficients):
    return states, (h, states, scale, coefficients)


def _following_backward(residuals, bar):
    h, states, scale, coefficients = residuals
    found, pull = jax.vjp(lambda op: chebyshev_sums(op.scaled(*scale), states, coefficients)[0], h)
    size = (states.conj() * found).real.sum(axis=(0, 1), keepdims=True)
    return (
        *pull(bar / size.astype(bar.dtype)),
        jnp.zeros_like(states),
        *jax.tree.map(jnp.zeros_like, (scale, coefficients)),
    )


following.defvjp(_following_forward, _following_backward)


@partial(jax.jit, static_argnames=("filled", "grid", "tensor"))
def _between(
    w: Bonds, e: Float[Array, " m"], states, filled: int, grid: EnergyGrid, tensor: bool
) -> Float[Array, "p bins"]:
    """Binned transitions from filled to empty eigenvectors: what `_among` gives where nothing is differentiated."""
    n, o, m = states.shape
    below, above = states[..., :filled], states[..., filled:].reshape(n * o, m - filled)
    x = jax.lax.map(
        lambda b: above.conj().T @ Bonds(b, w.receivers, w.kept).apply(below).reshape(n * o, filled), w.blocks
    )
    gap, strengths = squared_dipoles(e, x, filled, tensor)
    return deposit(grid, gap, strengths)


@partial(jax.jit, static_argnames=("filled", "grid", "tensor"))
def _among(h: Bonds, w: Bonds, states, scale, coefficients, filled: int, grid: EnergyGrid, tensor: bool):
    """Binned transitions among states, and their energies."""
    n, o, m = states.shape
    x = following(h, jax.lax.stop_gradient(states), scale, coefficients)
    flat = x.reshape(n * o, m)

    def inner(operator):
        return flat.conj().T @ operator.apply(x).reshape(n * o, m)

    lower = inverse_cholesky(flat.conj().T @ flat)
    momenta = jax.lax.map(lambda blocks: inner(Bonds(blocks, w.receivers, w.kept)), w.blocks)
    energies, momenta = lower @ inner(h) @ lower.conj().T, lower @ momenta @ lower.conj().T
    energies = 0.5 * (energies + energies.conj().T)
    momenta = 0.5 * (momenta - jnp.swapaxes(momenta.conj(), 1, 2))
    one = jnp.ones(1, flat.real.dtype)
    found, e = transition_histogram(energies[None], DenseOperator(momenta[None]), one, filled, grid, tensor)
    return found, e[0]


@pytree
class Filtered:
    """Exact transitions up to an energy, from states about the gap that a polynomial of H filters out; the rest stochastic.

    Attributes:
        joint: photon energy, eV, up to which spectra are those of the dense solver.
        rest: what is beyond; None leaves it out (and with it most of eps1).
        tolerance: of the states: residuals |H x - E x|, over eV, of all that take part in transitions up to the joint.
        precision: of the first filter: "double", or "single" as far as round-off allows, then "double". Under tracing (jit,
            grad) all filters are in double: nobody looks there whether one more is needed.
        seed: of the first vectors. gap: edges between filled and empty states, eV, where they are known.
        window: what `planned` found, for tracing.
        width: narrowest line shape, eV, that the result will be broadened by (default: that of `dielectric`, or 0.03).
    """

    joint: float = static(default=2.6)
    rest: Stochastic | None = static(default=Stochastic())
    tolerance: float = static(default=1e-8)
    precision: str = static(default="double")
    seed: int = static(default=0)
    gap: tuple[float, float] | None = static(default=None)
    window: Window | None = static(default=None)
    width: float | None = static(default=None)

    def __post_init__(self) -> None:
        if not 0 < self.joint < 50:
            raise InputError(f"joint {self.joint} eV: give a photon energy")
        if not 1e-14 < self.tolerance < 1e-2:
            raise InputError(f"tolerance {self.tolerance}: give one between 1e-14 and 0.01")
        if self.precision not in ("double", "single"):
            raise InputError(f"precision {self.precision!r}: give 'double' or 'single'")
        spectral.check_edges(self.gap)
        spectral.check_width(self.width)

    def resolving(self, width: float) -> "Filtered":
        """The same for line shapes of `width`, eV, where none was asked for.

        Raises:
            InputError: a window was planned for narrower ones.
        """
        if self.window is not None and width > (1 + 1e-9) * self.narrowest:
            raise InputError(
                f"planned for lines of {self.narrowest:g} eV, and these are {width:g}: give width={width:g} before "
                "optics.planned"
            )
        return self if self.width is not None else replace(self, width=float(width))

    @property
    def is_joined(self) -> bool:
        """Whether something is beyond; without it bins are bare."""
        return self.rest is not None and self.rest.above > 0

    @property
    def depth(self) -> float:
        """All transitions up to this energy, eV, are exact."""
        return self.joint + MARGIN * self.narrowest

    @property
    def narrowest(self) -> float:
        """Line shape, eV, that is resolved."""
        return DEFAULT_WIDTH if self.width is None else self.width

    def plan(self, case: Case) -> "Filtered":
        """The same with a window for the first configuration and k point, and lines of the width that it is for."""
        check_served(case)
        h, _ = operators_of(without_far_slots(case), 0, 0)
        chosen = self.look(h, case.occupied, case.size)
        # Under tracing nobody adds a filter where one more is needed: at least two in double precision, as here.
        e, _, passes = replace(self, precision="double").converged(h, chosen)
        chosen = replace(chosen, passes=max(chosen.passes, passes))
        return replace(self, window=chosen.with_guards(np.asarray(e)), width=self.narrowest)

    def look(self, h: Bonds, occupied: int, size: int) -> Window:
        """The window for one H(k)."""
        spectral.refuse_traced(h)
        low, high = spectral.bounds(h)
        density = spectral.density(h, low, high, jax.random.key(self.seed))
        levels = Levels(low, high, *spectral.edges_of(density, occupied, self.gap, h))
        return choose(density, levels, self.depth, self.tolerance, size)

    def solve(self, case: Case, grid: EnergyGrid, tensor: bool, memory_gb: float) -> Found:
        """Transitions of all configurations; see `optics.transitions`."""
        check_served(case)
        if case.positions.dtype != np.float64:
            raise InputError(
                "the filtered solver works in double precision, and these models are in single: switch it on with "
                "jax.config.update('jax_enable_x64', True) before they are loaded"
            )
        case = without_far_slots(case)
        parts = [self.of_snapshot(case, s, grid, tensor, memory_gb) for s in range(len(case.positions))]
        widest = max(e.shape[1] for _, e, _ in parts)
        filled = max(n for *_, n in parts)
        histogram = jnp.stack([h for h, *_ in parts])
        eigenvalues = jnp.stack([_padded(e, n, filled, widest + filled) for _, e, n in parts])
        carried = Lines.of(self.narrowest, grid).deviation if self.is_joined else 0.0
        return Found(histogram, eigenvalues, filled, case.plasma(), carried)

    def of_snapshot(self, case: Case, s: int, grid: EnergyGrid, tensor: bool, memory_gb: float):
        """The histogram of one configuration, summed over k, its energies, and how many of them are filled."""
        displaced = case.structure.with_positions(case.positions[s])
        total: Any = 0.0
        energies, held = [], []
        for k in range(len(case.points)):
            h, w = operators_of(case, s, k)
            chosen = self.window or self.look(h, case.occupied, case.size)
            self.check_memory(chosen, h, memory_gb)
            e, states, filled, ok = self.states(h, chosen)
            if traced(h, w):
                scale = tuple(jnp.asarray(x) for x in chosen.levels.scale)
                coefficients = chosen.coefficients(states.real.dtype)
                # The bins, not the states: no bin holds what is NaN, and zeros would be left.
                found, e = poisoned(_among(h, w, states, scale, coefficients, filled, grid, tensor), ok)
            else:
                found = _between(w, e, states, filled, grid, tensor)
            del states
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), s), k)
            total = total + case.weights[k] * self.joined(found, h, w, chosen.levels, key, grid, tensor)
            energies.append(e)
            held.append(filled)
        total = case.prefactor(displaced) * total
        if not case.graph.checked:
            total = poisoned(total, case.graph.holds(displaced))
        most, widest = max(held), max(len(e) for e in energies)
        stacked = jnp.stack([_padded(e[None], n, most, widest + most)[0] for e, n in zip(energies, held, strict=True)])
        return total, stacked, most

    def joined(self, found: Float[Array, "p bins"], h, w, levels: Levels, key: Array, grid: EnergyGrid, tensor: bool):
        """The filtered bins below the joint, and the rest above."""
        if self.rest is None or not self.is_joined:
            return found
        lines = Lines.of(self.narrowest, grid)
        above = one_sided(h, w, levels, key, lines, tensor, self.rest.above).mean(axis=0)
        above = estimators.on_bins(above, lines)
        nodes = grid.nodes.astype(found.dtype)
        begin, end = (self.joint + x * self.narrowest for x in TAKES_OVER)
        weight = estimators.ramp(nodes, begin, end - begin)[None]
        return _broadened(found, grid, lines.deviation) * (1 - weight) + above * weight

    def states(self, h: Bonds, chosen: Window) -> tuple[Array, Inexact[Array, "n o m"], int, Array | bool]:
        """Energies, eV, ascending, of the states nearest to the gap, these, how many of them are filled, and whether they are
        what is asked for.

        Raises:
            InputError: they are not converged, or more than a plan keeps (under tracing, the last value is false).
        """
        h = jax.lax.stop_gradient(h)
        if traced(h):
            block = spectral.random_phases(jax.random.key(self.seed), h, chosen.block, h.blocks.dtype)
            for _ in range(chosen.passes):
                e, block, residuals = _ritz(h, _filtered(h, block, chosen, False))
            ok = (_worst(e, residuals, chosen) < self.tolerance) & chosen.holds(e) & spectral.within(h, chosen.levels)
            return *self.kept(e, block, chosen), chosen.filled, ok
        if self.window is not None:
            spectral.refuse_beyond(h, chosen.levels)
        e, block, _ = self.converged(h, chosen)
        chosen = chosen.holding(np.asarray(e))
        return *self.kept(e, block, chosen), chosen.filled, True

    def converged(self, h: Bonds, chosen: Window) -> tuple[Array, Inexact[Array, "n o m"], int]:
        """Ritz values, eV, ascending, vectors of the whole block, of which those in the window are converged, and the filters.

        Raises:
            InputError: they are not.
        """
        block = spectral.random_phases(jax.random.key(self.seed), h, chosen.block, h.blocks.dtype)
        aim, now = SAFETY * self.tolerance, chosen
        if self.precision == "single":
            rough, left = chosen.in_single(h.kept.size)
            block, now = _filtered(h, block, rough, True), chosen.reducing(aim / left)
        worst = np.inf
        for i in range(PASSES):
            e, block, residuals = _ritz(h, _filtered(h, block, now, False))
            worst = float(_worst(e, residuals, chosen))
            if worst < self.tolerance:
                return e, block, i + 1
            now = chosen.reducing(min(aim / worst, SAFETY))
        raise InputError(
            f"states about the gap have residuals of {worst:.1e} eV after {PASSES} filters, more than tolerance "
            f"{self.tolerance:g}: raise it"
        )

    def kept(
        self, e: Array, block: Inexact[Array, "n o m"], chosen: Window
    ) -> tuple[Array, Inexact[Array, "n o held"]]:
        """Energies and columns of the states that are kept."""
        first, count = (e < chosen.levels.middle).sum() - chosen.filled, chosen.filled + chosen.empty
        cut = jax.lax.dynamic_slice_in_dim
        return cut(e, first, count), cut(block, first, count, axis=2)

    def check_memory(self, chosen: Window, h: Bonds, memory_gb: float) -> None:
        """Refuse a block that does not fit.

        Raises:
            InputError: says how much it needs.
        """
        rows, numbers = int(np.prod(h.kept.shape)), 1 if not jnp.iscomplexobj(h.blocks) else 2
        need = 8e-9 * numbers * (5 * rows * chosen.block + 6 * chosen.block**2 + 5 * h.blocks.size)
        if need > memory_gb:
            raise InputError(
                f"{chosen.block} vectors of {rows} orbitals, for transitions up to {self.depth:.2f} eV, need about {need:.1f} "
                f"GB of working memory, more than {memory_gb:g} GB; raise memory_gb, lower joint, or use optics.Stochastic()"
            )


def _worst(e: Array, residuals: Array, chosen: Window) -> Array:
    """The largest residual, eV, of the states that are wanted."""
    wanted = (e > chosen.low) & (e < chosen.high)
    return jnp.where(wanted.any(), jnp.where(wanted, residuals, 0.0).max(), jnp.inf)


def _filtered(h: Bonds, block: Array, chosen: Window, single: bool) -> Array:
    """A block after one filter, in single precision if asked for."""
    dtype = block.dtype
    if single:
        h, block = astype((h, block), "float32")
    real = block.real.dtype
    scale = tuple(jnp.asarray(x, real) for x in chosen.levels.scale)
    together = min(COLUMNS, block.shape[2])
    return _filter(h, block, scale, chosen.coefficients(real), together).astype(dtype)


def _padded(e: Float[Array, "k m"], own: int, filled: int, width: int) -> Float[Array, "k width"]:
    """Energies with the filled ones ending at the same place; NaN where there is none."""
    before = filled - own
    return jnp.pad(e, ((0, 0), (before, width - before - e.shape[1])), constant_values=jnp.nan)


@partial(jax.jit, static_argnames=("grid", "deviation"))
def _broadened(found: Float[Array, "p bins"], grid: EnergyGrid, deviation: float) -> Float[Array, "p bins"]:
    """Bins with lines of a deviation, eV, that of their splines included."""
    variance = deviation**2 - grid.step**2 / 3
    reach = int(9 * deviation / grid.step)
    at = grid.step * jnp.arange(-reach, reach + 1, dtype=found.dtype)
    line = grid.step * jnp.exp(-0.5 * at**2 / variance) / jnp.sqrt(2 * jnp.pi * variance)
    return jax.vmap(lambda row: jnp.convolve(row, line, mode="same"))(found)
