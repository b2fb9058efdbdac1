"""Figures of phonon frequencies."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from jaxepi.kpoints import Path
from jaxepi.plotting.common import draw_along, one_panel, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def phonons(path: Path, frequencies: np.ndarray, title: str = "", note: str = "") -> "Figure":
    """Phonon frequencies (THz, with meV at the right) along a path; imaginary ones are drawn negative.

    Args:
        path: `kpoints.path`. frequencies: at its points, shape (q, modes). note: what is missing from them, below the axis.
    """
    from jaxepi.units import EV_PER_THZ

    figure, axes = one_panel(6.0, 4.5)
    draw_along(axes, path, frequencies, color="#20407f", lw=1.3)
    axes.axhline(0, color="0.6", lw=0.7)
    lowest = min(0.0, 1.05 * float(np.min(frequencies)))
    axes.set(ylim=(lowest, 1.05 * float(np.max(frequencies))), ylabel="frequency (THz)", title=plain(title))
    to_mev = 1e3 * EV_PER_THZ
    right = axes.secondary_yaxis(
        "right", functions=(lambda f: np.asarray(f) * to_mev, lambda e: np.asarray(e) / to_mev)
    )
    right.set_ylabel("energy (meV)")
    axes.tick_params(right=False)
    if note:
        axes.set_xlabel(textwrap.fill(plain(note), 90), fontsize=7, color="0.3")
    return figure
