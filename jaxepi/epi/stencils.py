"""How the blocks of a Hamiltonian follow single atoms: first derivatives in real space, and their Bloch sums at any (k, q).

Flows in: a Hamiltonian and a primitive cell at rest. Flows out: dH/du and dS/du between k and k + q, without a supercell that
fits q. One atom after another is displaced in a container, a supercell so large that no block feels an atom and its image
at once; by translation that is the derivative of all blocks by all atoms. Nothing is asked of the Hamiltonian but its blocks,
so that on-site terms, three-centre terms and surroundings seen through a network are all in it.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from ase.geometry import find_mic, minkowski_reduce
from jaxtyping import Array, Complex, Float, Inexact, Int

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import traced
from jaxepi.hamiltonians.base import Blocks, Hamiltonian
from jaxepi.linalg import alike
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static

NEGLIGIBLE = 1e-13
"""Relative size below which a derivative is round-off."""

MARGIN = 0.5
"""Angstrom between the farthest atom that a block feels and where its images would begin to count."""

COMFORTABLE = 300
"""Atoms up to which a container also keeps all pairs of atoms apart that one block feels."""

MOST = 5000
"""Atoms of the largest container."""

SKIN = 0.4
"""Angstrom beyond the cutoff in the graphs of containers, whose atoms stay at rest: room for strains of some percent."""


def narrow_graph(hamiltonian: Hamiltonian, container: Structure) -> Graph:
    """Topology of a container at rest, without most of a model's skin where its terms end at the cutoff."""
    module = hamiltonian.module
    return hamiltonian.graph(container, min(SKIN, module.skin) if module.ends_at_cutoff else None)


@pytree
class Stencil:
    """Which blocks of a container follow the atoms of its first cell, found on the host.

    Attributes:
        graph: of the container. moved: the atom of the base cell, shape (t,). site: the container's atom whose on-site block it
            is, or the edge whose hopping, counted after all atoms, shape (t,). sender, receiver: atoms of the base cell between
            which the block stands, shape (t,). cell: lattice translation of the sender from the cell of the atom that moves,
            shape (t, 3). repeats: of the container (static). reach: of the farthest atom felt, from the middle of a bond,
            angstrom (static).
    """

    graph: Graph
    moved: Int[Array, " t"]
    site: Int[Array, " t"]
    sender: Int[Array, " t"]
    receiver: Int[Array, " t"]
    cell: Int[Array, "t 3"]
    repeats: tuple[int, int, int] = static()
    reach: float = static()


@pytree
class Couplings:
    """Derivatives of H(R) and S(R) by the displacements of single atoms, with what their Bloch sums need.

    Attributes:
        h: eV/angstrom, shape (t, 3, o, o). s: 1/angstrom, or None for an orthogonal basis.
        bond: vector of each block, angstrom, shape (t, 3). start: from the cell of the atom that moves to the sender.
        group: atom that moves, sender and receiver of each block as one number, shape (t,).
        kept: orbitals of the padded blocks of a cell, in the order of H(k) (static). atoms: in a cell (static).
    """

    h: Inexact[Array, "t 3 o o"]
    s: Inexact[Array, "t 3 o o"] | None
    bond: Float[Array, "t 3"]
    start: Float[Array, "t 3"]
    group: Int[Array, " t"]
    kept: tuple[int, ...] = static()
    atoms: int = static()

    def between(
        self, k: Float[Array, "3"], q: Float[Array, "3"]
    ) -> tuple[Complex[Array, "m N N"], Complex[Array, "m N N"] | None]:
        """<k+q| dH/du |k> and the same of S for each Cartesian displacement u exp(iq.R) of each atom, m = 3 atoms.

        H in eV/angstrom, atomic gauge on both sides; in u the phase is that of the cell, as in the dynamical matrix. Columns
        stand at k, rows at k + q.

        Args:
            k, q: Cartesian, 1/angstrom.
        """
        angle = self.bond @ k - self.start @ q
        phase = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))
        return self._sum(phase, self.h), None if self.s is None else self._sum(phase, self.s)

    def _sum(self, phase: Array, blocks: Array) -> Array:
        n, width = self.atoms, blocks.shape[-1]
        phase, blocks = alike(phase, blocks)
        terms = phase[:, None, None, None] * blocks
        sums = jax.ops.segment_sum(terms, self.group, n**3).reshape(n, n, n, 3, width, width)
        whole = jnp.transpose(sums, (0, 3, 1, 4, 2, 5)).reshape(3 * n, n * width, n * width)
        if len(self.kept) == n * width:
            return whole
        kept = np.array(self.kept)
        return whole[:, kept][:, :, kept]


