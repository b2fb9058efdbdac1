"""Force constants of a crystal from any potential, by differentiation of its forces.

Flows in: a potential and a supercell of a relaxed base cell. Flows out: `ForceConstants`, the rows of the Hessian that
belong to the first base cell; translational symmetry gives the others.
"""

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import traced
from jaxepi.potentials.base import Potential
from jaxepi.potentials.domain import warn_at_rest
from jaxepi.sampling import finite_displacements, phonopy_files
from jaxepi.sampling.polar import Polar
from jaxepi.structure import Structure
from jaxepi.tree import field, pytree

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


AT_ONCE = 4096
"""Displaced directions times atoms that are worked on together, unless told otherwise: about 3 GB of a network's tangents."""


@pytree
class ForceConstants:
    """Second derivatives of the energy of a supercell.

    Attributes:
        supercell: the relaxed structure; its `repeats` say which base cell it is made of.
        matrix: d2E/du_ia(0) du_jb(R), eV/angstrom^2, shape (b, 3, r, b, 3): atom i of the first base cell, direction a,
            base cell R in the supercell's order, atom j, direction b. Images of R by supercell translations are summed.
        polar: charges of the base cell's atoms, where it is polar: they decide frequencies between the wave vectors of
            the supercell, and those of longitudinal modes that come to Gamma.
        weights: masses of the base cell's atoms, amu, where they are not those of the elements in nature.
    """

    supercell: Structure
    matrix: Float[Array, "b 3 r b 3"] = field(unit="eV/angstrom^2")
    polar: Polar | None = None
    weights: Float[Array, " b"] | None = field(unit="amu", default=None)

    @classmethod
    def from_phonopy(cls, path: str | os.PathLike, born: str | os.PathLike | None = None) -> "ForceConstants":
        """From phonopy's files: phonopy.yaml and its like with what stands beside it, FORCE_CONSTANTS (full or compact),
        FORCE_SETS, force_constants.hdf5; supercells of any shape.

        The base cell is phonopy's primitive cell; its lattice vectors are others of the same lattice where the supercell
        is not diagonal. `resampled` takes the constants to a supercell of your own.

        Args:
            path: the file. born: its BORN file, when it stands elsewhere.

        Raises:
            InputError: phonopy is not installed; files that are missing, damaged or do not belong together, by name.
        """
        return cls.of_phonopy(phonopy_files.read(path, born))

    @classmethod
    def of_phonopy(cls, found: phonopy_files.Read) -> "ForceConstants":
        """From what `phonopy_files.read` has found."""
        return cls(found.supercell, jnp.asarray(found.matrix), found.polar, jnp.asarray(found.masses))

    @classmethod
    def from_ase(
        cls,
        calculator: "Calculator",
        supercell: Structure,
        *,
        displacement: float = 0.01,
        folder: str | os.PathLike | None = None,
        progress: bool = False,
        force_tolerance: float = 1e-2,
        name: str | None = None,
    ) -> "ForceConstants":
        """From the forces of any ASE calculator on displaced supercells, as few as symmetry allows.

        Forces of opposite displacements are subtracted, so that neither cubic terms nor what is left of forces at rest
        count; then symmetry and the acoustic sum rule are imposed.

        Args:
            calculator: of ASE, whatever computes forces of `ase.Atoms`. supercell: at rest, made by `Structure.supercell`.
            displacement: of one atom, angstrom. folder: keeps the forces of each supercell; a second call goes on from
                there. It tells calculators apart by `name`: give each model or setting one, or a folder of its own.
            progress: a bar on stderr. force_tolerance: largest force accepted at rest, eV/angstrom.
            name: of the calculator, for the folder and messages; that of its class, when left out.

        Raises:
            InputError: a structure that is not at rest, forces that are no numbers, a folder of another calculation.
        """
        check_periodicity(supercell)
        kept = finite_displacements.Kept(name or type(calculator).__name__, folder)
        matrix = finite_displacements.rows(calculator, supercell, displacement, kept, progress, force_tolerance)
        return cls(supercell, settled(jnp.asarray(matrix), supercell.repeats))

    def write_phonopy(self, path: str | os.PathLike, made_by: str = "") -> None:
        """A phonopy_params.yaml with these force constants, and the charges where there are some.

        Args:
            made_by: for its first line, a comment.

        Raises:
            InputError: phonopy is not installed. OSError: the file cannot be written.
        """
        phonopy_files.write(path, *self._for_phonopy(), made_by)

    def to_phonopy(self) -> Any:
        """The same as a `phonopy.Phonopy`, for what phonopy does.

        Raises:
            InputError: phonopy is not installed.
        """
        return phonopy_files.handed(*self._for_phonopy())

    def _for_phonopy(self) -> tuple[Structure, tuple[int, int, int], np.ndarray, np.ndarray, Polar | None]:
        masses = np.asarray(self.inverse_root_masses[:, 0], dtype=float) ** -2
        return self.base, self.supercell.repeats, np.asarray(self.matrix), masses, self.polar

    @property
    def base(self) -> Structure:
        """The base cell, with its atoms at the first cell's positions."""
        return self.supercell.base

    @property
    def dynamical_matrices(self) -> Inexact[Array, "q m m"]:
        """Mass-weighted D(q) at the wave vectors of `commensurate(half=True)`, eV/(angstrom^2 amu), m = 3b, cell gauge.

        D_ij(q) = sum_R matrix_ij(R) exp(i q.R)/sqrt(M_i M_j).
        """
        b, repeats = self.matrix.shape[0], self.supercell.repeats
        phi = jnp.moveaxis(self.matrix, 2, 0).reshape(*repeats, 3 * b, 3 * b)
        d = jnp.conj(jnp.fft.rfftn(phi, axes=(0, 1, 2))).reshape(-1, 3 * b, 3 * b)
        weight = self.inverse_root_masses.ravel().astype(d.dtype)
        d = d * (weight[:, None] * weight[None, :])[None]
        return 0.5 * (d + jnp.conj(jnp.swapaxes(d, 1, 2)))

    @property
    def inverse_root_masses(self) -> Float[Array, "b 3"]:
        """1/sqrt(M_i), amu^-1/2, repeated for the three directions."""
        masses = jnp.asarray(self.base.masses if self.weights is None else self.weights, self.matrix.dtype)
        return jnp.repeat(masses[:, None] ** -0.5, 3, axis=1)

    def commensurate(self, half: bool = False) -> np.ndarray:
        """Wave vectors that fit the supercell, fractional of the base cell's reciprocal vectors, shape (q, 3).

        Args:
            half: leave out those that follow from real displacements (the order of `dynamical_matrices`).
        """
        n = self.supercell.repeats
        last = n[2] // 2 + 1 if half else n[2]
        return np.indices((n[0], n[1], last)).reshape(3, -1).T / np.asarray(n, dtype=float)


