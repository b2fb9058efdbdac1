"""The lowest excitons of a crystal, with their dipoles, their weight in k and their size: `lowest_excitons`."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from jaxepi.optics.bethe_salpeter.setup import WEAKER, Setup
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
        strengths: squared dipoles |<r|X>|^2 a cell and k point, angstrom^2, mean over polarisations, shape (m,); |<r|X> +
            <r*|Y*>|^2 beyond Tamm-Dancoff, where <X|X> - <Y|Y> = 1.
        points: fractional k, shape (K, 3). weights: of each exciton in k, X and Y, which sum to one, shape (m, K).
        sizes: root mean square distance of electron and hole in X, angstrom, shape (m,). room: of the sphere inside the
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
    tamm_dancoff: bool = True,
) -> LowestExcitons:
    """The excitons of lowest energy, by SciPy's Lanczos on the host, and beyond Tamm-Dancoff by its LOBPCG after that.

    Args:
        coarse: give them although the mesh does not hold the first. others: as `excitons`.

    Raises:
        InputError: as `excitons`; a mesh that does not hold the lowest exciton (says which would); no convergence.
    """
    if traced(hamiltonian, structure, interaction):
        raise InputError("lowest_excitons runs on the host; under jit, vmap and grad use exciton_spectrum")
    count = whole("count", count, 1)
    graph = hamiltonian.graph(structure) if graph is None else graph
    setup = Setup.of(hamiltonian, structure, kmesh, valence, conduction, polarisations, shift, "float64")
    check_memory(setup.memory(), memory_gb, setup.mesh, setup.bands)
    pairs, _ = setup.pairs(hamiltonian, structure, graph, interaction, exchange, None)
    found = of_pairs(pairs, structure, setup.points, count, tamm_dancoff)
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


def of_pairs(
    pairs: Pairs, structure: Structure, points: np.ndarray, count: int, tamm_dancoff: bool = True
) -> LowestExcitons:
    """The same of pairs that are there already."""
    shape = pairs.dipoles.shape[1:]
    size = int(np.prod(shape))
    if count >= size - 1:
        raise InputError(f"{count} excitons of {size} pairs: ask for {size - 2} at most, or take a finer mesh")
    if tamm_dancoff:
        values, vectors = _alone(pairs, count)
        taken = np.zeros_like(vectors)
    else:
        values, vectors, taken = _coupled(pairs, count)
    made, gone = (jnp.asarray(x.T.reshape(count, *shape)) for x in (vectors, taken))
    dipoles = jnp.einsum("pkcv,mkcv->mp", pairs.dipoles.conj(), made)
    dipoles = dipoles + jnp.einsum("pkcv,mkcv->mp", pairs.dipoles, gone)
    shares = (jnp.abs(made) ** 2 + jnp.abs(gone) ** 2).sum(axis=(2, 3))
    distances = separations(structure, pairs.mesh)
    cell = np.array(pairs.mesh)[:, None] * np.asarray(structure.cell, float)
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    return LowestExcitons(
        energies=jnp.asarray(values),
        gap=jnp.asarray(_gaps(pairs).min()),
        strengths=(jnp.abs(dipoles) ** 2).mean(axis=1) / len(points),
        points=jnp.asarray(points),
        weights=shares / shares.sum(axis=1, keepdims=True),
        sizes=jax.lax.map(lambda x: _size(pairs, distances, x), made),
        room=jnp.asarray(0.5 * heights[np.asarray(structure.pbc)].min()),
    )


def _gaps(pairs: Pairs) -> np.ndarray:
    """Energies of independent pairs, shape (K, c, v)."""
    upper, lower = (np.asarray(jnp.diagonal(e, axis1=1, axis2=2).real) for e in (pairs.upper, pairs.lower))
    return upper[:, :, None] - lower[:, None]


def _remedy(pairs: Pairs) -> str:
    """What helps where iterations do not converge."""
    if pairs.dipoles.dtype == jnp.complex64:
        return "compute in double precision: jax.config.update('jax_enable_x64', True) before anything is loaded"
    return "ask for fewer, or take a finer mesh"


@contextmanager
def _converging(count: int, pairs: Pairs) -> Iterator[None]:
    """What SciPy's iterations raise, said as a refusal."""
    from scipy.sparse.linalg import ArpackError

    try:
        yield
    except (ArpackError, ValueError, np.linalg.LinAlgError) as error:
        raise InputError(f"{count} excitons have not converged ({error}); {_remedy(pairs)}") from error


