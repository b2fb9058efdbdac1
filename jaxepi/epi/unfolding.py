"""Unfolding: Green's functions of snapshots between Bloch states of the primitive cell, averaged; what follows from them.

P holds the Bloch sums of the primitive cell's orbitals in the supercell, at the sites at rest. With z = E + i eta,

    G(k, z) = <P^+ (z - H)^-1 P>,      A(k, E) = -Im Tr G/pi,      Sigma(k, z) = z - H0(k) - G^-1

in the orthonormal orbitals that S^(1/2) makes (Loewdin's, which keep symmetry). A integrates to the number of orbitals.
Flows in: snapshots of a supercell made by `Structure.supercell`, and k points of its base cell. Flows out: functions of k, E.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import numbers
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian
from jaxepi.kpoints import fractional
from jaxepi.linalg import call_lapack, hermitian, matrix_function
from jaxepi.sampling.averages import group_means
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure


def _inverse_root(x):
    return x**-0.5


def orthonormal(h: Inexact[Array, "N N"], s: Inexact[Array, "N N"] | None) -> Inexact[Array, "N N"]:
    """S^(-1/2) H S^(-1/2)."""
    if s is None:
        return h
    root = matrix_function(_inverse_root, s)
    return hermitian(root @ h @ root)


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def resolvent(
    h: Inexact[Array, "N N"], cells: int, energies: Float[Array, " e"], eta: Float[Array, ""]
) -> Complex[Array, "e o o"]:
    """P^+ (E + i eta - H)^-1 P between the equal sums over `cells` of a supercell's orbitals, cell after cell.

    Its derivatives need no difference of eigenvalues, and are right at degeneracies.
    """
    e, u = jnp.linalg.eigh(h)
    return propagated(e, u, cells, energies, eta)


def propagated(
    e: Float[Array, " N"], u: Inexact[Array, "N N"], cells: int, energies: Float[Array, " e"], eta: Float[Array, ""]
) -> Complex[Array, "e o o"]:
    """`resolvent` from the eigenvalues and eigenvectors of H, for those who need them too."""
    x, g = _projected(u, cells), _propagator(e, energies, eta)
    return jnp.einsum("on,en,pn->eop", x, g, x.conj())


@resolvent.defjvp
def _resolvent_jvp(cells, primals, tangents):
    (h, energies, eta), (dh, de, deta) = primals, tangents
    e, u = jnp.linalg.eigh(h)
    x, g = _projected(u, cells), _propagator(e, energies, eta)
    inner = u.conj().T @ dh @ u
    left = x[None] * g[:, None]
    moved = jnp.einsum("eom,mn,epn->eop", left, inner.astype(left.dtype), x.conj()[None] * g[:, None])
    shifted = jax.lax.complex(de, jnp.broadcast_to(deta, de.shape))
    change = jnp.einsum("on,en,pn->eop", x, g**2, x.conj())
    return jnp.einsum("on,en,pn->eop", x, g, x.conj()), moved - shifted[:, None, None] * change


def _projected(u: Array, cells: int) -> Complex[Array, "o N"]:
    x = u.reshape(cells, -1, u.shape[1]).sum(axis=0) / cells**0.5
    return x.astype(np.result_type(x.dtype, np.complex64))


def _propagator(e: Array, energies: Array, eta: Array) -> Complex[Array, "e N"]:
    away = energies[:, None] - e[None]
    return 1 / jax.lax.complex(away, jnp.broadcast_to(eta, away.shape))


@partial(jax.jit, static_argnames="whole")
def _green(
    hamiltonian: Hamiltonian, structure: Structure, graph: Graph, positions: Array, points: Array, energies: Array,
    eta: Array, whole: bool,
) -> Array:  # fmt: skip
    """Of each snapshot at each k: G, or A alone."""
    cells = int(np.prod(structure.repeats))
    vectors = graph.vectors(structure)
    k_points = cartesian(points, structure.base)

    def snapshot(x: Array) -> Array:
        blocks = hamiltonian.blocks(structure.with_positions(x), graph)

        def at(k: Array) -> Array:
            # With the phases of the sites at rest, Bloch sums of the primitive cell are equal in all cells.
            g = resolvent(orthonormal(*bloch_matrices(blocks, graph, vectors, k)), cells, energies, eta)
            return g if whole else -jnp.trace(g, axis1=1, axis2=2).imag / jnp.pi

        return jax.lax.map(at, k_points)

    return jax.lax.map(snapshot, positions)


def _checked(hamiltonian, snapshots, points, energies, broadening, graph) -> tuple[Graph, Array, Array, Array]:
    """Topology, k points, energies and broadening as arrays; what is wrong with them is refused."""
    structure = snapshots.structure
    if int(np.prod(structure.repeats)) == 1:
        raise InputError(
            "the snapshots' structure does not say of which cell it is made: make it with primitive.supercell(n), or set its "
            "repeats; a cell that is its own base has nothing to unfold"
        )
    if not float(broadening) > 0:
        raise InputError(f"broadening {broadening} eV: give a positive one")
    graph = hamiltonian.graph(structure) if graph is None else graph
    snapshots.check(graph)
    dtype = snapshots.positions.dtype
    return (
        graph,
        jnp.asarray(fractional(points), dtype),
        numbers("energies", energies, dtype, 1),
        jnp.asarray(broadening, dtype),
    )


def spectral_functions(
    hamiltonian: Hamiltonian,
    snapshots: Snapshots,
    points: Any,
    energies: Any,
    broadening: float,
    graph: Graph | None = None,
) -> Float[Array, "s k e"]:
    """A(k, E) of every snapshot, 1/eV, summed over the orbitals of the primitive cell; `snapshots.mean` averages them.

    Args:
        snapshots: of a supercell whose `repeats` say of which cell it is made. points: fractional, of that cell, shape (k, 3).
        energies: eV, shape (e,). broadening: eta, half width at half maximum, eV. graph: topology of the supercell.

    Raises:
        InputError: a structure that is its own base cell, a broadening that is not positive, a graph that does not hold.
    """
    arrays = _checked(hamiltonian, snapshots, points, energies, broadening, graph)
    return _computed(hamiltonian, snapshots, *arrays, whole=False)


def _computed(hamiltonian, snapshots, graph, points, energies, eta, whole):
    size = hamiltonian.basis.size(snapshots.structure.species)
    args = (hamiltonian, snapshots.structure, graph, snapshots.positions, points, energies, eta)
    return call_lapack(size, _green, *args, whole=whole)


def green_functions(
    hamiltonian: Hamiltonian,
    snapshots: Snapshots,
    points: Any,
    energies: Any,
    broadening: float,
    graph: Graph | None = None,
) -> Complex[Array, "s k e o o"]:
    """P^+ (E + i eta - H)^-1 P of every snapshot, 1/eV; arguments and refusals as of `spectral_functions`."""
    arrays = _checked(hamiltonian, snapshots, points, energies, broadening, graph)
    return _computed(hamiltonian, snapshots, *arrays, whole=True)


def self_energies(
    hamiltonian: Hamiltonian,
    snapshots: Snapshots,
    points: Any,
    energies: Any,
    broadening: float,
    graph: Graph | None = None,
) -> tuple[Complex[Array, "k e o o"], Float[Array, "k e o o"]]:
    """Sigma(k, E + i eta) from the averaged Green's function, eV, and its standard error (of real and imaginary part
    together) by leaving out one group of snapshots after another.

    Arguments as of `spectral_functions`.

    Raises:
        InputError: as there; also fewer than two independent groups of snapshots, which tell no error.
    """
    graph, k, e, eta = _checked(hamiltonian, snapshots, points, energies, broadening, graph)
    green = _computed(hamiltonian, snapshots, graph, k, e, eta, whole=True)
    parts = jnp.stack([green.real, green.imag], axis=1)
    halves, totals = group_means(parts, snapshots.groups, snapshots.weights)
    means = jax.lax.complex(halves[:, 0], halves[:, 1])
    if len(means) < 2:
        raise InputError(
            f"{len(snapshots)} snapshots in {len(means)} independent group: an error needs two at least; ask for more snapshots"
        )
    base = snapshots.structure.base
    rest = _at_rest(hamiltonian, base, hamiltonian.graph(base), k)
    z = jax.lax.complex(e, jnp.broadcast_to(eta, e.shape))[None, :, None, None]
    bare = z * jnp.eye(rest.shape[-1], dtype=z.dtype)[None, None] - rest[:, None]
    share = (totals / totals.sum()).astype(means.dtype)
    mean = jnp.einsum("g,g...->...", share, means)
    left_out = (mean[None] - share[:, None, None, None, None] * means) / (1 - share)[:, None, None, None, None]
    sigma = bare - jnp.linalg.inv(mean)
    away = (bare[None] - jnp.linalg.inv(left_out)) - sigma[None]
    count = len(means)
    return sigma, jnp.sqrt((count - 1) / count * jnp.sum((away * away.conj()).real, axis=0))


@jax.jit
def _at_rest(hamiltonian: Hamiltonian, base: Structure, graph: Graph, points: Array) -> Complex[Array, "k o o"]:
    blocks, vectors = hamiltonian.blocks(base, graph), graph.vectors(base)
    return jax.lax.map(lambda k: orthonormal(*bloch_matrices(blocks, graph, vectors, k)), cartesian(points, base))
