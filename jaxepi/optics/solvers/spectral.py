"""Where the energies of a large cell lie: bounds, the gap, and how many states a window holds, from a few random vectors.

Chebyshev moments <r|T_n(H)|r> of random phases come two a product; broadened by Gaussians they are a density of states whose
standard error follows from the vectors.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxepi.errors import InputError
from jaxepi.guards import known, traced
from jaxepi.optics import lanczos
from jaxepi.optics.solvers.bonds import Bonds
from jaxepi.optics.solvers.chebyshev import gaussian_order, gaussians

PROBES = 60
"""Steps of Lanczos' recursion that bound the energies."""

VECTORS = 8
"""Random vectors of the density of states."""

SMOOTH = 0.05
"""Deviation, eV, of the Gaussians that it is broadened by: gaps below about six of them are not seen."""

EMPTY = 0.02
"""A density below this part of one state's peak is none."""


COUNTED = 6000
"""Orbitals up to which states are counted exactly where random vectors cannot tell: a minute, about."""

ERRORS = 5.0
"""Standard errors of a number of states beyond which it is another one."""


def rounded(count: Any, step: int = 16) -> int:
    """A number of vectors or energies up to the next multiple: then few sizes are compiled."""
    return step * max(1, -(-int(np.ceil(count)) // step))


class Levels(NamedTuple):
    """Energies of one H(k), eV: `low` and `high` bound all; none lies between `valence` and `conduction`, where the gap is."""

    low: float
    high: float
    valence: float
    conduction: float

    @property
    def middle(self) -> float:
        """Of the gap."""
        return 0.5 * (self.valence + self.conduction)

    @property
    def scale(self) -> tuple[float, float]:
        """Centre and half width of an interval that holds all energies."""
        return 0.5 * (self.low + self.high), 0.5 * (self.high - self.low)


class Density(NamedTuple):
    """States below energies, by every random vector: `energies` (e,), eV, `counts` (r, e); and their density, (e,)."""

    energies: np.ndarray
    counts: np.ndarray
    density: np.ndarray

    def states(self, low: float, high: float) -> tuple[float, float]:
        """States in a window, and the standard error."""
        held = [np.interp(high, self.energies, c) - np.interp(low, self.energies, c) for c in self.counts]
        return float(np.mean(held)), float(np.std(held, ddof=1) / np.sqrt(len(held)))


def random_phases(key: Array, operator: Bonds, count: int, dtype: Any) -> Inexact[Array, "n o m"]:
    """Random vectors: phases on the unit circle, or signs where `dtype` is real; zero where there is no orbital."""
    shape = (*operator.kept.shape, count)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        angle = 2 * jnp.pi * jax.random.uniform(key, shape, jnp.finfo(dtype).dtype)
        vectors = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
    else:
        vectors = jax.random.rademacher(key, shape, dtype)
    return vectors * operator.kept[..., None].astype(vectors.dtype)


def bounds(operator: Bonds) -> tuple[float, float]:
    """Energies, eV, below and above all of them.

    Ritz values from a random vector, widened by their residuals and by a hundredth of what they span (after Zhou, Saad, Tiago
    and Chelikowsky, J. Comput. Phys. 219, 172 (2006)).
    """
    alpha, beta = (np.asarray(x, np.float64)[0] for x in _recursion(operator))
    values, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1))
    residuals = beta[-1] * np.abs(vectors[-1])
    room = 0.01 * (values[-1] - values[0])
    return float((values - residuals).min() - room), float((values + residuals).max() + room)


@jax.jit
def within(operator: Bonds, levels: Levels) -> Array:
    """Whether levels bound all energies of an operator, by its extreme Ritz values: for levels that were planned."""
    alpha, beta = (x[0] for x in _recursion(jax.lax.stop_gradient(operator)))
    values = jnp.linalg.eigvalsh(jnp.diag(alpha) + jnp.diag(beta[:-1], 1) + jnp.diag(beta[:-1], -1))
    return (values[0] > levels.low) & (values[-1] < levels.high)


