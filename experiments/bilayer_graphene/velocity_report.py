"""Rows, tables and figure of fermi_velocity.py."""

import csv
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import dirac_crystals
import estimators
import numpy as np
from estimators import FIT, WINDOWS, Change, averages, half_splitting, slopes
from matplotlib.figure import Figure

PAPER, LINEAR = -0.34, -0.20
"""Change of the bilayer's velocity at 0 K by the finite-difference paper, and what it quotes of linear response."""

COLUMNS = {
    "innermost": "innermost sorted bands", "unfolded": "unfolded G", "quiet": "the same, noise of second order removed",
    "fit": "k.p fit", "higher": "higher orders", "adiabatic": "second order, cell, adiabatic", "dynamic": "cell, dynamic",
    "fine adiabatic": "fine mesh, adiabatic", "fine dynamic": "fine mesh, dynamic",
}  # fmt: skip


class Row(NamedTuple):
    """One number: relative change of a velocity; supercell 0 stands for the fine mesh."""

    crystal: str
    supercell: int
    kelvin: float
    low: float
    high: float
    estimator: str
    change: float
    error: float


def read(path: Path) -> list[Row]:
    """Rows of a table that fermi_velocity.py wrote."""
    with open(path, newline="") as file:
        return [
            Row(r["crystal"], int(r["supercell"]), *(float(r[x]) for x in ("kelvin", "low", "high")), r["estimator"],
                float(r["change"]), float(r["error"]))
            for r in csv.DictReader(file)
        ]  # fmt: skip


@cache
def crystal_of(name: str) -> dirac_crystals.Crystal:
    """The crystal, once."""
    return dirac_crystals.loaded(name)


class Read:
    """Energies that the averages of one sample give, and the same at rest.

    Attributes:
        inner: of sorted bands. shifted, dressed: of the Green's function, all bands; each for all averages, eV.
    """

    def __init__(self, sample, held, kappas, eta) -> None:
        crystal = crystal_of(sample.crystal)
        self.rest, self.dirac = crystal.states(kappas), crystal.dirac
        sigma = estimators.self_energies(averages(held["green"]), self.rest, eta)
        self.inner = averages(held["inner"])
        self.shifted, self.dressed = estimators.shifted(sigma, self.rest), estimators.dressed(sigma, self.rest)


def geometry(crystal: dirac_crystals.Crystal) -> tuple[float, float]:
    """Angle between k - K and the line from Gamma to K, and the lattice constant."""
    return dirac_crystals.ANGLE - np.pi / 3, float(np.linalg.norm(crystal.cell.cell[0]))


def _fit(kappas, energies, window, crystal) -> tuple[np.ndarray, float]:
    return estimators.fitted(kappas, energies, window, *geometry(crystal))


def second_energies(terms, crystal, kappas) -> np.ndarray:
    """Half the distance of the two bands next to the Dirac point after Fan and Debye-Waller terms, eV, shape (k,)."""
    rest = crystal.states(kappas)[0][:, list(crystal.dirac)]
    return half_splitting(rest + terms.sum(axis=0), (0, 1))


def rows(averaged: dict, seconds: dict, kappas: np.ndarray, eta: float) -> list[Row]:
    """All numbers."""
    out, still = [], {(s.crystal, s.repeats): held for s, held in averaged.items() if s.amplitude == 0}
    reads = {s: Read(s, held, kappas, eta) for s, held in averaged.items() if s.amplitude > 0}
    small = {(s.crystal, s.repeats, s.kelvin): (s.amplitude, read) for s, read in reads.items() if s.amplitude < 1}
    orders = {(s.crystal, s.mesh, s.kelvin, s.dynamic): terms for s, (terms, _) in seconds.items() if not s.fine}
    for s, read in reads.items():
        if s.amplitude < 1:
            continue
        crystal = crystal_of(s.crystal)
        bare = half_splitting(read.rest[0], read.dirac)
        unfolded = half_splitting(read.shifted, read.dirac)
        for window in WINDOWS:
            rest = float(slopes(kappas, bare, window))
            own = {"unfolded": estimators.change(slopes(kappas, unfolded, window), rest)}
            if window[1] < crystal.edge(s.repeats):  # beyond, another folded state lies nearer to its cone
                still_slope = float(slopes(kappas, still[s.crystal, s.repeats]["inner"][0], window))
                own["innermost"] = estimators.change(slopes(kappas, read.inner, window), still_slope)
            known = np.sum((kappas >= window[0]) & (kappas <= window[1])) * len(read.rest[0][0])
            if known > len(estimators.NAMES[len(read.rest[0][0])]):
                fits = _fit(kappas, read.dressed, window, crystal)[0][:, 2]
                own["fit"] = estimators.change(fits, float(_fit(kappas, read.rest[0][None], window, crystal)[0][0, 2]))
            key = (s.crystal, s.repeats, s.kelvin)
            if key in small:
                amplitude, other = small[key]
                away = (unfolded - bare) - (half_splitting(other.shifted, read.dirac) - bare) / amplitude**2
                own["higher"] = estimators.change(rest + slopes(kappas, away, window), rest)
                order = second_energies(orders[(*key, False)], crystal, kappas)
                own["quiet"] = estimators.change(slopes(kappas, order + away, window), rest)
            out += [Row(*key, *window, name, *found) for name, found in own.items()]
    for s, (terms, _) in seconds.items():
        crystal = crystal_of(s.crystal)
        bare = half_splitting(crystal.states(kappas)[0], crystal.dirac)
        moved = second_energies(terms, crystal, kappas)
        name = ("fine " if s.fine else "") + ("dynamic" if s.dynamic else "adiabatic")
        for window in WINDOWS:
            rest = float(slopes(kappas, bare, window))
            of = (s.crystal, 0 if s.fine else s.mesh, s.kelvin, *window)
            out.append(Row(*of, name, float(slopes(kappas, moved, window)) / rest - 1, 0.0))
            if s.fine and not s.dynamic:
                own = float(slopes(kappas, half_splitting(terms[1], (0, 1)), window)) / rest
                out.append(Row(*of, "fine Debye-Waller", own, 0.0))
    return out


