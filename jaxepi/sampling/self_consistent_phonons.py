"""Self-consistent harmonic force constants: of all harmonic crystals the one with the lowest free energy F_h + <V - V_h>.

The mean is over the quantum thermal snapshots of the trial crystal itself (Hooton; Errea, Calandra and Mauri, Phys. Rev. B
89, 064302 (2014)), and F bounds the free energy from above (Gibbs and Bogoliubov). Of its covariance C, dF/dC = (<d2V/du2> -
Phi)/2, so that at the minimum the force constants are the mean second derivatives of the potential. These are derivatives of
forces at snapshots from noise that stays the same (quasi-random, with its opposites), turned into one another by the
operations of the crystal; Anderson's mixing (J. ACM 12, 547 (1965)) finds where they reproduce themselves, which plain
iteration does not for strong anharmonicity.

Flows in: a potential and a supercell whose atoms are where symmetry holds them. Flows out: force constants, which every
sampler takes.
"""

import warnings
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import traced, whole
from jaxepi.potentials.base import Potential
from jaxepi.sampling.averages import standard_error
from jaxepi.sampling.finite_displacements import Operation, operations
from jaxepi.sampling.force_constants import ForceConstants, force_constants, settled
from jaxepi.sampling.harmonic import SOFTEST, Temperature, displacements, in_kelvin
from jaxepi.sampling.keys import RandomKey
from jaxepi.sampling.modes import dynamical_matrices
from jaxepi.sampling.quasirandom import sobol_groups, sobol_noise
from jaxepi.sampling.vibrations import Modes, free_energy
from jaxepi.structure import Structure
from jaxepi.tree import replace
from jaxepi.units import AMU_ANGSTROM2_PER_FS2

_START = (2e-3 * np.pi) ** 2 * AMU_ANGSTROM2_PER_FS2
"""Eigenvalue of D that unstable modes start with at least: that of 1 THz."""

_MEMORY = 6
"""Iterations that mixing looks back on."""

_SCRAMBLES = 4


class SelfConsistent(NamedTuple):
    """Self-consistent force constants of one temperature.

    Attributes:
        constants: the force constants, which every sampler takes.
        free_energy: of the vibrations, eV a base cell, from the energy of the lattice at rest. error: its standard error.
        residual: what the last iteration still changed, relative to the force constants.
        history: free energy and residual of every iteration, shape (i, 2).
        force: largest component of the mean force on an atom, eV/angstrom: of atoms that are not where symmetry holds them.
        converged: whether the residual is below the tolerance.
    """

    constants: ForceConstants
    free_energy: float
    error: float
    residual: float
    history: Float[np.ndarray, "i 2"]
    force: float
    converged: bool


def self_consistent(
    potential: Potential,
    supercell: Structure,
    *,
    temperature: Temperature,
    count: int = 16,
    key: RandomKey = 0,
    start: ForceConstants | None = None,
    tolerance: float = 1e-3,
    iterations: int = 40,
    batch: int = 8,
) -> SelfConsistent:
    """Self-consistent harmonic force constants of a potential at a temperature; quantum nuclei, atoms at rest where they are.

    Args:
        supercell: whose atoms symmetry holds in place; its base cell's operations are imposed.
        temperature: kelvin, known. count: snapshots of each iteration, eight times a power of two. key: of their noise, the
            same in all. start: force constants of the supercell to begin with; the potential's own, unstable modes made
            stable, when left out.
        tolerance: relative change of the force constants that counts as none. iterations: at most. batch: snapshots worked on
            at once.

    Raises:
        InputError: what is traced, a count that does not fit, a start of another supercell, a structure that is not at rest,
            snapshots that leave the potential.
    """
    if traced(potential, supercell, temperature):
        raise InputError("self-consistent force constants are found on the host: call it outside jit, vmap and grad")
    whole("iterations", iterations, 1)
    graph = potential.graph(supercell)
    found = _begun(start, potential, supercell, graph)
    kelvin = in_kelvin(temperature, "quantum", found.matrix.dtype)
    noise, groups = sobol_noise(found, key, count, _SCRAMBLES), sobol_groups(count, _SCRAMBLES)
    given = _Given(potential, graph, kelvin, noise, batch, float(potential.energy(supercell, graph)))
    turned, mixing, history = _Symmetry.of(supercell), _Anderson(), []
    beyond = given.beyond(found)
    for _ in range(iterations):
        energy, error = _harmonic_energy(found, kelvin) + beyond.mean(), float(standard_error(beyond, groups))
        curvature, forces = _means(potential, graph, found, kelvin, noise, batch)
        wanted = settled(jnp.asarray(turned(np.asarray(curvature))), supercell.repeats)
        residual = float(jnp.linalg.norm(wanted - found.matrix) / jnp.linalg.norm(wanted))
        if not np.isfinite([energy, residual]).all():
            raise InputError(
                "self-consistent force constants: snapshots leave what the potential or its graph can describe; lower the "
                "temperature, or take a potential with a larger skin"
            )
        history.append((energy, residual))
        if residual < tolerance:
            break
        for trial in _trials(found, np.asarray(wanted), mixing):
            beyond = given.beyond(trial)
            if _harmonic_energy(trial, kelvin) + beyond.mean() < energy + max(error, 1e-12):
                break
        found = trial
    force = float(np.abs(turned.forces(np.asarray(forces))).max())
    converged = residual < tolerance
    if not converged:
        warnings.warn(
            f"self-consistent force constants: after {iterations} iterations the last change is {residual:.2g} of them (asked: "
            f"{tolerance:g}); give more iterations or snapshots",
            stacklevel=2,
        )
    return SelfConsistent(found, history[-1][0], error, residual, np.array(history), force, converged)


