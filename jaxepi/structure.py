"""Structures: positions, cell and species of a crystal; supercells; to and from ASE.

First stage of the house: nothing flows in but files or ASE atoms, and every later stage takes a `Structure`.
Conventions: rows of `cell` are lattice vectors; lengths in angstrom; masses in amu.
"""

import math
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi import html, tree
from jaxepi.errors import InputError, whole_number
from jaxepi.guards import constant, numpy_for, traced
from jaxepi.tree import field, pytree, static, stored

if TYPE_CHECKING:
    import ase


MOST_ATOMS = 10_000_000
"""Atoms of a supercell at most: the list of their species alone fills some hundred megabytes."""


@stored
@pytree
class Structure:
    """Atoms in a periodic cell.

    Attributes:
        positions: Cartesian positions, angstrom, shape (n, 3).
        cell: lattice vectors as rows, angstrom, shape (3, 3).
        species: atomic numbers, one an atom (static).
        pbc: which lattice directions are periodic (static).
        repeats: how many copies of a base cell the atoms are, in the order of `supercell` (static); (1, 1, 1) when the
            cell is its own base. The harmonic sampler reads its translational symmetry from it.
    """

    positions: Float[Array, "n 3"] = field(unit="angstrom")
    cell: Float[Array, "3 3"] = field(unit="angstrom")
    species: tuple[int, ...] = static()
    pbc: tuple[bool, bool, bool] = static(default=(True, True, True))
    repeats: tuple[int, int, int] = static(default=(1, 1, 1))

    @classmethod
    def create(
        cls, positions: Any, cell: Any, species: Any, pbc: Any = True, repeats: Any = (1, 1, 1), minimum_distance=0.5
    ) -> "Structure":
        """Build a structure from concrete values and check it.

        Args:
            positions: (n, 3), angstrom. cell: (3, 3), angstrom, rows. species: n atomic numbers.
            pbc: three times whether a direction is periodic, or once for all. repeats: as of the class.
            minimum_distance: atoms closer than this (angstrom) are refused.

        Raises:
            InputError: values that are no numbers, NaN, a zero or left-handed cell, unknown elements, counts that disagree,
                or overlapping atoms.
        """
        x, c = _numbers(positions, "positions"), _numbers(cell, "cell")
        if x.ndim != 2 or x.shape[1] != 3 or len(x) == 0:
            raise InputError(f"positions have shape {x.shape}; expected (atoms, 3) with at least one atom")
        if c.shape != (3, 3):
            raise InputError(f"cell has shape {c.shape}; expected (3, 3) with lattice vectors as rows")
        if np.ndim(species) != 1 or len(species) != len(x):
            raise InputError(f"species {species!r} for {len(x)} positions; give one atomic number an atom")
        for name, value in (("positions", x), ("cell", c)):
            if not np.isfinite(value).all():
                row = int(np.argwhere(~np.isfinite(value))[0, 0])
                raise InputError(f"{name} hold NaN or infinity (first in row {row}); repair the structure file")
        volume = float(np.linalg.det(c))
        if abs(volume) < 1e-6:
            raise InputError(
                f"the cell has volume {volume:.3g} angstrom^3; its lattice vectors are linearly dependent; "
                "give three that are not (a molecule: atoms.center(vacuum=10) in ASE)"
            )
        if volume < 0:
            raise InputError(f"the cell is left-handed (volume {volume:.3f} angstrom^3); swap two lattice vectors")
        counts = _repeats(repeats, (True, True, True))
        if len(x) % math.prod(counts):
            raise InputError(f"repeats {counts} of a base cell do not give {len(x)} atoms")
        structure = cls(constant(x), constant(c), _species(species), _periodicity(pbc), counts)
        _refuse_overlaps(structure, minimum_distance)
        return structure

    @classmethod
    def from_ase(cls, atoms: "ase.Atoms") -> "Structure":
        """From `ase.Atoms`; a cell without volume in a non-periodic direction is refused (use `atoms.center(vacuum=10)`)."""
        return cls.create(atoms.positions, atoms.cell.array, atoms.numbers.tolist(), tuple(atoms.pbc))

    def to_ase(self) -> "ase.Atoms":
        """The same structure as `ase.Atoms`."""
        from ase import Atoms

        return Atoms(self.species, positions=np.asarray(self.positions), cell=np.asarray(self.cell), pbc=self.pbc)

    def __len__(self) -> int:
        return len(self.species)

    def _repr_html_(self) -> str | None:
        if traced(self):
            return None
        atoms = self.to_ase()
        lengths, angles = np.split(atoms.cell.cellpar(), 2)
        rows = [
            ("atoms", len(self)),
            ("cell (angstrom)", ", ".join(f"{length:.4f}" for length in lengths)),
            ("angles (degrees)", ", ".join(f"{angle:.2f}" for angle in angles)),
            ("volume (angstrom^3)", f"{float(self.volume):.3f}"),
            ("periodic", ", ".join("yes" if periodic else "no" for periodic in self.pbc)),
        ]
        return html.table(f"Structure {atoms.symbols.formula.format('metal')}", rows)

    @property
    def base(self) -> "Structure":
        """The base cell that `repeats` make this structure of, with its atoms at the first cell's positions (traceable)."""
        count = len(self) // math.prod(self.repeats)
        array = numpy_for(self).asarray
        cell = array(self.cell) / np.asarray(self.repeats, self.cell.dtype)[:, None]
        first = array(self.positions)[:count]
        return Structure(constant(first), constant(cell), self.species[:count], self.pbc, (1, 1, 1))

    @property
    def volume(self) -> Float[Array, ""]:
        """Cell volume, angstrom^3 (differentiable)."""
        array = numpy_for(self.cell)
        return constant(array.abs(array.linalg.det(self.cell)))

    @property
    def reciprocal(self) -> Float[Array, "3 3"]:
        """Reciprocal lattice vectors as rows, 1/angstrom, with the factor 2 pi."""
        return constant(2 * np.pi * numpy_for(self.cell).linalg.inv(self.cell).T)

    @property
    def masses(self) -> np.ndarray:
        """Atomic masses, amu, shape (n,), from `ase.data`."""
        from ase.data import atomic_masses

        return atomic_masses[np.asarray(self.species)]

    def with_positions(self, positions: Any) -> "Structure":
        """The same crystal with other positions, shape (n, 3) (traceable).

        Raises:
            InputError: another shape.
        """
        if np.shape(positions) != self.positions.shape:
            raise InputError(f"positions have shape {np.shape(positions)}; this structure has {self.positions.shape}")
        return tree.replace(self, positions=jnp.asarray(positions))

    def strained(self, strain: Any) -> "Structure":
        """Homogeneously strained by a tensor of shape (3, 3): x -> x (1 + strain), positions and cell alike (traceable).

        Raises:
            InputError: another shape.
        """
        if np.shape(strain) != (3, 3):
            raise InputError(f"strain has shape {np.shape(strain)}; give a tensor of shape (3, 3)")
        deformation = jnp.eye(3, dtype=self.cell.dtype) + jnp.asarray(strain)
        return tree.replace(self, positions=self.positions @ deformation, cell=self.cell @ deformation)

    def scaled(self, factor) -> "Structure":
        """Isotropically scaled lengths."""
        return tree.replace(self, positions=self.positions * factor, cell=self.cell * factor)

    def astype(self, dtype) -> "Structure":
        """Positions and cell in another precision."""
        return tree.replace(self, positions=self.positions.astype(dtype), cell=self.cell.astype(dtype))

    def supercell(self, repeats: Any) -> "Structure":
        """Repeat the cell `repeats` times along each lattice vector (an integer repeats along periodic ones).

        Atoms are ordered cell by cell (first lattice vector slowest), the base cell's order within each.

        Raises:
            InputError: a repeat that is no whole number above zero, a repeat along a non-periodic direction, or more than
                `MOST_ATOMS` atoms.
        """
        counts = _repeats(repeats, self.pbc)
        for count, periodic in zip(counts, self.pbc, strict=True):
            if count > 1 and not periodic:
                raise InputError(f"supercell {repeats} repeats a non-periodic direction (pbc={self.pbc}); use 1 there")
        if self.repeats != (1, 1, 1):
            raise InputError(f"this structure is already a {self.repeats} supercell; repeat its base cell instead")
        atoms = len(self) * math.prod(counts)
        if atoms > MOST_ATOMS:
            raise InputError(
                f"supercell {repeats}: {atoms:.3g} atoms are more than {MOST_ATOMS:.0e}; repeat less often"
            )
        array = numpy_for(self).asarray
        x, cell = array(self.positions), array(self.cell)
        grid = np.indices(counts).reshape(3, -1).T.astype(cell.dtype)
        positions = (x[None] + (grid @ cell)[:, None]).reshape(-1, 3)
        cell = cell * np.asarray(counts, cell.dtype)[:, None]
        return Structure(constant(positions), constant(cell), self.species * math.prod(counts), self.pbc, counts)


