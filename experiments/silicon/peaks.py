"""What moves silicon's peaks E1 and E2, lattice at rest, and by how much; nothing is fitted to a spectrum.

    python experiments/silicon/peaks.py [--points N] [--only WORD ...] [--dipoles FILE]
    python experiments/silicon/peaks.py --temperatures 10 300 [--snapshots N] [--mesh N] [--steps N ...] [--onsite] [--coupled]

silicon-hse06 with the attraction of electron and hole by the material's model dielectric function, one thing changed at a
time: the k mesh and its shift, the dielectric constant, screening by one length and a number on one atom (and both of these
changed), local fields, the active bands, the dipoles inside atoms (none; those of FILE, as `scripts/fit_dipoles.py --keep`
writes them), the line's width, and the coupling beyond Tamm-Dancoff.
Printed: place and height of both peaks, eps1(0), f-sum, and heights over those of the first row. With temperatures: both
peaks and eps1(0) of quantum snapshots of 64 atoms, by steps of the recursion, and how far these are off those of the most
(with --onsite also by 2 eV on one atom and one length, with --coupled beyond Tamm-Dancoff).
"""

import argparse
import dataclasses
import json
import os
import platform
import time
from datetime import date
from pathlib import Path
from typing import Any

import jax
import numpy as np
import scipy.special

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402
from excitons import MEASURED, WINDOWS, critical, peaks, with_onsite  # noqa: E402

import jaxepi as je  # noqa: E402
from jaxepi import units  # noqa: E402
from jaxepi.hamiltonians import dipoles  # noqa: E402
from jaxepi.optics.bethe_salpeter.interaction import ONSITE_BARE  # noqa: E402
from jaxepi.tree import replace  # noqa: E402
from jaxepi.workflows.attraction import HALVES  # noqa: E402

WIDTH = 0.1  # eV
LINES = (0.025, 0.03, 0.05, 0.1)  # eV, of snapshots
DIRECTION = [[1, 0, 0]]


@dataclasses.dataclass(frozen=True)
class Case:
    """One calculation: all defaults but what its name says."""

    name: str
    points: int
    bands: tuple[int, int] = (4, 5)
    shift: float = 0.0
    width: float = WIDTH
    screening: Any = None  # the material's
    radial: Any = None
    attraction: bool = True
    options: tuple[tuple[str, Any], ...] = ()


def cases(options: argparse.Namespace, silicon: je.materials.Material) -> list[Case]:
    """The first is what all others are compared with."""
    n, model, simple = options.points, silicon.screening, with_onsite(silicon, 2.0)
    eps0, length = float(simple.eps0), float(simple.length)
    found = [Case(f"{n}^3 points, {float(model.onsite):.2f} eV on one atom, 4 x 5 bands, {1e3 * WIDTH:g} meV", n)]
    found.append(Case("independent", n, attraction=False))
    found.append(Case("coupling beyond Tamm-Dancoff", n, options=(("tamm_dancoff", False),)))
    found.append(Case("no local fields", n, options=(("exchange", False),)))
    found += [Case(f"mesh {m}^3", m) for m in (8, 12, 14, 16) if m != n]
    found.append(Case(f"mesh {n}^3, moved by half divisions", n, shift=0.5))
    found += [Case(f"bands {v} x {c}", n, bands=(v, c)) for v, c in ((3, 4), (4, 8), (4, 16))]
    found += [Case(f"eps0 {e:g}", n, screening=replace(model, eps0=e)) for e in (10.4, 13.0)]
    found += [Case(f"one length, {u:g} eV", n, screening=replace(simple, onsite=u)) for u in (1.0, 2.0, 3.0)]
    own = onsite_of_gaussians(eps0, length)
    found.append(Case(f"one length, its own {own:.2f} eV", n, screening=replace(simple, onsite=own)))
    found += [
        Case(f"one length of {x:.2f} angstrom, 2 eV", n, screening=replace(simple, length=x)) for x in (0.0, 2 * length)
    ]
    found.append(Case("one length, 2 eV, mesh 16^3", 16, screening=simple))
    found.append(Case("dipoles inside atoms: none", n, radial=0.0))
    if options.dipoles is not None:
        given = json.loads(options.dipoles.read_text())["radial_integrals"]
        found.append(Case(f"dipoles inside atoms: {options.dipoles.name}", n, radial=given))
    found += [Case(f"lines of {1e3 * w:g} meV", n, width=w) for w in (0.05, 0.15)]
    return [found[0]] + [c for c in found[1:] if not options.only or any(word in c.name for word in options.only)]


def onsite_of_gaussians(eps0: float, length: float) -> float:
    """Attraction on one atom by the model dielectric function itself, of Gaussian charges whose bare one is `ONSITE_BARE`, eV.

    Charges of width s repel by K/(s sqrt(pi)); 1/eps(q) = 1 - (1 - 1/eps0) k^2/(q^2 + k^2), k = 1/length, leaves of it
    U - (1 - 1/eps0) K k erfcx(k s).
    """
    width = units.COULOMB / (ONSITE_BARE * np.sqrt(np.pi))
    return float(ONSITE_BARE - (1 - 1 / eps0) * units.COULOMB / length * scipy.special.erfcx(width / length))