def _begun(start: ForceConstants | None, potential: Potential, supercell: Structure, graph: Graph) -> ForceConstants:
    """Bound force constants to begin with.

    Raises:
        InputError: those of another supercell.
    """
    if start is not None and (start.supercell.repeats, len(start.supercell)) != (supercell.repeats, len(supercell)):
        raise InputError(
            f"start has {start.supercell.repeats} cells of {len(start.base)} atoms, the supercell {supercell.repeats} of "
            f"{len(supercell.base)}: give force constants of this supercell (sampling.resampled takes them there)"
        )
    return _bound(start if start is not None else force_constants(potential, supercell, graph))


class _Given(NamedTuple):
    """What stays the same from iteration to iteration; `rest`: energy of the atoms at rest, eV."""

    potential: Potential
    graph: Graph
    kelvin: Array
    noise: Array
    batch: int
    rest: float

    def beyond(self, fc: ForceConstants) -> np.ndarray:
        """Energy of each snapshot beyond harmonic, a cell, eV."""
        energies = _beyond(self.potential, self.graph, fc, self.kelvin, self.noise, self.batch)
        return (np.asarray(energies, dtype=float) - self.rest) / int(np.prod(fc.supercell.repeats))


@partial(jax.jit, static_argnames="batch")
def _means(
    potential: Potential, graph: Graph, fc: ForceConstants, kelvin: Array, noise: Array, batch: int
) -> tuple[Float[Array, "b 3 r b 3"], Float[Array, "n 3"]]:
    """Mean second derivatives of the potential over the snapshots of trial force constants, and mean forces."""
    supercell, x, b = fc.supercell, fc.supercell.positions, fc.matrix.shape[0]
    repeats = supercell.repeats
    directions = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    grid = np.indices(repeats).reshape(3, -1).T
    beside = np.ravel_multi_index(
        tuple(np.moveaxis(grid[:, None] + grid, -1, 0) % np.reshape(repeats, (3, 1, 1))), repeats
    )

    def one(away: Array) -> tuple[Array, Array]:
        forces, column = jax.linearize(lambda y: potential.forces(supercell.with_positions(y), graph), x + away)
        columns = jax.lax.map(column, directions, batch_size=8 * batch)
        cells = -columns.reshape(len(grid), b, 3, len(grid), b, 3)
        # Every cell is the first one: blocks to the cells R from each, and their mean.
        each = jax.vmap(lambda rows, place: rows[:, :, place])(cells, beside)
        return each.mean(axis=0), forces

    found, forces = jax.lax.map(one, displacements(fc, kelvin, noise))
    return found.mean(axis=0), forces.mean(axis=0)


@partial(jax.jit, static_argnames="batch")
def _beyond(
    potential: Potential, graph: Graph, fc: ForceConstants, kelvin: Array, noise: Array, batch: int
) -> Float[Array, " s"]:
    """V - V_h of every snapshot, eV a supercell."""
    supercell, u = fc.supercell, displacements(fc, kelvin, noise)

    def energy(away: Array) -> Array:
        return potential.energy(supercell.with_positions(supercell.positions + away), graph)

    return jax.lax.map(energy, u, batch_size=batch) - _quadratic(fc, u)


def _trials(found: ForceConstants, wanted: np.ndarray, mixing: "_Anderson") -> Iterator[ForceConstants]:
    """Force constants to go on with, bound ones: mixed, then less and less of the way towards what is wanted.

    That is the way down: dF = Tr[(wanted - Phi) dC]/2, and the covariance falls as force constants rise.
    """
    old = np.asarray(found.matrix)
    candidates = [mixing(old, wanted), *(old + 0.5**n * (wanted - old) for n in range(1, 12))]
    for n, matrix in enumerate(candidates):
        trial = replace(found, matrix=jnp.asarray(matrix, found.matrix.dtype))
        if n == len(candidates) - 1 or _eigenvalues(trial)[0].min() > SOFTEST:
            yield trial


