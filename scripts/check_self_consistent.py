"""Silicon with self-consistent harmonic force constants beside those at rest: optical mode and mean squares.

    python scripts/check_self_consistent.py --repeats 2 --temperatures 0 100 300

What anharmonicity does to <u^2> here is what ring polymers of the same potential must show (scripts/path_integrals.py).
"""

import argparse
import time

import jax
import numpy as np
from timing import machine

jax.config.update("jax_enable_x64", True)

from jaxepi import kpoints, materials, sampling  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2, help="of the primitive cell")
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.0, 100.0, 300.0], help="kelvin")
    parser.add_argument("--count", type=int, default=16, help="snapshots of each iteration")
    options = parser.parse_args()
    material = materials.load("silicon")
    supercell = material.primitive.supercell(options.repeats)
    rest = sampling.force_constants(material.potential, supercell)
    print(machine())
    print(
        f"silicon, {len(supercell)} atoms, {dict(material.card)['potential'].partition(':')[0]}; {options.count} snapshots"
    )
    print(
        "T (K)  optical mode at rest, self-consistent (THz)  <u^2> over that at rest  F - F_h (meV a cell)  iterations  seconds"
    )
    zero = np.zeros((1, 3))
    for kelvin in options.temperatures:
        begin = time.perf_counter()
        found = sampling.self_consistent(material.potential, supercell, temperature=kelvin, count=options.count)
        took = time.perf_counter() - begin
        optical = [float(sampling.frequencies_thz(fc, zero)[0, -1]) for fc in (rest, found.constants)]
        square = [
            float(np.einsum("naa->", sampling.mean_square_displacements(fc, kelvin))) for fc in (found.constants, rest)
        ]
        mesh = sampling.free_energy(sampling.normal_modes(rest, kpoints.mesh(options.repeats)), kelvin)
        print(
            f"{kelvin:5g} {optical[0]:21.3f} {optical[1]:22.3f} {square[0] / square[1]:24.4f} "
            f"{1e3 * (found.free_energy - float(mesh)):14.2f} +- {1e3 * found.error:.2f} {len(found.history):10d} {took:9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
