"""Twisted bilayers relaxed by the force field: time, memory, corrugation, sliding.

python relaxation.py [m ...] [--force EV_ANGSTROM] [--steps N] [--start FILE] [--output FILE] [--dtype float32]
python relaxation.py m --like SMALLER FILE

Layers that slide over each other feel a few meV/angstrom, so the largest force left must be smaller than that. In single
precision coordinates of 100 angstrom leave 1 meV/angstrom, at random from atom to atom: what moves many atoms alike still
relaxes, in half the memory. --start goes on from what --output wrote. --like begins with the displacements of a larger twist
(SMALLER, 1) that was relaxed before (FILE): smooth fields over the cell, heights as they are, sliding times the square of the
ratio of the angles (the force that stackings exert on a layer is the same, but acts over a longer wave), of the two
sublattices against one another times that ratio (as strain). --steps 0 relaxes nothing. The sliding is the largest
displacement of an atom within its plane from the unrelaxed twist.
"""

import argparse
import resource
import sys
import time

import jax
import numpy as np

from jaxepi import potentials
from jaxepi.datasets.structure_files import read_structure
from jaxepi.layers import layers
from jaxepi.materials import bilayers
from jaxepi.potentials import relaxed_atoms

A, DISTANCE = 2.473, 3.35
"""Lattice constant of graphene-pbe-d3, and the distance at which the layers are held, angstrom."""


def said(step, force):
    """A line every ten steps."""
    if step % 10 == 0:
        print(f"step {step}: largest force {force:.4f} eV/angstrom", file=sys.stderr, flush=True)


def waves(structure):
    """Real waves of the cell at the atoms, up to three times the shortest reciprocal vector, shape (n, 37)."""
    f = np.linalg.solve(np.asarray(structure.cell).T, np.asarray(structure.positions).T)[:2]
    held = [(i, j) for i in range(-3, 4) for j in range(-3, 4) if i * i + j * j + i * j <= 9 and (i, j) > (0, 0)]
    phases = 2 * np.pi * np.array(held) @ f
    return np.concatenate([np.ones((1, f.shape[1])), np.cos(phases), np.sin(phases)]).T


def like(m, ideal, smaller, relaxed):
    """The twist (m, 1) with the displacements of a relaxed (smaller, 1): lower layer first, sublattices in turn, in both."""
    before = bilayers.twisted(smaller, 1, DISTANCE, A)
    ratio = bilayers.angle(smaller) / bilayers.angle(m)
    away, moved = np.asarray(relaxed.positions - before.positions), np.array(ideal.positions)
    old, new = waves(before), waves(ideal)
    for layer in (0, 1):
        there, here = (layer * len(s) // 2 + np.arange(0, len(s) // 2, 2) for s in (before, ideal))
        one, two = (np.linalg.lstsq(old[there + i], away[there + i], rcond=None)[0] for i in (0, 1))
        mean, apart = (one + two) / 2 * [ratio**2, ratio**2, 1.0], (two - one) / 2 * [ratio, ratio, 1.0]
        moved[here] += new[here] @ (mean - apart)
        moved[here + 1] += new[here + 1] @ (mean + apart)
    return ideal.with_positions(moved)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("m", type=int, nargs="*", default=[6])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--force", type=float, default=0.001)
    parser.add_argument("--start", help="atoms of the last to go on from")
    parser.add_argument("--like", nargs=2, metavar=("SMALLER", "FILE"), help="a relaxed twist to begin the last like")
    parser.add_argument("--dtype", choices=("float64", "float32"), default="float64", help="of forces")
    parser.add_argument("--output", help="extended XYZ of the last")
    given = parser.parse_args()
    if given.start and given.like:
        parser.error("--start and --like both give the structure to begin with; give one")
    jax.config.update("jax_enable_x64", True)
    potential = potentials.load("graphene-pbe-d3")
    print(
        "| m | angle | atoms | steps | largest force, eV/angstrom | s a step | peak memory, GB | height of a layer, angstrom "
        "| sliding, angstrom |"
    )
    print("|---" * 9 + "|")
    for m in given.m:
        ideal = bilayers.twisted(m, 1, DISTANCE, A)
        start, last = ideal, m == given.m[-1]
        if given.start and last:
            start = read_structure(given.start)
        elif given.like and last:
            start = like(m, ideal, int(given.like[0]), read_structure(given.like[1]))
        began, structure, numbers = time.process_time(), start, (0, "")
        if given.steps:
            found = relaxed_atoms(potential, start, DISTANCE, given.force, given.steps, given.dtype, progress=said)
            structure, numbers = found.structure, (found.steps, f"{found.force:.4f}")
        seconds = (time.process_time() - began) / max(numbers[0], 1)
        z, layer = np.asarray(structure.positions)[:, 2], layers(structure)
        heights = "{:.3f}, {:.3f}".format(*(np.ptp(z[layer == i]) for i in (0, 1)))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        moved = np.asarray(structure.positions - ideal.positions)[:, :2]
        slid = np.linalg.norm(moved, axis=1).max()
        row = (m, f"{bilayers.angle(m):.3f}", len(start), *numbers)
        print(
            "| " + " | ".join(map(str, (*row, f"{seconds:.2f}", f"{memory:.1f}", heights, f"{slid:.3f}"))) + " |",
            flush=True,
        )
        if given.output:
            structure.to_ase().write(given.output)


if __name__ == "__main__":
    main()