def _quadratic(fc: ForceConstants, u: Float[Array, "s n 3"]) -> Float[Array, " s"]:
    """Harmonic energy of displacements, eV."""
    repeats, m = fc.supercell.repeats, 3 * fc.matrix.shape[0]
    waves = jnp.fft.fftn(u.reshape(len(u), *repeats, m), axes=(1, 2, 3)).reshape(len(u), -1, m)
    phi = jnp.moveaxis(fc.matrix, 2, 0).reshape(*repeats, m, m)
    phi = jnp.conj(jnp.fft.fftn(phi, axes=(0, 1, 2))).reshape(-1, m, m)
    return 0.5 * jnp.einsum("sqm,qmn,sqn->s", jnp.conj(waves), phi, waves).real / waves.shape[1]


def _eigenvalues(fc: ForceConstants) -> tuple[np.ndarray, np.ndarray]:
    """Of D at all wave vectors that fit the supercell, those of translations infinite; and eigenvectors."""
    values, vectors = np.linalg.eigh(dynamical_matrices(fc))
    values[0, np.argsort(np.abs(values[0]))[:3]] = np.inf
    return values, vectors


def _bound(fc: ForceConstants) -> ForceConstants:
    """The same where all modes are bound; otherwise unstable ones with their frequencies made real, 1 THz at least."""
    values, vectors = _eigenvalues(fc)
    if values.min() > SOFTEST:
        return fc
    values[~np.isfinite(values)] = 0.0
    changed = np.where(values < SOFTEST, np.maximum(np.abs(values), _START), values)
    changed[0, np.argsort(np.abs(values[0]))[:3]] = 0.0
    d = np.einsum("qmi,qi,qni->qmn", vectors, changed, vectors.conj())
    b, root = fc.matrix.shape[0], 1 / np.asarray(fc.inverse_root_masses, dtype=float).ravel()
    waves = np.conj(d * np.outer(root, root)).reshape(*fc.supercell.repeats, 3 * b, 3 * b)
    matrix = np.fft.ifftn(waves, axes=(0, 1, 2)).real.reshape(-1, b, 3, b, 3)
    return replace(fc, matrix=jnp.asarray(np.moveaxis(matrix, 0, 2), fc.matrix.dtype))


def _harmonic_energy(fc: ForceConstants, kelvin: Array) -> float:
    """Free energy of the harmonic crystal, eV a base cell."""
    values, _ = _eigenvalues(fc)
    values[~np.isfinite(values)] = 0.0
    weights = jnp.full(len(values), 1 / len(values), fc.matrix.dtype)
    modes = Modes(fc.commensurate(), weights, jnp.asarray(values, fc.matrix.dtype))
    return float(free_energy(modes, kelvin))


class _Symmetry(NamedTuple):
    """What symmetry makes of rows of second derivatives, and of forces: means over the operations of the supercell."""

    found: list[Operation]
    rows: int

    @classmethod
    def of(cls, supercell: Structure) -> "_Symmetry":
        return cls(list(operations(supercell)), len(supercell.base))

    def __call__(self, matrix: np.ndarray) -> np.ndarray:
        b = self.rows
        rows = np.moveaxis(matrix.reshape(b, 3, -1, 3), 1, 2)
        total, times = np.zeros_like(rows), np.zeros(b)
        for operation in self.found:
            turned = operation.rotation @ rows @ operation.rotation.T
            for i in range(b):
                home = operation.images[i]
                if home < b:
                    total[home, operation.images] += turned[i]
                    times[home] += 1
        return np.moveaxis(total / times[:, None, None, None], 2, 1).reshape(matrix.shape)

    def forces(self, forces: np.ndarray) -> np.ndarray:
        total = np.zeros_like(forces)
        for operation in self.found:
            total[operation.images] += forces @ operation.rotation.T
        return total / len(self.found)


class _Anderson:
    """Mixing of x and what it becomes, from the last few: the combination whose change is smallest, and half its change."""

    def __init__(self) -> None:
        self.points: list[np.ndarray] = []
        self.changes: list[np.ndarray] = []

    def __call__(self, x: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        self.points, self.changes = [*self.points, x][-_MEMORY:], [*self.changes, wanted - x][-_MEMORY:]
        changes = np.array([c.ravel() for c in self.changes])
        gram = changes @ changes.T
        gram += 1e-10 * np.trace(gram) * np.eye(len(gram))
        share = np.linalg.solve(gram, np.ones(len(gram)))
        share /= share.sum()
        return sum(s * (p + 0.5 * c) for s, p, c in zip(share, self.points, self.changes, strict=True))
