"""Electron-hole pairs of one configuration on a k mesh, and the products with their Hamiltonian, without its matrix.

At zero momentum, Tamm-Dancoff, for amplitudes X_cv(k):

    (H X)(k) = E_c X - X E_v - D_c(k)^+ FFT_R[ W_ij(R) IFFT_k[ D_c X D_v^+ ]_ij ] D_v(k) + g D_c(k)^+ diag(V rho) D_v(k)

D(k) are states in orthonormal orbitals with the phases of cells alone (those of the atomic gauge times exp(i k.tau)), so that
the inverse transform is the amplitude of an electron on orbital i, R cells away from a hole on orbital j; W is screened, V bare
and without G = 0, rho_i = (1/K) sum_k [D_c X D_v^+]_ii, g = 2 for singlets of a basis without spin and 1 of spinors.
A product costs 4 K N^2 min(n_v, n_c) + ... complex operations, K points and N orbitals; rows of the amplitude are treated in
chunks, so that its K N^2 numbers are never held at once.

Beyond Tamm-Dancoff pairs X that are made couple to pairs Y that are taken away. S[rho] = g V diag(rho) - W rho in real space:

    w X = A X + B Y*,  w Y = -A Y - B X*,  A X = E_c X - X E_v + D_c^+ S[D_c X D_v^+] D_v,  B X* = (D_v^+ S[D_c X D_v^+] D_c)^+

X + Y and X - Y meet A X + B X* and A X - B X* in turn: linear in real numbers, symmetric by Re <x|y>, whatever H and the mesh.

Where H is real in real space and the mesh holds -k with every k, X(-k) = X(k)* and the amplitude in real space is real: of
each pair of points one is kept, times the root of two, and the transform is a product with real waves.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact, Int

from jaxepi import units
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import full_precision, whole
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian
from jaxepi.linalg import hermitian, invariant_subspaces, inverse_cholesky, matrix_function
from jaxepi.optics.broadening import EnergyGrid
from jaxepi.optics.momentum import matrices_at
from jaxepi.optics.transitions import SMALLEST_GAP, deposit
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static

Bands = tuple[int, int, int]
"""First active filled band, first empty one, and the first empty one that is not active."""

CHUNK_BYTES = 1 << 28
"""Memory of one chunk of the amplitude and its transforms."""

CACHED_BYTES = 1 << 26
"""The same of real amplitudes, whose transforms are matrix products: about what caches like."""

MOST_WAVES = 216
"""Points of a mesh up to which a product with all waves is cheaper than Fourier transforms."""


@pytree
class Pairs:
    """Pairs of one configuration: all that the product with their Hamiltonian needs.

    Attributes:
        electrons, holes: active empty and filled states in orthonormal orbitals, phases of cells, shapes (K, N, c), (K, N, v).
        upper, lower: their energies as matrices, eV, shapes (K, c, c), (K, v, v).
        dipoles: <c|e.r|v> for each polarisation, angstrom, shape (p, K, c, v).
        attraction: W_ij(R), eV, shape (n, n, R). exchange: g V_ij, eV, shape (n, n), or None.
        atoms: of each orbital (static). mesh: divisions (static). chunk: orbitals treated at once (static).
        roots: of how many points of the mesh each stands for, by time reversal, shape (K,); None of a whole mesh.
        waves: roots cos(k.R) and -roots sin(k.R) in all cells R, shape (R, K, 2).
    """

    electrons: Inexact[Array, "K N c"]
    holes: Inexact[Array, "K N v"]
    upper: Inexact[Array, "K c c"]
    lower: Inexact[Array, "K v v"]
    dipoles: Inexact[Array, "p K c v"]
    attraction: Float[Array, "n n R"]
    exchange: Float[Array, "n n"] | None
    atoms: tuple[int, ...] = static()
    mesh: tuple[int, int, int] = static()
    chunk: int = static()
    roots: Float[Array, " K"] | None = None
    waves: Float[Array, "R K 2"] | None = None


@full_precision
def product(pairs: Pairs, x: Inexact[Array, "K c v"], coupling: int = 0) -> Inexact[Array, "K c v"]:
    """The pairs' Hamiltonian times an amplitude, eV: A x, or A x + B x* and A x - B x* where `coupling` is 1 and -1."""
    kinetic = jnp.einsum("kcd,kdv->kcv", pairs.upper, x) - jnp.einsum("kcu,kuv->kcv", x, pairs.lower)
    out = kinetic - attracted(pairs, x, coupling)
    return out if pairs.exchange is None else out + exchanged(pairs, x, coupling)