def found(all_rows: list[Row]) -> dict:
    """Changes by crystal, supercell, temperature, window and estimator."""
    return {
        (r.crystal, r.supercell, r.kelvin, (r.low, r.high), r.estimator): Change(r.change, r.error) for r in all_rows
    }


def _cell(change: Change | None) -> str:
    if change is None:
        return ""
    return change.percent() if change.error else f"{100 * change.value:+.1f}"


def _table(head: list[str], lines: list[list[str]]) -> None:
    for line in [head, ["---"] * len(head), *lines]:
        print("| " + " | ".join(line) + " |")
    print(flush=True)


def printed(all_rows: list[Row], averaged: dict, seconds: dict, kappas: np.ndarray, eta: float) -> None:
    """Tables of docs/validation.md."""
    by = found(all_rows)
    kinds = sorted({(r.crystal, r.supercell) for r in all_rows if r.supercell})
    ends = sorted({s.kelvin for s in seconds})
    for crystal in dict.fromkeys(c for c, _ in kinds):
        print(f"{crystal}: change of the velocity, %\n")
        lines = []
        for kelvin in ends:
            for window in WINDOWS:
                for n in [n for c, n in kinds if c == crystal]:
                    values = [by.get((crystal, 0 if e.startswith("fine") else n, kelvin, window, e)) for e in COLUMNS]
                    if any(v is not None for v in values):
                        lines.append(
                            [f"{kelvin:g} K", f"{window[0]:g} to {window[1]:g}", f"{n}x{n}", *map(_cell, values)]
                        )
        _table(["T", "window, 1/angstrom", "cell", *COLUMNS.values()], lines)
    _by_temperature(all_rows, by)
    _parameters(averaged, kappas, eta)
    _parts(by, ends)
    _ratios(seconds, kappas)
    _sorted(averaged, kappas)
    for s, held in averaged.items():
        if s.amplitude == 1 and s.kelvin == 0:
            print(
                f"{s.crystal} {s.repeats}x{s.repeats}: {1e3 * held['seconds']:.0f} ms a snapshot, {len(kappas)} k points"
            )


def _by_temperature(all_rows, by) -> None:
    window, names = (0.05, 0.15), ("innermost", "unfolded", "fit")
    lines = [
        [crystal, f"{n}x{n}", f"{kelvin:g}", *(_cell(by.get((crystal, n, kelvin, window, e))) for e in names)]
        for crystal, n, kelvin in dict.fromkeys((r.crystal, r.supercell, r.kelvin) for r in all_rows if r.supercell)
        if not crystal.startswith("nearest")
    ]
    print("window 0.05 to 0.15, %\n")
    _table(["crystal", "cell", "T, K", *(COLUMNS[e] for e in names)], lines)


def _parameters(averaged, kappas, eta) -> None:
    print(f"k.p parameters, {FIT[0]:g} to {FIT[1]:g} 1/angstrom: at rest, and their change\n")
    for crystal in ("bilayer", "layer"):
        of = [s for s in averaged if s.crystal == crystal and s.amplitude == 1]
        names, at = None, crystal_of(crystal)
        lines = []
        for s in of:
            read = Read(s, averaged[s], kappas, eta)
            (rest, bare_miss), (parameters, miss) = (
                _fit(kappas, e, FIT, at) for e in (read.rest[0][None], read.dressed)
            )
            if names is None:
                names = estimators.NAMES[len(read.rest[0][0])]
                lines.append(["at rest", "", *(f"{x:.4f}" for x in rest[0]), f"{1e3 * bare_miss:.1f}"])
            away = parameters - rest
            errors = estimators.jackknife(away[0], away[1:])
            lines.append(
                [
                    f"{s.repeats}x{s.repeats}",
                    f"{s.kelvin:g} K",
                    *(f"{x:+.3f} +- {e:.3f}" for x, e in zip(away[0], errors, strict=True)),
                    f"{1e3 * miss:.1f}",
                ]
            )
        if names:
            _table([crystal, "", *names, "largest miss, meV"], lines)


