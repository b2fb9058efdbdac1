"""Force constants of one supercell as those of another: another size, shape, order of atoms, lattice constant.

Flows in: force constants, and a supercell of the same crystal at rest. Flows out: force constants of that, by Fourier
interpolation: at wave vectors that fit both supercells they are the same, at others they are those of `phonons`, with the
dipole-dipole part of a polar crystal. At Gamma there is no macroscopic field: a periodic supercell has none.
Force constants of a potential in a large supercell come the same way from a smaller one that is wide enough.
"""

import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase.geometry import find_mic
from jaxtyping import Array

from jaxepi import symmetry
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import traced
from jaxepi.potentials.base import Potential
from jaxepi.sampling.force_constants import ForceConstants, check_periodicity, check_potential, force_constants
from jaxepi.sampling.lattices import diagonal, sites, warn_of_strain
from jaxepi.sampling.phonons import Images, images_of, interpolated, short_ranged
from jaxepi.sampling.polar import Polar
from jaxepi.structure import Structure

EXTENT = 25.0
"""Angstrom: width of the supercell in which force constants of larger ones are computed. Exact where force constants reach less
than half of it; beyond, images of the part add up in all pairs, and only frequencies of its own wave vectors are exact."""

FAR_SHARE = 1e-3
"""Of the largest block: force constants between atoms half a width apart are warned of where they are more."""


def resampled(
    fc: ForceConstants, supercell: Structure, images: Images | None = None, name: str = "the force constants"
) -> ForceConstants:
    """The same crystal's force constants in another supercell, whose atoms are found by element and place.

    Args:
        supercell: of the same crystal, at rest, made by `Structure.supercell` (or any cell, repeats 1). The force constants
            may be of a slightly different lattice constant: there is a warning beyond 0.2%.
        images: `images_of(fc)`; needed when the force constants are traced. name: of where they come from, for messages.

    Raises:
        InputError: another crystal; names the first difference. Supercells that are traced.
    """
    images = images_of(fc) if images is None else images
    if traced(fc.supercell, supercell):
        raise InputError(
            "atoms of two supercells are matched on the host: let only force constants and charges be traced"
        )
    with jax.core.eval_context():
        found = sites(supercell, fc.base, name)
    warn_of_strain(found, name)
    cells = int(np.prod(supercell.repeats))
    b = len(supercell) // cells
    _refuse_repeats(found.atom, b, name)
    _, counts, right = diagonal(found.matrix)
    q = (np.indices(counts).reshape(3, -1).T / counts) @ right.T
    points = jnp.asarray(q - np.rint(q), fc.matrix.dtype)
    # Lattice translations between atoms of the first cell and all others: as many as wave vectors.
    between = (found.translation[None] - found.translation[:b, None]) @ right % np.asarray(counts)
    where = np.ravel_multi_index(tuple(np.moveaxis(between, -1, 0)), counts)
    blocks = _blocks(fc, images, points, where, found.atom, counts)
    matrix = jnp.transpose(blocks.reshape(b, cells, b, 3, 3), (0, 3, 1, 2, 4))
    atoms = found.atom[:b]
    polar = None if fc.polar is None else Polar(fc.polar.charges[atoms], fc.polar.dielectric)
    supercell = supercell.astype(fc.matrix.dtype)
    return ForceConstants(supercell, matrix, polar, None if fc.weights is None else fc.weights[atoms])


def large_force_constants(
    potential: Potential, supercell: Structure, graph: Graph | None = None, extent: float = EXTENT
) -> ForceConstants:
    """Force constants of a potential in a supercell of any size: those of the smallest supercell of the primitive cell that is
    `extent` wide, `resampled`, where that has less than half the atoms; `force_constants` of the supercell itself otherwise.

    Time and memory of large supercells are those of the small one. With `potential` alone traced, derivatives go through. There
    is a warning where force constants are not small at half the extent already.

    Args:
        supercell, graph: as of `force_constants`; a supercell or graph that is traced is taken as it is. A part has a graph of
            its own.
        extent: angstrom; force constants that reach less than half of it are exact.

    Raises:
        InputError: as `force_constants`, or an extent that is none.
    """
    if not 0 < extent < np.inf:
        raise InputError(f"extent {extent} angstrom: give a positive length")
    check_potential(potential)
    check_periodicity(supercell)
    part = None if traced(supercell, graph) else _part(supercell, extent)
    if part is None:
        return force_constants(potential, supercell, graph)
    with jax.core.eval_context():
        bonds = potential.graph(part)
    fc = force_constants(potential, part, bonds)
    if not traced(potential):
        _warn_of_far(fc)
    return resampled(fc, supercell)


