"""What moves silicon's peaks E1 and E2, lattice at rest, and by how much; nothing is fitted to a spectrum.

    python experiments/silicon/peaks.py [--points N] [--only WORD ...] [--dipoles FILE]

silicon-hse06 with the attraction of electron and hole, one thing changed at a time: the k mesh and its shift, the on-site
attraction, the dielectric constant and the length of the screening, local fields, the active bands, the dipoles inside atoms
(none; those of FILE, as `scripts/fit_dipoles.py --keep` writes them), the line's width, and the coupling beyond Tamm-Dancoff.
Printed: place and height of both peaks, eps1(0), f-sum, and heights over those of the first row.
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
from excitons import MEASURED, WINDOWS, peaks  # noqa: E402

import jaxepi as je  # noqa: E402
from jaxepi import units  # noqa: E402
from jaxepi.hamiltonians import dipoles  # noqa: E402
from jaxepi.optics.bethe_salpeter.interaction import ONSITE_BARE  # noqa: E402
from jaxepi.tree import replace  # noqa: E402

WIDTH = 0.1  # eV
DIRECTION = [[1, 0, 0]]


@dataclasses.dataclass(frozen=True)
class Case:
    """One calculation: all defaults but what its name says."""

    name: str
    points: int
    bands: tuple[int, int] = (4, 5)
    shift: float = 0.0
    width: float = WIDTH
    screening: tuple[tuple[str, float], ...] = ()
    radial: Any = None
    attraction: bool = True
    options: tuple[tuple[str, Any], ...] = ()


def cases(options: argparse.Namespace, silicon: je.materials.Material) -> list[Case]:
    """The first is what all others are compared with."""
    n, length = options.points, float(silicon.screening.length)
    own = onsite_of_gaussians(float(silicon.screening.eps0), length)
    found = [Case(f"{n}^3 points, 2 eV on one atom, 4 x 5 bands, {1e3 * WIDTH:g} meV", n)]
    found.append(Case("independent", n, attraction=False))
    found.append(Case("coupling beyond Tamm-Dancoff", n, options=(("tamm_dancoff", False),)))
    found.append(Case("no local fields", n, options=(("exchange", False),)))
    found += [Case(f"mesh {m}^3", m) for m in (8, 12, 14, 16) if m != n]
    found.append(Case(f"mesh {n}^3, moved by half divisions", n, shift=0.5))
    found += [Case(f"bands {v} x {c}", n, bands=(v, c)) for v, c in ((3, 4), (4, 8), (4, 16))]
    found += [Case(f"on one atom {u:g} eV", n, screening=(("onsite", u),)) for u in (1.0, 3.0)]
    found.append(Case(f"on one atom {own:.2f} eV, by the dielectric function", n, screening=(("onsite", own),)))
    found += [Case(f"eps0 {e:g}", n, screening=(("eps0", e),)) for e in (10.4, 13.0)]
    found += [Case(f"length {x:g} angstrom", n, screening=(("length", x),)) for x in (0.0, 2 * length)]
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
        replace(silicon.screening, **dict(case.screening)),
        *case.bands,
        250,
        DIRECTION,
        shift=(case.shift,) * 3,
        precision="float32",
        **dict(case.options),
    )
    return found.transitions() if case.attraction else found.independent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10, help="points a direction")
    parser.add_argument("--only", nargs="*", default=[], help="words of the rows to print, beside the first")
    parser.add_argument("--dipoles", type=Path, help="other dipoles inside atoms")
    options = parser.parse_args()
    silicon = je.materials.load("silicon", hamiltonian="silicon-hse06")
    print(f"{date.today()}, {platform.machine()}, {os.cpu_count()} cores, jax {jax.__version__}")
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
