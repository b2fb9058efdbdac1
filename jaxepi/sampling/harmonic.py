"""Thermal displacements of a harmonic crystal, quantum or classical, drawn exactly and differentiably.

Flows in: force constants (or a potential and a supercell). Flows out: snapshots. Displacements are u = M^-1/2 f(D) xi
with white noise xi and f(D)^2 the thermal covariance. This symmetric square root needs no phases of eigenvectors, so
the same noise gives displacements that are smooth in temperature, cell and potential, through degenerate modes too.
f(D) is applied at the wave vectors of the supercell by a fast Fourier transform: the cost is linear in its size.
"""

from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Num

from jaxepi.errors import InputError
from jaxepi.guards import constant, number, numbers, numpy_for, poisoned, traced, whole
from jaxepi.linalg import matrix_function
from jaxepi.potentials.base import Potential
from jaxepi.sampling.averages import antithetic_pairs
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.keys import RandomKey, random_key
from jaxepi.sampling.quasirandom import sobol_groups, sobol_noise
from jaxepi.sampling.resampling import large_force_constants
from jaxepi.sampling.snapshots import Snapshots, Statistics
from jaxepi.structure import Structure
from jaxepi.units import AMU_ANGSTROM2_PER_FS2, HBAR, KB, thz_from_eigenvalue

Temperature = float | int | Num[Array, ""] | np.floating | np.integer

# Eigenvalues of D below this (0.05 THz) count as unstable or free: far below any mode of a supercell that can be
# treated, far above round-off in single precision. In eV/(angstrom^2 amu).
SOFTEST_THZ = 0.05
SOFTEST = (SOFTEST_THZ * 2e-3 * np.pi) ** 2 * AMU_ANGSTROM2_PER_FS2
COLDEST = 1e-3
"""Kelvin: below, nuclei are in their ground state to the last digit."""


def variance(
    eigenvalue: Array, temperature: Array, statistics: Statistics = "quantum", softest: float = SOFTEST
) -> Array:
    """Thermal variance <Q^2> of a normal mode, amu angstrom^2, differentiable down to and at zero temperature.

    Quantum: hbar/(2w) coth(hbar w/2kT). Classical: kT/w^2. Zero for modes below `softest`, which are not bound.

    Args:
        eigenvalue, softest: of the dynamical matrix, eV/(angstrom^2 amu), scalar. temperature: kelvin, scalar.
    """
    stable = eigenvalue > softest
    safe = jnp.where(stable, eigenvalue, 1.0)
    if statistics == "classical":
        return jnp.where(stable, KB * temperature / safe, 0.0)
    half_quantum = 0.5 * HBAR * jnp.sqrt(safe / AMU_ANGSTROM2_PER_FS2)
    warm = temperature > COLDEST
    ratio = jnp.where(warm, jnp.tanh(half_quantum / (KB * jnp.where(warm, temperature, 1.0))), 1.0)
    return jnp.where(stable, half_quantum / (safe * ratio), 0.0)


def _quantum_variance(eigenvalue, temperature):
    return variance(eigenvalue, temperature, "quantum")


def _classical_variance(eigenvalue, temperature):
    return variance(eigenvalue, temperature, "classical")


def _quantum_amplitude(eigenvalue, temperature):
    v = _quantum_variance(eigenvalue, temperature)
    bound = v > 0
    return jnp.where(bound, jnp.sqrt(jnp.where(bound, v, 1.0)), 0.0)


def _classical_amplitude(eigenvalue, temperature):
    # sqrt(T) stands alone, so that at zero temperature derivatives by the lattice vanish instead of being 0/0.
    v = variance(eigenvalue, jnp.ones_like(temperature), "classical")
    bound = v > 0
    return jnp.where(bound, jnp.sqrt(jnp.where(bound, v, 1.0)), 0.0) * jnp.sqrt(temperature)


VARIANCES = {"quantum": _quantum_variance, "classical": _classical_variance}
"""Of one mode, by the statistics of the nuclei: for `matrix_function`."""

_AMPLITUDE = {"quantum": _quantum_amplitude, "classical": _classical_amplitude}


def in_kelvin(temperature: Temperature, statistics: Statistics, dtype) -> Float[Array, ""]:
    """The temperature as an array. What is wrong and known is refused; see `_matrices` for what is traced."""
    number("temperature", temperature, "kelvin")
    if not traced(temperature) and not 0 <= float(temperature) < np.inf:
        raise InputError(f"temperature {float(temperature)} K: give zero or a positive number of kelvin")
    if statistics not in _AMPLITUDE:
        raise InputError(f"statistics {statistics!r}: choose one of {', '.join(_AMPLITUDE)}")
    return constant(temperature, jnp.result_type(float, temperature) if dtype is None else dtype)


