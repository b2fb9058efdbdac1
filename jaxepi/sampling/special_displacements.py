"""Special displacements: one pair of configurations whose mean is nearly the thermal one (Zacharias and Giustino).

Every mode of the supercell is displaced by its thermal width, u = M^-1/2 N^-1/2 sum_q S sigma e exp(iq.R), with signs S =
+-1. What is quadratic in displacements then has its thermal mean, but for products of different modes of one q. These are
made to cancel between neighbouring q: along a path through all q that never jumps, eigenvectors (of degenerate modes too)
turn as little as possible, by the nearest unitary matrix, and signs follow the columns of a Hadamard matrix, any two of which
are orthogonal; then signs (quarter turns too: the phase of a mode is free) are changed, one or two of a q at a time, as long
as what is left between near atoms gets smaller. The partner, displaced oppositely, takes out all odd orders.

Phys. Rev. B 94, 075125 (2016); Phys. Rev. Research 2, 013357 (2020): q = -q + G is their set A, one of each pair q, -q their B.
"""

import itertools
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from jaxepi.errors import InputError
from jaxepi.guards import traced, whole
from jaxepi.sampling.averages import antithetic_pairs
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.harmonic import Temperature, covariance, displacements, refuse_imaginary, variance
from jaxepi.sampling.keys import RandomKey, host_generator
from jaxepi.sampling.modes import SupercellModes, modes_of
from jaxepi.sampling.resampling import in_primitive_cells, resampled
from jaxepi.sampling.snapshots import Snapshots, Statistics
from jaxepi.structure import Structure

SWEEPS = 12
"""Times that all wave vectors are visited to improve signs, at most."""

_WORK = 4e6
"""Numbers that choices of the signs of one wave vector may take: of large cells not all are tried at each visit."""

_DEGENERATE = 1e-6
"""Relative difference of eigenvalues of D below which modes count as one set."""


class Departure(NamedTuple):
    """How far the second moments of snapshots are from the exact ones, relative.

    Attributes:
        mean_square: of <u_a u_b> of each atom, over the exact one: root mean square. near: of all products of displacements
            in one cell and its neighbours.
    """

    mean_square: float
    near: float


def special(
    constants: ForceConstants,
    supercell: Structure | None = None,
    *,
    temperature: Temperature,
    count: int = 2,
    key: RandomKey = 0,
    statistics: Statistics = "quantum",
    imaginary: Literal["error", "drop"] = "error",
) -> Snapshots:
    """Special displacements and their partners; the larger the supercell, the nearer their mean is to the thermal one.

    Args:
        constants: force constants. supercell: of the same crystal, of any shape and order of atoms (`resampled` takes them
            there); that of the force constants when left out.
        temperature: kelvin, known: signs are chosen for it (see `special_noise`).
        count: 2, one pair, or more pairs that start from other signs: their scatter tells the error of what is left.
        imaginary: "drop" leaves modes that are unstable or unbound at rest.

    Raises:
        InputError: as `special_noise`, `resampled` and `harmonic`.
    """
    if imaginary not in ("error", "drop"):
        raise InputError(f"imaginary={imaginary!r}: choose 'error' or 'drop'")
    fc = constants if supercell is None else resampled(constants, supercell)
    noise = special_noise(fc, temperature, count, key, statistics)
    if imaginary == "error":
        refuse_imaginary(fc)
    u = displacements(fc, temperature, noise, statistics)
    kelvin = jnp.asarray(temperature, fc.matrix.dtype)
    return Snapshots(fc.supercell, fc.supercell.positions[None] + u, kelvin, None, antithetic_pairs(count), statistics)


