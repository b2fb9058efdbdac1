"""Transitions of many snapshots over the devices of a mesh: each has its own share, and nothing is gathered.

Snapshots lie along the axis `snapshot` of the mesh and the k points of one along `k`. Devices say nothing to one another: each
returns the histogram of its own k points, and the host adds them in a fixed order. (A sum over devices would stop all of them
at every batch, and XLA's threads of a CPU wait for one another in it for ever beside LAPACK, jaxlib 0.10.1.) A batch that the
devices do not divide is padded with its last snapshot, k points with the last one at no weight; the host cuts the padding off.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import constant, poisoned
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.kpoints import KPoints
from jaxepi.linalg import call_lapack
from jaxepi.machines import AXES
from jaxepi.optics.broadening import EnergyGrid
from jaxepi.optics.dielectric import DEFAULT_GRID, Transitions
from jaxepi.optics.momentum import matrices_at
from jaxepi.optics.slopes import transition_slopes
from jaxepi.optics.solvers.case import Case, plasma, prefactor
from jaxepi.optics.solvers.dense import batches_of, binned_transitions
from jaxepi.optics.transitions import EdgeOperator
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure
from jaxepi.tree import replace


@dataclasses.dataclass(frozen=True)
class Spread:
    """Transitions of some snapshots, each on k points of its own, and where asked for their derivatives.

    Attributes:
        transitions: one entry a snapshot, each of one snapshot.
        slopes: derivative of each histogram along the directions that were given, eV a unit of them, shape (p, bins).
    """

    transitions: tuple[Transitions, ...]
    slopes: tuple[Float[Array, "p bins"], ...] = ()


def spread_transitions(
    hamiltonian: Hamiltonian,
    snapshots: Snapshots,
    points: tuple[KPoints, ...],
    mesh: Mesh,
    *,
    directions: Float[Array, "s n 3"] | Float[np.ndarray, "s n 3"] | None = None,
    grid: EnergyGrid = DEFAULT_GRID,
    tensor: bool = True,
    graph: Graph | None = None,
    memory_gb: float = 8.0,
) -> Spread:
    """Binned dipole transitions of snapshots over the devices of a mesh: the numbers of `transitions` on one device.

    Args:
        points: k points of each snapshot, as many of each. mesh: of the axes `snapshot` and `k`.
        directions: derivatives of the positions by a number such as the temperature, angstrom a unit of it; the derivatives of
            the histograms by it are then found in the same pass.
        memory_gb: bound on the working memory of each device.

    Raises:
        InputError: a mesh of other axes, numbers of k points that differ, or what `transitions` refuses.
    """
    if mesh.axis_names != AXES:
        raise InputError(f"a mesh of the axes {mesh.axis_names}: give one of {AXES}")
    if len(points) != len(snapshots) or len({len(k.points) for k in points}) != 1:
        raise InputError(f"{len(points)} sets of k points for {len(snapshots)} snapshots: give as many points to each")
    hamiltonian.check_positions()
    graph = snapshots.check(hamiltonian.graph(snapshots.structure) if graph is None else graph)
    rows, columns = mesh.devices.shape
    given = [k.checked() for k in points]
    real = all(k.is_real for k in given) and hamiltonian.orthogonal and hamiltonian.real
    asked = len(given[0].points)
    k = np.stack([_padded(np.asarray(one.points), columns) for one in given])
    weights = np.stack([_padded(np.asarray(one.weights), columns, empty=True) for one in given])
    x, k, weights = (_padded(np.asarray(array), rows) for array in (snapshots.positions, k, weights))
    size = hamiltonian.basis.size(snapshots.structure.species)
    room = memory_gb if directions is None else memory_gb / SLOPES
    batch = batches_of(hamiltonian, graph, k.shape[1] // columns, len(x) // rows, real, room)
    if mesh.size > 1 and mesh.devices.flat[0].platform == "cpu":
        # Several matrices at once go to XLA's threads, for which the devices of one CPU wait for ever (jaxlib 0.10.1).
        batch = (1, 1)
    dtype = snapshots.positions.dtype

    def placed(array: np.ndarray, *axes: str) -> jax.Array:
        return jax.device_put(np.asarray(array, dtype), NamedSharding(mesh, P(*axes)))

    arrays = placed(x, "snapshot"), placed(k, *AXES), placed(weights, *AXES)
    toward = None if directions is None else placed(_padded(np.asarray(directions), rows), "snapshot")
    shared = jax.device_put((hamiltonian, snapshots.structure, graph), NamedSharding(mesh, P()))
    histogram, eigenvalues, slopes = call_lapack(
        size, _spread, *shared, *arrays, toward, mesh, grid, tensor, real, batch
    )
    total = np.asarray(histogram).sum(axis=1)
    found = _of_snapshots(hamiltonian, snapshots, given, grid, total, np.asarray(eigenvalues)[:, :asked])
    if slopes is None:
        return Spread(found)
    return Spread(found, tuple(constant(one) for one in np.asarray(slopes).sum(axis=1)[: len(found)]))


SLOPES = 3.0
"""Working memory of transitions with their derivatives over that of transitions alone, about."""


def _padded(array: np.ndarray, divisor: int, empty: bool = False) -> np.ndarray:
    """Rows of an array up to a multiple of a number: the last one again, or zeros."""
    missing = -len(array) % divisor
    return np.concatenate([array, np.repeat(array[-1:] * (0 if empty else 1), missing, axis=0)]) if missing else array


def _of_snapshots(
    hamiltonian: Hamiltonian,
    snapshots: Snapshots,
    points: list[KPoints],
    grid: EnergyGrid,
    histogram: np.ndarray,
    eigenvalues: np.ndarray,
) -> tuple[Transitions, ...]:
    """One `Transitions` a snapshot, without the padding."""
    structure, dtype = snapshots.structure, snapshots.positions.dtype
    occupied = hamiltonian.basis.occupied(structure.species)
    of_electrons = constant(plasma(hamiltonian.basis, structure.species, float(structure.volume)), dtype)
    return tuple(
        Transitions(
            constant(histogram[s : s + 1]),
            constant(eigenvalues[s : s + 1]),
            constant(k.weights, dtype),
            of_electrons,
            grid,
            occupied,
        )
        for s, k in enumerate(points)
    )


@partial(jax.jit, static_argnames=("mesh", "grid", "tensor", "real", "batch"))
def _spread(
    hamiltonian: Hamiltonian,
    structure: Structure,
    graph: Graph,
    positions: Float[Array, "s n 3"],
    points: Float[Array, "s k 3"],
    weights: Float[Array, "s k"],
    directions: Float[Array, "s n 3"] | None,
    mesh: Mesh,
    grid: EnergyGrid,
    tensor: bool,
    real: bool,
    batch: tuple[int, int],
) -> tuple[Array, Array, Array | None]:
    """Histograms of each device's k points, shape (s, columns, p, bins), eigenvalues, and slopes as histograms."""

    def share(shared, positions, points, weights, directions):
        def one(held):
            x, k, weight, direction = held
            if direction is None:
                hamiltonian, structure, graph = shared
                case = Case(hamiltonian, structure, graph, x[None], k, weight, real)
                binned, e, _ = binned_transitions(case, grid, tensor, (1, batch[1]))
                return binned[0], e[0], None
            return _with_slopes(shared, x, direction, k, weight, grid, tensor, real, batch[1])

        held = positions, points, weights, directions
        histogram, eigenvalues, slopes = jax.lax.map(one, held, batch_size=batch[0] if batch[0] > 1 else None)
        own = None if slopes is None else slopes[:, None]
        return histogram[:, None], eigenvalues, own

    shared, own, each = P(), P("snapshot"), P(*AXES)
    mapped = jax.shard_map(
        share,
        mesh=mesh,
        in_specs=(shared, own, each, each, own),
        out_specs=each,
        check_vma=False,
    )
    return mapped((hamiltonian, structure, graph), positions, points, weights, directions)


