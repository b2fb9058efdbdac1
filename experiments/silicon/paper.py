"""Figures 2 to 4 of the optical paper with learned models: silicon's force field and Hamiltonian (HSE06).

    python experiments/silicon/paper.py [--quick] [--work WORK]
    python experiments/silicon/paper.py --figures 2 --cells 64 250
    python experiments/silicon/paper.py --figures 3 --cells 8 64 512 4096 --joint 1.6

2: absorption at 300 K for growing supercells, with the lattice at rest, against Green 2008. 3: five snapshots of the 8-atom
cell and of larger ones (4096 atoms by the filtered solver, up to --joint): their mean and spread. 4: Tauc plots and gaps at
100 to 400 K with classical molecular dynamics and with quantum statistics, against the measured gap. Results lie in WORK
and are resumed; tables and figures are written beside this file (paper-2.csv, paper-2.png, ...). `--quick` stops at 64
atoms (minutes).
"""

import argparse
import dataclasses
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402

from jaxepi import plotting  # noqa: E402
from jaxepi.materials import measured  # noqa: E402
from jaxepi.optics import Spectrum  # noqa: E402
from jaxepi.tree import replace  # noqa: E402
from jaxepi.workflows.absorption import AbsorptionResult, AbsorptionSettings, absorption  # noqa: E402
from jaxepi.workflows.reports import absorption as report  # noqa: E402

HERE = Path(__file__).parent
BASE = AbsorptionSettings(
    crystal="silicon",
    potential="silicon-hse06",
    hamiltonian="silicon-hse06",
    temperatures=(300.0,),
    energies=(0.5, 5.0, 451),
)
DYNAMICS = {"sampling": "molecular-dynamics", "statistics": "classical", "interval": 200}
FIVE: dict[str, Any] = {"snapshots": 5, "sampling": "random"}
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "64 atoms": ("paper-2-64", {"supercell": 2, "twists": 16}),
    "250 atoms": ("paper-2-250", {"cell": "primitive", "supercell": 5, "twists": 4}),
    "512 atoms": ("paper-2-512", {"supercell": 4, "twists": 1, **FIVE}),
}
SPREAD = {"8 atoms": 1, "64 atoms": 2, "216 atoms": 3, "512 atoms": 4, "4096 atoms": 8}
"""Supercells of figure 2 (file of the study, settings) and of figure 3 (repeats of the cubic cell). Figure 3 has the same k
points of the crystal in all cells and snapshots, so that the spread is that of the atoms alone."""
TEMPERATURES = (100.0, 200.0, 300.0, 400.0)
ENERGIES = np.array([1.2, 1.3, 1.5, 1.8, 2.2, 2.6, 3.0, 3.4, 4.0])


def run(name: str, work: Path, **changes) -> AbsorptionResult:
    """One study, kept in WORK."""
    return absorption(dataclasses.replace(BASE, **changes), work / f"{name}.h5")


def write(name: str, header: str, columns: str, rows: list[str]) -> None:
    """A table beside this file."""
    (HERE / name).write_text(f"# {header}\n{columns}\n" + "\n".join(rows) + "\n")


def supercells(work: Path, cells: list[int]) -> None:
    """Figure 2, with supercells of so many atoms."""
    green = measured.absorption("silicon")[0]
    reference = np.exp(np.interp(ENERGIES, green.energies, np.log(green.absorption)))
    rows, last = [], None
    print(
        "absorption at 300 K, calculated over measured (Green 2008)\n"
        + " " * 12
        + "".join(f"{e:7.1f}" for e in ENERGIES)
    )
    for name, (file, changes) in SIZES.items():
        if int(name.split()[0]) not in cells:
            continue
        last = run(file, work, **changes)
        grid, spectrum = np.asarray(last.spectra[0].energies), last.spectra[0]
        alpha = np.exp(np.interp(ENERGIES, grid, np.log(np.asarray(spectrum.absorption()))))
        error = np.interp(ENERGIES, grid, np.asarray(spectrum.standard_error()))
        print(f"{name:12s}" + "".join(f"{r:7.2f}" for r in alpha / reference))
        rows += [
            f"{name},{e:g},{a:.4g},{s:.2g},{m:.4g},{a / m:.4g}"
            for e, a, s, m in zip(ENERGIES, alpha, error, reference, strict=True)
        ]
    assert last is not None
    still = np.asarray(last.equilibrium.absorption())
    onset = float(np.asarray(last.equilibrium.energies)[np.argmax(still > 100.0)])
    direct = float(last.edges.direct) if last.edges is not None else np.nan
    print(f"lattice at rest: 100/cm is reached at {onset:.2f} eV (direct gap {direct:.2f} eV, line width 0.03 eV)")
    header = "silicon at 300 K, learned models; absorption in 1/cm, energies in eV"
    write("paper-2.csv", header, "case,energy_ev,absorption,standard_error,measured,ratio", rows)
    title = f"silicon, learned models, {len(last.snapshots[0].structure)} atoms"
    figure = plotting.absorption(
        last.spectra, last.temperatures, last.equilibrium, measured.absorption("silicon"), title
    )
    plotting.save(figure, HERE / "paper-2.png")


