"""Snapshots of large supercells: seconds and memory, and what the force constants of a part of them miss.

    python scripts/large_snapshots.py --atoms 512 4096 32768
    python scripts/large_snapshots.py --exact 12

The first draws one snapshot of silicon at 300 K in supercells of so many atoms, each in a process of its own, compilation
included. The second compares `sampling.large_force_constants` for 12^3 primitive cells with force constants that are computed
in all of them: frequencies at the wave vectors that fit, and mean square displacements at 300 K.
"""

import argparse
import os
import resource
import subprocess
import sys
import time

import jax
import numpy as np
from timing import machine

jax.config.update("jax_enable_x64", True)

from jaxepi import materials, potentials, sampling  # noqa: E402
from jaxepi.sampling.resampling import EXTENT  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atoms", type=int, nargs="*", default=[], help="8 n^3 atoms of silicon")
    parser.add_argument("--exact", type=int, help="so many primitive cells along each direction")
    parser.add_argument("--extents", type=float, nargs="+", default=[EXTENT], help="angstrom")
    parser.add_argument("--potential", default="silicon-pbe")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        draw(options.potential, options.one)
        return
    print(f"{machine()}, load {os.getloadavg()[0]:.1f}; {options.potential}, 300 K", flush=True)
    for atoms in options.atoms:
        own = ["--potential", options.potential, "--one", str(atoms)]
        subprocess.run([sys.executable, __file__, *own], check=True)
    if options.exact:
        compare(options)


def draw(potential: str, atoms: int) -> None:
    """One snapshot, in this process."""
    structure = materials.load("silicon").structure.supercell(round((atoms / 8) ** (1 / 3)))
    model = potentials.load(potential)
    start, busy = time.perf_counter(), time.process_time()
    drawn = sampling.harmonic(model, structure, temperature=300.0, count=1, key=0)
    jax.block_until_ready(drawn.positions)
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{atoms:6d} atoms {seconds:7.1f} s, {busy:7.1f} s of processor, peak {memory:5.2f} GB", flush=True)


def compare(options: argparse.Namespace) -> None:
    """Force constants of parts against those of the whole supercell."""
    model, primitive = potentials.load(options.potential), materials.load("silicon").primitive
    supercell = primitive.supercell(options.exact)
    start = time.perf_counter()
    whole = sampling.force_constants(model, supercell, batch=1)
    jax.block_until_ready(whole.matrix)
    print(f"{len(supercell)} atoms, all of them: {time.perf_counter() - start:.1f} s")
    thz, square = figures(whole)
    for extent in options.extents:
        start = time.perf_counter()
        found = sampling.large_force_constants(model, supercell, extent=extent)
        jax.block_until_ready(found.matrix)
        seconds = time.perf_counter() - start
        off, own = figures(found)
        apart = np.abs(off - thz)
        print(
            f"{extent:4.0f} angstrom: {seconds:5.1f} s; frequencies differ by {apart.max():.1e} THz at most, "
            f"{np.sqrt((apart**2).mean()):.1e} rms; mean squares by {abs(own / square - 1):.1e} of them",
            flush=True,
        )


def figures(constants: sampling.ForceConstants) -> tuple[np.ndarray, float]:
    """Frequencies, THz, at the wave vectors that fit, translations left out, and the mean square displacement, angstrom^2."""
    thz = np.array(sampling.frequencies_thz(constants, constants.commensurate(half=True)))
    thz[0, :3] = 0.0
    squares = np.asarray(sampling.mean_square_displacements(constants, 300.0))
    return thz, float(np.einsum("iaa->", squares))


if __name__ == "__main__":
    main()