def refuse_beyond(operator: Bonds, levels: Levels) -> None:
    """Refuse an operator whose energies, where they are known, are beyond levels that were planned.

    Raises:
        InputError: they are.
    """
    ok = known(within(operator, levels))
    if ok is not None and not ok:
        raise InputError(
            f"energies of this configuration are beyond those that were planned for, {levels.low:.2f} to {levels.high:.2f} eV: "
            "plan again for it"
        )


@jax.jit
def _recursion(operator: Bonds) -> tuple[Array, Array]:
    start = random_phases(jax.random.key(1), operator, 1, operator.blocks.dtype)
    steps = min(PROBES, int(np.prod(operator.kept.shape)))
    return lanczos.advance(lambda op, x: op.apply(x), operator, lanczos.begin(start[None]), steps)[1:]


@partial(jax.jit, static_argnames=("count",))
def moments(operator: Bonds, centre: Array, half: Array, key: Array, count: int) -> Float[Array, "m d"]:
    """<r|T_n((H - centre)/half)|r> of random vectors, n below `count`, from count/2 products."""
    start = random_phases(key, operator, VECTORS, operator.blocks.dtype)
    operator = operator.scaled(centre, half)

    def dot(x, y):
        return (x.conj() * y).real.sum(axis=(0, 1))

    first = operator.apply(start)
    zeroth, one = dot(start, start), dot(start, first)

    def step(state, _):
        before, last = state
        ahead = 2 * operator.apply(last) - before
        return (last, ahead), (2 * dot(last, last) - zeroth, 2 * dot(ahead, last) - one)

    _, (even, odd) = jax.lax.scan(step, (start, first), None, length=count // 2 - 1)
    later = jnp.stack([even, odd], axis=1).reshape(-1, start.shape[2])
    return jnp.concatenate([zeroth[None], one[None], later]).T


def density(operator: Bonds, low: float, high: float, key: Array) -> Density:
    """The density of states between bounds, eV."""
    centre, half = 0.5 * (low + high), 0.5 * (high - low)
    count = gaussian_order(half, SMOOTH, 1e-6)
    scale = (jnp.asarray(x, operator.blocks.real.dtype) for x in (centre, half))
    mu = np.asarray(moments(operator, *scale, key, count), np.float64)
    step = 0.2 * SMOOTH
    energies = np.linspace(low - 5 * SMOOTH, high + 5 * SMOOTH, int((high - low) / step / 128 + 1) * 128)
    step = energies[1] - energies[0]
    lines = np.asarray(_lines(jnp.asarray(energies), centre, half, count))
    by_vector = mu @ lines.T
    return Density(energies + 0.5 * step, np.cumsum(by_vector, axis=1) * step, by_vector.mean(axis=0))


_lines = jax.jit(lambda e, centre, half, count: gaussians(e, SMOOTH, 1.0, centre, half, count), static_argnums=3)


def gap(found: Density, occupied: int, operator: Bonds | None = None) -> tuple[float, float]:
    """Energies, eV, between which there is no state, with `occupied` ones below.

    Args:
        operator: counted exactly, if it is small enough, where random vectors see several gaps that may be the one.

    Raises:
        InputError: no such gap is seen, or several that random vectors cannot tell apart.
    """
    empty = found.density < EMPTY / (np.sqrt(2 * np.pi) * SMOOTH)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], empty, [False]]).astype(int)))
    count = found.counts.mean(axis=0)
    error = found.counts.std(axis=0, ddof=1) / np.sqrt(len(found.counts))
    near = []
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        middle = (first + last) // 2
        if first > 0 and last < len(empty) and abs(count[middle] - occupied) < ERRORS * error[middle] + 1:
            near.append((float(found.energies[first]), float(found.energies[last - 1])))
    if len(near) > 1 and operator is not None and operator.kept.sum() <= COUNTED:
        exact = eigenvalues(operator)
        near = [edges for edges in near if (exact < 0.5 * sum(edges)).sum() == occupied]
    if not near:
        at = float(found.energies[np.argmin(np.abs(count - occupied))])
        raise InputError(
            f"no gap above the {occupied} filled states is seen, near {at:.2f} eV (gaps below {6 * SMOOTH:g} eV are not): "
            "solvers for large cells need one; give its edges as gap=(valence, conduction), eV, or use solver=optics.Dense()"
        )
    if len(near) > 1:
        listed = ", ".join(f"{low:.2f} to {high:.2f}" for low, high in near)
        raise InputError(
            f"gaps at {listed} eV may lie above the {occupied} filled states, which random vectors count to "
            f"+-{ERRORS * error.max():.0f}: give the one as gap=(valence, conduction), eV, or use solver=optics.Dense()"
        )
    return near[0]