def _numbers(values: Any, name: str) -> np.ndarray:
    """Values as an array of floats."""
    try:
        return np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{name} are not an array of numbers; give rows of three, in angstrom") from None


def _repeats(repeats: Any, pbc: tuple[bool, bool, bool]) -> tuple[int, int, int]:
    """Repeats of three directions; an integer means one along directions that are not periodic."""
    given = [repeats if p else 1 for p in pbc] if np.ndim(repeats) == 0 else list(repeats)
    if len(given) != 3:
        raise InputError(f"supercell {repeats}: give one positive integer or three")
    a, b, c = (whole_number(n, f"supercell {repeats}: give one positive integer or three") for n in given)
    return a, b, c


def _species(species: Any) -> tuple[int, ...]:
    """Atomic numbers of elements."""
    from ase.data import atomic_numbers

    known = len(atomic_numbers) - 1
    for z in species:
        if isinstance(z, str):
            hint = f" ({z} is {atomic_numbers[z]})" if z in atomic_numbers else ""
            raise InputError(f"species {z!r}: give atomic numbers{hint}")
    numbers = tuple(whole_number(z, "species: give atomic numbers") for z in species)
    if max(numbers) > known:
        raise InputError(f"species {max(numbers)}: there is no such element; atomic numbers go from 1 to {known}")
    return numbers


def _periodicity(pbc: Any) -> tuple[bool, bool, bool]:
    """Periodicity of three directions; one value is that of all."""
    given = [pbc] * 3 if np.ndim(pbc) == 0 else list(pbc)
    if len(given) != 3 or any(p not in (0, 1) for p in given):
        raise InputError(f"pbc {pbc!r}: give True, False, or three of these, one a lattice vector")
    return bool(given[0]), bool(given[1]), bool(given[2])


def _refuse_overlaps(structure: Structure, minimum_distance: float) -> None:
    """Raise `InputError` where two atoms (or an atom and its own image) are closer than `minimum_distance` angstrom."""
    from vesin import NeighborList

    finder = NeighborList(cutoff=minimum_distance, full_list=False)
    i, j, d = finder.compute(
        points=np.asarray(structure.positions, dtype=np.float64),
        box=np.asarray(structure.cell, dtype=np.float64),
        periodic=np.asarray(structure.pbc),
        quantities="ijd",
    )
    if len(i):
        raise InputError(
            f"atoms {int(i[0])} and {int(j[0])} are {float(d[0]):.3f} angstrom apart (less than {minimum_distance}); "
            "remove duplicates or check the units of the structure"
        )
