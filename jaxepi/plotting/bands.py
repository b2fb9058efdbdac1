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
    valence: float,
    conduction: float | None = None,
    window: tuple[float, float] = (-6.0, 6.0),
    title: str = "",
) -> "Figure":
    """Bands along a path, energies from the valence edge.

    Args:
        path: `kpoints.path`. energies: at its points, eV, shape (k, bands).
        valence, conduction: edges, eV; the gap is shaded when both are given. window: energies shown, eV.
    """
    figure, axes = one_panel(6.0, 5.0)
    draw_along(axes, path, np.asarray(energies) - valence, color="#20407f", lw=1.2)
    heading = [title] if title else []
    if conduction is not None:
        axes.axhspan(0, conduction - valence, color="#e8a33d", alpha=0.25, lw=0, zorder=0)
        heading.append(f"gap {conduction - valence:.3f} eV")
    axes.set_title(plain(", ".join(heading)))
    axes.set(ylim=window, ylabel="energy from the valence edge (eV)")
    return figure