def _alone(pairs: Pairs, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Energies, ascending, and amplitudes of Tamm-Dancoff, in columns.

    Raises:
        InputError: no convergence.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh

    shape = pairs.dipoles.shape[1:]
    size = int(np.prod(shape))
    apply = jax.jit(product)

    def times(x: np.ndarray) -> np.ndarray:
        return np.asarray(apply(pairs, jnp.asarray(x.reshape(shape), pairs.dipoles.dtype))).ravel()

    operator = LinearOperator((size, size), matvec=times, dtype=complex)
    start = np.asarray(pairs.dipoles).sum(axis=0).ravel() + 1e-3 * np.random.default_rng(0).normal(size=size)
    with _converging(count, pairs):
        values, vectors = eigsh(operator, count, which="SA", v0=start, ncv=min(size, 4 * count + 24))
    order = np.argsort(values)  # which SciPy leaves open for complex matrices
    return values[order], vectors[:, order]


RESIDUAL = 1e-7
"""Norm of what is left of (s - K/w) z, z of unit <z|K|z>, with which excitons beyond Tamm-Dancoff are found: energies are right
to about its square."""

GUARDS = 4
"""Excitons above those asked for that are found along with them, so that none of a degenerate set is missed."""


@jax.jit
def _whole(pairs: Pairs, z: jax.Array) -> jax.Array:
    """[[A, B], [B*, A*]] of (X, Y*)."""
    x, y = z[0], z[1].conj()
    more, less = product(pairs, x + y, 1), product(pairs, x - y, -1)
    return 0.5 * jnp.stack([more + less, (more - less).conj()])


def _coupled(pairs: Pairs, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies and amplitudes X and Y* of [[A, B], [-B*, -A*]], in columns.

    With z = (X, Y*) and the signs s = (1, -1), K z = w s z for K = [[A, B], [B*, A*]], which is positive unless pairs have no
    real energies: s z = (1/w) K z, and the lowest energies are the largest 1/w, from the amplitudes of Tamm-Dancoff.

    Raises:
        InputError: pairs of no real energies; no convergence.
    """
    from scipy.sparse.linalg import LinearOperator, eigsh, lobpcg

    shape = pairs.dipoles.shape[1:]
    size = int(np.prod(shape))
    found, start = _alone(pairs, min(count + GUARDS, size - 2))

    def times(z: np.ndarray) -> np.ndarray:
        # One by one: columns that have converged are left out, and each number of them would be compiled anew.
        columns = [jnp.asarray(c.reshape(2, *shape), pairs.dipoles.dtype) for c in z.reshape(2 * size, -1).T]
        return np.stack([np.asarray(_whole(pairs, c)).ravel() for c in columns], axis=1)

    gaps = _gaps(pairs).ravel()
    nearer = 0.9 * min(found[0], gaps.min())
    weakest = np.concatenate([gaps - nearer, gaps + nearer])[:, None]
    signs = np.repeat([1.0, -1.0], size)[:, None]
    whole = LinearOperator((2 * size, 2 * size), matvec=times, matmat=times, dtype=complex)
    start = np.concatenate([start, np.zeros_like(start)])
    with _converging(count, pairs):
        least = eigsh(whole, 1, which="SA", tol=1e-2, return_eigenvectors=False)[0]
    if min(found[0], least) <= 0:
        raise InputError(f"pairs have no real energies: {WEAKER}")
    with _converging(count, pairs), warnings.catch_warnings():  # which say of guards, too, that they have not converged
        warnings.simplefilter("ignore", UserWarning)
        inverse, z = lobpcg(lambda z: signs * z, start, whole, lambda z: z / weakest, tol=RESIDUAL, maxiter=500)
    inverse, z = inverse[:count], z[:, :count]
    off = float(np.linalg.norm(signs * z - times(z) * inverse, axis=0).max())
    if not off < 10 * RESIDUAL:
        what = f"{count} excitons beyond Tamm-Dancoff have not converged (residual {off:.0e})"
        raise InputError(f"{what}; {_remedy(pairs)}")
    z = z / np.sqrt(inverse)
    return 1 / inverse, z[:size], z[size:]


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
