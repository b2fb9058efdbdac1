"""Errors of a Hamiltonian's spectra, by split and by mesh, kind and temperature: a table, and pairs for a figure.

Flows in: a `BandProblem` and its predicted eigenvalues (and errors of blocks). Flows out: rows of numbers, meV.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from jaxepi.training.bands.groups import Group, functionals, level_errors, shifting
from jaxepi.training.bands.spectra import BandProblem, aligned, band_errors, gap, importance
from jaxepi.training.energies.evaluation import SPLITS
from jaxepi.training.reading import mesh_name


def error_rows(
    problem: BandProblem, found: list[np.ndarray], terms: list[np.ndarray] | None = None
) -> list[dict[str, Any]]:
    """Errors of every split: all, and by number of atoms with k mesh, kind and temperature, meV.

    Args:
        terms: of `BandProblem.terms`; root mean square errors of H (meV), S and shifts (meV) follow from them where they are
            learned, and of levels (meV); NaN where no configuration has them.
    """
    keys, values, settings = [], [], problem.settings
    learned = {"levels_rmse": settings.levels > 0}
    if terms is not None:
        learned |= {"shifts_rmse": settings.shifts > 0}
        learned |= dict.fromkeys(("hamiltonian_rmse", "overlap_rmse"), settings.matrices)
    names = [name for name, is_learned in learned.items() if is_learned]
    for i, (group, energies) in enumerate(zip(problem.groups, found, strict=True)):
        held = group.held
        errors = band_errors(group, energies, np.arange(len(held)), settings)
        squares = {"levels_rmse": _levels(problem, group, energies)}
        if terms is not None:
            squares |= {"shifts_rmse": _shifts(problem, group, terms[i][:, 3])}
            squares |= {"hamiltonian_rmse": terms[i][:, 0], "overlap_rmse": terms[i][:, 1]}
        mesh = f"{len(held.species)} atoms, {mesh_name(held)}"
        for row in range(len(held)):
            kelvin = "none" if np.isnan(held.temperature[row]) else f"{held.temperature[row]:g} K"
            keys.append((held.split[row], {"all": "all", "mesh": mesh, "kind": held.kind[row], "temperature": kelvin}))
            values.append([*(errors[n][row] for n in ("bands", "near", "gap")), *(squares[n][row] for n in names)])
    table, rows = np.array(values), []
    for split in SPLITS:
        for by in ("all", "mesh", "kind", "temperature"):
            for member in sorted({names[by] for s, names in keys if s == split}):
                chosen = table[[s == split and names[by] == member for s, names in keys]]
                rows.append(
                    {
                        "split": split,
                        "group": by,
                        "member": member,
                        "configurations": len(chosen),
                        **_errors(chosen, names),
                    }
                )
    return rows


def _levels(problem: BandProblem, group: Group, energies: np.ndarray) -> np.ndarray:
    """Mean squared errors of levels, eV^2; NaN where there are none."""
    levels = functionals(group, problem.settings)
    if not len(levels):
        return np.full(len(energies), np.nan)
    return np.asarray(level_errors(energies - group.energies, levels))


def _shifts(problem: BandProblem, group: Group, squares: np.ndarray) -> np.ndarray:
    """Mean squared errors of shifts, eV^2; NaN where there are none, and of the crystal at rest, which has no shift."""
    found = squares.copy() if len(shifting(group, problem.settings)) else np.full(len(squares), np.nan)
    if group.rest is not None and group.rest < len(found):
        found[group.rest] = np.nan
    return found


def _errors(table: np.ndarray, names: Sequence[str]) -> dict[str, float]:
    """Measures of some configurations, meV, from mean squares and gap errors in eV.

    Args:
        names: of further columns of mean squares.
    """
    bands, near, gap, *more = table.T
    roots = [1e3 * float(np.sqrt(x.mean())) for x in (bands, near)]
    return {
        "bands_rmse": roots[0],
        "near_rmse": roots[1],
        "gap_bias": 1e3 * float(gap.mean()),
        "gap_scatter": 1e3 * float(gap.std()),
        "gap_largest": 1e3 * float(np.abs(gap).max()),
        **{name: (1.0 if name == "overlap_rmse" else 1e3) * _root(x) for name, x in zip(names, more, strict=True)},
    }


def _root(squares: np.ndarray) -> float:
    """Root of the mean of those that are there; NaN without any."""
    there = squares[~np.isnan(squares)]
    return float(np.sqrt(there.mean())) if len(there) else float("nan")


def parity(problem: BandProblem, found: list[np.ndarray]) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Aligned eigenvalues and gaps of labels and model by split, eV."""
    out: dict[str, dict[str, list[tuple[np.ndarray, np.ndarray]]]] = {"eigenvalues": {}, "gap": {}}
    how = problem.settings.align
    for group, energies in zip(problem.groups, found, strict=True):
        occupied = group.occupied
        inside = importance(group, problem.settings) > 0
        for split in SPLITS:
            rows = problem.rows(group, split)
            if not len(rows):
                continue
            pair = [aligned(x[rows], occupied, how)[inside[rows]] for x in (group.energies, energies)]
            out["eigenvalues"].setdefault(split, []).append((pair[0], pair[1]))
            gaps = [gap(x[rows], occupied) for x in (group.energies, energies)]
            out["gap"].setdefault(split, []).append((gaps[0], gaps[1]))
    joined: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for name, splits in out.items():
        for split, parts in splits.items():
            labels, model = (np.concatenate(x) for x in zip(*parts, strict=True))
            joined.setdefault(name, {})[split] = (labels, model)
    return joined


def error_lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The table that is printed at the end: every split as a whole, and the test set by mesh, kind and temperature."""
    columns = {"bands": "bands_rmse", "near gap": "near_rmse", "gap bias": "gap_bias", "scatter": "gap_scatter"}
    more = {"levels": "levels_rmse", "shifts": "shifts_rmse", "H(R)": "hamiltonian_rmse", "1e3 S(R)": "overlap_rmse"}
    columns |= {title: name for title, name in more.items() if name in rows[0]}
    yield f"{'meV':44} {'count':>6} " + " ".join(f"{title:>9}" for title in columns)
    for row in rows:
        if row["group"] != "all" and row["split"] != "test":
            continue
        name = row["split"] if row["group"] == "all" else f"  {row['split']}, {row['member']}"
        values = (1e3 * row[n] if n == "overlap_rmse" else row[n] for n in columns.values())
        yield f"{name:44} {row['configurations']:6d} " + " ".join(f"{v:9.1f}" for v in values)