def stencil(hamiltonian: Hamiltonian, cell: Structure, repeats: tuple[int, int, int] | None = None) -> Stencil:
    """Which blocks follow an atom of a primitive cell; on the host, from derivatives at rest.

    Args:
        repeats: of the container; the smallest that is large enough when left out.

    Raises:
        InputError: a Hamiltonian that follows no displacement, a cell that is traced, or a container that is too small.
    """
    if hamiltonian.fixed:
        raise InputError(
            f"{hamiltonian.module.called} is the Hamiltonian of one crystal at rest and follows no displacements: electron-"
            "phonon coupling needs one that does"
        )
    if traced(hamiltonian, cell):
        raise InputError("which blocks follow an atom is found on the host: call stencil outside jit, and hand it in")
    if repeats is not None:
        found, width = _in_container(hamiltonian, cell, repeats)
        # Images that move together may cancel, where they are close enough to be felt at once.
        needed = max(found.reach + MARGIN, hamiltonian.module.cutoff)
        if needed > width:
            raise InputError(
                f"blocks of {hamiltonian.module.called} feel atoms up to {needed:.2f} angstrom away; in a container {repeats} "
                f"their images begin at {width:.2f}; give more repeats, or leave them out"
            )
        return found
    # Twice as wide as needed to tell images apart, small containers tell all pairs apart that one block feels.
    size = 4 * hamiltonian.module.cutoff
    if len(cell) * math.prod(_repeats(cell, size)) > COMFORTABLE:
        size = 2 * hamiltonian.module.cutoff
    while True:
        counts = _repeats(cell, size)
        if len(cell) * math.prod(counts) > MOST:
            raise InputError(
                f"blocks of {hamiltonian.module.called} feel atoms too far away: {counts} cells are no container for them"
            )
        found, width = _in_container(hamiltonian, cell, counts)
        if found.reach + MARGIN <= width:
            return found
        size = max(size * 1.2, 2 * (found.reach + MARGIN))


def _repeats(cell: Structure, size: float) -> tuple[int, int, int]:
    """Repeats of a cell whose shortest translation is at least `size` angstrom; one where it is not periodic."""
    counts = [1, 1, 1]
    periodic = [axis for axis in range(3) if cell.pbc[axis]]
    while periodic:
        period = _width(np.asarray(cell.cell) * np.array(counts)[:, None], cell.pbc) * 2
        if period >= size - 1e-9:
            break
        lengths = np.linalg.norm(np.asarray(cell.cell), axis=1) * counts
        shortest = min(lengths[axis] for axis in periodic)
        for axis in periodic:
            counts[axis] += int(lengths[axis] < shortest * 1.001)
    return counts[0], counts[1], counts[2]


def _width(cell: np.ndarray, pbc: tuple[bool, bool, bool]) -> float:
    """Half the shortest lattice translation, angstrom; infinite without any."""
    reduced, _ = minkowski_reduce(cell, pbc)
    return min((float(np.linalg.norm(reduced[i])) / 2 for i in range(3) if pbc[i]), default=math.inf)


