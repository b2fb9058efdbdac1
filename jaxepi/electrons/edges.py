"""Band edges: where the gap is in k space, and what temperature does to it.

The edges of the perfect primitive crystal fold to known k points of a supercell. There, snapshot by snapshot, the states
of the two edges are averaged over their degenerate sets and over the equivalent valleys: the thermal gap.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi import html
from jaxepi.electrons.eigen import generalized_eigvalsh, plausible
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import constant, numpy_for, traced
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian
from jaxepi.kpoints import mesh
from jaxepi.linalg import call_lapack
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure
from jaxepi.symmetry import operations, same, star
from jaxepi.tree import field, pytree, static, stored

DEGENERACY = 1e-4
"""States closer than this (eV) at equilibrium belong to one edge."""


@stored
@pytree
class BandEdges:
    """Band edges of a crystal at equilibrium.

    Attributes:
        valence_k, conduction_k: Cartesian k of all equivalent maxima and minima, 1/angstrom, shapes (v, 3) and (c, 3).
        valence, conduction: energies, eV.
        direct: vertical gap at the valence edge, eV.
        degeneracies: states of the valence and of the conduction edge at one k (static).
    """

    valence_k: Float[Array, "v 3"] = field(unit="1/angstrom")
    conduction_k: Float[Array, "c 3"] = field(unit="1/angstrom")
    valence: Float[Array, ""] = field(unit="eV")
    conduction: Float[Array, ""] = field(unit="eV")
    direct: Float[Array, ""] = field(unit="eV")
    degeneracies: tuple[int, int] = static()

    def _repr_html_(self) -> str | None:
        if traced(self):
            return None
        rows = [
            ("gap (eV)", f"{float(self.gap):.4f}, {'direct' if self.is_direct else 'indirect'}"),
            ("smallest vertical gap at the valence edge (eV)", f"{float(self.direct):.4f}"),
            (
                "valence edge (eV)",
                f"{float(self.valence):.4f}, at {len(self.valence_k)} k, {self.degeneracies[0]} states each",
            ),
            (
                "conduction edge (eV)",
                f"{float(self.conduction):.4f}, at {len(self.conduction_k)} k, {self.degeneracies[1]} states each",
            ),
        ]
        return html.table("Band edges", rows)

    @property
    def gap(self) -> Float[Array, ""]:
        """Fundamental gap, eV."""
        return self.conduction - self.valence

    @property
    def is_direct(self) -> bool:
        """Whether both edges are at the same k point."""
        return bool(np.allclose(np.asarray(self.valence_k[0]), np.asarray(self.conduction_k[0]), atol=1e-3))


def band_edges(hamiltonian: Hamiltonian, cell: Structure, divisions: int = 8) -> BandEdges:
    """Find the valence maximum and conduction minimum of a crystal: a k mesh, then local refinement.

    Args:
        cell: the primitive cell at equilibrium. divisions: of the starting mesh, along periodic directions.

    Raises:
        InputError: bands overlap or touch (a metal), there is no empty band, or energies are absurd.
    """
    from scipy import optimize  # a third of the time in which all stages are imported

    graph = hamiltonian.graph(cell)
    occupied = hamiltonian.basis.occupied(cell.species)
    if not 0 < occupied < hamiltonian.basis.size(cell.species):
        size = hamiltonian.basis.size(cell.species)
        raise InputError(f"{occupied} of {size} bands are filled: a gap needs filled and empty ones")
    points = mesh(divisions, periodic=cell.pbc).points
    e = plausible(_levels_of(hamiltonian, cell, graph, points, len(points)))
    steps = np.eye(3)[np.asarray(cell.pbc)] * 0.3 / divisions

    def at(k: np.ndarray) -> np.ndarray:
        return _levels_of(hamiltonian, cell, graph, k[None], len(points))[0]

    def refine(band: int, sign: int) -> tuple[np.ndarray, float]:
        value = sign * float((sign * e[:, band]).min())
        start = points[np.argmin(sign * e[:, band])]
        if not len(steps):
            return start, value
        best = optimize.minimize(
            lambda x: sign * float(at(start + x @ steps)[band]),
            np.zeros(len(steps)),
            method="Nelder-Mead",
            options={"initial_simplex": np.vstack([np.zeros(len(steps)), np.eye(len(steps))]), "xatol": 1e-6},
        )
        return (start + best.x @ steps, sign * best.fun) if best.fun < sign * value - 1e-9 else (start, value)

    top_k, top = refine(occupied - 1, -1)
    bottom_k, bottom = refine(occupied, 1)
    if bottom <= top:
        raise InputError(f"the bands overlap by {top - bottom:.3f} eV: a metal has no gap")
    if bottom - top < DEGENERACY:
        raise InputError(f"filled and empty bands touch (within {bottom - top:.1e} eV): a semimetal has no gap")
    group = operations(cell)

    def valleys(k: np.ndarray, band: int, energy: float) -> Array:
        images = star(k, group)
        there = _levels_of(hamiltonian, cell, graph, images, len(points))[:, band]
        # H(R) of a file may have less symmetry than its crystal; the point that was found belongs to the edge in any case.
        kept = (np.abs(there - energy) < DEGENERACY) | (np.arange(len(images)) == 0)
        return constant(images[kept] @ np.asarray(cell.reciprocal))

    return BandEdges(
        valleys(top_k, occupied - 1, top),
        valleys(bottom_k, occupied, bottom),
        constant(top),
        constant(bottom),
        constant(at(top_k)[occupied] - top),
        (
            int((np.abs(at(top_k)[:occupied] - top) < DEGENERACY).sum()),
            int((np.abs(at(bottom_k)[occupied:] - bottom) < DEGENERACY).sum()),
        ),
    )


def levels_at_gamma(hamiltonian: Hamiltonian, cell: Structure, divisions: int = 8) -> Float[np.ndarray, "1 N"]:
    """Eigenvalues (eV) at Gamma, by the program with which `band_edges` searches."""
    room = len(mesh(divisions, periodic=cell.pbc).points)
    return _levels_of(hamiltonian, cell, hamiltonian.graph(cell), np.zeros((1, 3)), room)


def _levels_of(
    hamiltonian: Hamiltonian, cell: Structure, graph: Graph, points: np.ndarray, room: int
) -> Float[np.ndarray, "k N"]:
    """Eigenvalues (eV) at a number of k points that differs from call to call, by one program with room for some."""
    size, dtype = hamiltonian.basis.size(cell.species), cell.positions.dtype
    found = []
    for part in np.split(points, range(room, len(points), room)):
        padded = constant(np.pad(part, ((0, room - len(part)), (0, 0))), dtype)
        args = (hamiltonian, cell, graph.check(cell), padded, constant(len(part)))
        found.append(np.asarray(call_lapack(size, _levels, *args))[: len(part)])
    return np.concatenate(found)


@jax.jit
def _levels(hamiltonian, cell, graph, points, count):
    """Eigenvalues at the first `count` k points, one after the other; zeros at the others."""
    blocks, vectors = hamiltonian.blocks(cell, graph), graph.vectors(cell)

    def at(i, found):
        matrices = bloch_matrices(blocks, graph, vectors, cartesian(points[i], cell))
        return found.at[i].set(generalized_eigvalsh(*matrices))

    return jax.lax.fori_loop(0, count, at, jnp.zeros((len(points), blocks.size), points.dtype))


@pytree
class EdgeProbe:
    """Which supercell states make up the two edges.

    Attributes:
        points: distinct fractional k of the supercell, shape (k, 3).
        valence, conduction: how many states of each point belong to the edge (static): the highest filled, lowest empty.
        partners: k points each one stands for (static): two where -k is another point than k, whose states it shares.
        top, gap: equilibrium valence edge and gap, eV.
    """

    points: Float[Array, "k 3"]
    top: Float[Array, ""]
    gap: Float[Array, ""]
    valence: tuple[int, ...] = static()
    conduction: tuple[int, ...] = static()
    partners: tuple[int, ...] = static()
    occupied: int = static()

    def edges(self, e: Float[Array, "*s k N"]) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
        """Valence and conduction edge of each snapshot from eigenvalues at `points`, means over their sets, eV."""
        n = self.occupied
        top = {i: e[..., i, n - count : n].mean(axis=-1) for i, count in enumerate(self.valence) if count}
        bottom = {i: e[..., i, n : n + count].mean(axis=-1) for i, count in enumerate(self.conduction) if count}

        def mean(levels: dict[int, Array], counts: tuple[int, ...]) -> Array:
            weights = np.array([counts[i] * self.partners[i] for i in levels])
            return sum(w * level for w, level in zip(weights / weights.sum(), levels.values(), strict=True))

        return mean(top, self.valence), mean(bottom, self.conduction)


def edge_probe(edges: BandEdges, supercell: Structure, occupied: int) -> EdgeProbe:
    """Fold a crystal's edges into a supercell; time-reversal partners are probed once.

    Args:
        edges: of the primitive crystal (`band_edges`). supercell: the perfect supercell. occupied: its filled bands.
    """
    inverse = np.linalg.inv(np.asarray(supercell.reciprocal))
    tops, bottoms = (np.asarray(k) @ inverse for k in (edges.valence_k, edges.conduction_k))
    points: list[np.ndarray] = []
    for k in np.concatenate([tops, bottoms]):
        if not _count(k, points) and not _count(-k, points):
            points.append(k)
    fractional = np.array(points)
    fractional -= np.round(fractional)
    fractional[np.abs(fractional) < 1e-9] = 0.0
    return EdgeProbe(
        points=constant(fractional),
        top=edges.valence,
        gap=edges.gap,
        valence=tuple(edges.degeneracies[0] * _count(k, tops) for k in points),
        conduction=tuple(edges.degeneracies[1] * _count(k, bottoms) for k in points),
        partners=tuple(1 if same(k, -k) else 2 for k in points),
        occupied=occupied,
    )


def _count(k: np.ndarray, others: list[np.ndarray] | np.ndarray) -> int:
    """How many of the others equal k up to a reciprocal lattice vector."""
    return sum(same(k, other) for other in others)


@partial(jax.jit, static_argnames="real")
def _probe(hamiltonian, structure, graph, positions, points, real):
    def snapshot(x):
        displaced = structure.with_positions(x)
        blocks, vectors = hamiltonian.blocks(displaced, graph), graph.vectors(displaced)

        def at(k):
            h, s = bloch_matrices(blocks, graph, vectors, cartesian(k, displaced))
            return generalized_eigvalsh(*jax.tree.map(jnp.real, (h, s))) if real else generalized_eigvalsh(h, s)

        return jax.lax.map(at, points)

    return jax.lax.map(snapshot, positions)


def thermal_edges(
    hamiltonian: Hamiltonian,
    snapshots: Snapshots,
    probe: EdgeProbe,
    graph: Graph | None = None,
    solver: Literal["auto", "dense", "sparse"] = "auto",
) -> tuple[Float[Array, " s"], Float[Array, " s"]]:
    """Valence and conduction edge of every snapshot, eV; their mean difference over snapshots is the thermal gap.

    Args:
        solver: "dense" diagonalises and is differentiable and jitted; "sparse" finds the few states at the gap on the
            host, much faster for large supercells; "auto" takes it for more than 1500 orbitals.
    """
    if graph is None:
        graph = hamiltonian.graph(snapshots.structure)
    graph = snapshots.check(graph)
    size = hamiltonian.basis.size(snapshots.structure.species)
    if solver == "sparse" or (solver == "auto" and size > 1500):
        if traced(hamiltonian, snapshots):
            raise InputError("the sparse solver runs on the host and cannot be traced: choose solver='dense'")
        return _sparse_edges(hamiltonian, snapshots, probe, graph)
    parts = []
    # Points that are being traced may be anywhere.
    points = np.ones(probe.points.shape) if traced(probe) else np.asarray(probe.points)
    for i, point in enumerate(points):
        one = constant(numpy_for(probe).asarray(probe.points)[i : i + 1])
        args = (hamiltonian, snapshots.structure, graph, snapshots.positions, one)
        parts.append(call_lapack(size, _probe, *args, real=hamiltonian.real and not point.any()))
    return _edges(probe, parts)


@jax.jit
def _edges(probe: EdgeProbe, levels: list[Array]) -> tuple[Array, Array]:
    return probe.edges(jnp.concatenate(levels, axis=1))


def _sparse_edges(hamiltonian, snapshots, probe, graph) -> tuple[Array, Array]:
    """`thermal_edges` by shift and invert, a quarter of the gap inside each edge."""
    from jaxepi.electrons.sparse import sparse_bloch, states_near  # SciPy's solvers, of large cells alone

    valence, conduction = [], []
    points = cartesian(probe.points, snapshots.structure)
    for i in range(len(snapshots)):
        displaced = snapshots[i]
        blocks, vectors = hamiltonian.blocks(displaced, graph), graph.vectors(displaced)
        tops, bottoms = [], []
        for k, top, bottom in zip(points, probe.valence, probe.conduction, strict=True):
            h, s = sparse_bloch(blocks, graph, vectors, k)
            if top:
                near = states_near(h, s, float(probe.top + 0.25 * probe.gap), top + 4).energies
                tops.append(near[near < float(probe.top + 0.5 * probe.gap)][-top:].mean())
            if bottom:
                near = states_near(h, s, float(probe.top + 0.75 * probe.gap), bottom + 4).energies
                bottoms.append(near[near > float(probe.top + 0.5 * probe.gap)][:bottom].mean())
        valence.append(np.mean(tops))
        conduction.append(np.mean(bottoms))
    return jnp.asarray(np.array(valence)), jnp.asarray(np.array(conduction))
