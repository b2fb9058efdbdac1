"""Spectra of very large cells from random vectors: the two-sided estimator, positive term by term, and the one-sided one.

    sum_cv |W_cv|^2 delta(w - E_c + E_v) = int dE tr[W^+ d(E + w - H) W d(E - H)]

with Gaussians d. One-sided, the trace is that of <r|...|r>: strong transitions leak into weak ones through its noise, and where
absorption varies over decades nothing is left. Two-sided, each Gaussian is the square of its root,

    int dE || d^(1/2)(E + w - H) W d^(1/2)(E - H) |r> ||^2,

and whatever is summed is as weak as what is asked for. The norm itself is estimated by further random vectors r', as the mean
of |<r'| d^(1/2) W d^(1/2) |r>|^2, positive still: then one recursion a vector serves all energies of both sides, where the norm
would cost one an energy. The vectors are the same on both sides (filled and empty parts of one vector are independent), and all
pairs of two different ones count.

Work and memory are linear in the number of atoms, and so is the precision of a vector: it averages over the states in a line.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxepi.errors import InputError
from jaxepi.optics.broadening import CARRIED, EnergyGrid
from jaxepi.optics.solvers import spectral
from jaxepi.optics.solvers.bonds import Bonds
from jaxepi.optics.solvers.chebyshev import chebyshev_sums, gaussians, several_sums
from jaxepi.optics.solvers.spectral import Levels
from jaxepi.optics.transitions import VOIGT

SPACING = 0.6
"""Distance of energies over the deviation of a line, at most: their sums then miss less than a thousandth."""

REACH = 4.0
"""Deviations at which a Gaussian ends."""


class Lines(NamedTuple):
    """What the estimator resolves: static.

    Attributes:
        deviation: of every line, eV. ratio: bins between two energies. grid: of the bins.
    """

    deviation: float
    ratio: int
    grid: EnergyGrid

    @classmethod
    def of(cls, width: float, grid: EnergyGrid) -> "Lines":
        """For line shapes of `width`, eV, and more."""
        deviation = CARRIED * width
        return cls(deviation, max(1, int(SPACING * deviation / grid.step)), grid)

    @property
    def spacing(self) -> float:
        """Of energies, eV."""
        return self.ratio * self.grid.step

    @property
    def single(self) -> float:
        """Deviation of the Gaussian of one side, eV."""
        return self.deviation / np.sqrt(2)

    @property
    def nodes(self) -> int:
        """Energies on the grid of the bins."""
        return -(-self.grid.count // self.ratio)


class Sides(NamedTuple):
    """Energies of the filled side, downwards, and of the empty side, upwards; their first difference is `first` spacings."""

    filled: np.ndarray
    empty: np.ndarray
    first: int

    @classmethod
    def of(cls, levels: Levels, lines: Lines, depth: float | None) -> "Sides":
        """All energies that transitions up to `depth` eV need, or all energies.

        Raises:
            InputError: a gap that the lines blur.
        """
        blur = REACH * lines.single
        if levels.conduction - levels.valence < 2 * blur:
            width, gap = lines.deviation / CARRIED, levels.conduction - levels.valence
            raise InputError(
                f"a gap of {gap:.3f} eV is blurred by lines of {width:g} eV: give a width below {0.5 * gap / blur * width:.3f} "
                "eV, or solver=optics.Dense()"
            )
        h = lines.spacing
        first = int((levels.conduction - levels.valence - 2 * blur) / h)
        top = levels.valence + blur
        bottom = top + first * h
        if depth is None:
            counts = [spectral.rounded((x + blur) / h) for x in (top - levels.low, levels.high - bottom)]
        else:
            counts = [spectral.rounded(depth / h - first)] * 2
        filled, empty = (np.arange(n) for n in counts)
        return cls(top - h * filled, bottom + h * empty, first)


def split(vectors: Inexact[Array, "j n o m"], real: bool) -> Array:
    """Vectors at energies as a matrix (n*o, j, parts, m): real and imaginary parts apart where the arithmetic is real."""
    j, n, o, m = vectors.shape
    parts = 2 if real else 1
    return jnp.moveaxis(vectors.reshape(j, n * o, parts, m // parts), 0, 1)


def product(left: Array, right: Array, real: bool) -> tuple[Array, Array]:
    """Real and imaginary part of <l|r> for vectors of `split`, shape (j, m, j', m') each."""
    (_, j, parts, m), (_, k, _, l) = left.shape, right.shape
    found = left.reshape(-1, j * parts * m).conj().T @ right.reshape(-1, k * parts * l)
    found = found.reshape(j, parts, m, k, parts, l)
    if real:
        rr, ri, ir, ii = (found[:, a, :, :, b] for a in (0, 1) for b in (0, 1))
        return rr + ii, ri - ir
    return found[:, 0, :, :, 0].real, found[:, 0, :, :, 0].imag


def along_gaps(values: Float[Array, "e *d f"], first: Any, nodes: int) -> Float[Array, "*d nodes"]:
    """Sums of values (empty energy, ..., filled energy) over equal differences, `first` plus the two indices."""
    values = jnp.moveaxis(values, 0, -1)
    at = first + jnp.arange(values.shape[-2])[:, None] + jnp.arange(values.shape[-1])[None]
    flat = values.reshape(*values.shape[:-2], -1)
    out = jnp.zeros((*values.shape[:-2], nodes), values.dtype)
    return out.at[..., at.reshape(-1)].add(flat, mode="drop")


@partial(jax.jit, static_argnames=("lines", "vectors", "order", "tensor"))
def two_sided(
    h: Bonds, w: Bonds, scale, filled, empty, first, key, lines: Lines, vectors: int, order: int, tensor: bool
):
    """The density of W_cv^a W_cv^b over differences of energy, for every pair of vectors: shape (r, r, p, nodes)."""
    real = not jnp.iscomplexobj(h.blocks)
    dtype = h.blocks.dtype
    start = spectral.random_phases(key, h, vectors, np.result_type(dtype, np.complex64))
    if real:
        start = jnp.concatenate([start.real, start.imag], axis=2)
    centre, half = scale
    at = h.scaled(centre, half)
    roots = [gaussians(e, lines.single, 0.5, centre, half, order) for e in (filled, empty)]
    together = chebyshev_sums(at, start, jnp.concatenate(roots))
    below, above = together[: len(filled)], together[len(filled) :]
    n, o = below.shape[1:3]
    columns = jnp.moveaxis(below, 0, 2).reshape(n, o, -1)

    def momentum(blocks):
        moved = Bonds(blocks, w.receivers, w.kept).apply(columns)
        moved = jnp.moveaxis(moved.reshape(n, o, len(filled), -1), 2, 0)
        return product(split(above, real), split(moved, real), real)

    re, im = jax.lax.map(momentum, w.blocks)
    pairs = [(re[a] * re[b] + im[a] * im[b]) for a, b in (VOIGT if tensor else VOIGT[:3])]
    strengths = jnp.stack(pairs) if tensor else jnp.stack(pairs).mean(axis=0, keepdims=True)
    # (p, empty, r', filled, r) to sums over equal differences of energy.
    strengths = jnp.moveaxis(strengths, 1, 0)
    strengths = jnp.moveaxis(strengths, 3, -1)
    return jnp.moveaxis(along_gaps(strengths, first, lines.nodes), 0, 2) * lines.spacing


@partial(jax.jit, static_argnames=("lines", "order", "tensor"))
def one_sided(h: Bonds, w: Bonds, scale, filled, empty, first, key, lines: Lines, order: int, tensor: bool):
    """The same density from <r|...|r> of one random vector: shape (p, nodes)."""
    start = spectral.random_phases(key, h, 1, h.blocks.dtype)
    centre, half = scale
    at = h.scaled(centre, half)
    below, above = (gaussians(e, lines.single, 1.0, centre, half, order) for e in (filled, empty))
    moved = [Bonds(blocks, w.receivers, w.kept).apply(start) for blocks in w.blocks]
    psi, chi = several_sums(at, (start, jnp.concatenate(moved, axis=2)), (below, above))
    psi = jnp.moveaxis(psi[..., 0], 0, 2)
    n, o, j = psi.shape

    def component(pair):
        along = Bonds(w.blocks[pair[0]], w.receivers, w.kept)
        return (chi[..., pair[1]].reshape(-1, n * o).conj() @ along.apply(psi).reshape(n * o, j)).real

    found = jax.lax.map(component, jnp.asarray(VOIGT if tensor else VOIGT[:3]))
    found = found if tensor else found.mean(axis=0, keepdims=True)
    return along_gaps(jnp.moveaxis(found, 1, 0), first, lines.nodes) * lines.spacing


def dipoles(momenta: Float[Array, "*r p nodes"], lines: Lines) -> Float[Array, "*r p nodes"]:
    """Squared dipoles a node from the density of squared momenta: over the square of each transition's own energy.

    sum |W|^2 g(w - D)/D^2 = A/w^2 - 2 S^2 A'/w^3 + 3 (S^2 A + S^4 A'')/w^4 + ..., where A = sum |W|^2 g(w - D), with
    Gaussians g of variance S^2.
    """
    h, variance = lines.spacing, lines.deviation**2
    w = h * jnp.arange(lines.nodes, dtype=momenta.dtype)
    inverse = jnp.where(w > 0, 1 / jnp.where(w > 0, w, 1.0), 0.0)
    ends = [(0, 0)] * (momenta.ndim - 1)
    up = jnp.pad(momenta, [*ends, (0, 1)])[..., 1:]
    down = jnp.pad(momenta, [*ends, (1, 0)])[..., :-1]
    slope, bend = (up - down) / (2 * h), (up - 2 * momenta + down) / h**2
    inverse = inverse.reshape((1,) * (momenta.ndim - 1) + (-1,))
    third = 3 * (variance * momenta + variance**2 * bend) * inverse**4
    return h * (momenta * inverse**2 - 2 * variance * slope * inverse**3 + third)


def on_bins(nodes: Float[Array, "*r p nodes"], lines: Lines) -> Float[Array, "*r p bins"]:
    """Values at the energies as bins; those between are empty."""
    out = jnp.zeros((*nodes.shape[:-1], lines.nodes, lines.ratio), nodes.dtype).at[..., 0].set(nodes)
    return out.reshape(*nodes.shape[:-1], -1)[..., : lines.grid.count]


def ramp(energies: Array, start: float, length: float) -> Array:
    """Zero below `start`, one above `start + length`, a raised cosine between."""
    return 0.5 - 0.5 * jnp.cos(jnp.pi * jnp.clip((energies - start) / length, 0.0, 1.0))
