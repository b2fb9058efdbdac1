"""How the error of a thermal gap falls with the number of snapshots, for every way of drawing them; and of second moments.

    python scripts/sampling_convergence.py                     # silicon, 64 atoms, 300 K, the set of Vogl, Hjalmarson and Dow
    python scripts/sampling_convergence.py --moments 2 3 4 6   # special displacements alone, by size

The error is the root mean square, over seeds, of the mean gap from that of a large quasi-random set. A special displacement and
its partner are two snapshots; more pairs start from other signs. All gaps are computed by one compiled function.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from timing import machine

jax.config.update("jax_enable_x64", True)

from jaxepi import electrons, materials, sampling  # noqa: E402
from jaxepi.sampling import Snapshots  # noqa: E402

METHODS = ("random", "antithetic", "sobol", "special")
CHUNK = 32


def drawn(method: str, fc, temperature: float, count: int, seed: int) -> Snapshots:
    given = {"temperature": temperature, "count": count, "key": jax.random.key(seed)}
    if method == "special":
        return sampling.special(fc, **given)
    if method == "sobol":
        return sampling.harmonic(fc, antithetic=True, points="sobol", scrambles=1, **given)
    return sampling.harmonic(fc, antithetic=method == "antithetic", **given)


def gaps(material, supercell, sets: list[Snapshots]) -> list[np.ndarray]:
    """Gap of every snapshot of several sets, eV, in chunks of equal size."""
    hamiltonian = material.hamiltonian
    graph = hamiltonian.graph(supercell)
    edges = electrons.band_edges(hamiltonian, material.primitive)
    probe = electrons.edge_probe(edges, supercell, hamiltonian.basis.occupied(supercell.species))
    x = np.concatenate([np.asarray(s.positions) for s in sets])
    padded = np.concatenate([x, np.repeat(x[:1], -len(x) % CHUNK, axis=0)])
    found = []
    for i in range(0, len(padded), CHUNK):
        one = Snapshots(supercell, jnp.asarray(padded[i : i + CHUNK]), 300.0)
        top, bottom = electrons.thermal_edges(hamiltonian, one, probe, graph)
        found.append(np.asarray(bottom - top))
    return np.split(np.concatenate(found)[: len(x)], np.cumsum([len(s) for s in sets])[:-1])


def convergence(options) -> None:
    begin = time.perf_counter()
    material = materials.load("silicon", hamiltonian=options.hamiltonian)
    cell = material.structure if options.cell == "conventional" else material.primitive
    supercell = cell.supercell(options.supercell)
    fc = sampling.force_constants(material.potential, supercell)
    counts = [2**n for n in range(1, options.most.bit_length())]
    cases = [(m, n, s) for m in METHODS for n in counts for s in range(options.seeds) if m != "special" or n <= 8]
    sets = [drawn(m, fc, options.temperature, n, s) for m, n, s in cases]
    sets.append(drawn("sobol", fc, options.temperature, options.reference, 1000))
    *values, reference = gaps(material, supercell, sets)
    exact = reference.mean()
    means = {case: v.mean() - exact for case, v in zip(cases, values, strict=True)}
    print(
        f"silicon, {len(supercell)} atoms, {options.hamiltonian}, {options.temperature:g} K, {options.seeds} seeds; gap "
        f"{exact:.4f} eV of {options.reference} Sobol points; spread of one snapshot {1e3 * reference.std():.1f} meV"
    )
    print("root mean square error of the mean gap, meV")
    print("snapshots " + "".join(f"{n:8d}" for n in counts))
    for method in METHODS:
        row = [
            np.sqrt(np.mean([means[method, n, s] ** 2 for s in range(options.seeds)]))
            if (method, n, 0) in means
            else None
            for n in counts
        ]
        print(f"{method:10}" + "".join(f"{'-':>8}" if e is None else f"{1e3 * e:8.2f}" for e in row))
    print(f"{time.perf_counter() - begin:.0f} s")


def moments(options) -> None:
    """Second moments of one special displacement and its partner, by size of the supercell."""
    material = materials.load("silicon")
    print(f"special displacement and partner, silicon, {options.temperature:g} K; relative departure of second moments")
    print("cells  atoms  <u_a u_b>, %  one cell and its neighbours, %  seconds")
    for n in options.moments:
        fc = sampling.force_constants(material.potential, material.primitive.supercell(n))
        begin = time.perf_counter()
        pair = sampling.special(fc, temperature=options.temperature)
        took = time.perf_counter() - begin
        found = sampling.departure(pair, fc)
        atoms = len(fc.supercell)
        print(f"{n}^3 {atoms:8d} {100 * found.mean_square:14.2f} {100 * found.near:31.1f} {took:8.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hamiltonian", default="si-vogl1983")
    parser.add_argument("--supercell", type=int, default=2, help="repeats of the cell")
    parser.add_argument("--cell", choices=["conventional", "primitive"], default="conventional")
    parser.add_argument("--temperature", type=float, default=300.0, help="kelvin")
    parser.add_argument("--most", type=int, default=32, help="snapshots")
    parser.add_argument("--reference", type=int, default=512, help="snapshots")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--moments", type=int, nargs="+", help="repeats of the primitive cell; nothing else then")
    options = parser.parse_args()
    print(machine())
    if options.moments:
        moments(options)
    else:
        convergence(options)


if __name__ == "__main__":
    main()
