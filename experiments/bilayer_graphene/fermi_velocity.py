"""Velocity of graphene's bilayer and layer with zero-point and thermal motion: which number belongs to which estimator.

    python fermi_velocity.py [--crystals bilayer layer pi nearest] [--quick] [--redraw]

Monte Carlo of 6x6 cells at 0 to 300 K, of 7x7 and 8x8 cells at both ends, in antithetic pairs, read in three ways
(estimators.py), beside second order on the wave vectors of the same cells and on a fine mesh, adiabatic and dynamic. The same
noise at a tenth of the amplitude tells higher orders from second order. Crystals: dirac_crystals.py; `nearest-4.5` is
`nearest` with another slope of its hopping, eV/angstrom. Resumable: chunks are kept as they are finished. Writes
fermi-velocity.csv and .png beside itself, and prints their tables. `--redraw` draws the .png of the .csv that stands, without
the panel that needs the snapshots.
"""

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi import signals

if __name__ == "__main__":
    signals.listen()
jax.config.update("jax_enable_x64", True)

import dirac_crystals  # noqa: E402
import velocity_report  # noqa: E402
from dirac_crystals import Crystal  # noqa: E402

from jaxepi import epi, kpoints, results, sampling  # noqa: E402
from jaxepi.epi.unfolding import propagated  # noqa: E402
from jaxepi.errors import InputError  # noqa: E402
from jaxepi.files import whole  # noqa: E402
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian  # noqa: E402
from jaxepi.linalg import call_lapack  # noqa: E402
from jaxepi.results import Quantity  # noqa: E402
from jaxepi.workflows.study import Study  # noqa: E402

HERE = Path(__file__).parent
KAPPAS = np.array([0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2])
TEMPERATURES = (0.0, 60.0, 120.0, 180.0, 240.0, 300.0)
ETA = 0.1  # eV, of the Green's function
SMALL = 0.1  # of the amplitude
CHUNK = 25  # pairs


class Sample(NamedTuple):
    """Snapshots of one kind: `pairs` of an n x n cell."""

    crystal: str
    repeats: int
    kelvin: float
    amplitude: float
    pairs: int


class Second(NamedTuple):
    """Second order: on the wave vectors of an n x n cell with the eta of the Green's function, or on a fine mesh."""

    crystal: str
    mesh: int
    kelvin: float
    dynamic: bool
    fine: bool

    def eta(self, crystal: Crystal) -> float:
        """In step with the mesh: 0.6 of half the energy between its cones; eV."""
        a = float(np.linalg.norm(crystal.cell.cell[0]))
        return 0.6 * np.pi / (self.mesh * a) * 5.5 if self.fine else ETA


def planned(name: str, options) -> tuple[list[Sample], list[Second]]:
    """All that is computed of one crystal, what matters most first."""
    nearest = name.startswith("nearest")
    kelvins, pairs = ([0.0], options.nearest_pairs) if nearest else (options.temperatures, options.pairs)
    cells = options.nearest if nearest else options.supercells
    cells = [] if name == "pi" else cells  # second order alone
    samples = [Sample(name, n, 0.0, 0.0, 1) for n in cells]  # at rest
    for n in cells:
        samples += [Sample(name, n, t, 1.0, pairs) for t in (kelvins if n == cells[0] else ends(kelvins))]
    samples += [Sample(name, n, t, SMALL, pairs) for n in cells for t in ends(kelvins)]
    orders = [(t, dynamic) for t in ends(kelvins) for dynamic in (False, True)]
    seconds = [Second(name, n, *order, False) for n in cells for order in orders]
    return samples, seconds + [Second(name, options.mesh, *order, True) for order in orders]


def ends(temperatures: list[float]) -> list[float]:
    """The first and the last."""
    return sorted({temperatures[0], temperatures[-1]})


@jax.jit
def measured(hamiltonian, supercell, graph, positions, points, energies):
    """Of each snapshot at each k: half the gap of the sorted bands in the middle, eV, and the Green's function at energies."""
    cells, vectors = int(np.prod(supercell.repeats)), graph.vectors(supercell)

    def snapshot(x):
        blocks = hamiltonian.blocks(supercell.with_positions(x), graph)

        def at(where):
            h, _ = bloch_matrices(blocks, graph, vectors, where[0])
            e, u = jnp.linalg.eigh(h)
            half = e.shape[0] // 2
            return (e[half] - e[half - 1]) / 2, propagated(e, u, cells, where[1], jnp.asarray(ETA))

        return jax.lax.map(at, (cartesian(points, supercell.base), energies))

    return jax.lax.map(snapshot, positions)


