"""What all calculations of excitons share: mesh, active bands, polarisations, and the pairs of one configuration."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from jaxepi import units
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import refuse_or_nan
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.kpoints import mesh as regular_mesh
from jaxepi.linalg import call_lapack
from jaxepi.optics.bethe_salpeter.interaction import (
    ONSITE,
    Interaction,
    ModelDielectric,
    Screening,
    attraction_table,
    exchange_table,
    thomas_fermi_length,
)
from jaxepi.optics.bethe_salpeter.pairs import (
    MOST_WAVES,
    Bands,
    Found,
    Pairs,
    chunk_of,
    memory_bytes,
    orbital_atoms,
    states,
    window,
)
from jaxepi.optics.broadening import EnergyGrid
from jaxepi.optics.dielectric import Transitions, transitions
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure
from jaxepi.tree import replace

WEAKER = "with this attraction the crystal would make pairs by itself; give a larger eps0, or less on one atom (onsite)"
"""What helps where pairs have no real energies."""

T = TypeVar("T")

COMPLEX = {"float64": "complex128", "float32": "complex64"}


def at_rest(structure: Structure) -> Snapshots:
    """One snapshot: the structure itself."""
    return Snapshots(structure, structure.positions[None], jnp.zeros((), structure.positions.dtype))


def screening_of(
    hamiltonian: Hamiltonian,
    structure: Structure,
    eps0: float | Array | None = None,
    onsite: float | Array = ONSITE,
    kmesh: int = 8,
) -> Screening:
    """Screening of a crystal: by its dielectric constant, over the Thomas-Fermi length of its valence electrons.

    Args:
        structure: at rest. eps0: of the electrons; by default that of independent particles of this Hamiltonian, on a mesh.
        onsite: attraction on one atom, eV. kmesh: divisions of the mesh for the default eps0.
    """
    return Screening(
        _or_independent(eps0, hamiltonian, structure, kmesh),
        onsite,
        thomas_fermi_length(_valence(hamiltonian, structure), structure.volume),
    )


def model_dielectric_of(
    hamiltonian: Hamiltonian, structure: Structure, eps0: float | Array | None = None, kmesh: int = 8
) -> ModelDielectric:
    """Screening of a crystal by a model dielectric function of its valence electrons, on one atom too.

    Args:
        structure, eps0, kmesh: as `screening_of`.
    """
    density = _valence(hamiltonian, structure) / structure.volume
    return ModelDielectric(_or_independent(eps0, hamiltonian, structure, kmesh), density)


def _or_independent(
    eps0: float | Array | None, hamiltonian: Hamiltonian, structure: Structure, kmesh: int
) -> float | Array:
    """What was given, or the dielectric constant of independent particles."""
    if eps0 is not None:
        return eps0
    return transitions(hamiltonian, at_rest(structure), kmesh, tensor=False).static_eps1()[0]


def _valence(hamiltonian: Hamiltonian, structure: Structure) -> int:
    """Valence electrons of a cell."""
    return hamiltonian.basis.occupied(structure.species) * hamiltonian.basis.spin_degeneracy


@dataclasses.dataclass(frozen=True)
class Setup:
    """Choices that are the same for all configurations of a crystal.

    Attributes:
        mesh: divisions. points: fractional, in the order of the Fourier transform, shape (K, 3); one of each pair k and -k
            where `halved`. weights: how many points of the mesh each stands for. bands: the active ones.
        polarisations: unit vectors, shape (p, 3). precision: of states and products. atoms: of each orbital.
        degeneracy: of spin.
    """

    mesh: tuple[int, int, int]
    points: np.ndarray
    weights: np.ndarray
    bands: Bands
    polarisations: np.ndarray
    precision: str
    atoms: tuple[int, ...]
    degeneracy: int

    @classmethod
    def of(
        cls,
        hamiltonian: Hamiltonian,
        structure: Structure,
        kmesh: int | Sequence[int],
        valence: int | None,
        conduction: int | None,
        polarisations: Any,
        shift: Sequence[float],
        precision: str,
        halved: bool = False,
    ) -> "Setup":
        """Check every choice.

        Args:
            halved: of k and -k keep one, where time reversal and the mesh allow it and products gain by it.

        Raises:
            InputError: a mesh, bands, polarisations or a precision that cannot be, or overlaps of which no positions follow.
        """
        hamiltonian.check_positions()
        if precision not in COMPLEX:
            raise InputError(f"precision {precision!r}: choose {' or '.join(COMPLEX)}")
        bands = window(hamiltonian, structure, valence, conduction)
        points = regular_mesh(kmesh, shift, time_reversal=False, periodic=structure.pbc).points
        given: Any = kmesh
        n1, n2, n3 = (given if p else 1 for p in structure.pbc) if np.ndim(given) == 0 else given
        mesh = (int(n1), int(n2), int(n3))
        directions = np.eye(3) if polarisations is None else np.array(polarisations, float, ndmin=2)
        length = np.linalg.norm(directions, axis=1)
        if directions.shape[1:] != (3,) or not len(directions) or not (length > 0).all():
            raise InputError(f"polarisations of shape {directions.shape}: give directions of the field, shape (p, 3)")
        weights = np.ones(len(points))
        if halved and hamiltonian.real and len(points) <= MOST_WAVES:
            merged = regular_mesh(kmesh, shift, periodic=structure.pbc)
            points, weights = merged.points, np.rint(merged.weights * len(points))
        atoms = orbital_atoms(hamiltonian, structure)
        degeneracy = hamiltonian.basis.spin_degeneracy
        return cls(mesh, points, weights, bands, directions / length[:, None], precision, atoms, degeneracy)

    def memory(self) -> dict[str, float]:
        """Bytes by part: `memory_bytes`."""
        polarisations = len(self.polarisations)
        count = len(self.atoms), max(self.atoms) + 1, len(self.points), math.prod(self.mesh)
        return memory_bytes(*count, self.bands, polarisations, self.precision)

    def scale(self, structure: Structure) -> Array:
        """Squared dipoles summed over the mesh, angstrom^2, times this are an integral of eps2, eV."""
        return 4 * jnp.pi**2 * units.COULOMB * self.degeneracy / (structure.volume * math.prod(self.mesh))

    def states(self, hamiltonian: Hamiltonian, structure: Structure, graph: Graph, grid: EnergyGrid | None) -> Found:
        """States of one configuration on the mesh.

        Raises:
            InputError: a metal (NaN under tracing).
        """
        points = jnp.asarray(self.points, structure.positions.dtype)
        directions = jnp.asarray(self.polarisations, points.dtype)
        weights = jnp.asarray(self.weights / self.weights.sum(), points.dtype)
        args = (hamiltonian, structure, graph, points, weights, directions, self.bands, grid, COMPLEX[self.precision])
        found = call_lapack(len(self.atoms), states, *args)
        top, bottom = (found.eigenvalues[:, n] for n in (self.bands[1] - 1, self.bands[1]))
        return gapped(found, top.max(), bottom.min())

    def pairs(
        self,
        hamiltonian: Hamiltonian,
        structure: Structure,
        graph: Graph,
        interaction: Interaction,
        exchange: bool,
        grid: EnergyGrid | None,
    ) -> tuple[Pairs, tuple[Array, Array, Array]]:
        """Pairs of one configuration; bins of all transitions and of those outside the active bands; and eigenvalues."""
        found = self.states(hamiltonian, structure, graph, grid)
        real = found.dipoles.real.dtype
        dtype = structure.positions.dtype  # nearest images and sums are those of the crystal the graph was built from
        rest = replace(structure, positions=graph.positions.astype(dtype), cell=graph.cell.astype(dtype))
        table = attraction_table(interaction, structure, self.mesh, rest).astype(real)
        fields = None
        if exchange and all(structure.pbc):
            fields = (self.degeneracy * exchange_table(structure, like=graph.cell)).astype(real)
        cells = math.prod(self.mesh)
        chunk = chunk_of(
            len(self.atoms), len(self.points), cells, found.dipoles.dtype.itemsize, len(self.polarisations)
        )
        pairs = Pairs(*found[:5], table, fields, atoms=self.atoms, mesh=self.mesh, chunk=chunk)
        if len(self.points) < cells:
            roots, waves = (jnp.asarray(x, real) for x in self._waves())
            dipoles = roots.astype(pairs.dipoles.dtype)[None, :, None, None] * pairs.dipoles
            pairs = replace(pairs, dipoles=dipoles, roots=roots, waves=waves)
        outside = found.everything - found.active
        return pairs, (found.everything.mean(axis=0), outside.mean(axis=0), found.eigenvalues)

    def _waves(self) -> tuple[np.ndarray, np.ndarray]:
        """Roots of the weights, and times them cos(k.R) and -sin(k.R) in all cells: see `Pairs`."""
        cells, roots = np.array(list(np.ndindex(self.mesh))), np.sqrt(self.weights)
        angle = 2 * np.pi * cells @ self.points.T
        return roots, np.stack([roots * np.cos(angle), -roots * np.sin(angle)], axis=-1)

    def transitions(
        self, hamiltonian: Hamiltonian, snapshots: Snapshots, bins: list[Array], levels: list[Array], grid: EnergyGrid
    ) -> Transitions:
        """Binned transitions of all snapshots, one isotropic component."""
        structure = snapshots.structure
        occupied = hamiltonian.basis.occupied(structure.species)
        electrons = occupied * self.degeneracy / structure.volume
        plasma = 4 * jnp.pi * units.COULOMB * units.HBAR2_PER_ELECTRON_MASS * electrons
        weights = jnp.asarray(self.weights / self.weights.sum())
        histogram, eigenvalues = jnp.stack(bins)[:, None], jnp.stack(levels)
        found = Transitions(histogram, eigenvalues, weights, plasma, grid, occupied)
        return dataclasses.replace(found, snapshot_weights=snapshots.weights, groups=snapshots.groups)


def gapped(value: T, top: Array, bottom: Array) -> T:
    """The same value where the filled bands end below the empty ones, at `top` and `bottom`, eV.

    Raises:
        InputError: a metal (NaN under tracing).
    """

    def complaint() -> str:
        return (
            f"the filled bands reach {float(top):.3f} eV and the empty ones begin at {float(bottom):.3f} eV: a metal screens "
            "its electrons from its holes; excitons need a gap"
        )

    return refuse_or_nan(value, bottom - top > 1e-3, complaint)
