"""Graphene at many temperatures: a resumable call of hundreds of snapshots, and hundreds of temperatures in one compiled call.

    python scripts/graphene_temperatures.py --output graphene.h5     # 500 snapshots of 6 x 6 cells at six temperatures
    python scripts/graphene_temperatures.py --output graphene.h5     # again: goes on, or reads what is there
    python scripts/graphene_temperatures.py --many 300               # temperatures in one vmapped call

p_z electrons; the observable is the spread of the four states at the folded cone, by which vibrations split it. Chunks are kept
as they are finished; an interrupt or a kill loses one. Prints seconds, the peak of the resident memory after the first and the
last chunk, and how often functions were compiled.
"""

import argparse
import dataclasses
import resource
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from timing import machine

jax.config.update("jax_enable_x64", True)

from jaxepi import materials, potentials, results, sampling  # noqa: E402
from jaxepi.hamiltonians import bloch_matrices  # noqa: E402
from jaxepi.results import Quantity  # noqa: E402
from jaxepi.tree import replace  # noqa: E402
from jaxepi.workflows.study import Study  # noqa: E402

TEMPERATURES = (0.0, 100.0, 200.0, 300.0, 400.0, 500.0)
CHUNK = 50
SKIN = 4.0  # angstrom: flexural modes of a free sheet are soft, and move atoms far at high temperature


def memory() -> float:
    """Peak of the resident memory, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def prepared(repeats: int):
    """Force constants, and a compiled function from snapshots to energies at the cone, eV: K folds to Gamma in 3n cells."""
    material = materials.load("graphene", potential="graphene-pbe-d3")
    supercell = material.primitive.supercell(material.periodic(repeats))
    module = dataclasses.replace(material.hamiltonian.module, skin=SKIN)
    hamiltonian = replace(material.hamiltonian, module=module)
    graph = hamiltonian.graph(supercell)
    forces = potentials.calculator(material.potential)
    fc = sampling.ForceConstants.from_ase(forces, supercell, force_tolerance=1.0)
    half = len(supercell) // 2

    def split(x):
        structure = supercell.with_positions(x)
        blocks = hamiltonian.blocks(structure, graph)
        h, _ = bloch_matrices(blocks, graph, graph.vectors(structure), jnp.zeros(3))
        cone = jnp.linalg.eigvalsh(h)[half - 2 : half + 2]
        return ((cone - cone.mean()) ** 2).mean()

    return fc, split


def six(options) -> None:
    begin = time.perf_counter()
    fc, split = prepared(options.repeats)
    noise = sampling.white_noise(jax.random.key(0), options.snapshots, len(fc.supercell), antithetic=True)
    position = fc.supercell.positions
    chunk = jax.jit(lambda t, z: jax.lax.map(split, position[None] + sampling.displacements(fc, t, z)))
    peaks = []

    def compute(item):
        t, first = item
        found = chunk(jnp.asarray(TEMPERATURES[t]), noise[first : first + CHUNK])
        peaks.append(memory())
        return {"split": Quantity(np.asarray(found), "eV^2")}

    items = {f"{t}-{n:04d}": (t, n) for t in range(len(TEMPERATURES)) for n in range(0, options.snapshots, CHUNK)}
    settings = {"repeats": options.repeats, "snapshots": options.snapshots}
    origin = results.provenance(settings, {"force constants": fc})
    with Study.open(options.output, origin, unit="chunk", total=len(items), progress=True) as study:
        if study.complete:
            held = study.contents()["split"].value
        else:
            parts = study.map(items, compute)
            held = np.concatenate([p["split"].value for p in parts]).reshape(len(TEMPERATURES), -1)
            study.finish({"split": Quantity(held, "eV^2")})
    atoms = len(fc.supercell)
    print(
        f"graphene, {atoms} atoms, {options.snapshots} snapshots at {len(TEMPERATURES)} temperatures: {held.size} in all"
    )
    groups = tuple(range(options.snapshots // 2)) * 2
    for t, values in zip(TEMPERATURES, held, strict=True):
        mean, error = float(values.mean()), float(sampling.averages.standard_error(values, groups))
        print(f"  {t:5.0f} K  root mean square splitting {1e3 * mean**0.5:.1f} +- {500 * error / mean**0.5:.1f} meV")
    print(f"{time.perf_counter() - begin:.1f} s; {len(peaks)} of {len(items)} chunks computed in this call")
    if peaks:
        print(
            f"peak memory {peaks[0]:.0f} MB after the first chunk, {peaks[-1]:.0f} MB after the last; "
            f"{chunk._cache_size()} compilation"
        )


def many(options) -> None:
    fc, split = prepared(options.repeats)
    noise = sampling.white_noise(jax.random.key(0), 4, len(fc.supercell), antithetic=True)
    position = fc.supercell.positions

    @jax.jit
    def splitting(temperatures):
        u = jax.vmap(lambda t: sampling.displacements(fc, t, noise))(temperatures)
        x = (position[None, None] + u).reshape(-1, *position.shape)
        return jax.lax.map(split, x).reshape(len(temperatures), -1).mean(axis=1)

    for kelvin in (jnp.linspace(1.0, 500.0, options.many), jnp.linspace(2.0, 400.0, options.many)):
        begin = time.perf_counter()
        found = jax.block_until_ready(splitting(kelvin))
        took = time.perf_counter() - begin
        ends = f"{1e3 * float(found[0]) ** 0.5:.1f} to {1e3 * float(found[-1]) ** 0.5:.1f} meV"
        print(
            f"{options.many} temperatures x 4 snapshots of {len(position)} atoms: {took:.2f} s, {ends}, "
            f"{splitting._cache_size()} compilation, peak memory {memory():.0f} MB"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, help="HDF5 file of the resumable call")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--snapshots", type=int, default=500)
    parser.add_argument("--many", type=int, help="temperatures of one vmapped call")
    options = parser.parse_args()
    print(machine())
    if options.output:
        six(options)
    if options.many:
        many(options)


if __name__ == "__main__":
    main()