class Chain:
    """A crystal with what it is made of, made when it is first asked for; the study keeps its force constants."""

    shared: ClassVar[dict] = {}  # force constants, by atoms and repeats of their cells

    def __init__(self, name: str, study: Study) -> None:
        self.crystal, self.study, self.made = velocity_report.crystal_of(name), study, {}
        self.hamiltonian = self.crystal.hamiltonian
        if name == "layer":  # flexural modes move atoms of one layer by more than half of the skin at 300 K
            self.hamiltonian = dirac_crystals.roomy(self.hamiltonian, 2.0)

    @property
    def constants(self) -> sampling.ForceConstants:
        def make():
            matrix = self.study.keep(
                "constants", lambda: {"matrix": Quantity(np.asarray(self.crystal.constants().matrix), "eV/angstrom^2")}
            )["matrix"]
            repeats = self.crystal.repeats
            return sampling.ForceConstants(
                self.crystal.cell.supercell((repeats, repeats, 1)), jnp.asarray(matrix.value)
            )

        where = len(self.crystal.cell), self.crystal.repeats
        if where not in self.shared:
            self.shared[where] = make()
        return self.shared[where]

    @property
    def topology(self) -> epi.Topology:
        return self._once("topology", lambda: epi.topology(self.crystal.hamiltonian, self.constants))

    def supercell(self, n: int):
        def make():
            supercell = self.crystal.cell.supercell((n, n, 1))
            return sampling.resampled(self.constants, supercell), self.hamiltonian.graph(supercell)

        return self._once(n, make)

    def level(self, kappa: float, band: int) -> epi.Problem:
        def make():
            k = jnp.asarray(self.crystal.points(np.array([kappa]))[0])
            return epi.problem(self.crystal.hamiltonian, self.constants, epi.Level(k, band, 1), self.topology)

        return self._once((kappa, band), make)

    def _once(self, key, make):
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def sample(self, item: tuple[Sample, int]) -> dict:
        """Means of each pair of one chunk."""
        of, first = item
        crystal, (fc, graph) = self.crystal, self.supercell(of.repeats)
        supercell, count = fc.supercell, min(CHUNK, of.pairs - first)
        key = jax.random.fold_in(jax.random.key(of.repeats), first)
        noise = sampling.white_noise(key, 2 * count, len(supercell), antithetic=True)
        moved = of.amplitude * sampling.displacements(fc, of.kelvin, noise)
        drawn = sampling.Snapshots(supercell, supercell.positions[None] + moved, of.kelvin)
        drawn.check(graph)
        energies = jnp.asarray(crystal.states(KAPPAS)[0])
        points = jnp.asarray(crystal.points(KAPPAS))
        arrays = (self.hamiltonian, supercell, graph, drawn.positions, points, energies)
        begin = time.process_time()
        inner, green = call_lapack(crystal.hamiltonian.basis.size(supercell.species), measured, *arrays)
        seconds = (time.process_time() - begin) / (2 * count)
        inner, green = (np.asarray(x).reshape(2, count, *x.shape[1:]).mean(axis=0) for x in (inner, green))
        return {"inner": Quantity(inner, "eV"), "green": Quantity(green, "1/eV"), "seconds": Quantity(seconds, "s")}

    def second(self, of: Second) -> dict:
        """Fan and Debye-Waller terms of the two bands next to the Dirac point, at each distance, eV, and unbound modes."""
        crystal = self.crystal
        shift = (0.5, 0.25, 0.0) if of.fine else (0.0, 0.0, 0.0)
        points = kpoints.mesh((of.mesh, of.mesh, 1), shift, time_reversal=False, periodic=crystal.cell.pbc)
        middle = float(crystal.states(np.array([0.0]))[0][0, list(crystal.dirac)].mean())
        how = epi.Treatment(of.eta(crystal), middle, of.dynamic)
        found = np.zeros((2, len(KAPPAS), 2))
        for i, kappa in enumerate(KAPPAS):
            for j, band in enumerate(crystal.dirac):
                parts = epi.shift(self.level(kappa, band), points, of.kelvin, how, batch=256)
                found[:, i, j] = float(parts.fan), float(parts.debye_waller)
        thz = np.asarray(sampling.frequencies_thz(self.constants, points.points))
        return {"parts": Quantity(found, "eV"), "lowest": Quantity(thz.min(), "THz")}