def eigenvalues(operator: Bonds) -> Float[np.ndarray, " N"]:
    """All of them, eV, ascending, by diagonalisation."""
    n, o = operator.kept.shape
    blocks = np.asarray(operator.blocks)
    matrix = np.zeros((n, n, o, o), blocks.dtype)
    np.add.at(
        matrix, (np.arange(n)[:, None], np.asarray(operator.receivers)), blocks.reshape(n, o, -1, o).swapaxes(1, 2)
    )
    there = np.flatnonzero(operator.kept)
    return np.linalg.eigvalsh(matrix.swapaxes(1, 2).reshape(n * o, n * o)[np.ix_(there, there)])


def check_edges(edges: tuple[float, float] | None) -> None:
    """Refuse edges of a gap that are not in order.

    Raises:
        InputError: they are not.
    """
    if edges is not None and not -np.inf < edges[0] < edges[1] < np.inf:
        raise InputError(f"gap {edges}: give the edges of filled and empty states, eV, the lower one first")


def check_width(width: float | None) -> None:
    """Refuse a width of lines that is none.

    Raises:
        InputError: it is not.
    """
    if width is not None and not 0 < width < np.inf:
        raise InputError(f"width {width} eV: give a positive one, or None")


def edges_of(
    found: Density, occupied: int, given: tuple[float, float] | None, operator: Bonds | None = None
) -> tuple[float, float]:
    """The gap that is given, if so many states as are filled are below it, or the one that is seen; see `gap`.

    Raises:
        InputError: no such gap is seen, or another number of states is below the one that is given.
    """
    if given is None:
        return gap(found, occupied, operator)
    below = [np.interp(0.5 * (given[0] + given[1]), found.energies, c) for c in found.counts]
    count, error = np.mean(below), np.std(below, ddof=1) / np.sqrt(len(below))
    if abs(count - occupied) > ERRORS * error + 1:
        raise InputError(
            f"gap {given[0]:g} to {given[1]:g} eV: {count:.0f} +- {error:.0f} states are below, and {occupied} are filled; "
            "give the gap above these, or none"
        )
    return given


def refuse_traced(operator: Bonds) -> None:
    """Refuse an operator whose energies cannot be looked at.

    Raises:
        InputError: values are being traced.
    """
    if traced(operator):
        raise InputError(
            "solvers for large cells look where the energies lie, and JAX is tracing them: do that outside, "
            "solver = optics.planned(solver, hamiltonian, snapshots, kmesh), and pass what it returns"
        )


def levels_of(operator: Bonds, occupied: int, given: tuple[float, float] | None = None, seed: int = 0) -> Levels:
    """Bounds and gap of one H(k); the gap is looked for where it is not given.

    Raises:
        InputError: no gap is seen, or not the one that is given, or values are being traced.
    """
    refuse_traced(operator)
    low, high = bounds(operator)
    found = density(operator, low, high, jax.random.key(seed))
    return Levels(low, high, *edges_of(found, occupied, given, operator))


def united(found: Sequence[Levels]) -> Levels:
    """Levels that serve all configurations, with some room for what differentiation or a change of parameters moves.

    Raises:
        InputError: gaps that do not overlap.
    """
    low, high = min(one.low for one in found), max(one.high for one in found)
    valence, conduction = max(one.valence for one in found), min(one.conduction for one in found)
    if not valence < conduction:
        raise InputError(
            f"gaps of these configurations do not overlap (filled states end at {valence:.3f}, empty ones begin at "
            f"{conduction:.3f} eV): solve them one by one"
        )
    room = 0.01 * (high - low)
    return Levels(low - room, high + room, valence, conduction)