def _with_slopes(shared, x, direction, points, weights, grid, tensor, real, size):
    """Histogram, eigenvalues, and the derivative of the histogram along a direction of the positions, of one snapshot."""
    hamiltonian, structure, graph = shared

    def of(x):
        displaced = structure.with_positions(x)
        return hamiltonian.blocks_with_dipoles(displaced, graph), graph.vectors(displaced)

    held, change = jax.jvp(of, (x,), (direction,))

    def add(total, chunk):
        k, weight = chunk

        def at(one):
            return jax.jvp(lambda b, v: matrices_at(b, graph, v, structure, real, one), held, change)

        (h, w), (dh, dw) = jax.vmap(at)(k)
        if isinstance(w, EdgeOperator):
            dw = replace(dw, receivers=w.receivers, index=w.index)
        histogram, slope, e = transition_slopes(h, w, dh, dw, weight, held[0].occupied, grid, tensor)
        return (total[0] + histogram, total[1] + slope), e

    zero = jnp.zeros((6 if tensor else 1, grid.count), x.dtype)
    chunks = points.reshape(-1, size, 3), weights.reshape(-1, size)
    total, e = jax.lax.scan(add, (zero, zero), chunks)
    factor = prefactor(hamiltonian.basis, structure.volume)
    displaced = structure.with_positions(x)
    total = total if graph.checked else poisoned(total, graph.holds(displaced))
    return factor * total[0], e.reshape(len(points), -1), factor * total[1]
