"""Figure 5 of the optical paper with learned models: gallium arsenide at 300 K, with a scissor to the measured gap.

    python experiments/gallium_arsenide/paper.py [--quick] [--work WORK]

Cells of 8 atoms with many k points, which resolve the edge, and of 64 (and 250) with few. Force field and Hamiltonian are
learned (r2SCAN), whose thermal gap is too small; the scissor is what the measured gap at 300 K asks for. It shifts transition
energies and keeps the dipoles, which is gauge-consistent; "momentum kept" keeps the momentum matrix elements instead, and so
scales eps2 by ((E - scissor)/E)^2. Ratios to the measured absorption (Aspnes and Studna; below 1.5 eV the fit to Sturge and
Casey) go into paper-5.csv, the figure into paper-5.png, beside this file. Results lie in WORK and are resumed. `--quick` stops
at 64 atoms.
"""

import argparse
import dataclasses
import os
import platform
from datetime import date
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

from jaxepi import plotting  # noqa: E402
from jaxepi.materials import measured  # noqa: E402
from jaxepi.optics import Gaussian, Spectrum  # noqa: E402
from jaxepi.workflows.absorption import AbsorptionSettings, absorption  # noqa: E402

HERE = Path(__file__).parent
BASE = AbsorptionSettings(
    crystal="galliumarsenide",
    potential="galliumarsenide-r2scan",
    hamiltonian="galliumarsenide-r2scan",
    temperatures=(300.0,),
    energies=(0.5, 5.0, 451),
)
SIZES = {
    "8 atoms": {"supercell": 1, "twists": 4000},
    "64 atoms": {"supercell": 2, "twists": 64},
    "250 atoms": {"cell": "primitive", "supercell": 5, "twists": 8},
}
ENERGIES = np.array([1.4, 1.45, 1.5, 1.6, 1.8, 2.2, 2.6, 3.0, 3.4, 4.0])
KINDS = ("no scissor", "scissor", "momentum kept")


def momentum_kept(spectrum: Spectrum, scissor: float) -> Spectrum:
    """What a scissor gives that keeps the momentum matrix elements (eps1, which only sets the index, is left as it is)."""
    factor = (jnp.clip(spectrum.energies - scissor, 0.0) / spectrum.energies) ** 2
    return dataclasses.replace(spectrum, eps2=spectrum.eps2 * factor[:, None, None])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="up to 64 atoms (minutes)")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder of the results (default: beside this)")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores; {BASE.potential}, {BASE.hamiltonian}")
    tables, gap = measured.absorption(BASE.crystal), measured.gap(BASE.crystal)
    assert gap is not None
    aspnes, edge = tables
    known = np.where(
        ENERGIES < 1.5,
        np.interp(ENERGIES, edge.energies, np.log(edge.absorption)),
        np.interp(ENERGIES, aspnes.energies, np.log(aspnes.absorption)),
    )
    rows, curves = [], {}
    for name, changes in SIZES.items():
        if options.quick and name == "250 atoms":
            continue
        result = absorption(dataclasses.replace(BASE, **changes), options.work / f"paper-5-{name.split()[0]}.h5")
        scissor = gap.at(300.0) - float(result.gaps[0].mean())
        rest = float(result.edges.direct) if result.edges is not None else np.nan
        print(
            f"{name}: direct gap at rest {rest:.3f} eV, thermal {float(result.gaps[0].mean()):.3f} +- "
            f"{float(result.gaps[0].std()):.3f}, measured {gap.at(300.0):.3f}: scissor {scissor:.3f} eV"
        )
        lines = Gaussian(BASE.width)
        grid = jnp.asarray(result.spectra[0].energies)
        shifted = result.transitions[0].spectrum(grid, lines, scissor)
        curves[name] = dict(zip(KINDS, (result.spectra[0], shifted, momentum_kept(shifted, scissor)), strict=True))
        for kind, spectrum in curves[name].items():
            alpha = np.interp(ENERGIES, np.asarray(grid), np.asarray(spectrum.absorption()))
            error = np.interp(ENERGIES, np.asarray(grid), np.asarray(spectrum.standard_error()))
            print(
                f"{kind:14s}"
                + "".join(f" {e:g}: {r:.2f}" for e, r in zip(ENERGIES, alpha / np.exp(known), strict=True))
            )
            rows += [
                f"{name},{kind},{scissor:.4f},{e:g},{a:.4g},{s:.2g},{np.exp(k):.4g},{a / np.exp(k):.4g}"
                for e, a, s, k in zip(ENERGIES, alpha, error, known, strict=True)
            ]
    header = "gallium arsenide at 300 K, learned models; absorption in 1/cm, energies in eV"
    columns = "case,kind,scissor_ev,energy_ev,absorption,standard_error,measured,ratio"
    (HERE / "paper-5.csv").write_text(f"# {header}\n{columns}\n" + "\n".join(rows) + "\n")
    shown = {f"scissor, {name}": curve["scissor"] for name, curve in curves.items()}
    densest = next(iter(curves))
    shown |= {f"{kind}, {densest}": curves[densest][kind] for kind in KINDS if kind != "scissor"}
    title = "gallium arsenide at 300 K, learned models"
    figure = plotting.absorption(list(shown.values()), [300.0] * len(shown), None, tables, title, labels=tuple(shown))
    plotting.save(figure, HERE / "paper-5.png")


if __name__ == "__main__":
    main()
