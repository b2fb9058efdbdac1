"""Peaks of eps2: windows around the first ones of a reference, and areas in them, to compare two spectra by."""

import itertools

import numpy as np
from jaxtyping import Float

from jaxepi.errors import InputError


def peak_windows(
    energies: Float[np.ndarray, " w"], eps2: Float[np.ndarray, " w"], count: int = 3, prominence: float = 0.01
) -> tuple[tuple[float, float], ...]:
    """Photon energies (eV) between which the first peaks lie: from one minimum to the next.

    Args:
        energies: increasing, eV. prominence: of a maximum that counts as a peak, in units of the highest.

    Raises:
        InputError: fewer peaks.
    """
    from scipy.signal import find_peaks

    found = find_peaks(eps2, prominence=prominence * eps2.max())[0]
    if len(found) < count:
        raise InputError(
            f"{len(found)} peaks up to {energies[-1]:g} eV where {count} are asked for; lower `prominence`"
        )
    ends = [*found, len(eps2)][: count + 1]
    valleys = [a + int(np.argmin(eps2[a:b])) for a, b in itertools.pairwise(ends)]
    bounds = energies[[0, *valleys]]
    return tuple((float(a), float(b)) for a, b in itertools.pairwise(bounds))


def area(energies: Float[np.ndarray, " w"], eps2: Float[np.ndarray, " w"], window: tuple[float, float]) -> float:
    """Integral of eps2 over a window, eV, taken as straight lines between its points."""
    inside = (energies > window[0]) & (energies < window[1])
    x = np.concatenate([window[:1], energies[inside], window[1:]])
    return float(np.trapezoid(np.interp(x, energies, eps2), x))
