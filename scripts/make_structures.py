"""Make structures to label, deterministic from a seed: strains, thermal displacements, distances and slidings.

    python scripts/make_structures.py silicon-primitive silicon-hse06.xyz
    python scripts/make_structures.py bilayer-1x1 dense.xyz --seed 1 --first 8 --mesh 24 24 1

Every structure carries in `info`: kind, temperature (K; absent without displacements), around (which lattice), and the
k mesh (mesh, shift in divisions) it is to be labelled with.
"""

import argparse
import functools
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ase
import ase.io
from refusals import refusing
from structures import carbon, checks, crystals, on_mesh

from jaxepi.errors import InputError

SETS: dict[str, Callable[[int], list[ase.Atoms]]] = {
    "silicon-relabelled": checks.silicon_relabelled,
    "silicon-primitive": crystals.silicon_primitive,
    "silicon-cubic": crystals.silicon_cubic,
    "silicon-cold": crystals.silicon_cold,
    "silicon-8": crystals.silicon_8,
    "silicon-16": crystals.silicon_16,
    "silicon-64": crystals.silicon_64,
    "gaas-primitive": crystals.gaas_primitive,
    "gaas-cubic": crystals.gaas_cubic,
    "gaas-8": crystals.gaas_8,
    "gaas-16": crystals.gaas_16,
    "gaas-forces": crystals.gaas_forces,
    "bilayer-1x1": functools.partial(carbon.bilayers, count=60, repeats=1, mesh=9),
    "bilayer-2x2": functools.partial(carbon.bilayers, count=80, repeats=2, mesh=4),
    "bilayer-3x3": functools.partial(carbon.bilayers, count=12, repeats=3, mesh=3),
    "bilayer-4x4": functools.partial(carbon.bilayers, count=200, repeats=4, mesh=2),
    "monolayer-2x2": functools.partial(carbon.monolayers, count=40, repeats=2, mesh=4),
    "monolayer-3x3": functools.partial(carbon.monolayers, count=40, repeats=3, mesh=3),
    "bilayer-thermal": functools.partial(carbon.thermal, count=100, repeats=4, mesh=2),
    "bilayer-thermal-2x4": functools.partial(carbon.thermal, count=100, repeats=(2, 4), mesh=(12, 6)),
    "graphene-strained": functools.partial(carbon.strained_layers, count=36, mesh=8),
    "bilayer-sizes": checks.bilayer_sizes,
    "graphene-strains": checks.graphene_strains,
    "bilayer-layers": checks.bilayer_layers,
    "bilayer-rotated": checks.bilayer_rotated,
    "bilayer-differences": functools.partial(checks.bilayer_differences, repeats=1, mesh=9),
    "bilayer-4x4-differences": functools.partial(checks.bilayer_differences, repeats=4, mesh=2),
    "silicon-phonons": checks.silicon_phonons,
    "gaas-phonons": checks.gaas_phonons,
    "bilayer-phonons": checks.bilayer_phonons,
    "silicon-differences": checks.silicon_differences,
    "silicon-sizes": checks.silicon_sizes,
    "silicon-forces-differences": checks.silicon_forces_differences,
    "silicon-forces-mesh": checks.silicon_forces_mesh,
    "gaas-sizes": checks.gaas_sizes,
    "gaas-differences": checks.gaas_differences,
    "gaas-mesh": checks.gaas_mesh,
}


@refusing
def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("set", choices=sorted(SETS))
    parser.add_argument("output", type=Path, help="extended XYZ to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, help="how many of the set, from its first (default: all)")
    parser.add_argument("--mesh", type=int, nargs=3, help="k mesh to label them with instead of the set's; shifts stay")
    options = parser.parse_args(arguments)
    if min(options.mesh or [1]) < 1:
        raise InputError(f"--mesh {options.mesh}: give at least one division along each reciprocal lattice vector")
    whole = SETS[options.set](options.seed)
    if options.first is not None and not 1 <= options.first <= len(whole):
        raise InputError(f"--first {options.first}: {options.set} has {len(whole)} structures; give 1 to {len(whole)}")
    structures = whole[: options.first]
    if options.mesh:
        structures = on_mesh(structures, options.mesh)
    ase.io.write(options.output, structures, format="extxyz")
    print(f"{len(structures)} structures in {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