def _parts(by, ends) -> None:
    """What the innermost pair of sorted bands in 6x6 cells is made of."""
    print("parts of the bilayer's 6x6 figure, %\n")
    lines = []
    for kelvin in ends:
        for window in WINDOWS:
            key = ("bilayer", 6, kelvin, window)
            if (*key, "quiet") not in by or (*key, "innermost") not in by:
                continue
            chain = [by[(*key, "innermost")], by[(*key, "quiet")], by[(*key, "adiabatic")]]
            chain += [by[("bilayer", 0, kelvin, window, e)] for e in ("fine adiabatic", "fine dynamic")]
            steps = [f"{100 * (a.value - b.value):+.1f}" for a, b in pairwise(chain)]
            last = _cell(by[("bilayer", 0, kelvin, window, "fine Debye-Waller")])
            lines.append(
                [f"{kelvin:g} K", f"{window[0]:g} to {window[1]:g}", _cell(chain[0]), *steps, _cell(chain[-1]), last]
            )
    heads = [
        "sorted bands",
        "estimator",
        "higher orders",
        "size of the cell, eta",
        "adiabatic",
        "left: dynamic, fine mesh",
    ]
    _table(["T", "window", *heads], lines)


def _ratios(seconds, kappas) -> None:
    print("second order on the fine mesh: mean of the two bands' Sigma/E, % (of it Debye-Waller)\n")
    lines = []
    for s, (terms, lowest) in seconds.items():
        if s.fine:
            crystal = crystal_of(s.crystal)
            rest = half_splitting(crystal.states(kappas)[0], crystal.dirac)
            ratios = 100 * half_splitting(terms, (0, 1)) / rest
            cells = [f"{r:+.1f} ({d:+.2f})" for r, d in zip(ratios.sum(axis=0), ratios[1], strict=True)]
            lines.append(
                [s.crystal, f"{s.kelvin:g} K", "dynamic" if s.dynamic else "adiabatic", *cells, f"{lowest:.3f}"]
            )
    _table(["crystal", "T", "treatment", *(f"{k:g}" for k in kappas), "lowest mode, THz"], lines)


def _sorted(averaged, kappas) -> None:
    """What a velocity would be as a ratio E/kappa."""
    print("sorted bands next to the Dirac point, 0 K: change of half their distance over that at rest, %\n")
    still = {(s.crystal, s.repeats): held["inner"][0] for s, held in averaged.items() if s.amplitude == 0}
    lines = []
    for s, held in averaged.items():
        if s.amplitude == 1 and s.kelvin == 0:
            relative = averages(held["inner"]) / still[s.crystal, s.repeats] - 1
            errors = estimators.jackknife(relative[0], relative[1:])
            edge = crystal_of(s.crystal).edge(s.repeats)
            cells = [
                Change(*pair).percent() if kappa < edge else ""
                for kappa, *pair in zip(kappas, relative[0], errors, strict=True)
            ]
            lines.append([s.crystal, f"{s.repeats}x{s.repeats}", *cells])
    _table(["crystal", "cell", *(f"{k:g}" for k in kappas)], lines)


def drawn(all_rows: list[Row], averaged: dict, kappas: np.ndarray, eta: float) -> Figure:
    """Against temperature, samples (left out without averages), window and cell; beside the paper's numbers."""
    by = found(all_rows)
    figure = Figure(figsize=(10, 7.5), layout="constrained")
    axes = figure.subplot_mosaic([["temperature", "samples" if averaged else "temperature"], ["windows", "cells"]])
    _over_temperature(axes["temperature"], all_rows)
    if averaged:
        _over_samples(axes["samples"], averaged, kappas, eta)
    _over_windows(axes["windows"], all_rows)
    _of_cells(axes["cells"], by)
    for axis in axes.values():
        axis.set_ylabel("change of velocity (%)")
        axis.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    return figure


STYLE = {
    "innermost": ("C3", "o", "sorted bands"),
    "unfolded": ("C0", "s", "unfolded G"),
    "fit": ("C2", "^", "4-band fit"),
}