def run(case: Case, silicon: je.materials.Material) -> je.optics.Transitions:
    """Binned transitions of one case."""
    hamiltonian = silicon.hamiltonian
    if case.radial is not None:
        none = np.zeros(len(dipoles.free(hamiltonian)))
        radial = none if case.radial == 0.0 else dipoles.ordered(hamiltonian, case.radial)
        hamiltonian = dipoles.with_dipoles(hamiltonian, jnp.asarray(radial))
    found = je.optics.excitons(
        hamiltonian,
        silicon.primitive,
        case.points,
        silicon.screening if case.screening is None else case.screening,
        *case.bands,
        250,
        DIRECTION,
        shift=(case.shift,) * 3,
        precision="float32",
        **dict(case.options),
    )
    return found.transitions() if case.attraction else found.independent


def snapshots(options: argparse.Namespace, silicon: je.materials.Material) -> None:
    """64 atoms: E1, E2 and eps1(0) of the mean over snapshots, by steps, screening and coupling."""
    energies, supercell = jnp.linspace(0.0, 6.0, 601), silicon.structure.supercell(2)
    model, steps = silicon.screening, sorted(options.steps)
    kinds = {f"{float(model.onsite):.2f} eV": (model, True)}
    if options.onsite:
        kinds["one length, 2 eV"] = (with_onsite(silicon, 2.0), True)
    if options.coupled:
        kinds["coupling"] = (model, False)
    for kelvin in options.temperatures:
        drawn = je.sampling.harmonic(
            silicon.potential,
            supercell,
            temperature=kelvin,
            count=options.snapshots,
            key=jax.random.key(0),
            antithetic=options.snapshots % 2 == 0,
        )
        print(f"{kelvin:g} K, 64 atoms, {len(drawn)} snapshots of {options.mesh}^3 points moved by half divisions")
        for name, (screening, alone) in kinds.items():
            begun, curves, static = time.process_time(), np.zeros((len(steps), len(LINES), len(energies))), 0.0
            missed = np.zeros(curves.shape[:2])
            for i in range(len(drawn)):
                found = je.optics.excitons(
                    silicon.hamiltonian,
                    drawn[i],
                    options.mesh,
                    screening,
                    steps=steps[-1],
                    polarisations=np.eye(3)[[i % 3]],
                    shift=tuple(HALVES[i % len(HALVES)]),
                    precision="float32",
                    tamm_dancoff=alone,
                )
                static += float(found.transitions().static_eps1()[0]) / len(drawn)
                lines = [je.optics.Gaussian(width) for width in LINES]
                spectra = [[found.spectrum(energies, line, steps=n).mean()[1] for line in lines] for n in steps]
                here = np.asarray(spectra)
                curves += here / len(drawn)
                missed = np.maximum(missed, np.abs(here - here[-1]).max(axis=2) / here[-1].max(axis=1))
            print(
                f"{name}: {(time.process_time() - begun) / len(drawn):.0f} s of processor a snapshot, eps1(0) {static:.2f}"
            )
            for n, rows, off in zip(steps, curves, missed, strict=True):
                for curve, width, part in zip(rows, LINES, off, strict=True):
                    text = f"{peaks(np.asarray(energies), curve)}   {critical(np.asarray(energies), curve)}"
                    more = "" if n == steps[-1] else f"   off by {100 * part:.1f}% of the largest at most"
                    print(f"{n} steps, {1e3 * width:3g} meV:   {text}{more}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10, help="points a direction")
    parser.add_argument("--only", nargs="*", default=[], help="words of the rows to print, beside the first")
    parser.add_argument("--dipoles", type=Path, help="other dipoles inside atoms")
    parser.add_argument("--temperatures", type=float, nargs="+", help="snapshots of 64 atoms instead, kelvin")
    parser.add_argument("--snapshots", type=int, default=2, help="a temperature; in antithetic pairs where even")
    parser.add_argument("--mesh", type=int, default=4, help="points a direction of a snapshot")
    parser.add_argument("--steps", type=int, nargs="+", default=[160], help="of the recursion of a snapshot")
    parser.add_argument("--onsite", action="store_true", help="snapshots with 2 eV on one atom and one length, too")
    parser.add_argument("--coupled", action="store_true", help="snapshots beyond Tamm-Dancoff, too")
    options = parser.parse_args()
    silicon = je.materials.load("silicon", hamiltonian="silicon-hse06", potential="silicon-hse06")
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}")
    if options.temperatures:
        snapshots(options, silicon)
        return
    energies, first = np.linspace(1.0, 6.0, 501), None
    for case in cases(options, silicon):
        begun = time.process_time()
        binned = run(case, silicon)
        spectrum = binned.spectrum(jnp.asarray(energies), je.optics.Gaussian(case.width))
        eps2 = np.asarray(spectrum.mean()[1])
        heights = np.array([eps2[(energies >= a) & (energies <= b)].max() for a, b in WINDOWS.values()])
        first = heights if first is None else first
        text = "  ".join(f"{r:.2f}" for r in heights / first)
        sums = f"eps1(0) {float(binned.static_eps1()[0]):.2f}   f-sum {float(binned.f_sum()[0]):.3f}"
        seconds = time.process_time() - begun
        print(f"{case.name:58s} {peaks(energies, eps2)}   {sums}   {text}   {seconds:.0f} s", flush=True)
    print(MEASURED)


if __name__ == "__main__":
    main()
