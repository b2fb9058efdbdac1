"""Figures of optical spectra: absorption at temperatures, and Tauc fits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxepi.plotting.common import colours, legend, one_panel, plain, source

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "^", "D")


def absorption(
    spectra: Sequence[Any],
    temperatures: Sequence[float],
    rest: Any | None = None,
    measured: Sequence[Any] = (),
    title: str = "",
    decades: int = 6,
    labels: Sequence[str] = (),
    attracted: Sequence[Any] = (),
    quanta: Sequence[Any] = (),
) -> "Figure":
    """Absorption coefficient against photon energy on a logarithmic axis.

    Args:
        spectra: `jaxepi.optics.Spectrum`, one a temperature (K); the range of their snapshots is shaded.
        rest: spectrum of the lattice at rest, dashed. measured: `materials.measured.MeasuredAbsorption`, as points.
        decades: height of the axis. labels: of the spectra; their temperatures when left out.
        attracted: spectra with the attraction of electrons and holes, one beside each of `spectra`, dash-dotted.
        quanta: spectra with phonon energies (and with attraction, where there are such), one beside each, dotted.
    """
    from jaxepi.optics import absorption as coefficient

    figure, axes = one_panel()
    order = np.argsort(temperatures, kind="stable")
    names = [plain(label) for label in labels] or [f"{t:g} K" for t in temperatures]
    for colour, i in zip(colours(len(order)), order, strict=True):
        energies = np.asarray(spectra[i].energies)
        single = np.asarray(coefficient(spectra[i].energies, *spectra[i].isotropic()))
        axes.plot(energies, spectra[i].absorption(), color=colour, lw=1.6, label=names[i], zorder=3)
        if len(single) > 1:
            axes.fill_between(energies, single.min(axis=0), single.max(axis=0), color=colour, alpha=0.18, lw=0)
        both = "with attraction and phonon energies" if len(attracted) else "with phonon energies"
        for more, words, style in ((attracted, "with attraction", "-."), (quanta, both, ":")):
            if len(more):
                label = f"{names[i]}, {words}"
                axes.plot(energies, more[i].absorption(), color=colour, ls=style, lw=1.6, label=label, zorder=3)
    if rest is not None:
        axes.plot(rest.energies, rest.absorption(), color="black", ls="--", lw=1.3, label="lattice at rest", zorder=4)
    for marker, table in zip(_MARKERS, measured, strict=False):
        label = f"measured, {table.temperature:g} K: {plain(source(table.citation))}"
        axes.plot(
            table.energies, table.absorption, marker, color="0.25", mfc="white", ms=4.5, mew=0.9, label=label, zorder=5
        )
    everything = [
        np.asarray(s.absorption()) for s in [*spectra, *attracted, *quanta, *([rest] if rest is not None else [])]
    ]
    everything += [table.absorption for table in measured]
    top = np.ceil(np.log10(1.2 * max(a.max() for a in everything)))
    axes.set(yscale="log", ylim=(10.0 ** (top - max(5, decades)), 10.0**top), title=plain(title))
    axes.set(xlabel="photon energy (eV)", ylabel="absorption coefficient (1/cm)")
    across = np.asarray(spectra[0].energies)
    axes.set_xlim(float(across.min()), float(across.max()))
    legend(axes, "lower right", "shaded: range of the snapshots" if len(spectra[0]) > 1 else "")
    return figure


def tauc(
    spectra: Sequence[Any], temperatures: Sequence[float], fits: Sequence[Any], kind: str, title: str = ""
) -> "Figure":
    """Tauc ordinate of the mean spectra with the fitted lines inside their windows and down to the gap.

    Args:
        fits: `jaxepi.optics.TaucFit`, one a temperature. kind: "indirect" or "direct".
    """
    from jaxepi.optics.tauc import ordinate

    figure, axes = one_panel()
    low, high = (float(w) for w in fits[0].window)
    margin = 0.25 * (high - low)
    start = min([low, *(float(f.gap) for f in fits)]) - margin
    top = 0.0
    for colour, i in zip(colours(len(spectra)), np.argsort(temperatures), strict=True):
        energies, fit = np.asarray(spectra[i].energies), fits[i]
        values = np.asarray(ordinate(spectra[i].energies, spectra[i].mean()[1], kind))
        label = f"{temperatures[i]:g} K: {float(fit.gap):.3f} ± {float(fit.sensitivity):.3f} eV"
        if bool(fit.poor):
            label += f", poor fit (misses its curve by {100 * float(fit.residual):.0f}%)"
        axes.plot(energies, values, color=colour, lw=1.6, label=label)
        ends = np.array([float(fit.gap), high])
        axes.plot(ends, float(fit.slope) * (ends - ends[0]), color=colour, lw=1.1, ls="--")
        top = max(top, values[energies <= high + margin].max(initial=0.0))
    axes.axvspan(low, high, color="0.93", zorder=0)
    power = "1/2" if kind == "indirect" else "2"
    unit = "eV" if kind == "indirect" else "eV$^4$"
    axes.set(xlim=(start, high + margin), ylim=(0, 1.05 * top or 1), title=plain(title))
    axes.set(xlabel="photon energy (eV)", ylabel=f"$(E^2 \\varepsilon_2)^{{{power}}}$ ({unit})")
    legend(axes, "upper left", "grey: window of the fit (dashed)")
    return figure
