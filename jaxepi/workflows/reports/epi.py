"""Renormalisation and spectral functions as text and CSV."""

import csv
from pathlib import Path

import numpy as np

from jaxepi.files import whole
from jaxepi.workflows.renormalisation import Renormalised
from jaxepi.workflows.reports.tables import aligned, number
from jaxepi.workflows.unfolding import Unfolded


def differences(found: Renormalised) -> list[tuple[str, str, str]]:
    """What is reported: (name, upper level, lower level or empty)."""
    if "valence" not in found.levels:
        return [(name, name, "") for name in found.levels]
    gaps = [("gap", "conduction", "valence")]
    gaps += [("direct gap", "direct", "valence")] if "direct" in found.levels else []
    return [*gaps, ("valence edge", "valence", ""), ("conduction edge", "conduction", "")]


def lines(found: Renormalised) -> list[str]:
    """Shifts by level, mesh and temperature, meV; Monte Carlo beside them."""
    names = differences(found)
    head = ["level", "mesh", *(f"{t:g} K" for t in found.temperatures), "Fan", "Debye-Waller"]
    rows = [[*head[:2], *head[2:-2], *(f"{part} at {found.temperatures[0]:g} K" for part in head[-2:])]]
    for name, upper, lower in names if found.meshes else ():
        i = found.levels.index(upper)
        parts = [
            part[i] - (part[found.levels.index(lower)] if lower else 0) for part in (found.fan, found.debye_waller)
        ]
        for m, mesh in enumerate(found.meshes):
            shifts = [f"{1e3 * x:+.1f}" for x in parts[0][m] + parts[1][m]]
            rows.append([name, str(mesh), *shifts, *(f"{1e3 * part[m, 0]:+.1f}" for part in parts)])
    out = ["Shifts by vibrations, meV (second order: Fan and Debye-Waller)", *aligned(rows)] if found.meshes else []
    if found.carlo is not None:
        mean, error = found.carlo.gap()
        shown = [f"{1e3 * m:+.1f} +- {1e3 * e:.1f}" for m, e in zip(mean, error, strict=True)]
        out += ["", "Gap by Monte Carlo, meV", *aligned([[f"{t:g} K" for t in found.temperatures], shown])]
    return out


def write_csv(found: Renormalised, path: Path, made_by: str) -> None:
    """A row a level, mesh and temperature: K and eV."""
    with whole(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        file.write(f"# {made_by}\n")
        writer = csv.writer(file)
        writer.writerow(
            ["level", "mesh", "temperature_K", "energy_at_rest_eV", "fan_eV", "debye_waller_eV", "shift_eV"]
        )
        for (i, m, t), fan in np.ndenumerate(found.fan):
            second = found.debye_waller[i, m, t]
            row = [found.levels[i], found.meshes[m], f"{found.temperatures[t]:g}", f"{found.rest[i]:.8g}"]
            writer.writerow([*row, f"{fan:.8g}", f"{second:.8g}", f"{fan + second:.8g}"])
        if found.carlo is not None:
            for t, mean, error in zip(found.temperatures, *found.carlo.gap(), strict=True):
                writer.writerow(["gap by Monte Carlo", "", f"{t:g}", "", "", f"{error:.8g} (error)", f"{mean:.8g}"])


def unfolded_lines(found: Unfolded) -> list[str]:
    """Where the strongest line of each temperature is at the corners of the path."""
    rows = [["T (K)", "point", "peak (eV)", "A (1/eV)", "error"]]
    for t, values, errors in zip(found.temperatures, found.values, found.errors, strict=True):
        for row, (_, name) in zip(found.path.rows, found.path.corners, strict=True):
            best = int(values[row].argmax())
            error = number(float(errors[row, best]), "{:.2f}")
            rows.append([f"{t:g}", name, f"{found.energies[best]:.3f}", f"{values[row, best]:.2f}", error])
    return aligned(rows)