def _part(supercell: Structure, extent: float) -> Structure | None:
    """The smallest supercell of the primitive cell that is `extent` wide; None where it has half the atoms or more, or where
    there is no primitive cell."""
    with jax.core.eval_context():
        try:
            small = symmetry.primitive(supercell.base).astype(supercell.positions.dtype)
        except InputError:
            return None
        heights = 2 * np.pi / np.linalg.norm(np.asarray(small.reciprocal, dtype=float), axis=1)
        counts = [max(1, int(np.ceil(extent / h))) if p else 1 for h, p in zip(heights, small.pbc, strict=True)]
        return small.supercell(counts) if 2 * len(small) * np.prod(counts) < len(supercell) else None


def _warn_of_far(fc: ForceConstants) -> None:
    """Warn where force constants between atoms half the width of the supercell apart are not small."""
    heights = 2 * np.pi / np.linalg.norm(np.asarray(fc.supercell.reciprocal, dtype=float), axis=1)
    half = 0.5 * heights[np.asarray(fc.supercell.pbc)].min(initial=np.inf)
    x, cell = np.asarray(fc.supercell.positions, dtype=float), np.asarray(fc.supercell.cell, dtype=float)
    vectors = x[None] - x[: len(fc.base), None]
    _, apart = find_mic(vectors.reshape(-1, 3), cell, fc.supercell.pbc)
    blocks = np.moveaxis(np.asarray(fc.matrix).reshape(len(fc.base), 3, -1, 3), 1, 2)
    size = np.abs(blocks).max(axis=(2, 3)).reshape(-1)
    share = size[apart >= half].max(initial=0.0) / size.max()
    if share > FAR_SHARE:
        warnings.warn(
            f"force constants between atoms {half:.1f} angstrom apart are still {share:.1e} of the largest: those of "
            "the large supercell, which are made of a part that wide, are off by about as much; give a larger extent",
            stacklevel=3,
        )


def in_primitive_cells(fc: ForceConstants) -> ForceConstants:
    """The same force constants with a primitive base cell, as the mean of rows that translations make equal; those whose base
    cell is primitive come back as they are.

    Raises:
        InputError: masses that differ between atoms that translations make equal.
    """
    base = fc.base
    small = symmetry.primitive(base)
    if small is base:
        return fc
    found = sites(fc.supercell, small)
    _, counts, right = diagonal(found.matrix)
    b, rows, count = len(small), len(base), int(np.prod(counts))
    cells = found.translation @ right
    steps = (cells[None] - cells[:rows, None]) % np.asarray(counts)
    place = np.ravel_multi_index(tuple(np.moveaxis(steps, -1, 0)), counts)
    blocks = jnp.transpose(fc.matrix, (0, 2, 3, 1, 4)).reshape(rows, -1, 3, 3)
    matrix = jnp.zeros((b, count, b, 3, 3), fc.matrix.dtype)
    matrix = matrix.at[found.atom[:rows, None], place, found.atom[None]].add(blocks) * (b / rows)
    lattice = np.linalg.inv(right) @ np.asarray(small.cell)
    supercell = Structure(small.positions, jnp.asarray(lattice), small.species, base.pbc).supercell(counts)
    first = np.unique(found.atom[:rows], return_index=True)[1]
    if fc.weights is not None and not np.allclose(fc.weights, fc.weights[first][found.atom[:rows]], rtol=1e-6):
        raise InputError(
            "masses differ between atoms that translations make equal: give a crystal whose cell has them all"
        )
    weights = None if fc.weights is None else fc.weights[first]
    polar = None if fc.polar is None else Polar(fc.polar.charges[first], fc.polar.dielectric)
    return ForceConstants(supercell, jnp.transpose(matrix, (0, 3, 1, 2, 4)), polar, weights)


@partial(jax.jit, static_argnames="counts")
def _blocks(fc: ForceConstants, images: Images, points: Array, where: Any, atom: Any, counts: tuple[int, ...]) -> Array:
    """3 x 3 blocks between atoms of the first cell and all atoms: back from the wave vectors that fit the supercell."""
    short = short_ranged(fc, images)
    waves = jax.lax.map(lambda k: interpolated(fc, short, k, images), points, batch_size=32)
    of_pairs = jnp.fft.fftn(waves.reshape(*counts, -1), axes=(0, 1, 2)).real.reshape(waves.shape) / len(points)
    return of_pairs[where, atom[: len(where), None], :, atom[None], :]


def _refuse_repeats(atom: np.ndarray, b: int, name: str) -> None:
    """Refuse a supercell that is not made of its first cell: matching has told its atoms apart."""
    if not np.array_equal(atom, np.tile(atom[:b], len(atom) // b)):
        raise InputError(
            f"the supercell's atoms are no repeats of its first {b}, so that {name} cannot be laid out in it; make it with "
            "Structure.supercell"
        )
