"""Sets of structures by name, deterministic from a seed, and the file they are written to."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import ase
import ase.io

from jaxepi.errors import InputError, refuse_unknown
from jaxepi.files import whole
from jaxepi.labelling.structures import carbon, checks, crystals, on_mesh

SETS: dict[str, Callable[[int], list[ase.Atoms]]] = {
    "silicon-relabelled": checks.silicon_relabelled,
    "silicon-primitive": crystals.silicon_primitive,
    "silicon-cubic": crystals.silicon_cubic,
    "silicon-cold": crystals.silicon_cold,
    "silicon-8": crystals.silicon_8,
    "silicon-16": crystals.silicon_16,
    "silicon-64": crystals.silicon_64,
    "silicon-valleys": crystals.silicon_valleys,
    "silicon-pairs": crystals.silicon_pairs,
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
    "bilayer-thermal-2x2": functools.partial(carbon.thermal, count=100, repeats=2, mesh=4),
    "bilayer-twisted": carbon.twisted,
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


def make(name: str, seed: int = 0, first: int | None = None, mesh: Sequence[int] | None = None) -> list[ase.Atoms]:
    """The structures of a set.

    Args:
        name: a key of `SETS`. first: how many of the set, from its first; all when left out. mesh: k mesh to label them with
            instead of the set's; shifts stay.

    Raises:
        InputError: an unknown set (with the nearest known one), more structures than it has, or an empty mesh.
    """
    refuse_unknown([name], SETS, "set of structures")
    if mesh is not None and (len(mesh) != 3 or min(mesh) < 1):
        raise InputError(
            f"mesh {' '.join(map(str, mesh))}: give three divisions, at least one along each reciprocal lattice vector"
        )
    made = SETS[name](seed)
    if first is not None and not 1 <= first <= len(made):
        raise InputError(f"first {first}: {name} has {len(made)} structures; give 1 to {len(made)}")
    return made[:first] if mesh is None else on_mesh(made[:first], mesh)


def write(structures: Sequence[ase.Atoms], path: Path) -> None:
    """Write structures to extended XYZ, whole or not at all."""
    with whole(path) as temporary:
        ase.io.write(temporary, list(structures), format="extxyz")


def read(path: Path) -> list[ase.Atoms]:
    """Structures with their k meshes from extended XYZ.

    Raises:
        InputError: no such file, one that cannot be read, or one without structures.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}; `jaxepi label structures` makes one")
    try:
        found = [*ase.io.iread(path, index=":", format="extxyz")]
    except Exception as error:  # whatever ASE meets in a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path} cannot be read as extended XYZ: {reason}") from error
    if not found:
        raise InputError(f"{path} holds no structure; `jaxepi label structures` makes such a file")
    return found
