"""Figures of renormalisation: gaps against temperature and mesh, and spectral functions with the bands at rest upon them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxepi.kpoints import Path
from jaxepi.plotting.common import colours, draw_along, one_panel, panels_in_rows, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def renormalisation(found: Any, pairs: Sequence[tuple[str, str, str]], title: str = "") -> "Figure":
    """Shifts (meV) against temperature (left), and at the lowest one against the inverse divisions of the mesh (right).

    Args:
        found: `workflows.renormalisation.Renormalised`. pairs: (label, upper level, lower level or ""), one a curve.
    """
    figure, (left, right) = panels_in_rows(1, 2, 9.0, 4.2)
    kelvin = found.temperatures
    order = np.argsort(kelvin)
    for colour, (label, upper, lower) in zip(colours(len(pairs)), pairs, strict=True):
        shifts = found.shifts[found.levels.index(upper)]
        if lower:
            shifts = shifts - found.shifts[found.levels.index(lower)]
        if not len(shifts):
            continue
        left.plot(kelvin[order], 1e3 * shifts[-1][order], "o-", ms=4, color=colour, label=plain(label))
        counts = np.array(found.meshes, dtype=float)
        coldest = 1e3 * shifts[:, order[0]]
        right.plot(1 / counts, coldest, "o-", ms=4, color=colour, label=plain(label))
    if found.carlo is not None:
        mean, error = found.carlo.gap()
        left.errorbar(
            kelvin, 1e3 * mean, 1e3 * error, fmt="s", color="black", ms=4, capsize=3, label="gap, Monte Carlo"
        )
    left.set(xlabel="temperature (K)", ylabel="shift (meV)", title=plain(title))
    right.set(xlabel="1/divisions of the mesh", xlim=(0, None), title=f"at {kelvin[order[0]]:g} K")
    left.legend(fontsize=8)
    return figure


def renormalised_bands(
    path: Path, bands: np.ndarray, shifted: np.ndarray, zero: float = 0.0, title: str = "", label: str = ""
) -> "Figure":
    """Bands at rest (grey) and shifted ones (orange) along a path, eV.

    Args:
        bands, shifted: shape (k, n), eV. zero: energy from which they are counted, eV.
    """
    figure, axes = one_panel(6.0, 5.0)
    draw_along(axes, path, bands - zero, color="0.6", lw=1.0)
    draw_along(axes, path, shifted - zero, color="#c2571a", lw=1.2)
    axes.set(ylabel="energy (eV)", title=plain(f"{title} {label}".strip()))
    return figure


def spectral_function(
    path: Path,
    energies: np.ndarray,
    values: np.ndarray,
    bands: np.ndarray | None = None,
    zero: float = 0.0,
    title: str = "",
) -> "Figure":
    """A(k, E) along a path as a picture, logarithmic over three decades, with the bands at rest upon it.

    Args:
        energies: eV, shape (e,), from `zero`. values: 1/eV, shape (k, e). bands: at rest, eV, shape (k, n).
        zero: energy from which bands are counted, eV.
    """
    figure, axes = one_panel(7.0, 5.0)
    top = float(np.max(values))
    shown = np.log10(np.maximum(np.asarray(values), 1e-3 * top))
    distance = np.asarray(path.distance, dtype=float)
    starts = [0, *path.breaks]
    picture = None
    for start, stop in zip(starts, [*path.breaks, len(distance)], strict=True):
        if stop - start > 1:
            picture = axes.pcolormesh(
                distance[start:stop], energies, shown[start:stop].T, cmap="magma", shading="nearest",
                vmin=np.log10(top) - 3, vmax=np.log10(top), rasterized=True,
            )  # fmt: skip
    if bands is not None:
        draw_along(axes, path, np.asarray(bands) - zero, color="#7fd4ff", lw=0.7, alpha=0.8)
    if picture is not None:
        figure.colorbar(picture, ax=axes, label="log10 A(k, E) (1/eV)")
    axes.set(ylim=(float(energies[0]), float(energies[-1])), ylabel="energy (eV)", title=plain(title))
    return figure
