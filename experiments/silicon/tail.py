"""What limits silicon's tail from snapshots: their number, the cell, the k points or the broadening.

    python experiments/silicon/tail.py [--pairs N] [--large N] [--twists N] [--meshes N ...] [--temperature K]
        [--franta FOLDER] [--work WORK]

Independent particles, in antithetic pairs of quantum snapshots of silicon-hse06 with its own forces: N of 64 atoms, and --large
of 216, each with k points of its own. Absorption over measurement (excitons.py), all transitions
shifted by what the thermal gap lacks to the measured one, +- standard error over pairs. Beside it the second order of the
infinite cell, which snapshots of any cell would come to but for higher orders, and what Elliott's factor makes of that. Kept
snapshot by snapshot in WORK. With --meshes instead: the first snapshot of 64 atoms with the attraction of electron and hole, on
meshes of so many k points a direction, moved by half divisions, one direction of light, lines of 50 meV.
"""

import argparse
import os
import platform
import time
from datetime import date
from pathlib import Path

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
from excitons import AT as EXCITONS_AT  # noqa: E402
from excitons import HERE, RYDBERG, reference  # noqa: E402

import jaxepi as je  # noqa: E402
from jaxepi.materials import measured  # noqa: E402
from jaxepi.tree import replace  # noqa: E402
from jaxepi.workflows.absorption import AbsorptionResult, AbsorptionSettings, absorption  # noqa: E402
from jaxepi.workflows.quanta import put_back  # noqa: E402

AT = np.array([1.2, 1.3, 1.5, 1.8, 2.2, 2.6])
WIDTHS = (0.05, 0.025, 0.0125)  # eV


def study(options: argparse.Namespace, supercell: int, pairs: int, points: int) -> AbsorptionResult:
    """Snapshots of 8 supercell^3 atoms."""
    settings = AbsorptionSettings(
        crystal="silicon",
        hamiltonian="silicon-hse06",
        potential="silicon-hse06",
        temperatures=(options.temperature,),
        supercell=supercell,
        snapshots=2 * pairs,
        twists=points,
        phonon_energies=supercell == 2,
        energies=(0.6, 3.6, 601),
        equilibrium_points=2000,
        width=WIDTHS[-1],
        workers=1,
    )
    return absorption(settings, options.work / f"tail-{options.temperature:g}-{supercell}-{pairs}-{points}.h5")


def wider(found: je.epi.Assisted, width: float) -> je.epi.Assisted:
    """Parts of lines of the smallest width in lines of another."""
    more = width**2 - WIDTHS[-1] ** 2
    if more <= 0:
        return found
    apart = np.subtract.outer(*[np.asarray(found.energies)] * 2)
    kernel = np.exp(-(apart**2) / (2 * more)) * abs(apart[0, 1]) / np.sqrt(2 * np.pi * more)
    return replace(found, parts=found.parts @ jnp.asarray(kernel))


def row(what: str, spectrum: je.optics.Spectrum, values: np.ndarray) -> None:
    """Ratio to measurement and its error."""
    energies, alpha = np.asarray(spectrum.energies), np.asarray(spectrum.absorption())
    error = np.asarray(spectrum.standard_error())
    each = zip(np.interp(AT, energies, alpha) / values, np.interp(AT, energies, error) / values, strict=True)
    print(f"{what:44s}" + "".join(f"{r:7.2f} +-{e:5.2f}" for r, e in each), flush=True)


def meshes(options: argparse.Namespace) -> None:
    """One snapshot with attraction on ever finer meshes, which hold ever more of the pair's relative motion."""
    result = study(options, 2, options.pairs, 8)
    shift = measured.gap("silicon").at(options.temperature) - result.thermal_gaps[0]
    drawn = result.snapshots[0]
    one = je.sampling.Snapshots(drawn.structure, drawn.positions[:1], drawn.temperature)
    known, at = reference(options, options.temperature), EXCITONS_AT[2:]
    values = np.ones(len(at)) if known is None else known[1][2:]
    silicon, line = je.materials.load("silicon", hamiltonian="silicon-hse06"), je.optics.Gaussian(WIDTHS[0])
    print(f"{'one snapshot of 64 atoms':36s}" + "".join(f"{e:7.1f}" for e in at))
    for n in options.meshes:
        begun = time.process_time()
        args = silicon.hamiltonian, one, n, silicon.screening
        found = je.optics.excitons(*args, steps=160, polarisations=[[1, 0, 0]], shift=(0.5,) * 3, precision="float32")
        energies = jnp.linspace(1.0, 5.0, 401)
        both = [
            x.spectrum(energies, line, shift).absorption().ravel() for x in (found.independent, found.transitions())
        ]
        alone, pairs = (np.interp(at, np.asarray(energies), np.asarray(x)) for x in both)
        rows = {"independent": alone / values, "with attraction": pairs / values, "one over the other": pairs / alone}
        for what, ratio in rows.items():
            print(f"{f'{n}^3 points, {what}':36s}" + "".join(f"{r:7.2f}" for r in ratio))
        eps1, seconds = float(found.transitions().static_eps1()[0]), time.process_time() - begun
        print(f"    eps1(0) {eps1:.2f}, {seconds:.0f} s of processor", flush=True)