def force_constants(
    potential: Potential | Any,
    supercell: Structure,
    graph: Graph | None = None,
    *,
    force_tolerance: float = 1e-3,
    batch: int | None = None,
) -> ForceConstants:
    """Hessian rows of the first base cell, by forward derivatives of the forces; the acoustic sum rule is enforced.

    Can be differentiated by the potential's parameters, by positions and by the cell when `graph` is given; the checks
    are made on concrete values only, with a warning where the potential was trained on nothing like the crystal.

    Args:
        potential: any potential of jaxepi (`ForceConstants.from_ase` takes calculators).
        supercell: at rest, made by `Structure.supercell` (or its own base cell, repeats 1).
        graph: its topology; built here when left out.
        force_tolerance: largest force component accepted at rest, eV/angstrom.
        batch: how many displaced directions are worked on at once (fewer take less memory); as many as `AT_ONCE` allows when
            left out.

    Raises:
        InputError: the supercell is not a repetition of its first base cell, forces do not vanish, or no potential.
    """
    check_potential(potential)
    check_periodicity(supercell)
    if graph is None:
        graph = potential.graph(supercell)
    graph = graph.check(supercell)
    if traced(potential, supercell, graph):
        return ForceConstants(supercell, _rows(potential, supercell, graph, batch)[0])
    with jax.core.eval_context():
        matrix, forces = _rows(potential, supercell, graph, batch)
        largest = float(np.abs(np.asarray(forces)).max())
        if not largest <= force_tolerance:
            raise InputError(
                f"the supercell is not at rest: the largest force is {largest:.3g} eV/angstrom (accepted: "
                f"{force_tolerance:g}); relax the structure with this potential first"
            )
        warn_at_rest(potential, supercell, graph)
    return ForceConstants(supercell, matrix)


