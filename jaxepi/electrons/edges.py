"""Band edges: where the gap is in k space, and what temperature does to it.

The edges of the perfect primitive crystal fold to known k points of a supercell. There, snapshot by snapshot, the states
of the two edges are averaged over their degenerate sets and over the equivalent valleys: the thermal gap.
"""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.optimize import minimize

from jaxepi.electrons.eigen import eigenvalues, eigvalsh, generalized_eigvalsh
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian
from jaxepi.kpoints import mesh
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static

DEGENERACY = 1e-4
"""States closer than this (eV) at equilibrium belong to one edge."""


@pytree
class BandEdges:
    """Band edges of a crystal at equilibrium.

    Attributes:
        valence_k, conduction_k: Cartesian k of the edges, 1/angstrom, all equivalent valleys up to time reversal, (v, 3).
        valence, conduction: energies, eV.
        direct: smallest vertical gap at the valence edge, eV.
    """

    valence_k: Float[Array, "v 3"]
    conduction_k: Float[Array, "c 3"]
    valence: Float[Array, ""]
    conduction: Float[Array, ""]
    direct: Float[Array, ""]

    @property
    def gap(self) -> Float[Array, ""]:
        """Fundamental gap, eV."""
        return self.conduction - self.valence

    @property
    def is_direct(self) -> bool:
        """Whether both edges are at the same k point."""
        return self.valence_k.shape == self.conduction_k.shape and bool(
            np.allclose(np.asarray(self.valence_k), np.asarray(self.conduction_k), atol=1e-3)
        )


def band_edges(hamiltonian: Hamiltonian, cell: Structure, divisions: int = 8) -> BandEdges:
    """Find the valence maximum and conduction minimum of a crystal: a k mesh, then local refinement.

    Args:
        cell: the primitive cell at equilibrium. divisions: of the starting mesh.

    Raises:
        InputError: bands overlap (a metal).
    """
    graph = hamiltonian.graph(cell)
    occupied = hamiltonian.basis.occupied(cell.species)
    points = mesh(divisions).points
    e = np.asarray(eigenvalues(hamiltonian, cell, points, graph))
    reciprocal = np.asarray(cell.reciprocal)

    @jax.jit
    def bands(k_fractional):
        return eigenvalues(hamiltonian, cell, k_fractional[None], graph)[0]

    def refine(band: int, sign: int) -> tuple[np.ndarray, float]:
        start = points[np.argmin(sign * e[:, band])]
        best = minimize(
            lambda k: sign * float(bands(jnp.asarray(k))[band]),
            start,
            method="Nelder-Mead",
            options={"initial_simplex": start + 0.3 / divisions * np.vstack([np.zeros(3), np.eye(3)]), "xatol": 1e-6},
        )
        k, value = (best.x, best.fun) if best.fun < sign * e[:, band].min() - 1e-9 else (start, sign * e[:, band].min())
        return k @ reciprocal, sign * value

    top_k, top = refine(occupied - 1, -1)
    bottom_k, bottom = refine(occupied, 1)
    if bottom <= top:
        raise InputError(f"the bands overlap by {top - bottom:.3f} eV: a metal has no gap")

    def star(k: np.ndarray, band: int, energy: float) -> np.ndarray:
        return _star(k, lambda q: float(bands(jnp.asarray(q @ np.linalg.inv(reciprocal)))[band]), energy, reciprocal)

    direct = bands(jnp.asarray(top_k @ np.linalg.inv(reciprocal)))[occupied] - top
    return BandEdges(
        jnp.asarray(star(top_k, occupied - 1, top)),
        jnp.asarray(star(bottom_k, occupied, bottom)),
        jnp.asarray(top),
        jnp.asarray(bottom),
        direct,
    )


def _star(k: np.ndarray, energy_at, energy: float, reciprocal: np.ndarray) -> np.ndarray:
    """Images of k under signed permutations of the axes that have the same energy, one of each time-reversal pair."""
    found: list[np.ndarray] = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            image = k[list(order)] * np.array(signs)
            fractional = np.array([image, -image]) @ np.linalg.inv(reciprocal)
            seen = np.array(found).reshape(-1, 3) @ np.linalg.inv(reciprocal)
            distance = seen[None] - fractional[:, None]
            if len(found) and np.abs(distance - np.round(distance)).max(axis=2).min() < 1e-3:
                continue
            if abs(energy_at(image) - energy) < 1e-5:
                found.append(image)
    return np.array(found)


