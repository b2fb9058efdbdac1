"""Figures. The only room that imports matplotlib, and only when a figure is drawn; no window is ever opened.

Flows in: spectra, fits, bands, phonons. Flows out: `matplotlib.figure.Figure`, to be saved or shown in a notebook.
Temperatures run from dark blue (cold) to orange (hot) in a map that colour-blind readers can order.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxepi.errors import InputError
from jaxepi.files import whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200
"""A figure 7 inches wide is 1400 pixels wide."""

SUFFIXES = (".png", ".pdf", ".svg")
"""Figures that can be written."""

_SPLIT_MARKS = {"train": ".C0", "validation": ".C1", "test": ".k"}

_MARKERS = ("o", "s", "^", "D")


def absorption(
    spectra: Sequence[Any],
    temperatures: Sequence[float],
    rest: Any | None = None,
    measured: Sequence[Any] = (),
    title: str = "",
    decades: int = 6,
    labels: Sequence[str] = (),
) -> "Figure":
    """Absorption coefficient against photon energy on a logarithmic axis.

    Args:
        spectra: `jaxepi.optics.Spectrum`, one a temperature (K); the range of their snapshots is shaded.
        rest: spectrum of the lattice at rest, dashed. measured: `materials.measured.MeasuredAbsorption`, as points.
        decades: height of the axis. labels: of the spectra; their temperatures when left out.
    """
    from jaxepi.optics import absorption as coefficient

    figure, axes = _figure()
    order = np.argsort(temperatures, kind="stable")
    names = labels or [f"{t:g} K" for t in temperatures]
    for colour, i in zip(_colours(len(order)), order, strict=True):
        energies = np.asarray(spectra[i].energies)
        single = np.asarray(coefficient(spectra[i].energies, *spectra[i].isotropic()))
        axes.plot(energies, spectra[i].absorption(), color=colour, lw=1.6, label=names[i], zorder=3)
        if len(single) > 1:
            axes.fill_between(energies, single.min(axis=0), single.max(axis=0), color=colour, alpha=0.18, lw=0)
    if rest is not None:
        axes.plot(rest.energies, rest.absorption(), color="black", ls="--", lw=1.3, label="lattice at rest", zorder=4)
    for marker, table in zip(_MARKERS, measured, strict=False):
        label = f"measured, {table.temperature:g} K: {_source(table.citation)}"
        axes.plot(
            table.energies, table.absorption, marker, color="0.25", mfc="white", ms=4.5, mew=0.9, label=label, zorder=5
        )
    everything = [np.asarray(s.absorption()) for s in [*spectra, *([rest] if rest is not None else [])]]
    everything += [table.absorption for table in measured]
    top = np.ceil(np.log10(1.2 * max(a.max() for a in everything)))
    axes.set(yscale="log", ylim=(10.0 ** (top - max(5, decades)), 10.0**top), title=title)
    axes.set(xlabel="photon energy (eV)", ylabel="absorption coefficient (1/cm)")
    axes.set_xlim(float(np.min(spectra[0].energies)), float(np.max(spectra[0].energies)))
    _legend(axes, "lower right", "shaded: range of the snapshots" if len(spectra[0]) > 1 else "")
    return figure


def tauc(
    spectra: Sequence[Any], temperatures: Sequence[float], fits: Sequence[Any], kind: str, title: str = ""
) -> "Figure":
    """Tauc ordinate of the mean spectra with the fitted lines inside their windows and down to the gap.

    Args:
        fits: `jaxepi.optics.TaucFit`, one a temperature. kind: "indirect" or "direct".
    """
    from jaxepi.optics.tauc import ordinate

    figure, axes = _figure()
    low, high = (float(w) for w in fits[0].window)
    margin = 0.25 * (high - low)
    start = min([low, *(float(f.gap) for f in fits)]) - margin
    top = 0.0
    for colour, i in zip(_colours(len(spectra)), np.argsort(temperatures), strict=True):
        energies, fit = np.asarray(spectra[i].energies), fits[i]
        values = np.asarray(ordinate(spectra[i].energies, spectra[i].mean()[1], kind))  # type: ignore[arg-type]
        label = f"{temperatures[i]:g} K: {float(fit.gap):.3f} ± {float(fit.sensitivity):.3f} eV"
        axes.plot(energies, values, color=colour, lw=1.6, label=label)
        ends = np.array([float(fit.gap), high])
        axes.plot(ends, float(fit.slope) * (ends - ends[0]), color=colour, lw=1.1, ls="--")
        top = max(top, values[energies <= high + margin].max(initial=0.0))
    axes.axvspan(low, high, color="0.93", zorder=0)
    power = "1/2" if kind == "indirect" else "2"
    unit = "eV" if kind == "indirect" else "eV$^4$"
    axes.set(xlim=(start, high + margin), ylim=(0, 1.05 * top or 1), title=title)
    axes.set(xlabel="photon energy (eV)", ylabel=f"$(E^2 \\varepsilon_2)^{{{power}}}$ ({unit})")
    _legend(axes, "upper left", "grey: window of the fit (dashed)")
    return figure


def bands(
    distance: np.ndarray,
    energies: np.ndarray,
    corners: Sequence[tuple[float, str]],
    valence: float,
    conduction: float | None = None,
    window: tuple[float, float] = (-6.0, 6.0),
    title: str = "",
) -> "Figure":
    """Bands along a path, energies from the valence edge.

    Args:
        distance: along the path, 1/angstrom, shape (k,). energies: eV, shape (k, bands). corners: place and name.
        valence, conduction: edges, eV; the gap is shaded when both are given. window: energies shown, eV.
    """
    figure, axes = _figure(6.0, 5.0)
    axes.plot(distance, np.asarray(energies) - valence, color="#20407f", lw=1.2)
    if conduction is not None:
        axes.axhspan(0, conduction - valence, color="#e8a33d", alpha=0.25, lw=0, zorder=0)
        axes.set_title(f"{title}, gap {conduction - valence:.3f} eV" if title else f"gap {conduction - valence:.3f} eV")
    else:
        axes.set_title(title)
    _path(axes, distance, corners)
    axes.set(ylim=window, ylabel="energy from the valence edge (eV)")
    return figure


def phonons(
    distance: np.ndarray, frequencies: np.ndarray, corners: Sequence[tuple[float, str]], title: str = ""
) -> "Figure":
    """Phonon frequencies (THz, with meV at the right) along a path; imaginary ones are drawn negative."""
    from jaxepi.units import EV_PER_THZ

    figure, axes = _figure(6.0, 4.5)
    axes.plot(distance, frequencies, color="#20407f", lw=1.3)
    axes.axhline(0, color="0.6", lw=0.7)
    _path(axes, distance, corners)
    lowest = min(0.0, 1.05 * float(np.min(frequencies)))
    axes.set(ylim=(lowest, 1.05 * float(np.max(frequencies))), ylabel="frequency (THz)", title=title)
    to_mev = 1e3 * EV_PER_THZ
    right = axes.secondary_yaxis(
        "right", functions=(lambda f: np.asarray(f) * to_mev, lambda e: np.asarray(e) / to_mev)
    )
    right.set_ylabel("energy (meV)")
    axes.tick_params(right=False)
    return figure


def parity(
    pairs: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], title: str = "", most: int = 20000
) -> "Figure":
    """Predictions against labels, a panel a quantity, with the root mean squared error of every split.

    Args:
        pairs: quantity ("energy" eV/atom, "forces" eV/angstrom, "stress" eV/angstrom^3, "eigenvalues", "gap" eV) -> split ->
            labels and predictions, shape (k,). most: points drawn a split and panel; errors are those of all.
    """
    from matplotlib.ticker import MaxNLocator

    units = {"energy": "meV/atom", "forces": "eV/Å", "stress": "eV/Å$^3$", "eigenvalues": "eV", "gap": "eV"}
    figure, panels = _panels(1, len(pairs), 4.2 * len(pairs), 4.4)
    for axes, (quantity, splits) in zip(panels, pairs.items(), strict=True):
        energy, unit = quantity == "energy", units.get(quantity, "")
        everything = np.concatenate([label for label, _ in splits.values()])
        zero, size = (everything.min(), 1e3) if energy else (0.0, 1.0)
        for split, (label, found) in splits.items():
            error = 1e3 * float(np.sqrt(np.mean((found - label) ** 2)))
            few = slice(None, None, max(1, len(label) // most))
            text = f"{split}: {error:.3g} {unit if energy else 'm' + unit}"
            x, y = size * (label[few] - zero), size * (found[few] - zero)
            axes.plot(x, y, _SPLIT_MARKS[split], ms=3.5, alpha=0.6, mew=0, rasterized=True, label=text, zorder=3)
        ends = size * (np.array([everything.min(), everything.max()]) - zero)
        axes.plot(ends, ends, color="0.3", lw=0.8, zorder=4)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        what = "energy above the lowest" if energy else quantity
        axes.set(xlabel=f"{what}, label ({unit})", ylabel=f"{what}, model ({unit})")
        axes.legend(loc="upper left", fontsize=8, title="root mean squared error", title_fontsize=8, markerscale=2)
    figure.suptitle(title)
    return figure


def learning_curve(history: Sequence[Mapping[str, float | int]], title: str = "") -> "Figure":
    """Losses and errors of every epoch, training (along the way) and validation, with the learning rate.

    Args:
        history: rows with `epoch`, `learning_rate`, and measures in pairs `name`, `validation_name`.
    """
    words = {"loss": "loss", "energy_mev": "energy (meV/atom)", "forces_mev": "forces (meV/Å)"}
    words |= {"stress_mev": "stress (meV/Å$^3$)"}
    names = [n for n in history[0] if f"validation_{n}" in history[0]]
    names = [n for n in names if np.isfinite([row[n] for row in history]).any()]
    figure, panels = _panels((len(names) + 1) // 2, 2, 9.0, 2.9 * ((len(names) + 1) // 2))
    epochs = [row["epoch"] for row in history]
    for axes, name in zip(panels, names, strict=False):
        for split, prefix in (("train", ""), ("validation", "validation_")):
            values = [row[prefix + name] for row in history]
            axes.plot(epochs, values, color=_SPLIT_MARKS[split][1:], lw=1.2, label=split)
        axes.set(yscale="log", ylabel=words.get(name, name), xlabel="epoch")
    rate = panels[0].twinx()
    rate.plot(epochs, [row["learning_rate"] for row in history], color="0.5", lw=0.9, ls=":")
    rate.set(yscale="log", ylabel="learning rate (dotted)")
    panels[0].tick_params(right=False, which="both")
    panels[0].legend(fontsize=8)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    figure.suptitle(title)
    return figure


def cost(rows: Sequence[Mapping[str, Any]], title: str = "") -> "Figure":
    """Seconds a call and peak memory against the number of atoms, both axes logarithmic.

    Args:
        rows: with `atoms`, `seconds` (on the clock), `processor_seconds` and `peak_gb`.
    """
    figure, panels = _panels(1, 2, 9.0, 4.0)
    atoms = np.array([row["atoms"] for row in rows], float)
    largest = rows[int(atoms.argmax())]
    for name, label, mark in (("seconds", "on the clock", "o-"), ("processor_seconds", "of the processor", "s--")):
        panels[0].plot(atoms, [row[name] for row in rows], mark, ms=4.5, lw=1.2, label=label, zorder=3)
    panels[0].plot(atoms, largest["seconds"] * atoms / atoms.max(), color="0.5", lw=0.8, ls=":", label="linear")
    panels[1].plot(atoms, [row["peak_gb"] for row in rows], "o-", color="C2", ms=4.5, lw=1.2, zorder=3)
    for axes, what in zip(panels, ("seconds a call", "peak memory of the process (GB)"), strict=True):
        axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel=what)
    panels[0].legend(loc="upper left", fontsize=9)
    figure.suptitle(title)
    return figure


def save(figure: "Figure", path: str | os.PathLike) -> None:
    """Write a figure (PNG, PDF, SVG by the suffix), whole or not at all.

    Raises:
        OSError: the file cannot be written. InputError: a suffix matplotlib does not know.
    """
    check_suffix(path)
    with whole(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format=Path(path).suffix[1:])


def check_suffix(path: str | os.PathLike) -> None:
    """Refuse a file name that does not say which kind of figure it is.

    Raises:
        InputError: names the suffix and the known ones.
    """
    suffix = Path(path).suffix
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: a figure cannot be written as {suffix or 'a file without suffix'!r}; use one of "
            f"{', '.join(SUFFIXES)}"
        )


def _figure(width: float = 7.0, height: float = 5.0) -> "tuple[Figure, Axes]":
    """A figure on no display at all: built without pyplot, so nothing is registered and no backend is chosen."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.tick_params(which="both", direction="in", top=True, right=True)
    return figure, axes