def computed(name: str, options) -> tuple[dict, dict]:
    """Of one crystal: all samples, and terms of second order; from the store where they are there."""
    samples, seconds = planned(name, options)
    chunks = {
        f"{s.repeats}-{s.kelvin:g}-{s.amplitude:g}-{first:04d}": (s, first)
        for s in samples
        for first in range(0, s.pairs, CHUNK)
    }
    orders = {f"second-{s.mesh}-{s.kelvin:g}-{s.dynamic:d}{s.fine:d}": s for s in seconds}
    settings = {
        "samples": [list(s) for s in samples],
        "seconds": [list(s) for s in seconds],
        "kappas": KAPPAS.tolist(),
        "eta": ETA,
    }
    origin = results.provenance(settings, {"hamiltonian": velocity_report.crystal_of(name).hamiltonian})
    options.work.mkdir(parents=True, exist_ok=True)
    path = options.work / f"fermi-velocity-{name}{'-quick' * options.quick}.h5"
    with Study.open(path, origin, unit="part", total=len(chunks) + len(orders), progress=True) as study:
        if study.complete:
            held = study.contents()
        else:
            chain = Chain(name, study)
            items = {**chunks, **orders}
            found = study.map(items, lambda item: chain.second(item) if type(item) is Second else chain.sample(item))
            held = dict(zip(items, found, strict=True))
            study.finish(held)
    averaged = {}
    for s in samples:
        parts = [held[name] for name, (of, _) in chunks.items() if of == s]
        averaged[s] = {
            "inner": np.concatenate([p["inner"].value for p in parts]),
            "green": np.concatenate([p["green"].value for p in parts]),
            "seconds": float(np.median([p["seconds"].value for p in parts])),
        }
    return averaged, {s: (held[name]["parts"].value, float(held[name]["lowest"].value)) for name, s in orders.items()}


def drawn(rows: list, averaged: dict, folder: Path) -> None:
    """Writes the picture."""
    with whole(folder / "fermi-velocity.png") as temporary:
        velocity_report.drawn(rows, averaged, KAPPAS, ETA).savefig(temporary, dpi=120, format="png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", nargs="+", default=["bilayer", "layer", "pi", "nearest"])
    parser.add_argument(
        "--supercells", type=int, nargs="+", default=[6, 7, 8], help="the first one at all temperatures"
    )
    parser.add_argument("--temperatures", type=float, nargs="+", default=list(TEMPERATURES))
    parser.add_argument("--pairs", type=int, default=250)
    parser.add_argument("--nearest", type=int, nargs="+", default=[6, 7, 9, 10, 12, 13], help="cells of that crystal")
    parser.add_argument("--nearest-pairs", type=int, default=50)
    parser.add_argument("--mesh", type=int, default=96, help="fine one of second order")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="folder of what is kept")
    parser.add_argument("--quick", action="store_true", help="6x6 cells at 0 K, 10 pairs; writes to the folder of work")
    parser.add_argument("--redraw", action="store_true", help="draw the table that stands, compute nothing")
    options = parser.parse_args()
    if options.redraw:
        drawn(velocity_report.read(HERE / "fermi-velocity.csv"), {}, HERE)
        return
    for name in options.crystals:  # before hours go into the first of them
        dirac_crystals.slope_of(name)
    if options.quick:
        options.supercells, options.temperatures, options.nearest = [6], [0.0], [6]
        options.pairs, options.nearest_pairs, options.mesh = 10, 10, 12
    averaged, seconds = {}, {}
    for name in options.crystals:
        found = computed(name, options)
        averaged |= found[0]
        seconds |= found[1]
    rows = velocity_report.rows(averaged, seconds, KAPPAS, ETA)
    folder = options.work if options.quick else HERE
    with whole(folder / "fermi-velocity.csv") as temporary, open(temporary, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(velocity_report.Row._fields)
        writer.writerows((*r[:6], f"{r.change:.5f}", f"{r.error:.5f}") for r in rows)
    velocity_report.printed(rows, averaged, seconds, KAPPAS, ETA)
    drawn(rows, averaged, folder)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except signals.Interrupted as stop:
        print(f"\njaxepi: {stop}", file=sys.stderr)
        sys.exit(128 + stop.number)
