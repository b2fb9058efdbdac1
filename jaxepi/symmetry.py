"""Symmetry of a crystal at rest, as spglib finds it: stars of k points, primitive cells, irreducible k points.

Flows in: a `Structure` and fractional k points. Flows out: k points, weights, the primitive cell. On the host; spglib is
imported when it is first needed. Rows are vectors: x' = x W^T + t is an operation on fractional positions, and it takes the
fractional k to k W^-1. Crystals are taken as non-magnetic, so that k and -k are equivalent. Directions that are not
periodic carry no k, and no operation mixes them with those that are.
"""

import warnings
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxepi.errors import InputError
from jaxepi.kpoints import KPoints, keys
from jaxepi.structure import Structure

TOLERANCE = 1e-3
"""Angstrom: images of atoms that fall this close to an atom stand on it. Files round coordinates to some 1e-4."""

NEARBY = 1e-3
"""Fractional k points closer than this are one: a search for an edge ends some 1e-5 beside the axis it lies on."""

VACUUM = 13.7
"""Angstrom around atoms along a direction that is not periodic: no lattice vector is likely to be as long."""


class Operations(NamedTuple):
    """Space group of a crystal.

    Attributes:
        rotations: W on fractional coordinates, shape (g, 3, 3). translations: t, fractional, shape (g, 3).
        cartesian: the rotations on Cartesian columns, shape (g, 3, 3).
        periodic: directions along which there is a k.
    """

    rotations: Int[np.ndarray, "g 3 3"]
    translations: Float[np.ndarray, "g 3"]
    cartesian: Float[np.ndarray, "g 3 3"]
    periodic: tuple[bool, bool, bool]

    @property
    def of_k(self) -> Float[np.ndarray, "h 3 3"]:
        """What k is multiplied with from the right, time reversal included, each once."""
        inverse = np.rint(np.linalg.inv(self.rotations)) * np.outer(self.periodic, self.periodic)
        return np.unique(np.concatenate([inverse, -inverse]), axis=0)


def operations(structure: Structure, tolerance: float = TOLERANCE) -> Operations:
    """Space group of a structure; pure translations of a cell that is not primitive are among its operations.

    Args:
        tolerance: angstrom.

    Raises:
        InputError: spglib finds no group, or the structure is traced.
    """
    return _group(structure, tolerance)[0]


def _group(structure: Structure, tolerance: float) -> tuple[Operations, Int[np.ndarray, " n"]]:
    """Operations, and of each atom the first one that a pure translation makes it of."""
    import spglib

    cell, fractional = _upright(structure)
    found = _ask(spglib.get_symmetry_dataset, cell, fractional, structure, tolerance)
    if found is None:
        raise InputError(f"spglib finds no symmetry within {tolerance:g} angstrom; lower the tolerance")
    rotations, pbc = np.asarray(found.rotations), np.asarray(structure.pbc)
    kept = ~((rotations != 0) & (pbc[:, None] != pbc)).any(axis=(1, 2))
    cartesian = cell.T @ rotations[kept] @ np.linalg.inv(cell.T)
    periodic = (bool(pbc[0]), bool(pbc[1]), bool(pbc[2]))
    group = Operations(rotations[kept], np.asarray(found.translations)[kept], cartesian, periodic)
    return group, np.asarray(found.mapping_to_primitive)


def _ask(
    function: Any, cell: np.ndarray, fractional: np.ndarray, structure: Structure, tolerance: float, **options
) -> Any:
    """What spglib answers about a crystal; None where it fails."""
    import spglib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the way its next version will report errors
        try:
            return function((cell, fractional, structure.species), symprec=tolerance, **options)
        except spglib.SpglibError:
            return None


def _upright(structure: Structure) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "n 3"]]:
    """The cell with its non-periodic vectors upright on the others and out of their reach, and fractional positions.

    What stands in a file for a direction that is not periodic is a box, whose shape says nothing of the crystal.
    """
    if isinstance(structure.positions, jax.core.Tracer) or isinstance(structure.cell, jax.core.Tracer):
        raise InputError(
            "symmetry is found on the host: call it outside jit, grad and vmap, on a structure with values"
        )
    cell, x = np.array(structure.cell, dtype=float), np.asarray(structure.positions, dtype=float)
    pbc = np.asarray(structure.pbc)
    if not pbc.all():
        basis = [*cell[pbc]]
        for axis in np.flatnonzero(~pbc):
            # What is left of the box's vector beside those before it; the box has a volume, so that something is.
            q = np.linalg.qr(np.array(basis).T)[0] if basis else np.zeros((3, 0))
            normal = cell[axis] - q @ (q.T @ cell[axis])
            normal = normal / np.linalg.norm(normal)
            height = x @ normal
            cell[axis] = (np.ptp(height) + VACUUM + axis) * normal
            basis.append(cell[axis])
    return cell, x @ np.linalg.inv(cell)