@pytree
class EdgeProbe:
    """Which supercell states make up the two edges.

    Attributes:
        points: distinct fractional k of the supercell, shape (k, 3).
        valence, conduction: how many states of each point belong to the edge (static): the highest filled, lowest empty.
        gap: equilibrium gap, eV.
    """

    points: Float[Array, "k 3"]
    gap: Float[Array, ""]
    valence: tuple[int, ...] = static()
    conduction: tuple[int, ...] = static()
    occupied: int = static()

    def edges(self, e: Float[Array, "*s k N"]) -> tuple[Float[Array, "*s"], Float[Array, "*s"]]:
        """Valence and conduction edge of each snapshot from eigenvalues at `points`, means over their sets, eV."""
        n = self.occupied
        top = [e[..., i, n - count : n].mean(axis=-1) for i, count in enumerate(self.valence) if count]
        bottom = [e[..., i, n : n + count].mean(axis=-1) for i, count in enumerate(self.conduction) if count]
        return jnp.stack(top).mean(axis=0), jnp.stack(bottom).mean(axis=0)


def edge_probe(
    hamiltonian: Hamiltonian, edges: BandEdges, supercell: Structure, graph: Graph | None = None
) -> EdgeProbe:
    """Fold the crystal's edges into a supercell and count their states at equilibrium.

    Args:
        edges: of the primitive crystal (`band_edges`). supercell: the perfect supercell.
    """
    if graph is None:
        graph = hamiltonian.graph(supercell)
    inverse = np.linalg.inv(np.asarray(supercell.reciprocal))
    points: list[np.ndarray] = []
    for k in np.concatenate([np.asarray(edges.valence_k), np.asarray(edges.conduction_k)]) @ inverse:
        k = k - np.round(k)
        if not any(np.abs(d - np.round(d)).max() < 1e-4 for p in points for d in (p - k, p + k)):
            points.append(k)
    e = np.asarray(eigenvalues(hamiltonian, supercell, np.array(points), graph))
    occupied = hamiltonian.basis.occupied(supercell.species)
    top, bottom = float(edges.valence), float(edges.conduction)
    return EdgeProbe(
        points=jnp.asarray(np.array(points)),
        gap=edges.gap,
        valence=tuple(int((np.abs(row[:occupied] - top) < DEGENERACY).sum()) for row in e),
        conduction=tuple(int((np.abs(row[occupied:] - bottom) < DEGENERACY).sum()) for row in e),
        occupied=occupied,
    )


@partial(jax.jit, static_argnames="real")
def _probe(hamiltonian, structure, graph, positions, points, real):
    def snapshot(x):
        displaced = structure.with_positions(x)
        blocks, vectors = hamiltonian.blocks(displaced, graph), graph.vectors(displaced)

        def at(k):
            h, s = bloch_matrices(blocks, graph, vectors, cartesian(k, displaced))
            return eigvalsh(h.real) if real else generalized_eigvalsh(h, s)

        return jax.lax.map(at, points)

    return jax.lax.map(snapshot, positions)


def thermal_edges(
    hamiltonian: Hamiltonian, snapshots: Snapshots, probe: EdgeProbe, graph: Graph | None = None
) -> tuple[Float[Array, " s"], Float[Array, " s"]]:
    """Valence and conduction edge of every snapshot, eV; their difference averaged over snapshots is the thermal gap."""
    if graph is None:
        graph = hamiltonian.graph(snapshots.structure)
    at_gamma = np.all(np.asarray(probe.points) == 0, axis=1)
    real = not hamiltonian.basis.spinor
    parts = []
    for i, gamma in enumerate(at_gamma):
        point = probe.points[i : i + 1]
        args = (hamiltonian, snapshots.structure, graph, snapshots.positions, point)
        parts.append(_probe(*args, real=bool(gamma) and real and "overlap" not in hamiltonian.params))
    return probe.edges(jnp.concatenate(parts, axis=1))