def first(spectrum: je.optics.Spectrum, pairs: int) -> je.optics.Spectrum:
    n = 2 * pairs
    return replace(spectrum, eps1=spectrum.eps1[:n], eps2=spectrum.eps2[:n], groups=spectrum.groups[:n])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=8, help="antithetic pairs of 64 atoms")
    parser.add_argument("--large", type=int, default=2, help="antithetic pairs of 216 atoms, none: 0")
    parser.add_argument("--twists", type=int, default=2, help="k points of each snapshot of 216 atoms (64 atoms: 8)")
    parser.add_argument("--temperature", type=float, default=300.0)
    parser.add_argument("--franta", type=Path, default=HERE / "data", help="folder of si_eps_<T>K_franta2017.csv")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder of the results (default: beside this)")
    parser.add_argument("--meshes", type=int, nargs="+", help="k points a direction of one snapshot with attraction")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}")
    if options.meshes:
        meshes(options)
    else:
        limits(options)


def limits(options: argparse.Namespace) -> None:
    """Snapshots of both cells, and the second order, in lines of three widths."""
    temperature = options.temperature
    small = study(options, 2, options.pairs, 8)
    studies = [(64, small)] + ([(216, study(options, 3, options.large, options.twists))] if options.large else [])
    known, gap = reference(options, temperature), measured.gap("silicon").at(temperature)
    values = np.ones(len(AT)) if known is None else known[1][: len(AT)]
    print(f"{temperature:g} K, over {known[0] if known else 'nothing'}" + "".join(f"{e:12.1f} " for e in AT))
    for atoms, result in studies:
        error = float(result.snapshots[0].standard_error(result.gaps[0]))
        print(f"gap of {atoms} atoms {result.thermal_gaps[0]:.3f} +- {error:.3f} eV, measured {gap:.3f}")
    silicon = je.materials.load("silicon", hamiltonian="silicon-hse06")
    pairs = je.optics.excitons(silicon.hamiltonian, silicon.primitive, 8, silicon.screening, 4, 5, 150, [[1, 0, 0]])
    line, shift = je.optics.Gaussian(WIDTHS[0]), gap - float(small.edges.gap)
    alone = pairs.independent.spectrum(small.assisted.energies, line, shift)
    attracted = pairs.spectrum(small.assisted.energies, line, shift)
    for width in WIDTHS:
        table(studies, width, gap, values, (alone.mean()[0], attracted.mean()[0]))


def table(
    studies: list[tuple[int, AbsorptionResult]],
    width: float,
    gap: float,
    values: np.ndarray,
    eps1: tuple[jax.Array, jax.Array],
) -> None:
    """Rows of one broadening; eps1 of the second order, independent and with attraction: of the lattice at rest."""
    print(f"Gaussian of {1e3 * width:g} meV")
    small = studies[0][1]
    parts = wider(small.assisted, width)
    for atoms, result in studies:
        shift = gap - result.thermal_gaps[0]
        alone = result.transitions[0].spectrum(parts.energies, je.optics.Gaussian(width), shift)
        pairs = len(alone.groups) // 2
        for n in sorted({min(n, pairs) for n in (2, 4, pairs)}):
            row(f"{atoms} atoms, {n} pairs, independent", first(alone, n), values)
        # The lattice at rest absorbs without phonons above 3 eV alone, whatever the width.
        moved = put_back(parts, small.edges, [gap], result.temperatures, 0.0, (alone,), small.equilibrium)[0]
        row(f"{atoms} atoms, {pairs} pairs, with phonon energies", moved, values)
    change = gap - float(small.edges.gap)
    excess = jnp.maximum(parts.energies - float(small.edges.gap), RYDBERG)
    # Elliott's factor is that of bare transitions: before they are broadened, as far as that goes.
    narrow = small.assisted
    attracted = replace(narrow, parts=narrow.parts * je.optics.elliott_factor(excess, RYDBERG)[None])
    modes, pairs = (one.at(small.temperatures[0]).aligned(change) for one in (parts, wider(attracted, width)))
    kinds = {
        "independent": modes.parts,
        "with phonon energies": modes.shifted(),
        "with attraction": pairs.parts,
        "with both": pairs.shifted(),
    }
    for what, eps2 in kinds.items():
        alpha = je.optics.absorption(
            parts.energies, eps1[int("both" in what or "attraction" in what)], eps2.sum(axis=0)
        )
        ratio = np.interp(AT, np.asarray(parts.energies), np.asarray(alpha)) / values
        print(f"{'second order, ' + what:44s}" + "".join(f"{r:7.2f}       " for r in ratio), flush=True)


if __name__ == "__main__":
    main()