def attracted(pairs: Pairs, x: Inexact[Array, "K c v"], coupling: int = 0) -> Inexact[Array, "K c v"]:
    """The screened attraction times an amplitude (positive where it attracts), by Fourier transforms over the mesh."""
    if pairs.waves is not None:
        return _attracted_in_reals(pairs, x, coupling)
    points, orbitals, _ = pairs.electrons.shape
    rows = _in_chunks(pairs)
    atoms = np.array(pairs.atoms)
    holes, grid = pairs.holes, (pairs.chunk, orbitals, *pairs.mesh)

    @jax.checkpoint
    def add(total, part):
        electrons, taken, atom = part
        half = jnp.einsum("koc,kcv->kov", electrons, x)
        amplitude = jnp.einsum("kov,kjv->ojk", half, holes.conj()).reshape(grid)
        apart = jnp.fft.ifftn(amplitude, axes=(2, 3, 4)).reshape(pairs.chunk, orbitals, points)
        energy = pairs.attraction[atom][:, atoms].astype(x.dtype)
        back = jnp.fft.fftn((apart * energy).reshape(grid), axes=(2, 3, 4)).reshape(apart.shape)
        half = jnp.einsum("ojk,kjv->kov", back, holes)
        total = total + jnp.einsum("koc,kov->kcv", electrons.conj(), half)
        if coupling:
            half = jnp.einsum("ojk,kjc->koc", back, pairs.electrons)
            total = total + coupling * jnp.einsum("kov,koc->kcv", taken, half.conj())
        return total, None

    total, _ = jax.lax.scan(add, jnp.zeros_like(x), rows)
    return total


def _attracted_in_reals(pairs: Pairs, x: Inexact[Array, "K c v"], coupling: int) -> Inexact[Array, "K c v"]:
    """The same of an amplitude that is real in real space: products of real matrices alone."""
    assert pairs.waves is not None
    points, orbitals, _ = pairs.electrons.shape
    v, cells = x.shape[2], pairs.waves.shape[0]
    atoms, real = np.array(pairs.atoms), pairs.waves.dtype
    waves = pairs.waves.reshape(cells, 2 * points)
    electrons, holes = (jnp.concatenate([d.real, d.imag], axis=2) for d in (pairs.electrons, pairs.holes))
    energies = jnp.moveaxis(pairs.attraction, 2, 0).astype(real) / cells

    def times(back, states):
        """Rows of a complex matrix, Re and Im one after the other, times states that are laid out alike."""
        both, n = jnp.einsum("ksoj,kjw->ksow", back, states), states.shape[2] // 2
        return jax.lax.complex(both[:, 0, :, :n] - both[:, 1, :, n:], both[:, 0, :, n:] + both[:, 1, :, :n])

    def add(total, part):
        created, taken, atom = part
        half = jnp.einsum("koc,kcv->kov", created, x)
        # Re and Im of half holes^*, one below the other.
        half = jnp.concatenate([half.real, half.imag, half.imag, -half.real], axis=2).reshape(points, -1, 2, 2 * v)
        amplitude = jnp.einsum("kosw,kjw->ksoj", half, holes).reshape(2 * points, -1)
        apart = (waves @ amplitude).reshape(cells, -1, orbitals) * energies[:, atom][:, :, atoms]
        back = (waves.T @ apart.reshape(cells, -1)).reshape(points, 2, -1, orbitals)
        total = total + jnp.einsum("koc,kov->kcv", created.conj(), times(back, holes))
        if coupling:
            total = total + coupling * jnp.einsum("kov,koc->kcv", taken, times(back, electrons).conj())
        return total, None

    total, _ = jax.lax.scan(jax.checkpoint(add), jnp.zeros_like(x), _in_chunks(pairs))
    return total


