"""Figures of phonon frequencies."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxepi.kpoints import Path
from jaxepi.plotting.common import colours, draw_along, one_panel, panel_with_side, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxepi.sampling import Density


def phonons(
    path: Path, frequencies: np.ndarray, title: str = "", note: str = "", density: "Density | None" = None
) -> "Figure":
    """Phonon frequencies (THz, with meV at the right) along a path; imaginary ones are drawn negative.

    Args:
        path: `kpoints.path`. frequencies: at its points, shape (q, modes). note: what is missing from them, below the axis.
        density: of states, drawn beside them.
    """
    from jaxepi.units import EV_PER_THZ

    if density is None:
        figure, axes = one_panel(6.0, 4.5)
        side = axes
    else:
        figure, axes, side = panel_with_side(7.2, 4.5)
        side.fill_betweenx(density.frequencies, 0, density.total, color="#20407f", alpha=0.25, lw=0)
        side.plot(density.total, density.frequencies, color="#20407f", lw=1.0)
        side.set(xlim=(0, 1.08 * float(np.max(density.total))), xlabel="states (1/THz)")
    draw_along(axes, path, frequencies, color="#20407f", lw=1.3)
    axes.axhline(0, color="0.6", lw=0.7)
    lowest = min(0.0, 1.05 * float(np.min(frequencies)))
    axes.set(ylim=(lowest, 1.05 * float(np.max(frequencies))), ylabel="frequency (THz)", title=plain(title))
    to_mev = 1e3 * EV_PER_THZ
    right = side.secondary_yaxis(
        "right", functions=(lambda f: np.asarray(f) * to_mev, lambda e: np.asarray(e) / to_mev)
    )
    right.set_ylabel("energy (meV)")
    side.tick_params(right=False)
    if note:
        axes.set_xlabel(textwrap.fill(plain(note), 90), fontsize=7, color="0.3")
    return figure


def density_of_states(density: "Density", names: Sequence[str] = (), title: str = "") -> "Figure":
    """Phonon density of states (1/THz a cell) over frequency (THz), total and on each atom.

    Args:
        names: of the atoms of the base cell; their numbers where left out. Atoms of one name are one curve.
    """
    figure, axes = one_panel(6.0, 4.0)
    shown = np.asarray(density.frequencies)
    axes.fill_between(shown, 0, density.total, color="0.85", lw=0, label="total")
    names = list(names) or [f"atom {n}" for n in range(1, len(density.projected) + 1)]
    for colour, name in zip(colours(len(set(names))), dict.fromkeys(names), strict=True):
        own = np.asarray(density.projected)[np.array(names) == name].sum(axis=0)
        axes.plot(shown, own, color=colour, lw=1.2, label=plain(name))
    axes.set(xlim=(shown[0], shown[-1]), ylim=(0, None), xlabel="frequency (THz)", ylabel="states (1/THz)")
    axes.set_title(plain(title))
    axes.legend(fontsize=9, frameon=False)
    return figure