def star(k, group: Operations, nearby: float = NEARBY) -> Float[np.ndarray, "s 3"]:
    """The inequivalent k points that operations and time reversal make of k; k is the first, moved onto the symmetry element
    it all but lies on.

    Args:
        k: fractional, shape (3,). nearby: fractional; images of k this close to it are k itself.
    """
    start = np.asarray(k, dtype=float) * group.periodic
    images = start @ group.of_k
    away = images - start
    away -= np.round(away)
    fixed = np.abs(away).max(axis=1) < nearby
    centre = start + away[fixed].mean(axis=0)
    members: list[np.ndarray] = []
    for image in centre @ group.of_k:
        if not any(same(image, other, nearby) for other in [centre, *members]):
            members.append(image)
    return np.array([centre, *members])


def same(k, other, nearby: float = NEARBY) -> bool:
    """Whether two fractional k points differ by a reciprocal lattice vector, to within `nearby` of each component."""
    away = np.asarray(k) - np.asarray(other)
    return bool(np.abs(away - np.round(away)).max() < nearby)


def irreducible(k: KPoints, group: Operations) -> KPoints:
    """One k point of each star among `k`, with the weight of all: sums of what has the crystal's symmetry stay the same.

    Right for scalars (energies, densities of states, the isotropic part of a tensor), whatever the points; components of a
    tensor need all of them.
    """
    star = np.min([keys(k.points @ rotation) for rotation in group.of_k], axis=0)
    _, kept, where = np.unique(star, return_index=True, return_inverse=True)
    return KPoints(k.points[kept], np.bincount(where, weights=k.weights))


def primitive(structure: Structure, tolerance: float = TOLERANCE) -> Structure:
    """The primitive cell in the same orientation: atoms keep their Cartesian positions and their order, and of those that
    are translations of each other the first is kept. A cell that is primitive comes back as it is.

    Args:
        tolerance: angstrom.

    Raises:
        InputError: as `operations`.
    """
    group, translated = _group(structure, tolerance)
    pure = (group.rotations == np.eye(3)).all(axis=(1, 2))
    if pure.sum() == 1:
        return structure
    kept = np.unique(translated, return_index=True)[1]
    kept.sort()
    lattice = _lattice(structure, group.translations[pure], tolerance)
    whole = np.linalg.det(np.asarray(structure.cell)) / np.linalg.det(lattice)
    if len(kept) * pure.sum() != len(structure) or abs(whole / pure.sum() - 1) > 1e-3:
        raise InputError(f"no primitive cell is found within {tolerance:g} angstrom; lower the tolerance")
    numbers = [structure.species[i] for i in kept]
    return Structure.create(np.asarray(structure.positions)[kept], lattice, numbers, structure.pbc)


def _lattice(structure: Structure, translations: np.ndarray, tolerance: float) -> Float[np.ndarray, "3 3"]:
    """Right-handed basis of the lattice that the translations of a cell make: the standard one of crystallography where all
    directions are periodic, else the shortest vectors."""
    import spglib
    from ase.geometry import minkowski_reduce

    lattice, pbc = np.array(structure.cell, dtype=float), np.asarray(structure.pbc)
    if pbc.all():
        fractional = np.asarray(structure.positions) @ np.linalg.inv(lattice)
        options = {"to_primitive": True, "no_idealize": True}  # not idealised: in the orientation that was given
        found = _ask(spglib.standardize_cell, lattice, fractional, structure, tolerance, **options)
        if found is None:
            return lattice
        lattice = np.asarray(found[0])
        return lattice if np.linalg.det(lattice) > 0 else -lattice
    # The shortest vectors are among the translations, give or take one vector of a reduced cell.
    reduced = minkowski_reduce(_upright(structure)[0], pbc)[0] * pbc[:, None]
    steps = np.array(list(np.ndindex(3, 3, 3))) - 1
    inside = translations @ _upright(structure)[0]
    inside -= np.round(inside @ np.linalg.pinv(reduced)) @ reduced
    vectors = (inside[:, None] + steps @ reduced).reshape(-1, 3)
    vectors = vectors[np.argsort(np.linalg.norm(vectors, axis=1), kind="stable")]
    chosen: list[np.ndarray] = []
    for vector in vectors:
        if np.linalg.svd(np.array([*chosen, vector]), compute_uv=False)[-1] > 0.1 and len(chosen) < pbc.sum():
            chosen.append(vector)
    lattice[pbc] = chosen
    if np.linalg.det(lattice) < 0:
        lattice[np.flatnonzero(pbc)[0]] *= -1
    return lattice


def allows_charges(structure: Structure, tolerance: float = TOLERANCE) -> bool:
    """Whether symmetry lets atoms carry different Born effective charges, so that an insulator has a non-analytic term and
    splits its longitudinal from its transverse optical modes: yes for GaAs, no for silicon.

    Charges are one tensor an atom that add up to zero. Group theory counts those that the space group leaves as they are:
    the mean over operations of (atoms that stay in place - 1) (tr R)^2.
    """
    cell = primitive(structure, tolerance)
    group = operations(cell, tolerance)
    lattice, fractional = _upright(cell)
    images = np.einsum("gab,nb->gna", group.rotations, fractional) + group.translations[:, None]
    away = images - fractional
    away = np.linalg.norm((away - np.round(away)) @ lattice, axis=2)
    staying = (away < 10 * tolerance).sum(axis=1)
    count = np.mean((staying - 1) * np.trace(group.cartesian, axis1=1, axis2=2) ** 2)
    return bool(count > 0.5)