def _points(axis, rows_, x, label=None, **options) -> None:
    if rows_:
        axis.errorbar(
            [x(r) for r in rows_],
            [100 * r.change for r in rows_],
            [100 * r.error for r in rows_],
            capsize=2,
            label=label,
            **options,
        )


def _over_temperature(axis, all_rows) -> None:
    own = [r for r in all_rows if r.crystal == "bilayer" and r.supercell == 6]
    for name, (colour, marker, label) in STYLE.items():
        for window, filled in (((0.05, 0.15), True), ((0.02, 0.05), False)):
            some = [r for r in own if r.estimator == name and (r.low, r.high) == window]
            face = {} if filled else {"mfc": "white", "linestyle": ":"}
            _points(axis, some, lambda r: r.kelvin, label if filled else None, color=colour, marker=marker, **face)
    for name, style in (("fine dynamic", "-"), ("fine adiabatic", "--")):
        some = [
            r for r in all_rows if r.crystal == "bilayer" and r.estimator == name and (r.low, r.high) == (0.05, 0.15)
        ]
        axis.plot(
            [r.kelvin for r in some],
            [100 * r.change for r in some],
            color="k",
            linestyle=style,
            label=name[5:] + ", 2nd order",
        )
    axis.axhline(100 * PAPER, color="C1", linewidth=1.5, label="paper, 34%")
    axis.axhline(100 * LINEAR, color="C1", linewidth=1, linestyle=":", label="its linear response, 20%")
    axis.set(xlabel="temperature (K)", title="bilayer, 6x6; 0.05 to 0.15 (hollow 0.02 to 0.05) 1/angstrom")
    axis.title.set_fontsize(9)
    axis.legend(fontsize=7, ncol=2)


def _over_samples(axis, averaged, kappas, eta) -> None:
    own = {s.amplitude: s for s in averaged if (s.crystal, s.repeats, s.kelvin) == ("bilayer", 6, 0.0)}
    if not own:
        return
    sample, still, window = own[1.0], averaged[own[0.0]], (0.05, 0.15)
    held = averaged[sample]
    counts = np.unique(np.geomspace(4, sample.pairs, 14).astype(int))
    for name, of in (("innermost", lambda r: r.inner), ("unfolded", lambda r: half_splitting(r.shifted, r.dirac))):
        some = []
        for count in counts:
            read = Read(sample, {k: held[k][:count] for k in ("inner", "green")}, kappas, eta)
            rest = still["inner"][0] if name == "innermost" else half_splitting(read.rest[0], read.dirac)
            change = estimators.change(slopes(kappas, of(read), window), float(slopes(kappas, rest, window)))
            some.append(Row("bilayer", 6, float(2 * count), *window, name, *change))
        colour, marker, label = STYLE[name]
        _points(axis, some, lambda r: r.kelvin, label, color=colour, marker=marker)
    axis.set(xlabel="snapshots", xscale="log", title="bilayer, 6x6, 0 K, 0.05 to 0.15 1/angstrom")
    axis.title.set_fontsize(9)


def _over_windows(axis, all_rows) -> None:
    for shift, n in ((-0.1, 6), (0.0, 7), (0.1, 8)):
        for name, (colour, marker, label) in STYLE.items():
            some = [r for r in all_rows if (r.crystal, r.supercell, r.kelvin, r.estimator) == ("bilayer", n, 0.0, name)]
            _points(
                axis, some, lambda r, shift=shift: WINDOWS.index((r.low, r.high)) + shift, f"{label}, {n}x{n}", color=colour,
                marker=marker, linestyle="none", alpha={6: 1.0, 7: 0.6, 8: 0.3}[n],
            )  # fmt: skip
    axis.set_xticks(range(len(WINDOWS)), [f"{low:g}-{high:g}" for low, high in WINDOWS])
    axis.set(xlabel="window (1/angstrom)", title="bilayer, 0 K")
    axis.title.set_fontsize(9)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=6)


def _of_cells(axis, by) -> None:
    for window, colour in zip(WINDOWS[1:], ("C0", "C1", "C2"), strict=True):
        for name, marker in (("quiet", "s"), ("adiabatic", "_"), ("dynamic", "x")):
            some = [
                Row(*key[:3], *window, name, *c)
                for key, c in by.items()
                if key[0] == "nearest" and key[3:] == (window, name)
            ]
            label = f"{name.replace('quiet', 'Monte Carlo')}, {window[0]:g}-{window[1]:g}"
            _points(axis, some, lambda r: r.supercell, label, color=colour, marker=marker, linestyle="none")
        fine = by.get(("nearest", 0, 0.0, window, "fine dynamic"))
        if fine:
            axis.axhline(100 * fine.value, color=colour, linewidth=0.8)
    axis.set(xlabel="repeats of the cell", title="one layer, first neighbours, 0 K (lines: dynamic, fine mesh)")
    axis.title.set_fontsize(9)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize=6)
