"""The lowest excitons of a crystal, with their dipoles, their weight in k and their size: `lowest_excitons`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import traced, whole
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.optics.bethe_salpeter.interaction import Interaction, separations
from jaxepi.optics.bethe_salpeter.pairs import Pairs, check_memory, product
from jaxepi.optics.bethe_salpeter.setup import Setup
from jaxepi.structure import Structure
from jaxepi.tree import field, pytree, stored

HELD = 0.5
"""Largest root mean square size of a pair, over the radius of the sphere inside the Born-von Karman cell, that counts as held:
a pair without attraction fills the cell and has 0.77 or more."""


@stored
@pytree
class LowestExcitons:
    """Excitons of lowest energy.

    Attributes:
        energies: eV, ascending, shape (m,). gap: lowest energy of an independent pair of the mesh, eV.
        strengths: squared dipoles |<r|X>|^2 a cell and k point, angstrom^2, mean over polarisations, shape (m,).
        points: fractional k, shape (K, 3). weights: of each exciton in k, which sum to one, shape (m, K).
        sizes: root mean square distance of electron and hole, angstrom, shape (m,). room: of the sphere inside the
            Born-von Karman cell, angstrom.
    """

    energies: Float[Array, " m"] = field(unit="eV")
    gap: Float[Array, ""] = field(unit="eV")
    strengths: Float[Array, " m"] = field(unit="angstrom^2")
    points: Float[Array, "K 3"] = field(unit="1")
    weights: Float[Array, "m K"] = field(unit="1")
    sizes: Float[Array, " m"] = field(unit="angstrom")
    room: Float[Array, ""] = field(unit="angstrom")

    @property
    def binding(self) -> Float[Array, " m"]:
        """Below the lowest independent pair of the mesh, eV."""
        return self.gap - self.energies

    @property
    def held(self) -> Array:
        """Whether the mesh holds the pair, shape (m,): see `HELD`."""
        return self.sizes < HELD * self.room


def lowest_excitons(
    hamiltonian: Hamiltonian,
    structure: Structure,
    kmesh: int | Sequence[int],
    interaction: Interaction,
    count: int = 4,
    valence: int | None = None,
    conduction: int | None = None,
    polarisations: Any = None,
    exchange: bool = True,
    shift: Sequence[float] = (0.0, 0.0, 0.0),
    graph: Graph | None = None,
    memory_gb: float = 8.0,
    coarse: bool = False,
) -> LowestExcitons:
    """The excitons of lowest energy, by SciPy's Lanczos on the host.

    Args:
        coarse: give them although the mesh does not hold the first. others: as `excitons`.

    Raises:
        InputError: as `excitons`; a mesh that does not hold the lowest exciton (says which would).
    """
    if traced(hamiltonian, structure, interaction):
        raise InputError("lowest_excitons runs on the host; under jit, vmap and grad use exciton_spectrum")
    count = whole("count", count, 1)
    graph = hamiltonian.graph(structure) if graph is None else graph
    setup = Setup.of(hamiltonian, structure, kmesh, valence, conduction, polarisations, shift, "float64")
    check_memory(setup.memory(), memory_gb, setup.mesh, setup.bands)
    pairs, _ = setup.pairs(hamiltonian, structure, graph, interaction, exchange, None)
    found = of_pairs(pairs, structure, setup.points, count)
    if not coarse and not bool(found.held[0]):
        size, room = float(found.sizes[0]), float(found.room)
        far = size / (HELD * room)
        more = [int(np.ceil(n * far)) if p else 1 for n, p in zip(setup.mesh, structure.pbc, strict=True)]
        raise InputError(
            f"k mesh {'x'.join(map(str, setup.mesh))}: electron and hole of the lowest exciton are {size:.1f} angstrom apart, "
            f"and the mesh holds {HELD * room:.1f}; give {'x'.join(map(str, more))} or more, or coarse=True for the numbers "
            "of this mesh"
        )
    return found


def of_pairs(pairs: Pairs, structure: Structure, points: np.ndarray, count: int) -> LowestExcitons:
    """The same of pairs that are there already."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    shape = pairs.dipoles.shape[1:]
    size = int(np.prod(shape))
    if count >= size - 1:
        raise InputError(f"{count} excitons of {size} pairs: ask for {size - 2} at most, or take a finer mesh")
    apply = jax.jit(product)

    def times(x: np.ndarray) -> np.ndarray:
        return np.asarray(apply(pairs, jnp.asarray(x.reshape(shape), pairs.dipoles.dtype))).ravel()

    operator = LinearOperator((size, size), matvec=times, dtype=complex)
    start = np.asarray(pairs.dipoles).sum(axis=0).ravel() + 1e-3 * np.random.default_rng(0).normal(size=size)
    values, vectors = eigsh(operator, count, which="SA", v0=start, ncv=min(size, 4 * count + 24))
    amplitudes = jnp.asarray(vectors.T.reshape(count, *shape))
    dipoles = jnp.einsum("pkcv,mkcv->mp", pairs.dipoles.conj(), amplitudes)
    upper, lower = (jnp.diagonal(e, axis1=1, axis2=2).real for e in (pairs.upper, pairs.lower))
    distances = separations(structure, pairs.mesh)
    cell = np.array(pairs.mesh)[:, None] * np.asarray(structure.cell, float)
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return LowestExcitons(
        energies=jnp.asarray(values),
        gap=(upper.min(axis=1) - lower.max(axis=1)).min(),
        strengths=(jnp.abs(dipoles) ** 2).mean(axis=1) / len(points),
        points=jnp.asarray(points),
        weights=(jnp.abs(amplitudes) ** 2).sum(axis=(2, 3)),
        sizes=jax.lax.map(lambda x: _size(pairs, distances, x), amplitudes),
        room=jnp.asarray(0.5 * heights[np.asarray(structure.pbc)].min()),
    )


def _size(pairs: Pairs, distances: Float[Array, "n n K"], x: Array) -> Array:
    """Root mean square distance of electron and hole, row by row of the amplitude."""
    atoms = np.array(pairs.atoms)

    def row(part: tuple[Array, Array]) -> Array:
        electrons, atom = part
        amplitude = jnp.einsum("kc,kcv,kjv->jk", electrons, x, pairs.holes.conj()).reshape(-1, *pairs.mesh)
        there = jnp.abs(jnp.fft.ifftn(amplitude, axes=(1, 2, 3)).reshape(len(atoms), -1)) ** 2
        return jnp.stack([(there * distances[atom, atoms] ** 2).sum(), there.sum()])

    found = jax.lax.map(row, (jnp.moveaxis(pairs.electrons, 1, 0), jnp.asarray(atoms))).sum(axis=0)
    return jnp.sqrt(found[0] / found[1])