def special_noise(
    fc: ForceConstants,
    temperature: Temperature = 300.0,
    count: int = 2,
    key: RandomKey = 0,
    statistics: Statistics = "quantum",
) -> Float[Array, "s n 3"]:
    """What `displacements` turns into special displacements, shape (count, n, 3); the second half is minus the first.

    Signs are chosen for one temperature and serve others nearly as well: with them fixed, displacements are smooth functions of
    temperature, masses and potential, under jit, vmap and grad.

    Args:
        key: of the pairs after the first, whose signs start at random.

    Raises:
        InputError: an odd count; what is traced.
    """
    if whole("count", count, 2) % 2:
        raise InputError(f"special displacements come with their partners, and {count} is odd; ask for {count + 1}")
    if traced(temperature, key):
        raise InputError(
            "signs are chosen on the host: make special_noise outside jit, vmap and grad, and hand it to displacements"
        )
    small = in_primitive_cells(fc)
    modes = modes_of(small, None if small is fc else fc.supercell)
    path = _path(modes)
    modes = _smooth(modes, path)
    sigma = _widths(modes, temperature, statistics)
    weight = np.asarray(small.inverse_root_masses, dtype=float).ravel()
    kept = _Products.of(modes, weight[:, None] * modes.vectors * sigma[:, None, :], small.base)
    rng, found = host_generator(key, "special displacements"), []
    for pair in range(count // 2):
        signs = _hadamard(path, modes.eigenvalues.shape[1], rng if pair else None)
        found.append(_improved(kept, signs, path, modes.paired))
    noise = modes.field(np.array(found) * np.where(modes.paired, np.sqrt(2.0), 1.0)[:, None])
    return jnp.asarray(np.concatenate([noise, -noise]), fc.matrix.dtype)


def departure(snapshots: Snapshots, fc: ForceConstants) -> Departure:
    """How far the second moments of harmonic snapshots are from the exact ones: the products of different modes of one q that
    signs have not cancelled, or what chance has left.

    Args:
        fc: of the same supercell.

    Raises:
        InputError: snapshots of another supercell.
    """
    repeats, b = fc.supercell.repeats, fc.matrix.shape[0]
    u = np.asarray(snapshots.displacements, dtype=float)
    if u.shape[1] != len(fc.supercell):
        raise InputError(
            f"snapshots of {u.shape[1]} atoms for force constants of {len(fc.supercell)}: give those of one supercell"
        )
    waves = np.fft.fftn(u.reshape(len(u), *repeats, 3 * b), axes=(1, 2, 3)).reshape(len(u), -1, 3 * b)
    weights = np.ones(len(u)) if snapshots.weights is None else np.asarray(snapshots.weights)
    products = np.einsum("s,sqm,sqn->qmn", weights / weights.sum(), np.conj(waves), waves) / len(fc.supercell) * b
    found = np.fft.ifftn(products.reshape(*repeats, 3 * b, 3 * b), axes=(0, 1, 2)).real
    statistics = snapshots.statistics or "quantum"
    exact = np.asarray(covariance(fc, jnp.asarray(snapshots.temperature), statistics), dtype=float)
    expected = np.moveaxis(exact.reshape(3 * b, *repeats, 3 * b), 0, 3)
    neighbours = tuple(
        np.array(sorted({tuple(np.array(r) % repeats) for r in itertools.product((-1, 0, 1), repeat=3)})).T
    )
    own = np.arange(3 * b).reshape(b, 3)
    blocks = own[:, :, None], own[:, None, :]

    def off(a: np.ndarray, c: np.ndarray) -> float:
        return float(np.sqrt(((a - c) ** 2).sum() / (c**2).sum()))

    return Departure(
        off(found[0, 0, 0][blocks], expected[0, 0, 0][blocks]), off(found[neighbours], expected[neighbours])
    )


def _widths(modes: SupercellModes, temperature: Temperature, statistics: Statistics) -> Float[np.ndarray, "q m"]:
    """Thermal widths, amu^1/2 angstrom; translations have none."""
    eigenvalues = jnp.asarray(modes.eigenvalues)
    found = variance(eigenvalues, jnp.asarray(temperature, eigenvalues.dtype), statistics)
    sigma = np.sqrt(np.asarray(found, dtype=float))
    sigma[0, np.argsort(np.abs(modes.eigenvalues[0]))[:3]] = 0.0
    return sigma


def _path(modes: SupercellModes) -> Int[np.ndarray, " q"]:
    """All wave vectors in an order that goes from neighbour to neighbour: forth and back along each direction."""
    a, b, c = modes.steps.T
    n, m = modes.counts[1], modes.counts[2]
    second = np.where(a % 2, n - 1 - b, b)
    third = np.where((a * n + second) % 2, m - 1 - c, c)
    return np.lexsort((third, second, a))


def _smooth(modes: SupercellModes, path: Int[np.ndarray, " q"]) -> SupercellModes:
    """The same modes with phases, and bases of degenerate sets, that turn as little as possible along the path."""
    vectors = modes.vectors.copy()
    scale = np.abs(modes.eigenvalues).max()
    for before, q in itertools.pairwise(path):
        jumps = np.flatnonzero(np.diff(modes.eigenvalues[q]) > _DEGENERATE * scale) + 1
        for block in np.split(np.arange(vectors.shape[2]), jumps):
            overlap = vectors[q][:, block].conj().T @ vectors[before][:, block]
            u, _, v = np.linalg.svd(overlap if modes.paired[q] else overlap.real)
            vectors[q][:, block] = vectors[q][:, block] @ (u @ v)
    return modes._replace(vectors=vectors)


def _hadamard(
    path: Int[np.ndarray, " q"], modes: int, rng: np.random.Generator | None = None
) -> Int[np.ndarray, "q m"]:
    """Signs along the path: columns of a Hadamard matrix, so that those of two modes are orthogonal over each of its periods.

    Args:
        rng: which columns, from where on and with which sign, at random; the first ones when left out.
    """
    period = 1 << (modes - 1).bit_length()
    along, columns = np.arange(len(path)), np.arange(modes)
    first = np.ones(modes, int)
    if rng is not None:
        along = along + rng.integers(period)
        columns = rng.permutation(period)[:modes]
        first = rng.choice([-1, 1], modes)
    bits = (along[:, None] % period) & columns
    ones = sum((bits >> shift) & 1 for shift in range(period.bit_length()))
    signs = np.empty((len(path), modes), int)
    signs[path] = first * np.where(ones % 2, -1, 1)
    return signs


class _Products(NamedTuple):
    """What the products of different modes leave between near atoms, linear in s s^+ of every q.

    widths: displacements of the modes, angstrom, shape (q, 3b, m). phases: of neighbouring cells, with the weight of a pair
    q, -q, over the number of cells, shape (q, r). weights: of pairs of atoms, exp(-d/2d0) of their distance, d0 the shortest.
    """

    widths: Complex[np.ndarray, "q x m"]
    phases: Complex[np.ndarray, "q r"]
    weights: Float[np.ndarray, "r x x"]

    @classmethod
    def of(cls, modes: SupercellModes, widths: Complex[np.ndarray, "q x m"], base: Structure) -> "_Products":
        # One of each pair R, -R: these have transposed products.
        cells = np.array([r for r in itertools.product((0, 1, -1), repeat=3) if r >= (0, 0, 0)])
        phases = modes.phases(cells) * np.where(modes.paired, 2.0, 1.0)[:, None] / modes.cells
        x, cell = np.asarray(base.positions, dtype=float), np.asarray(base.cell, dtype=float)
        away = np.linalg.norm(x[None, None] - x[:, None] + (cells @ cell)[:, None, None], axis=-1)
        weights = np.exp(-0.5 * away / away[away > 1e-3].min())
        return cls(widths, phases, np.repeat(np.repeat(weights, 3, axis=1), 3, axis=2))

    def left(self, q: Any, signs: Complex[np.ndarray, "*s m"]) -> Float[np.ndarray, "*s r x x"]:
        """Of one wave vector, for any number of choices of its signs."""
        moved = (self.widths[q] * signs[..., None, :]).sum(axis=-1)
        exact = self.widths[q] @ self.widths[q].conj().T
        products = moved[..., :, None].conj() * moved[..., None, :] - exact.conj()
        return (products[..., None, :, :] * self.phases[q][:, None, None]).real * self.weights


def _choices(modes: int, turns: tuple[complex, ...]) -> Complex[np.ndarray, "p m"]:
    """Factors of the signs of one wave vector: none changed, one turned, two reversed."""
    single: list[list[tuple[int, complex]]] = [[(i, turn)] for i in range(modes) for turn in turns]
    double: list[list[tuple[int, complex]]] = [
        [(i, -1 + 0j), (j, -1 + 0j)] for i, j in itertools.combinations(range(modes), 2)
    ]
    found = np.ones((1 + len(single) + len(double), modes), complex)
    for row, changes in enumerate(single + double, start=1):
        for i, turn in changes:
            found[row, i] = turn
    return found


def _improved(
    kept: _Products, start: Int[np.ndarray, "q m"], path: Int[np.ndarray, " q"], paired: Bool[np.ndarray, " q"]
) -> Complex[np.ndarray, "q m"]:
    """Signs changed, one or two of a wave vector at a time, as long as the sum of squares of what is left gets smaller."""
    signs, modes = start.astype(complex), start.shape[1]
    of_pairs, alone = _choices(modes, (-1 + 0j, 1j, -1j)), _choices(modes, (-1 + 0j,))
    total = np.sum([kept.left(q, signs[q]) for q in range(len(signs))], axis=0)
    most, rng = max(2, int(_WORK / total.size)), np.random.default_rng(0)
    for _ in range(SWEEPS):
        changed = False
        for q in path:
            factors = of_pairs if paired[q] else alone
            if len(factors) > most:
                factors = factors[np.concatenate([[0], 1 + rng.choice(len(factors) - 1, most - 1, replace=False)])]
            choices = kept.left(q, signs[q] * factors)
            others = total - choices[0]
            best = int(((others + choices) ** 2).sum(axis=(1, 2, 3)).argmin())
            signs[q], total = signs[q] * factors[best], others + choices[best]
            changed |= best > 0
        if not changed:
            break
    return signs
