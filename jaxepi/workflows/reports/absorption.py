"""The absorption study as text and CSV, and the comparison with measured values behind them.

Flows in: an `AbsorptionResult`. Flows out: rows, text, CSV files.
"""

import math
import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxepi.files import whole
from jaxepi.materials import measured
from jaxepi.optics import Spectrum
from jaxepi.optics.spectrum import CONSTANTS
from jaxepi.optics.tauc import POOR
from jaxepi.sampling import Snapshots
from jaxepi.workflows.absorption import AbsorptionResult, AbsorptionSettings
from jaxepi.workflows.reports.tables import aligned, number, one_run, with_error

POOR_FIT = (
    f"poor fit: the line misses its curve by more than {100 * POOR:g}% of the mean ordinate (root mean square), falls, "
    "gives no positive gap, or meets zero inside its window, past a tenth of it; choose another --tauc-window or --gap-kind"
)
"""What is meant by it (`TaucFit.poor`), in words."""

SAME_TEMPERATURE = 15.0
"""Measured spectra are compared with a calculation at a temperature (K) this close."""

RATIO_ENERGIES = (1.3, 1.5, 1.8, 2.2, 2.6, 3.0, 3.4, 4.0)
"""Photon energies (eV) at which calculated and measured absorption are compared."""


SHOWN = 12
"""Temperatures that a table or a figure of curves shows at most; the file and the CSV hold all."""