def _in_chunks(
    pairs: Pairs,
) -> tuple[Inexact[Array, "n K chunk c"], Inexact[Array, "n K chunk v"], Int[Array, "n chunk"]]:
    """Rows of the states of electrons and of holes, and their atoms, chunk after chunk; the last is filled up with zeros."""
    points, orbitals, _ = pairs.electrons.shape
    chunks = -(-orbitals // pairs.chunk)
    padding = chunks * pairs.chunk - orbitals

    def rows(d: Array) -> Array:
        padded = jnp.pad(d, ((0, 0), (0, padding), (0, 0)))
        return jnp.moveaxis(padded.reshape(points, chunks, pairs.chunk, d.shape[2]), 1, 0)

    of_rows = jnp.asarray(np.pad(np.array(pairs.atoms), (0, padding)).reshape(chunks, pairs.chunk))
    return rows(pairs.electrons), rows(pairs.holes), of_rows


def exchanged(pairs: Pairs, x: Inexact[Array, "K c v"], coupling: int = 0) -> Inexact[Array, "K c v"]:
    """The bare exchange (local fields) times an amplitude."""
    assert pairs.exchange is not None
    half = jnp.einsum("knc,kcv->knv", pairs.electrons, x)
    if pairs.roots is None:
        density = jnp.einsum("knv,knv->n", half, pairs.holes.conj()) / x.shape[0]
    else:
        weighted = pairs.roots[:, None, None].astype(x.dtype) * half
        density = jnp.einsum("knv,knv->n", weighted, pairs.holes.conj()).real / pairs.attraction.shape[2]
    # Of a density and of its complex conjugate, which pairs that are taken away make.
    density = density if not coupling else density + coupling * density.conj()
    atoms = jnp.asarray(pairs.atoms)
    on_atoms = jax.ops.segment_sum(density, atoms, pairs.exchange.shape[0])
    potential = (pairs.exchange.astype(density.dtype) @ on_atoms)[atoms].astype(x.dtype)
    found = jnp.einsum("knc,knv->kcv", pairs.electrons.conj(), potential[None, :, None] * pairs.holes)
    return found if pairs.roots is None else pairs.roots[:, None, None].astype(x.dtype) * found


class Found(NamedTuple):
    """States of a k mesh, before anything attracts: see `Pairs`; the spectrum of all transitions and of the active ones."""

    electrons: Array
    holes: Array
    upper: Array
    lower: Array
    dipoles: Array
    eigenvalues: Float[Array, "K N"]
    everything: Float[Array, "p bins"]
    active: Float[Array, "p bins"]


@partial(jax.jit, static_argnames=("bands", "grid", "dtype"))
def states(
    hamiltonian: Hamiltonian,
    structure: Structure,
    graph: Graph,
    points: Float[Array, "K 3"],
    weights: Float[Array, " K"],
    polarisations: Float[Array, "p 3"],
    bands: Bands,
    grid: EnergyGrid | None,
    dtype: str,
) -> Found:
    """States at all points of a mesh, one k after the other, kept in complex numbers of `dtype`.

    Args:
        weights: of the points, which sum to one. grid: bins of the transitions of independent particles, shape (p, bins);
            empty without one, and then the states are differentiable (`invariant_subspaces`).
    """
    blocks, vectors = hamiltonian.blocks_with_dipoles(structure, graph), graph.vectors(structure)
    atoms = np.array(orbital_atoms(hamiltonian, structure))
    first, middle, last = bands
    degeneracy = hamiltonian.basis.spin_degeneracy
    scale = 4 * jnp.pi**2 * units.COULOMB * degeneracy / structure.volume

    def at(total, point):
        k, weight = point
        q = cartesian(k, structure)
        h, w = matrices_at(blocks, graph, vectors, structure, False, k)
        if grid is None:
            e, holes, electrons = invariant_subspaces(((first, middle), (middle, last)), h)
            lower, upper = (hermitian(u.conj().T @ h @ u) for u in (holes, electrons))
        else:
            e, u = jnp.linalg.eigh(h)
            total = total + weight * _binned(grid, w, u, bands, e, polarisations)
            diagonal = jnp.diag(e.astype(u.dtype))
            lower, upper = diagonal[first:middle, first:middle], diagonal[middle:last, middle:last]
            holes, electrons = u[:, first:middle], u[:, middle:last]
        momenta = jnp.einsum("nc,anv->acv", electrons.conj(), w.apply(holes))
        momenta = jnp.einsum("pa,acv->pcv", polarisations.astype(momenta.dtype), momenta)
        dipoles = over_gaps(upper, lower, momenta)
        if blocks.overlap is not None:
            overlap = bloch_matrices(blocks, graph, vectors, q)[1]
            assert overlap is not None
            turn = _loewdin(overlap)
            holes, electrons = turn @ holes, turn @ electrons
        angle = (structure.positions @ q)[atoms]
        phase = jax.lax.complex(jnp.cos(angle), jnp.sin(angle))[:, None]
        kept = (phase * electrons, phase * holes, upper, lower, dipoles)
        return total, (*(x.astype(dtype) for x in kept), e)

    bins = jnp.zeros((2, polarisations.shape[0], grid.count if grid else 0), structure.positions.dtype)
    total, found = jax.lax.scan(at, bins, (points, weights))
    electrons, holes, upper, lower, dipoles, e = found
    return Found(electrons, holes, upper, lower, jnp.moveaxis(dipoles, 1, 0), e, *(scale * total))


@jax.custom_jvp
def over_gaps(
    upper: Inexact[Array, "c c"], lower: Inexact[Array, "v v"], w: Inexact[Array, "a c v"]
) -> Inexact[Array, "a c v"]:
    """r of upper r - r lower = w, for diagonal energy matrices: dipoles <c|r|v> of momenta <c|w|v>."""
    gap = jnp.diagonal(upper).real[:, None] - jnp.diagonal(lower).real[None, :]
    open_ = jnp.abs(gap) > 1e-6
    return w * jnp.where(open_, 1 / jnp.where(open_, gap, 1.0), 0.0)[None].astype(w.dtype)


@over_gaps.defjvp
def _over_gaps_jvp(primals, tangents):
    upper, lower, w = primals
    dupper, dlower, dw = tangents
    r = over_gaps(upper, lower, w)
    return r, over_gaps(upper, lower, dw - dupper @ r + r @ dlower)


def _binned(grid, w, u, bands, e, polarisations):
    """Squared dipoles of all transitions of one k, and of the active ones, a bin; shape (2, p, bins)."""
    first, middle, last = bands
    x = jnp.einsum("nc,anv->acv", u[:, middle:].conj(), w.apply(u[:, :middle]))
    x = jnp.einsum("pa,acv->pcv", polarisations.astype(x.dtype), x)
    gap = e[middle:, None] - e[None, :middle]
    allowed = gap > SMALLEST_GAP
    strengths = jnp.where(allowed[None], jnp.abs(x) ** 2 / jnp.where(allowed, gap, 1.0)[None] ** 2, 0.0)
    active = deposit(grid, gap[: last - middle, first:], strengths[:, : last - middle, first:])
    return jnp.stack([deposit(grid, gap, strengths), active])


def _loewdin(overlap: Array) -> Array:
    """S^(1/2) L^-+, unitary, which takes states after a Cholesky transformation to symmetrically orthonormal orbitals."""
    return matrix_function(jnp.sqrt, overlap) @ inverse_cholesky(overlap).conj().T


def orbital_atoms(hamiltonian: Hamiltonian, structure: Structure) -> tuple[int, ...]:
    """The atom of every orbital of H(k)."""
    index = hamiltonian.basis.index(structure.species)
    size = hamiltonian.basis.size(structure.species)
    out = np.zeros(size, dtype=int)
    atoms = np.broadcast_to(np.arange(index.shape[0])[:, None], index.shape)
    out[index[index < size]] = atoms[index < size]
    return tuple(int(a) for a in out)


def window(hamiltonian: Hamiltonian, structure: Structure, valence: int | None, conduction: int | None) -> Bands:
    """The active bands: all filled ones and a quarter more empty ones than those, where nothing is asked for.

    Raises:
        InputError: more bands than there are, or none.
    """
    occupied = hamiltonian.basis.occupied(structure.species)
    empty = hamiltonian.basis.size(structure.species) - occupied
    if not 0 < occupied < occupied + empty:
        raise InputError(f"{occupied} filled of {occupied + empty} bands: a pair needs a filled and an empty one")
    valence = occupied if valence is None else valence
    conduction = min(empty, -(-5 * occupied // 4)) if conduction is None else conduction
    for name, wanted, there in (("valence", valence, occupied), ("conduction", conduction, empty)):
        if not 1 <= whole(name, wanted, 1) <= there:
            raise InputError(f"{wanted} {name} bands: this cell has {there}; give 1 to {there}")
    return occupied - valence, occupied, occupied + conduction


def chunk_of(orbitals: int, points: int, cells: int, width: int, polarisations: int) -> int:
    """How many orbitals are treated at once, so that the amplitude and its transforms stay within bounds.

    Args:
        points: that are kept, of so many `cells`. width: of a complex number, bytes.
    """
    each = 5 * width * orbitals * points * polarisations
    most = max(1, (CHUNK_BYTES if points == cells else CACHED_BYTES) // each)
    if most >= orbitals:
        return orbitals
    chunks = -(-orbitals // most)
    return -(-orbitals // chunks)


def memory_bytes(
    orbitals: int, atoms: int, points: int, cells: int, bands: Bands, polarisations: int, precision: str
) -> dict[str, float]:
    """Working memory by its parts, bytes: what `excitons` allocates at most."""
    first, middle, last = bands
    v, c = middle - first, last - middle
    width = 16 if precision == "float64" else 8
    chunk = chunk_of(orbitals, points, cells, width, polarisations)
    sizes = {
        "states": width * points * (orbitals * (v + c) + v * v + c * c + polarisations * v * c),
        "amplitudes": 5 * width * polarisations * points * v * c,
        "attraction": 2 * 8 * atoms**2 * cells,
        "chunk": 5 * width * polarisations * chunk * orbitals * points,
        "matrices": 12 * 16 * orbitals**2,
    }
    return {name: float(size) for name, size in sizes.items()}


def check_memory(needed: dict[str, float], memory_gb: float, mesh: tuple[int, int, int], bands: Bands) -> None:
    """Refuse what does not fit.

    Raises:
        InputError: says how much it needs, of which most, and what reduces it.
    """
    if not 0 < memory_gb < np.inf:
        raise InputError(f"memory_gb {memory_gb}: give a positive number of gigabytes")
    total = sum(needed.values()) / 1e9
    if total > memory_gb:
        largest = max(needed, key=needed.__getitem__)
        first, middle, last = bands
        raise InputError(
            f"pairs of {middle - first} filled and {last - middle} empty bands on {'x'.join(map(str, mesh))} k points need "
            f"about {total:.3g} GB of working memory ({largest}: {needed[largest] / 1e9:.3g} GB), more than {memory_gb:g} GB; "
            "raise memory_gb, take fewer bands or k points, one polarisation, or precision float32"
        )