@partial(jax.jit, static_argnames="batch")
def _rows(potential: Potential, supercell: Structure, graph: Graph, batch: int | None) -> tuple[Array, Array]:
    """The matrix of the force constants, symmetric and with the sum rule, and the forces at rest."""
    x, repeats = supercell.positions, supercell.repeats
    cells = int(np.prod(repeats))
    b = len(supercell) // cells
    forces, column = jax.linearize(lambda y: potential.forces(supercell.with_positions(y), graph), x)
    directions = jnp.eye(3 * b, x.size, dtype=x.dtype).reshape(3 * b, *x.shape)
    rounds = -(-3 * b // batch) if batch else -(-3 * b * len(x) // AT_ONCE)
    # Rounds of about equal size.
    size = max(1, -(-3 * b // rounds))
    columns = jax.vmap(column)(directions) if rounds == 1 else jax.lax.map(column, directions, batch_size=size)
    return settled(-columns.reshape(b, 3, cells, b, 3), repeats), forces


def settled(matrix: Array, repeats: tuple[int, int, int]) -> Array:
    """A matrix that is symmetric, and moves no atom when all move alike: the acoustic sum rule."""
    matrix = symmetric(matrix, repeats)
    excess = matrix.sum(axis=(2, 3))
    atoms = jnp.arange(len(matrix))
    return matrix.at[atoms, :, 0, atoms, :].add(-0.5 * (excess + jnp.swapaxes(excess, 1, 2)))


def symmetric(matrix: Array, repeats: tuple[int, int, int]) -> Array:
    """matrix_ij(R) = matrix_ji(-R)^T, exactly; an orthogonal projection. Pure."""
    grid = np.indices(list(repeats)).reshape(3, -1).T
    opposite = np.ravel_multi_index(tuple((-grid % np.asarray(repeats)).T), repeats)
    return 0.5 * (matrix + jnp.transpose(matrix[:, :, opposite], (3, 4, 2, 0, 1)))


def check_potential(potential: Any) -> None:
    """Refuse what is no potential of jaxepi."""
    if not isinstance(potential, Potential):
        raise InputError(
            f"{type(potential).__name__} is no potential of jaxepi; forces of an ASE calculator are displaced for, by "
            "ForceConstants.from_ase(calculator, supercell)"
        )


def check_periodicity(supercell: Structure, tolerance: float = 1e-3) -> None:
    """Refuse a supercell whose atoms are not the first base cell's, repeated (within `tolerance` angstrom)."""
    cells = int(np.prod(supercell.repeats))
    b = len(supercell) // cells
    if b * cells != len(supercell) or supercell.species != supercell.species[:b] * cells:
        raise InputError(
            f"{len(supercell)} atoms are not {supercell.repeats} repetitions of one base cell; make the supercell with "
            "Structure.supercell, or set repeats to (1, 1, 1)"
        )
    if traced(supercell):
        return
    x, cell = np.asarray(supercell.positions, dtype=float), np.asarray(supercell.cell, dtype=float)
    grid = np.indices(list(supercell.repeats)).reshape(3, -1).T
    expected = x[None, :b] + (grid @ (cell / np.asarray(supercell.repeats)[:, None]))[:, None]
    off = np.abs(expected.reshape(-1, 3) - x).max(axis=1)
    if off.max() > tolerance:
        atom = int(off.argmax())
        raise InputError(
            f"atom {atom} is {off[atom]:.3g} angstrom away from where the first base cell repeats to; harmonic "
            "sampling starts from the perfect supercell: pass that, or set repeats to (1, 1, 1)"
        )
