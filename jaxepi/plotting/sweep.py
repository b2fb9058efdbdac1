"""Spectra of many temperatures as a map."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxepi.plotting.common import one_panel, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def sweep(
    energies: Sequence[float] | Any,
    temperatures: Sequence[float] | Any,
    values: Any,
    gaps: Sequence[float] | Any = (),
    title: str = "",
    decades: int = 6,
    label: str = "absorption coefficient (1/cm)",
) -> "Figure":
    """A quantity over photon energies (eV) and temperatures (K), on a logarithmic scale of colours.

    Args:
        values: positive, such as the absorption coefficient (1/cm) or eps2, shape (t, w). gaps: between the band edges, eV, one
            a temperature, as a line. decades: of the scale, down from the largest value.
    """
    from matplotlib.colors import LogNorm

    figure, axes = one_panel()
    order = np.argsort(temperatures, kind="stable")
    kelvin, array = np.asarray(temperatures, float)[order], np.asarray(values, float)[order]
    top = array.max()
    bottom = top * 10.0**-decades
    norm = LogNorm(bottom, top)
    shown = axes.pcolormesh(
        np.asarray(energies), kelvin, np.maximum(array, bottom), norm=norm, cmap="cividis", rasterized=True
    )
    figure.colorbar(shown, ax=axes, label=label)
    if len(gaps):
        axes.plot(np.asarray(gaps)[order], kelvin, color="white", lw=1.4, ls="--", label="gap between band edges")
        axes.legend(loc="upper left", frameon=False, labelcolor="white")
    low, high = float(np.min(energies)), float(np.max(energies))
    axes.set(xlabel="photon energy (eV)", ylabel="temperature (K)", title=plain(title), xlim=(low, high))
    return figure