def spread(work: Path, cells: list[int], points: int, joint: float) -> None:
    """Figure 3, with cells of so many atoms, on so many k points of the cubic cell along each axis; `joint`: eV."""
    rows, results = [], {}
    print(
        f"\nfive snapshots at 300 K, {points}^3 k points of the cubic cell: relative standard deviation of the absorption"
    )
    for name, repeats in SPREAD.items():
        atoms = int(name.split()[0])
        if atoms not in cells:
            continue
        solver = {"solver": "filtered", "joint": joint} if atoms > 512 else {}
        changes = {"supercell": repeats, "kmesh": points // repeats, "memory_gb": 20.0, **solver, **FIVE}
        found = run(f"paper-3-{atoms}" + (f"-{points}" if points != 8 else ""), work, **changes)
        results[name] = spectrum = up_to(joint, found.spectra[0]) if solver else found.spectra[0]
        grid, mean = np.asarray(spectrum.energies), np.asarray(spectrum.absorption())
        relative = np.interp(ENERGIES, grid, np.asarray(spectrum.spread()) / mean)
        print(f"{name:12s}" + "".join(f"{r:7.2f}" for r in relative), flush=True)
        alpha = np.exp(np.interp(ENERGIES, grid, np.log(mean)))
        each = zip(ENERGIES, alpha, relative, strict=True)
        rows += [f"{name},{e:g},{a:.4g},{r:.3g}" for e, a, r in each if np.isfinite(a)]
    header = f"five snapshots of silicon at 300 K, {points}^3 k points of the cubic cell; absorption in 1/cm, "
    header += "standard deviation relative to it"
    write("paper-3.csv", header, "case,energy_ev,absorption,relative_deviation", rows)
    spectra, title = list(results.values()), "silicon at 300 K, five snapshots"
    figure = plotting.absorption(spectra, [300.0] * len(spectra), title=title, labels=tuple(results))
    plotting.save(figure, HERE / "paper-3.png")


def up_to(joint: float, spectrum: Spectrum) -> Spectrum:
    """What is exact of a filtered spectrum: beyond, random vectors take over."""
    known = (spectrum.energies <= joint)[None, :, None, None]
    return replace(spectrum, eps2=jnp.where(known, spectrum.eps2, jnp.nan))


def temperatures(work: Path) -> None:
    """Figure 4."""
    rows = []
    for name, changes in {"quantum": {}, "molecular-dynamics": DYNAMICS}.items():
        result = run(f"paper-4-{name}", work, temperatures=TEMPERATURES, **changes)
        print(f"\n{name}, 64 atoms: gaps, eV")
        found = report.gap_rows(result)
        for row in found:
            print(
                f"{row.temperature:5.0f} K: Tauc {row.tauc:.3f}, edges {row.edges:.3f} +- {row.error:.3f}, "
                f"measured {row.measured:.3f}"
            )
            rows.append(
                f"{name},{row.temperature:g},{row.tauc:.4f},{row.sensitivity:.4f},{row.edges:.4f},{row.error:.4f},"
                f"{row.measured:.4f}"
            )
        first, last = found[0], found[-1]
        print(
            f"change from 100 to 400 K, meV: Tauc {1e3 * (last.tauc - first.tauc):.0f}, edges "
            f"{1e3 * (last.edges - first.edges):.0f}, measured {1e3 * (last.measured - first.measured):.0f}"
        )
        title = f"silicon, 64 atoms, learned models, {name}"
        figure = plotting.tauc(result.spectra, result.temperatures, result.fits, result.gap_kind, title)
        plotting.save(figure, HERE / f"paper-4-{name}.png")
    header = "gaps of silicon, 64 atoms, constant volume, learned models; eV"
    columns = "statistics,temperature_k,tauc,tauc_sensitivity,edges,edges_error,measured"
    write("paper-4.csv", header, columns, rows)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="up to 64 atoms (minutes)")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder of the results (default: beside this)")
    parser.add_argument(
        "--figures", type=int, nargs="+", default=[2, 3, 4], choices=(2, 3, 4), help="which (default: all)"
    )
    known = sorted({int(name.split()[0]) for name in (*SIZES, *SPREAD)})
    text = "atoms of the cells of figures 2 and 3 (default: 64 250 512 and 8 64 512; quick: 64 and 8 64)"
    parser.add_argument("--cells", type=int, nargs="+", choices=known, help=text)
    text = "k points of the cubic cell of figure 3 along each axis, a multiple of the repeats of each (default: 8)"
    parser.add_argument("--points", type=int, default=8, help=text)
    text = "with 4096 atoms: photon energy up to which transitions are exact, eV; random vectors beyond (default: 2.6)"
    parser.add_argument("--joint", type=float, default=BASE.joint, help=text)
    options = parser.parse_args()
    cells = options.cells or ([8, 64] if options.quick else [8, 64, 250, 512])
    uneven = [name for name, n in SPREAD.items() if int(name.split()[0]) in cells and options.points % n]
    if 3 in options.figures and uneven:
        parser.error(f"--points {options.points} is no multiple of the repeats of {', '.join(uneven)}")
    for figure, table in ((2, SIZES), (3, SPREAD)):
        there = [int(name.split()[0]) for name in table]
        if figure in options.figures and not set(cells) & set(there):
            parser.error(f"figure {figure} has cells of {', '.join(map(str, there))} atoms alone")
    options.work.mkdir(parents=True, exist_ok=True)
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores; {BASE.potential}, {BASE.hamiltonian}")
    if 4 in options.figures:
        temperatures(options.work)
    if 3 in options.figures:
        spread(options.work, cells, options.points, options.joint)
    if 2 in options.figures:
        supercells(options.work, cells)


if __name__ == "__main__":
    main()