def _panels(rows: int, columns: int, width: float, height: float) -> "tuple[Figure, np.ndarray]":
    """A figure of several panels, row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    panels = np.ravel(figure.subplots(rows, columns))
    for axes in panels:
        axes.tick_params(which="both", direction="in", top=True, right=True)
    return figure, panels


def _colours(count: int) -> np.ndarray:
    from matplotlib import colormaps

    return colormaps["plasma"](np.linspace(0.0, 0.78, count) if count > 1 else np.array([0.45]))


def _legend(axes: "Axes", place: Literal["lower right", "upper left"], note: str) -> None:
    legend = axes.legend(loc=place, fontsize=9, frameon=True, framealpha=0.9, edgecolor="0.8")
    if note:
        legend.set_title(note)
        legend.get_title().set_fontsize(9)


def _path(axes: "Axes", distance: np.ndarray, corners: Sequence[tuple[float, str]]) -> None:
    for place, _ in corners:
        axes.axvline(place, color="0.6", lw=0.7)
    axes.set_xticks([place for place, _ in corners], ["Γ" if name == "G" else name for _, name in corners])
    axes.set_xlim(float(distance[0]), float(distance[-1]))


def _source(citation: str) -> str:
    """Authors of a citation, with the year in brackets if there is one: short enough for a legend."""
    authors = citation.split(":")[-1].split(", ")[0].strip() if ":" in citation else citation.split(", ")[0]
    years = [word.strip("(),.") for word in citation.split() if word.strip("(),.").isdigit()]
    years = [year for year in years if 1900 < int(year) < 2100]
    return f"{authors} ({years[-1]})" if years else authors
