"""Silicon's absorption at 300 K against supercell and k points, and against experiment.

    python experiments/silicon/absorption.py [--quick] [--work WORK]

Runs the study of `jaxepi absorb silicon` for growing supercells (results in WORK, resumable), prints the ratio calculated
over measured (Green 2008) at eight energies with its standard error over snapshots, and writes the table to
experiments/silicon/absorption.csv and the figure to experiments/silicon/absorption.png. `--quick` stops after 64 atoms.
"""

import argparse
import dataclasses
import os
import platform
from datetime import date
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

from jaxepi import plotting  # noqa: E402
from jaxepi.materials import measured  # noqa: E402
from jaxepi.workflows.absorption import AbsorptionResult, AbsorptionSettings, absorption  # noqa: E402

HERE = Path(__file__).parent
ENERGIES = np.array([1.2, 1.3, 1.5, 1.8, 2.2, 2.6, 3.0, 3.4, 4.0])
BASE = AbsorptionSettings(crystal="silicon", temperatures=(300.0,), energies=(1.0, 5.0, 401))
CASES = {
    "c2-t16": {"cell": "conventional", "supercell": 2, "twists": 16, "snapshots": 6},
    "c2-t64": {"cell": "conventional", "supercell": 2, "twists": 64, "snapshots": 6},
    "p4-t16": {"cell": "primitive", "supercell": 4, "twists": 16, "snapshots": 6},
    "c3-t4": {"cell": "conventional", "supercell": 3, "twists": 4, "snapshots": 6},
    "p5-t4": {"cell": "primitive", "supercell": 5, "twists": 4, "snapshots": 6},
}
QUICK = ("c2-t16", "c2-t64")


def ratios(result: AbsorptionResult) -> tuple[np.ndarray, np.ndarray]:
    """Calculated over measured absorption at `ENERGIES`, and the standard error over snapshots."""
    green = measured.absorption("silicon")[0]
    reference = np.exp(np.interp(ENERGIES, green.energies, np.log(green.absorption)))
    spectrum = result.spectra[0]
    grid = np.asarray(spectrum.energies)
    mean = np.exp(np.interp(ENERGIES, grid, np.log(np.asarray(spectrum.absorption()))))
    error = np.interp(ENERGIES, grid, np.asarray(spectrum.standard_error()))
    return mean / reference, error / reference


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="64 atoms only (minutes)")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder of the results (default: beside this)")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    rows, results = [], {}
    print(
        f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores; 300 K, quantum nuclei, Gaussian of 30 meV, no scissor"
    )
    print("calculated over measured (Green 2008); below it the standard error over snapshots")
    print(f"{'case':8s} {'atoms':>5s} {'k points':>8s}" + "".join(f"{e:>7.1f}" for e in ENERGIES) + "  eV", flush=True)
    for name in QUICK if options.quick else CASES:
        settings = dataclasses.replace(BASE, **CASES[name])
        result = absorption(settings, options.work / f"{name}.h5")
        results[name] = result
        atoms, points = len(result.snapshots[0].structure), settings.twists * settings.snapshots
        ratio, error = ratios(result)
        print(f"{name:8s} {atoms:5d} {points:8d}" + "".join(f"{r:7.2f}" for r in ratio))
        print(" " * 23 + "".join(f"{r:7.2f}" for r in error), flush=True)
        rows += [
            f"{name},{atoms},{points},{e:g},{r:.4g},{s:.2g}" for e, r, s in zip(ENERGIES, ratio, error, strict=True)
        ]
    header = "# silicon at 300 K, calculated over measured (Green 2008) absorption; energies in eV\n"
    table = header + "case,atoms,k_points,energy_ev,ratio,standard_error\n" + "\n".join(rows) + "\n"
    (HERE / "absorption.csv").write_text(table)
    largest = list(results)[-1]
    result = results[largest]
    points, title = measured.absorption("silicon"), f"silicon, {len(result.snapshots[0].structure)} atoms"
    figure = plotting.absorption(result.spectra, result.temperatures, result.equilibrium, points, title)
    plotting.save(figure, HERE / "absorption.png")
    print(f"written: absorption.csv, absorption.png (of {largest})")


if __name__ == "__main__":
    main()