def _matrices(fc: ForceConstants, f, temperature: Array) -> Inexact[Array, "q m m"]:
    """f(D(q); T) at `fc.commensurate(half=True)`, with uniform translations taken out at q = 0; NaN below 0 K."""
    d = fc.dynamical_matrices
    m = d.shape[-1]
    uniform = ((1 / fc.inverse_root_masses)[:, :, None] * jnp.eye(3, dtype=fc.matrix.dtype)[None]).reshape(m, 3)
    uniform = uniform / jnp.linalg.norm(uniform, axis=0, keepdims=True)
    inner = jnp.eye(m, dtype=fc.matrix.dtype) - uniform @ uniform.T
    # Lifting translations to a positive eigenvalue before f, and projecting after, keeps round-off at zero out of f.
    d = d.at[0].add((uniform @ uniform.T).astype(d.dtype))
    # Poisoned before and after: below 0 K the result does not depend on the temperature, nor would its derivative.
    sensible = (temperature >= 0) & (temperature < jnp.inf)
    temperature = poisoned(temperature, sensible)
    matrices = jax.vmap(lambda a: matrix_function(f, a, temperature))(d)
    inner = inner.astype(matrices.dtype)
    matrices = matrices.at[0].set(inner @ matrices[0] @ inner)
    return poisoned(matrices, sensible)


def displacements(
    fc: ForceConstants,
    temperature: Temperature,
    noise: Float[Array, "s n 3"] | np.ndarray,
    statistics: Statistics = "quantum",
) -> Float[Array, "s n 3"]:
    """Displacements, angstrom, that white noise of unit variance turns into: u = M^-1/2 f(D) noise. Pure.

    Modes that are not bound get none (`harmonic` refuses them unless told otherwise). The classical square root has an
    infinite derivative by temperature at 0 K; everything else is smooth.

    Raises:
        InputError: a temperature below zero or infinite (NaN under tracing), other statistics, noise of another shape.
    """
    noise = numbers("noise", noise, fc.matrix.dtype, 3)
    if noise.shape[1:] != fc.supercell.positions.shape:
        raise InputError(
            f"noise has shape {noise.shape} for {len(fc.supercell)} atoms: give white_noise(key, count, n_atoms)"
        )
    return _displacements(fc, in_kelvin(temperature, statistics, fc.matrix.dtype), noise, statistics)


@partial(jax.jit, static_argnames="statistics")
def _displacements(fc: ForceConstants, temperature: Array, noise: Array, statistics: Statistics) -> Array:
    repeats, b = fc.supercell.repeats, fc.matrix.shape[0]
    f = _matrices(fc, _AMPLITUDE[statistics], temperature)
    waves = jnp.fft.rfftn(noise.reshape(-1, *repeats, 3 * b), axes=(1, 2, 3))
    moved = jnp.einsum("qmn,sqn->sqm", f, waves.reshape(len(noise), -1, 3 * b)).reshape(waves.shape)
    u = jnp.fft.irfftn(moved, s=repeats, axes=(1, 2, 3)).reshape(len(noise), -1, b, 3)
    return (u * fc.inverse_root_masses[None, None]).reshape(noise.shape)


def covariance(
    fc: ForceConstants, temperature: Temperature, statistics: Statistics = "quantum"
) -> Float[Array, "b 3 r b 3"]:
    """Exact thermal covariance <u_ia(0) u_jb(R)>, angstrom^2, in the layout of `ForceConstants.matrix`.

    Raises:
        InputError: a temperature below zero or infinite (NaN under tracing), or other statistics.
    """
    return _covariance(fc, in_kelvin(temperature, statistics, fc.matrix.dtype), statistics)


@partial(jax.jit, static_argnames="statistics")
def _covariance(fc: ForceConstants, temperature: Array, statistics: Statistics) -> Array:
    repeats, b = fc.supercell.repeats, fc.matrix.shape[0]
    f = _matrices(fc, VARIANCES[statistics], temperature)
    waves = jnp.conj(f).reshape(repeats[0], repeats[1], -1, 3 * b, 3 * b)
    c = jnp.fft.irfftn(waves, s=repeats, axes=(0, 1, 2)).reshape(-1, b, 3, b, 3)
    weight = fc.inverse_root_masses
    return jnp.moveaxis(c * (weight[:, :, None, None] * weight[None, None])[None], 0, 2)


def mean_square_displacements(
    fc: ForceConstants, temperature: Temperature, statistics: Statistics = "quantum"
) -> Float[Array, "b 3 3"]:
    """Exact <u_a u_b> of every atom of the base cell, angstrom^2."""
    atoms = jnp.arange(fc.matrix.shape[0])
    return covariance(fc, temperature, statistics)[atoms, :, 0, atoms, :]


def white_noise(key: RandomKey, count: int, n_atoms: int, antithetic: bool = False, dtype=None) -> Array:
    """Standard normal noise, shape (count, n_atoms, 3); with `antithetic` the second half is minus the first.

    Raises:
        InputError: a count below one, or an odd count with `antithetic`.
    """
    count = whole("count", count, 1)
    if antithetic and count % 2:
        raise InputError(f"antithetic snapshots come in pairs, and {count} is odd; ask for {count + 1}")
    return _white_noise(random_key(key), count, n_atoms, antithetic, dtype or float)