def _in_container(hamiltonian: Hamiltonian, cell: Structure, repeats: tuple[int, int, int]) -> tuple[Stencil, float]:
    """The stencil of one container, and the distance up to which it can tell an atom from its images, angstrom."""
    container = cell.supercell(repeats)
    graph = narrow_graph(hamiltonian, container)
    b, n = len(cell), len(container)
    sizes = np.asarray(_sizes(hamiltonian, cell, graph, repeats))
    moved, site = np.nonzero(sizes > NEGLIGIBLE * sizes.max())
    senders = np.concatenate([np.arange(n), np.asarray(graph.senders)])[site]
    receivers = np.concatenate([np.arange(n), np.asarray(graph.receivers)])[site]
    x, lattice = np.asarray(container.positions, dtype=float), np.asarray(container.cell, dtype=float)
    bonds = np.concatenate([np.zeros((n, 3)), np.asarray(graph.reference)])[site]
    middle = x[senders] + 0.5 * bonds - x[moved]
    nearest, lengths = find_mic(middle, lattice, container.pbc)
    shift = np.rint((nearest - middle) @ np.linalg.inv(lattice)).astype(np.int64)
    cells = np.indices(repeats).reshape(3, -1).T
    translation = cells[senders // b] + shift * np.asarray(repeats)
    atom, place, sender, receiver, away = (
        jnp.asarray(a.astype(np.int32)) for a in (moved, site, senders % b, receivers % b, translation)
    )
    found = Stencil(graph, atom, place, sender, receiver, away, repeats, float(lengths.max(initial=0.0)))
    return found, _width(lattice, container.pbc)


@jax.jit
def _derivatives(hamiltonian: Hamiltonian, container: Structure, graph: Graph) -> tuple:
    """Derivatives of on-site blocks, hoppings and overlaps by the positions of the first cell's atoms: leading axis (3 b,)."""
    x = container.positions
    first = 3 * (len(container) // math.prod(container.repeats))

    def blocks(y: Array) -> tuple[Array, Array, Array | None, Array | None]:
        found: Blocks = hamiltonian.blocks(container.with_positions(y), graph)
        return found.onsite, found.hopping, found.overlap, found.onsite_overlap

    def along(i: Array) -> tuple:
        direction = jnp.zeros_like(x).at[i // 3, i % 3].set(1)
        return jax.jvp(blocks, (x,), (direction,))[1]

    return jax.lax.map(along, jnp.arange(first))


def _sizes(hamiltonian: Hamiltonian, cell: Structure, graph: Graph, repeats: tuple[int, int, int]) -> np.ndarray:
    """Largest derivative of each block of a container by each atom of the first cell, shape (b, n + e)."""
    found = _derivatives(hamiltonian, cell.supercell(repeats), graph)
    sizes = (0.0 if d is None else np.abs(np.asarray(d)).max(axis=(2, 3)) for d in found)
    onsite, hopping, overlap, onsite_overlap = sizes
    both = (np.maximum(onsite, onsite_overlap), np.maximum(hopping, overlap))
    return np.concatenate(both, axis=1).reshape(len(cell), 3, -1).max(axis=1)


def couplings(hamiltonian: Hamiltonian, cell: Structure, stencil: Stencil) -> Couplings:
    """First derivatives of the blocks by all displacements; pure, once the stencil is known.

    Args:
        cell: the primitive cell at rest, perhaps strained.
    """
    container = cell.supercell(stencil.repeats)
    graph, b, n = stencil.graph, len(cell), len(container)
    onsite, hopping, overlap, onsite_overlap = _derivatives(hamiltonian, container, graph)

    def chosen(of_atoms: Array | None, of_edges: Array) -> Array:
        width = of_edges.shape[-1]
        first = jnp.zeros((3 * b, n, width, width), of_edges.dtype) if of_atoms is None else of_atoms
        first, of_edges = alike(first, of_edges)
        every = jnp.concatenate([first, of_edges], axis=1).reshape(b, 3, -1, width, width)
        return every[stencil.moved, :, stencil.site]

    bonds = jnp.concatenate([jnp.zeros((n, 3), cell.positions.dtype), graph.vectors(container)])[stencil.site]
    start = cell.positions[stencil.sender] + stencil.cell.astype(cell.cell.dtype) @ cell.cell
    basis = hamiltonian.basis
    size = basis.size(cell.species)
    kept = tuple(np.flatnonzero(basis.index(cell.species).ravel() < size).tolist())
    group = (stencil.moved * b + stencil.sender) * b + stencil.receiver
    s = None if overlap is None else chosen(onsite_overlap, overlap)
    return Couplings(chosen(onsite, hopping), s, bonds, start, group, kept, b)
