"""Figures of models: what they predict, how they learned it, and what a call costs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxepi.plotting.common import panels_in_rows, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SPLIT_MARKS = {"train": ".C0", "validation": ".C1", "test": ".k"}


def parity(
    pairs: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], title: str = "", most: int = 20000
) -> "Figure":
    """Predictions against labels, a panel a quantity, with the root mean squared error of every split.

    Args:
        pairs: quantity ("energy" eV/atom, "forces" eV/angstrom, "stress" eV/angstrom^3, "eigenvalues", "gap", "on-site",
            "hopping" eV) -> split -> labels and predictions, shape (k,). most: points drawn a split and panel; errors are
            those of all.
    """
    from matplotlib.ticker import MaxNLocator

    units = {"energy": "meV/atom", "forces": "eV/Å", "stress": "eV/Å$^3$"}
    figure, panels = panels_in_rows(1, len(pairs), 4.2 * len(pairs), 4.4)
    for axes, (quantity, splits) in zip(panels, pairs.items(), strict=True):
        energy, unit = quantity == "energy", units.get(quantity, "eV")
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
    figure.suptitle(plain(title))
    return figure


def learning_curve(history: Sequence[Mapping[str, float | int]], title: str = "") -> "Figure":
    """Losses and errors of every epoch, training (along the way) and validation, with the learning rate.

    Args:
        history: rows with `epoch`, `learning_rate`, and measures in pairs `name`, `validation_name`.
    """
    words = {"loss": "loss", "energy_mev": "energy (meV/atom)", "forces_mev": "forces (meV/Å)"}
    words |= {"stress_mev": "stress (meV/Å$^3$)", "onsite_mev": "on-site blocks (meV)", "hopping_mev": "hoppings (meV)"}
    words |= {"states_mev": "between states (meV)"}
    names = [n for n in history[0] if f"validation_{n}" in history[0]]
    names = [n for n in names if np.isfinite([row[n] for row in history]).any()]
    figure, panels = panels_in_rows((len(names) + 1) // 2, 2, 9.0, 2.9 * ((len(names) + 1) // 2))
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
    figure.suptitle(plain(title))
    return figure


def cost(rows: Sequence[Mapping[str, Any]], title: str = "") -> "Figure":
    """Seconds a call and peak memory against the number of atoms, both axes logarithmic.

    Args:
        rows: with `atoms`, `seconds` (on the clock), `processor_seconds` and `peak_gb`.
    """
    figure, panels = panels_in_rows(1, 2, 9.0, 4.0)
    atoms = np.array([row["atoms"] for row in rows], float)
    largest = rows[int(atoms.argmax())]
    for name, label, mark in (("seconds", "on the clock", "o-"), ("processor_seconds", "of the processor", "s--")):
        panels[0].plot(atoms, [row[name] for row in rows], mark, ms=4.5, lw=1.2, label=label, zorder=3)
    panels[0].plot(atoms, largest["seconds"] * atoms / atoms.max(), color="0.5", lw=0.8, ls=":", label="linear")
    panels[1].plot(atoms, [row["peak_gb"] for row in rows], "o-", color="C2", ms=4.5, lw=1.2, zorder=3)
    for axes, what in zip(panels, ("seconds a call", "peak memory of the process (GB)"), strict=True):
        axes.set(xscale="log", yscale="log", xlabel="atoms", ylabel=what)
    panels[0].legend(loc="upper left", fontsize=9)
    figure.suptitle(plain(title))
    return figure