@partial(jax.jit, static_argnames=("count", "n_atoms", "antithetic", "dtype"))
def _white_noise(key: RandomKey, count: int, n_atoms: int, antithetic: bool, dtype: Any) -> Array:
    noise = jax.random.normal(key, (count // 2 if antithetic else count, n_atoms, 3), dtype=dtype)
    return jnp.concatenate([noise, -noise]) if antithetic else noise


def harmonic(
    potential: Potential | ForceConstants,
    supercell: Structure | None = None,
    *,
    temperature: Temperature,
    count: int,
    key: RandomKey,
    statistics: Statistics = "quantum",
    antithetic: bool = False,
    points: Literal["random", "sobol"] = "random",
    scrambles: int = 4,
    imaginary: Literal["error", "drop"] = "error",
) -> Snapshots:
    """Snapshots of the harmonic crystal at a temperature.

    Args:
        potential: a potential, or force constants made before (then jit and vmap over temperature and key work).
        supercell: the relaxed structure, made by `Structure.supercell`; may be left out with force constants. Of a large one
            they are computed in a part of it (`large_force_constants`).
        temperature: kelvin, one number. count: number of snapshots. key: `jax.random.key(seed)`, or the seed.
        statistics: "quantum" (Bose-Einstein, zero-point motion) or "classical" (as molecular dynamics).
        antithetic: the second half of the snapshots is displaced by minus the first; each pair is a group.
        points: "sobol" spreads amplitudes of modes evenly (`sobol_noise`): a far smaller error of means;
            force constants and key are known then. scrambles: independent ones, each a group.
        imaginary: "drop" leaves modes that are unstable or unbound at rest.

    Raises:
        InputError: negative temperature (NaN under tracing), a count that does not fit, imaginary modes, or what
            `force_constants` refuses.
    """
    in_kelvin(temperature, statistics, None)
    if imaginary not in ("error", "drop"):
        raise InputError(f"imaginary={imaginary!r}: choose 'error' or 'drop'")
    if isinstance(potential, ForceConstants):
        fc = potential
        if supercell is not None and (supercell.repeats, len(supercell)) != (fc.supercell.repeats, len(fc.supercell)):
            raise InputError(
                f"the force constants belong to a supercell {fc.supercell.repeats} of {len(fc.supercell)} atoms, not "
                f"{supercell.repeats} of {len(supercell)}; compute them for this supercell, or leave it out"
            )
    elif supercell is None:
        raise InputError("a potential needs a supercell: pass structure.supercell(n)")
    else:
        fc = large_force_constants(potential, supercell)
    if points == "sobol":
        noise, groups = sobol_noise(fc, key, count, scrambles, antithetic), sobol_groups(count, scrambles, antithetic)
    elif points == "random":
        noise = white_noise(key, count, len(fc.supercell), antithetic, fc.matrix.dtype)
        groups = antithetic_pairs(count) if antithetic else ()
    else:
        raise InputError(f"points={points!r}: choose 'random' or 'sobol'")
    if imaginary == "error" and not traced(fc):
        refuse_imaginary(fc)
    u = displacements(fc, temperature, noise, statistics)
    kelvin = constant(temperature, fc.matrix.dtype)
    array = numpy_for(fc.supercell, u).asarray
    positions = constant(array(fc.supercell.positions)[None] + array(u))
    return Snapshots(fc.supercell, positions, kelvin, None, groups, statistics)


@jax.jit
def _commensurate_thz(fc: ForceConstants) -> Float[Array, "q m"]:
    return thz_from_eigenvalue(jnp.linalg.eigvalsh(fc.dynamical_matrices))


def refuse_imaginary(fc: ForceConstants, source: str = "this potential") -> None:
    """Refuse a crystal with modes that are unstable or not bound, translations aside.

    Args:
        source: of the force constants, for the message.

    Raises:
        InputError: names wave vector and frequency of the worst mode.
    """
    with jax.core.eval_context():
        thz = np.array(_commensurate_thz(fc))
    # The three translations are those closest to zero at q = 0.
    thz[0, np.argsort(np.abs(thz[0]))[:3]] = np.inf
    q, _ = np.unravel_index(thz.argmin(), thz.shape)
    if thz.min() < SOFTEST_THZ:
        place = np.array2string(fc.commensurate(half=True)[q], precision=4)
        raise InputError(
            f"mode at q = {place} has {thz.min():.3f} THz (negative means imaginary; "
            f"{int((thz < SOFTEST_THZ).sum())} such modes): the crystal is not stable in {source}. "
            "Relax the structure or choose another, continue without these modes with imaginary='drop', or with those that "
            "anharmonicity makes stable (sampling.self_consistent, --self-consistent)"
        )
