"""Bands and gaps as text, cold and warm."""

import math

import numpy as np
from jaxtyping import Float

from jaxepi.electrons import NearBands
from jaxepi.materials import measured
from jaxepi.sampling import Snapshots
from jaxepi.workflows.bands import Bands, GapSummary, edges_along
from jaxepi.workflows.reports.tables import aligned, number, one_run, vector
from jaxepi.workflows.settings import GapSettings


def bands_lines(found: Bands) -> list[str]:
    """The edges of bands along a path as text; energies at its corners where no edges are known."""
    top, bottom = edges_along(found)
    if top is None:
        note = f"No gap, and energies are the model's own, from no edge: {found.uncounted}"
        return [*_corner_lines(found), note]
    points = found.path.points
    filled, empty = found.energies[:, : found.occupied], found.energies[:, found.occupied :]
    lines = [f"Highest filled state on the path: {top:.4f} eV at {vector(points[filled.max(axis=1).argmax()])}"]
    if bottom is None:
        return [*lines, "Bands overlap on the path: no gap"]
    place = vector(points[empty.min(axis=1).argmin()])
    return [*lines, f"Lowest empty state on the path:   {bottom:.4f} eV at {place}", f"Gap: {bottom - top:.4f} eV"]


def near_lines(found: NearBands) -> list[str]:
    """How well states next to an energy are known, and what a k point of them costs."""
    return [
        f"Largest residual |(H - E S) c|: {found.residuals.max():.1e} eV; {found.seconds.mean():.1f} s a k point",
    ]


def _corner_lines(found: Bands) -> list[str]:
    """Energies at the corners of a path, eV: one column a corner, one row a band."""
    columns: dict[str, np.ndarray] = {}
    for row, (_, name) in zip(found.path.rows, found.path.corners, strict=True):
        columns.setdefault("Gamma" if name == "G" else name, found.energies[row])
    header = ["band", *(f"{name} (eV)" for name in columns)]
    bands = zip(*columns.values(), strict=True)
    return aligned([header, *([f"{n}", *(f"{e:.4f}" for e in energies)] for n, energies in enumerate(bands, start=1))])


def gap_summary_lines(found: GapSummary) -> list[str]:
    """The gap of the lattice at rest as text; k points are fractional, of the primitive cell."""
    edges, kind = found.edges, "direct" if found.edges.is_direct else "indirect"
    rows = [[name, f"{gap:.4f}"] for name, gap in sorted(found.vertical.items())]
    return [
        f"Gap of the lattice at rest: {float(edges.gap):.4f} eV ({kind})",
        f"Valence edge    {float(edges.valence):8.4f} eV at {vector(found.valence_k)}, one of {len(edges.valence_k)}",
        f"Conduction edge {float(edges.conduction):8.4f} eV at {vector(found.conduction_k)}, "
        f"one of {len(edges.conduction_k)}",
        "",
        *aligned([["point", "vertical gap (eV)"], *rows]),
    ]


def thermal_gap_lines(
    settings: GapSettings, rest: float, gaps: Float[np.ndarray, "t s"], drawn: tuple[Snapshots, ...]
) -> list[str]:
    """Gaps (eV) of the snapshots drawn at each temperature and their change from the lattice at rest, as text."""
    table = measured.gap(settings.crystal)
    rows = [["T (K)", "gap (eV)", "change (meV)", "measured (eV)"]]
    for values, snapshots in zip(gaps, drawn, strict=True):
        temperature = float(snapshots.temperature)
        mean, error = float(snapshots.mean(values)), float(snapshots.standard_error(values))
        experiment = table.at(temperature) if table else math.nan
        change = f"{1e3 * (mean - rest):+.1f}" + (f" +- {1e3 * error:.1f}" if np.isfinite(error) else "")
        rows.append([f"{temperature:g}", f"{mean:.4f}", change, number(experiment, "{:.4f}")])
    notes = [f"  measured: {table.citation}"] if table else []
    known = one_run(settings.trajectory, drawn[0].groups) or ["  +- standard error over snapshots"]
    return ["", *aligned(rows), *known, *notes]
