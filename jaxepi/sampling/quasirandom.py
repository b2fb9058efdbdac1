"""Quasi-random noise for harmonic snapshots: scrambled Sobol points over the modes, the softest first.

The first coordinates of a Sobol sequence fill space best, and the softest modes have the largest amplitudes at every
temperature. Each scramble (Owen, J. Complexity 14, 466 (1998)) leaves its points as even and their mean unbiased, so that the
means of independent scrambles tell the error: each is one group of snapshots.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.guards import whole
from jaxepi.sampling.averages import Groups
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.keys import RandomKey, host_generator
from jaxepi.sampling.modes import modes_of

MOST_COORDINATES = 21201
"""Coordinates of the direction numbers of Joe and Kuo, SIAM J. Sci. Comput. 30, 2635 (2008)."""

_BITS = 52


def sobol_noise(
    fc: ForceConstants,
    key: RandomKey,
    count: int,
    scrambles: int = 1,
    antithetic: bool = True,
    modes: int = MOST_COORDINATES,
) -> Float[Array, "s n 3"]:
    """Quasi-random noise for `displacements`, shape (count, n, 3), scramble after scramble; groups: `sobol_groups`.

    Args:
        count: scrambles x a power of two (twice that of antithetic pairs). scrambles: independent ones.
        antithetic: the second half of the snapshots is minus the first.
        modes: how many, the softest, have quasi-random amplitudes; those of the others are random.

    Raises:
        InputError: a count that does not fit, a key or force constants that are traced.
    """
    per = _per_scramble(count, scrambles, antithetic)
    most = whole("modes", modes, 1)
    known = modes_of(fc)
    softness = known.eigenvalues.copy()
    softness[0, np.argsort(np.abs(softness[0]))[:3]] = np.inf  # translations come last
    bound = np.argsort(softness, axis=None, kind="stable")
    # Real modes: cosine and sine of each pair, cosine alone elsewhere.
    order = [(i, part) for i in bound for part in range(1 + int(known.paired[i // softness.shape[1]]))]
    rng = host_generator(key, "Sobol points")
    quasi = min(len(order), most, MOST_COORDINATES)
    values = np.concatenate([_normal(rng, per, quasi, len(order)) for _ in range(scrambles)])
    place, part = np.array(order).T
    amplitudes = np.zeros((len(values), known.eigenvalues.size), complex)
    amplitudes[:, place[part == 0]] += values[:, part == 0]
    amplitudes[:, place[part == 1]] -= 1j * values[:, part == 1]
    noise = known.field(amplitudes.reshape(len(values), *known.eigenvalues.shape))
    both = np.concatenate([noise, -noise]) if antithetic else noise
    return jnp.asarray(both, fc.matrix.dtype)


def sobol_groups(count: int, scrambles: int, antithetic: bool = True) -> Groups:
    """Which scramble each snapshot of `sobol_noise` belongs to."""
    per = _per_scramble(count, scrambles, antithetic)
    return tuple(np.repeat(np.arange(scrambles), per).tolist()) * (2 if antithetic else 1)


def _per_scramble(count: int, scrambles: int, antithetic: bool) -> int:
    """Points of each scramble: a power of two."""
    count, each = whole("count", count, 1), whole("scrambles", scrambles, 1) * (2 if antithetic else 1)
    per = max(1, -(-count // each))
    power = 1 << (per - 1).bit_length()
    if each * power != count:
        pairs = "pairs of " if antithetic else ""
        raise InputError(
            f"count {count}: {pairs}Sobol points in {scrambles} scrambles are {scrambles} times a power of two; ask for "
            f"{each * power}"
        )
    return power


def _normal(rng: np.random.Generator, points: int, quasi: int, coordinates: int) -> Float[np.ndarray, "p c"]:
    """Standard normal numbers, of which the first coordinates are a scrambled Sobol sequence."""
    from scipy import special
    from scipy.stats import qmc

    sequence: Any = qmc.Sobol(quasi, scramble=True, bits=_BITS, seed=rng)
    uniform = np.clip(sequence.random(points), 2.0**-_BITS, 1 - 2.0**-_BITS)
    return np.concatenate([special.ndtri(uniform), rng.normal(size=(points, coordinates - quasi))], axis=1)
