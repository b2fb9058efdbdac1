"""Layers: which atoms covalent bonds connect, and which images of a layer are layers of their own."""

import numpy as np

from jaxepi.structure import Structure


def layers(structure: Structure, stretch: float = 1.25) -> np.ndarray:
    """Index of the layer each atom belongs to, shape (n,): atoms that covalent bonds connect, images included.

    Args:
        stretch: two atoms closer than this times the sum of their covalent radii (`ase.data`) are bonded.
    """
    return bonded_layers(structure, stretch)[0]


def bonded_layers(structure: Structure, stretch: float = 1.25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of `layers`: their indices, shape (n,); the lattice translation of every atom to the image that bonds connect with
    the first of its layer, shape (n, 3), integers; and for every layer the projection onto the directions in which bonds
    connect it with images of itself, shape (layers, 3, 3), in units of the lattice vectors."""
    from ase.data import covalent_radii
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components
    from vesin import NeighborList

    radii = stretch * covalent_radii[np.asarray(structure.species)]
    finder = NeighborList(cutoff=2 * float(radii.max()), full_list=True)
    x, cell = (np.asarray(v, dtype=np.float64) for v in (structure.positions, structure.cell))
    i, j, d, s = finder.compute(points=x, box=cell, periodic=np.asarray(structure.pbc), quantities="ijdS")
    bonded = d < radii[i] + radii[j]
    i, j, s = i[bonded], j[bonded], np.asarray(s)[bonded].astype(np.int64)
    links = coo_array((np.ones(len(i)), (i, j)), shape=(len(x), len(x))).tocsr()
    count, layer = connected_components(links, directed=False)
    bond = {(a, b): c for a, b, c in zip(i.tolist(), j.tolist(), s.tolist(), strict=True)}
    image = np.zeros((len(x), 3), np.int64)
    for first in np.unique(layer, return_index=True)[1]:
        order, parent = breadth_first_order(links, first, directed=False)
        for atom in order[1:].tolist():
            image[atom] = image[parent[atom]] + bond[int(parent[atom]), atom]
    around = image[i] + s - image[j]
    spread = np.zeros((count, 3, 3))
    np.add.at(spread, layer[i], around[:, :, None] * around[:, None, :])
    return layer.astype(np.int32), image, np.linalg.pinv(spread, rcond=1e-9) @ spread
