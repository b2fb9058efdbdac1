"""Dense, filtered and stochastic solvers of spectra against the number of atoms: seconds, memory, and how far they agree.

    python scripts/benchmark_solvers.py [--atoms 64 216 512] [--seeds 6] [--vectors 8] [--hamiltonian silicon-hse06]
    python scripts/benchmark_solvers.py --only filtered --atoms 4096 --energies 1.1 4.5 341 --output spectrum.npz

Every solver runs in a process of its own, which compiles first, on one snapshot of silicon at 300 K at Gamma (--potential; the
same snapshots for all). Prints seconds of the solution, peak memory of the process, the largest deviation of the filtered eps2
from the dense one below the joint, and of stochastic ones over 1.3 to 1.6 eV, each with its own error bar.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from timing import machine

jax.config.update("jax_enable_x64", True)

from jaxepi import hamiltonians, materials, optics, potentials, sampling  # noqa: E402

WIDTH = 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[64, 216, 512], help="8 n^3 atoms of silicon")
    parser.add_argument("--only", nargs="+", default=["dense", "filtered", "stochastic"])
    parser.add_argument("--hamiltonian", default="silicon-hse06")
    parser.add_argument("--potential", default="silicon-pbe")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--vectors", type=int, default=8)
    parser.add_argument("--above", type=int, default=2)
    parser.add_argument("--ceiling", type=float, default=3.0)
    parser.add_argument("--joint", type=float, default=2.6)
    parser.add_argument("--width", type=float, default=WIDTH)
    parser.add_argument("--precision", default="double")
    parser.add_argument("--memory", type=float, default=24.0)
    parser.add_argument("--kmesh", type=int, default=1)
    parser.add_argument("--snapshot", type=int, default=0)
    parser.add_argument("--energies", type=float, nargs=3, default=[1.1, 3.0, 191])
    parser.add_argument("--output", help="spectrum of the last solver, NumPy archive")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options)
        return
    print(
        f"{machine()}, load {os.getloadavg()[0]:.1f}; {options.hamiltonian}, {options.potential}, 300 K, Gamma",
        flush=True,
    )
    for atoms in options.atoms:
        found = {solver: child(options, atoms, solver) for solver in options.only}
        compare(options, found)


def child(options: argparse.Namespace, atoms: int, solver: str) -> dict:
    """What one solver finds, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "found.npz"
        words = list(sys.argv[1:])
        command = [sys.executable, __file__, *words, "--one", json.dumps([atoms, solver, str(path)])]
        subprocess.run(command, check=True)
        found = dict(np.load(path))
    print(
        f"{atoms:6d} atoms {solver:11s} {found['seconds'].mean():9.1f} s, {found['cpu'].mean():9.1f} s of processor, "
        f"peak {float(found['memory']):6.2f} GB",
        flush=True,
    )
    if options.output:
        np.savez(options.output, **found)
    return found


def one(options: argparse.Namespace) -> None:
    """Solve in this process."""
    atoms, solver, path = json.loads(options.one)
    snapshots = snapshot(options, atoms)
    hamiltonian = hamiltonians.load(options.hamiltonian)
    graph = hamiltonian.graph(snapshots.structure)
    low, high, count = options.energies
    energies = np.linspace(low, high, int(count))
    line = optics.Gaussian(options.width)
    seeds = range(options.seeds if solver == "stochastic" else 1)
    eps1, eps2, error, seconds, cpu = [], [], [], [], []
    for seed in seeds:
        rest = optics.Stochastic(options.vectors, options.ceiling, options.above, options.width, seed)
        filtered = optics.Filtered(options.joint, rest, precision=options.precision, width=options.width)
        chosen = {"dense": optics.Dense(), "filtered": filtered, "stochastic": rest}[solver]
        start = time.perf_counter(), time.process_time()
        found = optics.transitions(
            hamiltonian, snapshots, options.kmesh, tensor=False, graph=graph, memory_gb=options.memory, solver=chosen
        )
        jax.block_until_ready(found.histogram)
        seconds.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
        spectrum = found.spectrum(energies, line)
        eps1.append(spectrum.eps1[0, :, 0, 0])
        eps2.append(spectrum.eps2[0, :, 0, 0])
        error.append(found.noise(energies, line)[0] if found.replicas is not None else np.zeros(len(energies)))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    with open(path, "wb") as file:
        np.savez(
            file,
            energies=energies,
            eps1=eps1,
            eps2=eps2,
            error=error,
            seconds=seconds,
            cpu=cpu,
            memory=memory,
            atoms=atoms,
        )


def snapshot(options: argparse.Namespace, atoms: int) -> sampling.Snapshots:
    """The snapshot of that number."""
    repeats = round((atoms / 8) ** (1 / 3))
    supercell = materials.load("silicon").structure.supercell(repeats)
    potential = potentials.load(options.potential)
    drawn = sampling.harmonic(
        potential, supercell, temperature=300.0, count=options.snapshot + 1, key=jax.random.key(0)
    )
    return drawn.take([options.snapshot])


def compare(options: argparse.Namespace, found: dict[str, dict]) -> None:
    """Deviations from the dense spectrum."""
    if "dense" not in found:
        return
    e, dense = found["dense"]["energies"], found["dense"]["eps2"][0]
    if "filtered" in found:
        below = e <= options.joint
        off = np.abs(found["filtered"]["eps2"][0] / dense - 1)[below].max()
        print(f"       filtered: eps2 differs by {off:.1e} of it at most, up to {options.joint:g} eV")
    if "stochastic" in found:
        window = (e >= 1.3) & (e <= 1.6)
        ratio = found["stochastic"]["eps2"] / dense[None]
        sums = found["stochastic"]["eps2"][:, window].sum(axis=1) / dense[window].sum() - 1
        each = np.abs(ratio[:, window] - 1).mean(axis=1)
        claimed = (found["stochastic"]["error"] / dense[None])[:, window].mean(axis=1)
        print(
            f"       stochastic, {options.vectors} vectors, 1.3 to 1.6 eV, by seed: of the sum "
            + " ".join(f"{100 * x:+.1f}%" for x in sums)
            + "; mean of each energy "
            + " ".join(f"{100 * x:.1f}%" for x in each)
            + "; error bars "
            + " ".join(f"{100 * x:.1f}%" for x in claimed)
        )
        high = (e > 2.0) & (e <= min(3.0, options.ceiling))
        print(
            f"       2 eV to the ceiling: mean of each energy {100 * np.abs(ratio[:, high] - 1).mean():.1f}%",
            flush=True,
        )


if __name__ == "__main__":
    main()
