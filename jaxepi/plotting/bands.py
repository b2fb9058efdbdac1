"""Figures of electronic bands."""

from typing import TYPE_CHECKING

import numpy as np

from jaxepi.kpoints import Path
from jaxepi.plotting.common import draw_along, one_panel, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def bands(
    path: Path,
    energies: np.ndarray,
    valence: float | None = None,
    conduction: float | None = None,
    window: tuple[float, float] | None = None,
    title: str = "",
) -> "Figure":
    """Bands along a path, energies from the valence top where it is known.

    Args:
        path: `kpoints.path`. energies: at its points, eV, shape (k, bands).
        valence, conduction: edges, eV; the gap is shaded when both are given.
        window: energies shown, eV, from the valence top where it is known; 6 eV about it, or all, when left out.
    """
    figure, axes = one_panel(6.0, 5.0)
    zero = 0.0 if valence is None else valence
    draw_along(axes, path, np.asarray(energies) - zero, color="#20407f", lw=1.2)
    heading = [title] if title else []
    if conduction is not None:
        axes.axhspan(0, conduction - zero, color="#e8a33d", alpha=0.25, lw=0, zorder=0)
        heading.append(f"gap {conduction - zero:.3f} eV")
    axes.set_title(plain(", ".join(heading)))
    window = window or (None if valence is None else (-6.0, 6.0))
    axes.set(ylim=window, ylabel="energy (eV)" if valence is None else "energy from the valence top (eV)")
    return figure
