"""Twisted bilayers relaxed by the force field: time, memory, corrugation; python relaxation.py [m ...] [--output FILE]."""

import argparse
import resource
import time

import jax
import numpy as np

from jaxepi import potentials
from jaxepi.layers import layers
from jaxepi.materials import bilayers
from jaxepi.potentials import relaxed_atoms

A, DISTANCE = 2.473, 3.35
"""Lattice constant of graphene-pbe-d3, and the distance at which the layers are held, angstrom."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("m", type=int, nargs="*", default=[6])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--force", type=float, default=0.01)
    parser.add_argument("--output", help="extended XYZ of the last")
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    potential = potentials.load("graphene-pbe-d3")
    print(
        "| m | angle | atoms | steps | largest force, eV/angstrom | s a step | peak memory, GB | height of a layer, angstrom |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for m in given.m:
        start = bilayers.twisted(m, 1, DISTANCE, A)
        began = time.process_time()
        found = relaxed_atoms(potential, start, DISTANCE, given.force, given.steps, "float32")
        seconds = (time.process_time() - began) / max(found.steps, 1)
        z, layer = np.asarray(found.structure.positions)[:, 2], layers(found.structure)
        heights = "{:.3f}, {:.3f}".format(*(np.ptp(z[layer == i]) for i in (0, 1)))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        row = (m, f"{bilayers.angle(m):.3f}", len(start), found.steps, f"{found.force:.4f}")
        print("| " + " | ".join(map(str, (*row, f"{seconds:.2f}", f"{memory:.1f}", heights))) + " |", flush=True)
        if given.output:
            found.structure.to_ase().write(given.output)


if __name__ == "__main__":
    main()