def shown(count: int) -> list[int]:
    """Which of a number of temperatures are shown: all, or some evenly spread with the first and the last."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, SHOWN))})


class GapRow(NamedTuple):
    """Gaps at one temperature (K), all in eV; NaN where unknown.

    tauc, sensitivity, window: of the Tauc fit. edges, error: mean and standard error over snapshots of the gap between
    the band edges. measured: experiment. poor: whether the Tauc fit misses its curve.
    """

    temperature: float
    tauc: float
    sensitivity: float
    window: tuple[float, float]
    edges: float
    error: float
    measured: float
    poor: bool = False


class Comparison(NamedTuple):
    """Calculated over measured absorption at photon energies (eV), at one temperature (K).

    attracted, quanta, both: the same ratio where electrons and holes attract each other, with phonon energies, and with both;
    NaN where that was not asked for.
    """

    temperature: float
    energies: Float[np.ndarray, "e"]
    ratio: Float[np.ndarray, "e"]
    citation: str
    attracted: Float[np.ndarray, "e"]
    quanta: Float[np.ndarray, "e"]
    both: Float[np.ndarray, "e"]


def gap_rows(result: AbsorptionResult) -> list[GapRow]:
    """Gaps of every temperature, from the fits, from the band edges, and measured."""
    table = measured.gap(result.settings.crystal)
    rows = []
    for i, temperature in enumerate(result.temperatures):
        fit = result.fits[i] if result.fits else None
        gaps, snapshots = result.gaps[i], result.snapshots[i]
        rows.append(
            GapRow(
                temperature=temperature,
                tauc=float(fit.gap) if fit else math.nan,
                sensitivity=float(fit.sensitivity) if fit else math.nan,
                window=(float(fit.window[0]), float(fit.window[1])) if fit else (math.nan, math.nan),
                edges=float(snapshots.mean(gaps)),
                error=float(snapshots.standard_error(gaps)),
                measured=table.at(temperature) if table else math.nan,
                poor=fit is not None and bool(fit.poor),
            )
        )
    return rows


def compare_absorption(result: AbsorptionResult, energies: tuple[float, ...] = RATIO_ENERGIES) -> list[Comparison]:
    """Calculated over measured absorption coefficient, for every measured table and temperature that go together.

    Both are interpolated in the logarithm; NaN outside either's range of energies.
    """
    at, out = np.array(energies), []
    for table in measured.absorption(result.settings.crystal):
        near = [(abs(t - table.temperature), i) for i, t in enumerate(result.temperatures)]
        distance, index = min(near)
        if distance > SAME_TEMPERATURE:
            continue

        def ratio(spectrum: Spectrum, table: measured.MeasuredAbsorption = table) -> np.ndarray:
            return np.exp(
                _log_interpolation(at, np.asarray(spectrum.energies), np.asarray(spectrum.absorption()))
                - _log_interpolation(at, table.energies, table.absorption)
            )

        kinds = (result.attracted, result.quanta, result.attracted_quanta)
        others = (ratio(spectra[index]) if spectra else np.full(len(at), np.nan) for spectra in kinds)
        found = ratio(result.spectra[index])
        out.append(Comparison(result.temperatures[index], at, found, table.citation, *others))
    return out


def _log_interpolation(at: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.interp(at, x, np.log(np.maximum(y.astype(float), 1e-300)), left=np.nan, right=np.nan)


def summary(result: AbsorptionResult) -> str:
    """The study as text: what was computed, the gaps, the comparison with experiment."""
    settings = result.settings
    first = result.snapshots[0]
    drawn = settings.trajectory is None
    lines = [
        f"{settings.crystal}: {len(first.structure)} atoms, {len(first)} snapshots a temperature "
        f"({_origin(settings, first)}), {_points(settings)}, "
        f"{settings.broadening} of {1e3 * settings.width:g} meV, scissor {settings.scissor:g} eV"
        + (f", seed {settings.seed}" if drawn else "")
    ]
    if result.edges is not None:
        rest = float(result.edges.gap) + settings.scissor
        lines.append(f"Gap of the lattice at rest: {rest:.3f} eV ({result.gap_kind})")
    lines += _attraction(result)
    if result.gap_kind != "none":
        lines += ["", *_gap_lines(result)]
    for comparison in compare_absorption(result):
        lines += ["", f"Absorption at {comparison.temperature:g} K over measured ({comparison.citation}):"]
        known = np.isfinite(comparison.ratio)
        rows = [["photon energy (eV)", *(f"{e:.1f}" for e in comparison.energies[known])]]
        rows.append(["ratio", *(f"{r:.2g}" for r in comparison.ratio[known])])
        named = {"with phonon energies": "quanta", "with attraction": "attracted", "with both": "both"}
        for words, name in named.items():
            ratio = getattr(comparison, name)[known]
            if not np.isnan(ratio).all():
                rows.append([words, *(f"{r:.2g}" for r in ratio)])
        lines += [f"  {line}" for line in aligned(rows)]
    return "\n".join(lines)


def _origin(settings: AbsorptionSettings, first: Snapshots) -> str:
    """Where snapshots come from, and the statistics of their nuclei."""
    if settings.trajectory is None:
        return f"{settings.statistics} nuclei, {settings.sampling}"
    nuclei = f"{first.statistics} nuclei, " if first.statistics else ""
    return f"{nuclei}frames of {settings.trajectory}"


def _attraction(result: AbsorptionResult) -> list[str]:
    """A line on the mesh of the attraction, of the lattice at rest; none where it was not asked for."""
    if result.equilibrium_attracted is None:
        return []
    mesh = _counts(result.settings.exciton_mesh)
    coupling = "" if result.settings.tamm_dancoff else ", beyond Tamm-Dancoff"
    return [f"Electrons and holes attract each other: k mesh {mesh} of the primitive cell at rest{coupling}"]


def _points(settings: AbsorptionSettings) -> str:
    if settings.kmesh is None:
        return f"{settings.twists} quasirandom k points each"
    return f"k mesh {_counts(settings.kmesh)}"


def _counts(value: int | tuple[int, ...]) -> str:
    return str(value) if isinstance(value, int) else "x".join(str(v) for v in value)


def _gap_lines(result: AbsorptionResult) -> list[str]:
    rows, kind = gap_rows(result), result.gap_kind
    names = ("T (K)", f"{kind} gap, Tauc fit (eV)", "window (eV)", "band edges (eV)", "measured (eV)")
    header = [*names, "Tauc - measured (meV)", "edges - measured (meV)"]
    body = [
        [
            f"{row.temperature:g}",
            with_error(row.tauc, row.sensitivity) + (", poor fit" if row.poor else ""),
            f"{row.window[0]:.2f} to {row.window[1]:.2f}" if np.isfinite(row.window[0]) else "-",
            with_error(row.edges, row.error),
            number(row.measured, "{:.3f}"),
            number(1e3 * (row.tauc - row.measured), "{:+.0f}"),
            number(1e3 * (row.edges - row.measured), "{:+.0f}"),
        ]
        for row in (rows[i] for i in shown(len(rows)))
    ]
    notes = ["  +- of the Tauc fit: when each end of its window moves by a fifth; of the edges: standard error"]
    if len(rows) > SHOWN:
        notes.insert(0, f"  {len(body)} of {len(rows)} temperatures; the result holds all")
    notes += one_run(result.settings.trajectory, result.snapshots[0].groups)
    if any(row.poor for row in rows):
        notes.append(f"  {POOR_FIT}")
    table = measured.gap(result.settings.crystal)
    if table is not None:
        notes.append(f"  measured: {table.citation}")
    return [*aligned([header, *body]), *notes]


def mapped(
    result: AbsorptionResult,
) -> tuple[Float[np.ndarray, " w"], tuple[float, ...], Float[np.ndarray, "t w"], list[float]]:
    """What a map of many temperatures shows: photon energies, temperatures, absorption (1/cm), and gaps where there are."""
    alpha = np.stack([np.asarray(s.absorption()) for s in result.spectra])
    gaps = [float(one.mean(values)) for one, values in zip(result.snapshots, result.gaps, strict=True)]
    return np.asarray(result.spectra[0].energies), result.temperatures, alpha, [] if np.isnan(gaps).any() else gaps


def write_csv(result: AbsorptionResult, path: str | os.PathLike, made_by: str = "") -> None:
    """Isotropic optical constants of every temperature and of the lattice at rest as CSV, whole or not at all.

    Args:
        made_by: `files.mark` of the command, which the file then carries.

    Raises:
        OSError: the file cannot be written.
    """
    head = [
        f"# jaxepi {result.provenance['jaxepi']}, {result.settings.crystal}, {result.provenance['date']}",
        f"# settings: {result.provenance['settings']}",
        *([f"# made by {made_by}"] if made_by else []),
        "# temperature in K (nan: the lattice at rest), photon energy in eV",
    ]
    for name, (_, unit, meaning) in CONSTANTS.items():
        head.append(f"# {name} in {unit}: {meaning}; _spread: standard deviation over snapshots; _error: of the mean")
    names = [f"{name}{suffix}" for name in CONSTANTS for suffix in ("", "_spread", "_error")]
    groups: list[tuple[tuple[Spectrum, ...], Spectrum | None, float, float]]
    groups = [(result.spectra, result.equilibrium, 0.0, 0.0)]
    if result.attracted:
        head.append("# attraction: 1 where electrons and holes attract each other")
        names.append("attraction")
        groups.append((result.attracted, result.equilibrium_attracted, 1.0, 0.0))
    if result.quanta:
        head.append("# phonon_energies: 1 where phonon energies are in the tail")
        names.append("phonon_energies")
        groups += [
            (spectra, None, x, 1.0) for x, spectra in enumerate((result.quanta, result.attracted_quanta)) if spectra
        ]
    blocks = []
    for spectra, rest, *marks in groups:
        flags = [mark for mark, asked in zip(marks, (result.attracted, result.quanta), strict=True) if asked]
        pairs = [*zip(result.temperatures, spectra, strict=True), *([] if rest is None else [(math.nan, rest)])]
        for temperature, spectrum in pairs:
            block = _block(temperature, spectrum)
            blocks.append(np.column_stack([block, *(np.full(len(block), float(flag)) for flag in flags)]))
    head.append(",".join(["temperature", "energy", *names]))
    with whole(path) as temporary, temporary.open("w") as file:
        file.write("\n".join(head) + "\n")
        np.savetxt(file, np.concatenate(blocks), delimiter=",", fmt="%.9g")


def _block(temperature: float, spectrum: Spectrum) -> Float[np.ndarray, "w c"]:
    energies = np.asarray(spectrum.energies)
    columns = [np.full(len(energies), temperature), energies]
    for function, _, _ in CONSTANTS.values():
        value = function(spectrum.energies, *spectrum.mean())
        columns += [np.asarray(c) for c in (value, spectrum.spread(function), spectrum.standard_error(function))]
    return np.stack(columns, axis=1)
