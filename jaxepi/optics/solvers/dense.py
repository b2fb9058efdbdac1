"""The dense solver: every H(k) is diagonalised, with derivatives that are right at degeneracies (`transition_histogram`)."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import poisoned
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.linalg import call_lapack
from jaxepi.optics.broadening import EnergyGrid
from jaxepi.optics.momentum import matrices_at
from jaxepi.optics.solvers.case import Case, Found
from jaxepi.optics.transitions import transition_histogram
from jaxepi.tree import pytree


@pytree
class Dense:
    """All states of every H(k): exact, N^3 in time and N^2 in memory; to about 1000 atoms."""

    def plan(self, case: Case) -> "Dense":
        """The same: there is nothing to look up."""
        return self

    def resolving(self, width: float) -> "Dense":
        """The same: bins serve all line shapes."""
        return self

    def solve(self, case: Case, grid: EnergyGrid, tensor: bool, memory_gb: float) -> Found:
        """Binned transitions of all configurations; see `optics.transitions`."""
        batch = batches_of(case.hamiltonian, case.graph, len(case.points), len(case.positions), case.real, memory_gb)
        found = call_lapack(case.size, binned_transitions, case, grid, tensor, batch)
        return Found(found[0], found[1], case.occupied, found[2])


@partial(jax.jit, static_argnames=("grid", "tensor", "batch"))
def binned_transitions(
    case: Case, grid: EnergyGrid, tensor: bool, batch: tuple[int, int]
) -> tuple[Float[Array, "s p bins"], Float[Array, "s k N"], Float[Array, ""]]:
    """Binned transitions of all configurations, eigenvalues, eV, and the plasma frequency squared.

    Args:
        tensor: all components instead of a third of their trace. batch: snapshots and k points at once.
    """
    hamiltonian, structure, graph = case.hamiltonian, case.structure, case.graph
    points, weights = case.points, case.weights

    def snapshot(x):
        displaced = structure.with_positions(x)
        blocks, vectors = hamiltonian.blocks_with_dipoles(displaced, graph), graph.vectors(displaced)

        def add(total, chunk):
            k, weight = chunk
            h, w = jax.vmap(partial(matrices_at, blocks, graph, vectors, displaced, case.real))(k)
            histogram, e = transition_histogram(h, w, weight, blocks.occupied, grid, tensor)
            return total + histogram, e

        size = batch[1]
        start = jnp.zeros((6 if tensor else 1, grid.count), x.dtype)
        chunks = (points.reshape(-1, size, 3), weights.reshape(-1, size))
        total, e = jax.lax.scan(add, start, chunks)
        # Transitions at NaN fall out of the bins.
        total = total if graph.checked else poisoned(total, graph.holds(displaced))
        return case.prefactor(displaced) * total, e.reshape(len(points), -1)

    histogram, eigenvalues = jax.lax.map(snapshot, case.positions, batch_size=batch[0])
    return histogram, eigenvalues, case.plasma()


def matrix_bytes(size: int, real: bool) -> int:
    """Working memory, bytes, of the transitions of one H(k) of so many orbitals."""
    return 10 * size**2 * (8 if real else 16)


def batches_of(
    hamiltonian: Hamiltonian, graph: Graph, points: int, snapshots: int, real: bool, memory_gb: float
) -> tuple[int, int]:
    """`batches` of configurations on a graph, with what the model takes to make their blocks."""
    size, hoppings = hamiltonian.basis.size(graph.species), len(graph.senders) * hamiltonian.basis.block_size**2
    made = hamiltonian.module.working_bytes(graph)
    return batches(size, points, snapshots, real, memory_gb, hoppings, made)


def batches(
    size: int, points: int, snapshots: int, real: bool, memory_gb: float, hoppings: int = 0, made: float = 0.0
) -> tuple[int, int]:
    """How many snapshots and k points are computed together so that about `memory_gb` gigabytes suffice.

    Args:
        hoppings: elements of all blocks between atoms. Of small cells they, each with its phase and momenta, take more
            room than the matrices. made: bytes that the blocks of one snapshot take while they are made.

    Raises:
        InputError: not even one matrix fits; says how much it needs.
    """
    if not 0 < memory_gb < np.inf:
        raise InputError(f"memory_gb {memory_gb}: give a positive number of gigabytes")
    bytes_each = matrix_bytes(size, real)
    available = memory_gb * 1e9
    if bytes_each > available:
        raise InputError(
            f"a Hamiltonian of {size} orbitals needs about {bytes_each / 1e9:.1f} GB of working memory, more than "
            f"{memory_gb:g} GB; raise memory_gb, use a smaller supercell, or a k mesh of 1 or 2 (real arithmetic)"
        )
    if size > 600:
        return 1, 1
    at_once = max(1, int(0.1 * available / (bytes_each + 10 * hoppings * (8 if real else 16))))
    k = max(d for d in range(1, points + 1) if points % d == 0 and d <= at_once)
    # Side by side, they take up to three times as much each.
    held = int(0.25 * available / made) if made else snapshots
    return max(1, min(snapshots, at_once // k, held)), k
