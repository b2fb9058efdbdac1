"""Dense, filtered and stochastic solvers of spectra against the number of atoms: seconds, memory, and how far they agree.

    python scripts/benchmark_solvers.py [--atoms 64 216 512] [--seeds 6] [--vectors 8] [--hamiltonian silicon-hse06]
    python scripts/benchmark_solvers.py --only filtered --atoms 4096 --energies 1.1 4.5 341 --output spectrum.npz

Every solver runs in a process of its own on one snapshot of silicon at 300 K at Gamma (--potential; drawn before, in another).
Prints seconds of the solution, compilation included, peak memory of the process, the largest deviation of the filtered eps2
from the dense one below the joint, and of stochastic ones over 1.3 to 1.6 eV (from the filtered one without a dense one), each
with its own error bar. `--above 0` leaves out what is beyond the joint and the ceiling, and with it most of eps1.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from timing import machine, peak

jax.config.update("jax_enable_x64", True)

from jaxepi import hamiltonians, materials, optics, potentials, sampling  # noqa: E402
from jaxepi.files import whole  # noqa: E402
from jaxepi.structure import Structure  # noqa: E402

WIDTH = 0.03


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="+", default=[64, 216, 512], help="8 n^3 atoms of silicon")
    parser.add_argument("--only", nargs="+", default=["dense", "filtered", "stochastic"])
    parser.add_argument("--hamiltonian", default="silicon-hse06")
    parser.add_argument("--potential", default="silicon-pbe")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--repeats", type=int, default=1, help="of the others; the first compiles")
    parser.add_argument("--vectors", type=int, default=8)
    parser.add_argument("--above", type=int, default=2)
    parser.add_argument("--ceiling", type=float, default=3.0)
    parser.add_argument("--joint", type=float, default=2.6)
    parser.add_argument("--tolerance", type=float, default=1e-8, help="residuals of filtered states, eV")
    parser.add_argument("--width", type=float, default=WIDTH)
    parser.add_argument("--precision", default="double")
    parser.add_argument("--memory", type=float, default=24.0)
    parser.add_argument("--kmesh", type=int, default=1)
    parser.add_argument("--snapshot", type=int, default=0)
    parser.add_argument("--energies", type=float, nargs=3, default=[1.1, 3.0, 191])
    parser.add_argument("--folder", help="where snapshots and results stay; snapshots that are there are taken")
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
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(options.folder or temporary) / f"{options.potential}-{options.snapshot}"
            folder.mkdir(parents=True, exist_ok=True)
            drawn = child(atoms, "snapshot", folder)
            print(
                f"{atoms:6d} atoms drawn       {float(drawn['seconds']):9.1f} s, peak {float(drawn['memory']):6.2f} GB",
                flush=True,
            )
            found = {solver: solved(options, atoms, solver, folder) for solver in options.only}
        compare(options, found)


def child(atoms: int, what: str, folder: Path) -> dict:
    """What a process of its own finds."""
    path = folder / f"{what}-{atoms}.npz"
    if what == "snapshot" and path.exists():
        return dict(np.load(path))
    # Snapshots are drawn on the processor, so that they are the same beside a GPU and nothing is compiled for that.
    surroundings = os.environ | ({"JAX_PLATFORMS": "cpu"} if what == "snapshot" else {})
    command = [sys.executable, __file__, *sys.argv[1:], "--one", json.dumps([atoms, what, str(path)])]
    subprocess.run(command, check=True, env=surroundings)
    return dict(np.load(path))


def solved(options: argparse.Namespace, atoms: int, solver: str, folder: Path) -> dict:
    """What one solver finds."""
    found = child(atoms, solver, folder)
    print(
        f"{atoms:6d} atoms {solver:11s} {found['seconds'].mean():9.1f} s, {found['cpu'].mean():9.1f} s of processor, "
        f"the last {found['seconds'][-1]:7.2f} s, peak {float(found['memory']):6.2f} GB",
        flush=True,
    )
    if options.output:
        np.savez(options.output, **found)
    return found


def one(options: argparse.Namespace) -> None:
    """Solve in this process."""
    atoms, solver, path = json.loads(options.one)
    structure = materials.load("silicon").structure.supercell(round((atoms / 8) ** (1 / 3)))
    if solver == "snapshot":
        draw(options, structure, path)
        return
    positions = jnp.asarray(np.load(Path(path).with_name(f"snapshot-{atoms}.npz"))["positions"])
    snapshots = sampling.Snapshots(structure, positions, jnp.asarray(300.0))
    hamiltonian = hamiltonians.load(options.hamiltonian)
    graph = hamiltonian.graph(snapshots.structure)
    low, high, count = options.energies
    energies = np.linspace(low, high, int(count))
    line = optics.Gaussian(options.width)
    seeds = range(options.seeds) if solver == "stochastic" else [0] * options.repeats
    eps1, eps2, error, seconds, cpu = [], [], [], [], []
    for seed in seeds:
        rest = optics.Stochastic(options.vectors, options.ceiling, options.above, options.width, seed)
        filtered = optics.Filtered(
            options.joint, rest, options.tolerance, precision=options.precision, width=options.width
        )
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
    with open(path, "wb") as file:
        np.savez(
            file,
            energies=energies,
            eps1=eps1,
            eps2=eps2,
            error=error,
            seconds=seconds,
            cpu=cpu,
            memory=peak(),
            atoms=atoms,
        )


def draw(options: argparse.Namespace, structure: Structure, path: str) -> None:
    """Write the snapshot of that number."""
    start, count = time.perf_counter(), options.snapshot + 1
    drawn = sampling.harmonic(potentials.load(options.potential), structure, temperature=300.0, count=count, key=0)
    positions = np.asarray(drawn.positions[options.snapshot :])
    seconds = time.perf_counter() - start
    with whole(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, positions=positions, seconds=seconds, memory=peak())


def compare(options: argparse.Namespace, found: dict[str, dict]) -> None:
    """Deviations from the dense spectrum, or where there is none from the filtered one, up to its joint."""
    exact = next((name for name in ("dense", "filtered") if name in found), None)
    if exact is None:
        return
    e, dense = found[exact]["energies"], found[exact]["eps2"][0]
    if exact == "dense" and "filtered" in found:
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
        high = (e > 2.0) & (e <= min(3.0, options.ceiling, 3.0 if exact == "dense" else options.joint))
        if not high.any():
            return
        print(
            f"       2 to {e[high].max():.1f} eV: mean of each energy {100 * np.abs(ratio[:, high] - 1).mean():.1f}%",
            flush=True,
        )


if __name__ == "__main__":
    main()
