"""The dielectric kernel: Hamiltonian and snapshots in, eps2(omega; X) out, as one jitted function.

eps2(E) = 4 pi^2 (e^2/4 pi eps0) g_s/(V N_k) sum_{k,c,v} <v|r|c><c|r|v> [delta(E_c - E_v - E) - delta(E_c - E_v + E)],
length gauge: |<c|r|v>| = |<c|dH/dk|v>|/(E_c - E_v). The scissor operator is then a shift of transition energies and
nothing else (r is kept, the velocity scales with (E + D)/E), and line shapes are applied once, after the transitions of
all k points are binned.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.signal import fftconvolve
from jaxtyping import Array, Float, Inexact

from jaxepi import units
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import constant, known, number, numbers, poisoned
from jaxepi.hamiltonians.base import Blocks, Hamiltonian
from jaxepi.hamiltonians.bloch import bloch_matrices, cartesian, phased, phases, scatter, signs
from jaxepi.kpoints import KPoints, mesh
from jaxepi.linalg import alike, call_lapack, inverse_cholesky
from jaxepi.optics.broadening import (
    Broadening,
    EnergyGrid,
    Gaussian,
    PhotonEnergies,
    check_width,
    photon_energies,
    resolves,
)
from jaxepi.optics.kramers_kronig import kramers_kronig
from jaxepi.optics.spectrum import Spectrum
from jaxepi.optics.transitions import VOIGT, DenseOperator, EdgeOperator, check_occupied, transition_histogram
from jaxepi.sampling.averages import Groups
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure
from jaxepi.tree import field, pytree, replace, static, stored

DEFAULT_GRID = EnergyGrid(0.004, 15000)
"""4 meV bins up to 60 eV: holds every transition of the shipped models."""


@stored
@pytree
class Transitions:
    """Binned dipole transitions of snapshots: all a spectrum needs, for any line shape, scissor or frequencies.

    Attributes:
        histogram: 4 pi^2 KE g_s/V |<c|r|v>|^2 a bin, eV, weighted over k, shape (s, p, bins); p = 6 (Voigt) or 1 (mean).
        eigenvalues: eV, shape (s, k, N). weights: of the k points, shape (k,).
        plasma: (hbar omega_p)^2 of the valence electrons, eV^2: f-sum target is pi/2 times it.
        grid: bins (static). occupied: filled bands (static).
        snapshot_weights, groups: of the snapshots (see `Snapshots`); spectra carry them on.
    """

    histogram: Float[Array, "s p bins"] = field(unit="eV")
    eigenvalues: Float[Array, "s k N"] = field(unit="eV")
    weights: Float[Array, " k"] = field(unit="1")
    plasma: Float[Array, ""] = field(unit="eV^2")
    grid: EnergyGrid = static()
    occupied: int = static()
    snapshot_weights: Float[Array, " s"] | None = field(unit="1", default=None)
    groups: Groups = static(default=())

    def __len__(self) -> int:
        return self.histogram.shape[0]

    def spectrum(self, energies: PhotonEnergies, broadening: Broadening, scissor: float | Array = 0.0) -> Spectrum:
        """Dielectric function at `energies` (eV, zero or positive) with a line shape, eps1 by Kramers-Kronig.

        Args:
            scissor: rigid shift of all transition energies, eV, with the dipoles kept (gauge-consistent).

        Raises:
            InputError: energies below zero, a width that the bins do not resolve, a scissor that is no number; under
                tracing these give NaN.
        """
        energies = photon_energies(energies, self.histogram.dtype, static=True)
        check_width(broadening, self.grid)
        shift = known(number("scissor", scissor, "eV"))
        if shift is not None and not np.isfinite(shift):
            raise InputError(f"scissor {scissor} eV: give a finite shift")
        # A line shape of somebody's own need be no pytree: what is compiled cannot take it then.
        compiled = not jax.tree_util.all_leaves([broadening])
        dielectric = _compiled_dielectric if compiled else _dielectric
        eps1, eps2 = dielectric(self.histogram, energies, broadening, scissor, self.grid)
        return Spectrum(energies, eps1, eps2, self.snapshot_weights, self.groups)

    def f_sum(self) -> Float[Array, " s"]:
        """int E eps2 dE over (pi/2)(hbar omega_p)^2 of the valence electrons.

        One in a complete basis; 2.0 with the shipped sets of silicon and gallium arsenide (scripts/check_physics.py).
        """
        trace = self.histogram[:, : min(3, self.histogram.shape[1])].mean(axis=1)
        return trace @ self.grid.nodes.astype(trace.dtype) / (0.5 * jnp.pi * self.plasma)

    def static_eps1(self, scissor: float | Array = 0.0) -> Float[Array, " s"]:
        """Electronic eps1 at zero frequency, isotropic: 1 + (2/pi) int eps2/E dE."""
        trace = self.histogram[:, : min(3, self.histogram.shape[1])].mean(axis=1)
        nodes = self.grid.nodes.astype(trace.dtype).at[0].set(jnp.inf)
        return 1 + (2 / jnp.pi) * (trace / (nodes + scissor)[None]).sum(axis=-1)


def _dielectric(
    histogram: Float[Array, "s p bins"],
    energies: Float[Array, " w"],
    broadening: Broadening,
    scissor: float | Array,
    grid: EnergyGrid,
) -> tuple[Float[Array, "s w a a"], Float[Array, "s w a a"]]:
    """eps1 and eps2 at `energies` of binned transitions; NaN where these, the width or the scissor cannot be."""
    nodes, step, count = grid.nodes.astype(histogram.dtype), grid.step, grid.count

    def lines(detuning):
        return broadening.profile(detuning - scissor, step)

    detuning = energies[:, None] - nodes[None, :]
    negative = -energies[:, None] - nodes[None, :]
    eps2 = jnp.einsum("spb,wb->spw", histogram, lines(detuning) - lines(negative))
    offsets = step * jnp.arange(1 - count, count, dtype=nodes.dtype)
    kernel = jnp.broadcast_to(lines(offsets), (*histogram.shape[:2], 2 * count - 1))
    everywhere = fftconvolve(histogram, kernel, mode="full", axes=[-1])
    everywhere = everywhere[..., count - 1 : 2 * count - 1] - everywhere[..., count - 1 :: -1]
    eps1 = kramers_kronig(nodes[1:], everywhere[..., 1:], energies)
    ok = jnp.all((energies >= 0) & (energies < jnp.inf)) & resolves(broadening, grid) & jnp.isfinite(scissor)
    return poisoned((_matrices(eps1, 1.0), _matrices(eps2, 0.0)), ok)


_compiled_dielectric = jax.jit(_dielectric, static_argnames="grid")


def _matrices(values: Float[Array, "s p w"], diagonal: float) -> Float[Array, "s w a a"]:
    """Voigt components as matrices; `kramers_kronig` added one to each, which only the diagonal keeps."""
    if values.shape[1] == 1:
        return jnp.moveaxis(values, 1, 2)[..., None]
    matrix = jnp.zeros((values.shape[0], values.shape[2], 3, 3), values.dtype)
    for p, (a, b) in enumerate(VOIGT):
        component = values[:, p] - (0.0 if a == b else diagonal)
        matrix = matrix.at[:, :, a, b].set(component)
        matrix = matrix.at[:, :, b, a].set(component)
    return matrix


def momentum_operator(blocks: Blocks, graph: Graph, vectors: Float[Array, "e 3"], phase: Array) -> EdgeOperator:
    """W^a = -i hbar v_a of an orthogonal basis on the graph's edges: phase (r_a H - d_a H + H d_a), d the on-site dipoles."""
    weighted = jax.vmap(lambda x: phased(x, blocks.hopping))(jnp.multiply(*alike(phase[:, None], vectors)).T)
    receivers, neighbours = graph.receivers, graph.neighbours
    if blocks.dipoles is not None:
        d, hopping = alike(jnp.moveaxis(blocks.dipoles, 1, 0), phased(phase, blocks.hopping))
        weighted = weighted - d[:, graph.senders] @ hopping + hopping @ d[:, graph.receivers]
    padded = jnp.concatenate([weighted, jnp.zeros_like(weighted[:, :1])], axis=1)[:, neighbours]
    receivers = jnp.concatenate([receivers, jnp.zeros(1, receivers.dtype)])[neighbours]
    if blocks.dipoles is not None:
        onsite, d = alike(blocks.onsite, jnp.moveaxis(blocks.dipoles, 1, 0))
        own = (onsite @ d - d @ onsite).astype(padded.dtype)
        padded = jnp.concatenate([padded, own[:, :, None]], axis=2)
        itself = jnp.arange(graph.n_atoms, dtype=receivers.dtype)
        receivers = jnp.concatenate([receivers, itself[:, None]], axis=1)
    return EdgeOperator(padded, receivers, jnp.asarray(blocks.basis.index(blocks.species)), blocks.size)


def exact_momentum(
    blocks: Blocks, graph: Graph, vectors: Float[Array, "e 3"], phase: Inexact[Array, " e"]
) -> tuple[Inexact[Array, "N N"], DenseOperator]:
    """H and W_a = -i hbar v_a = -i dH/dk_a - [A_a, H] of an orthogonal basis, A the matrix of all position matrix elements.

    A reaches from atom to atom, so that the product with H has no longer blocks on the graph's edges alone.
    """
    assert blocks.dipoles is not None
    assert blocks.edge_dipoles is not None
    h = scatter(blocks.onsite, phased(phase, blocks.hopping), blocks, graph)
    weights = jnp.multiply(*alike(phase[:, None], vectors)).T
    along = jax.vmap(lambda weight: scatter(None, phased(weight, blocks.hopping), blocks, graph))(weights)
    position = jax.vmap(lambda onsite, edges: scatter(onsite, phased(phase, edges), blocks, graph), in_axes=(1, 1))(
        blocks.dipoles, blocks.edge_dipoles
    )
    return h, DenseOperator(along - position @ h + h @ position)


def orthonormal(
    blocks: Blocks, graph: Graph, vectors: Float[Array, "e 3"], k: Float[Array, "3"]
) -> tuple[Array, DenseOperator]:
    """H and W^a = -i v^a of a non-orthogonal basis after a Cholesky transformation.

    The velocity <m| dH - (E_m + E_n)/2 dS |n> becomes the matrix dH' - (H' dS' + dS' H')/2 (FORMULAS: atom-centred dipoles).
    """
    if blocks.dipoles is not None:
        raise InputError("on-site dipoles go with an orthogonal basis; this one has an overlap: drop one of the two")
    h, s = bloch_matrices(blocks, graph, vectors, k)
    assert s is not None
    assert blocks.overlap is not None
    weights = jnp.multiply(*alike(phases(vectors, k)[:, None], vectors)).T
    dh, ds = (
        jax.vmap(lambda weight, b=b: scatter(None, phased(weight, b), blocks, graph))(weights)
        for b in (blocks.hopping, blocks.overlap)
    )
    x = inverse_cholesky(s)
    h, dh, ds = (x @ m @ x.conj().T for m in (h, dh, ds))
    h = 0.5 * (h + h.conj().T)
    w = dh - 0.5 * (h @ ds + ds @ h)
    return h, DenseOperator(0.5 * (w - jnp.swapaxes(w.conj(), 1, 2)))


def matrices_at(blocks: Blocks, graph: Graph, vectors: Float[Array, "e 3"], structure: Structure, real: bool, k):
    """H(k) and W = -i dH/dk of one configuration at one fractional k point, in an orthonormal basis.

    Args:
        real: whether H(k) is real there, by its signs.
    """
    q = cartesian(k, structure)
    if blocks.overlap is not None:
        return orthonormal(blocks, graph, vectors, q)
    phase = signs(graph, k, vectors.dtype) if real else phases(vectors, q)
    if blocks.edge_dipoles is not None:
        return exact_momentum(blocks, graph, vectors, phase)
    h = scatter(blocks.onsite, phased(phase, blocks.hopping), blocks, graph)
    return h, momentum_operator(blocks, graph, vectors, phase)


@partial(jax.jit, static_argnames=("grid", "tensor", "real", "batch"))
def _transitions(
    hamiltonian: Hamiltonian,
    structure: Structure,
    graph: Graph,
    positions: Float[Array, "s n 3"],
    points: Float[Array, "k 3"],
    weights: Float[Array, " k"],
    grid: EnergyGrid,
    tensor: bool,
    real: bool,
    batch: tuple[int, int],
) -> Transitions:
    degeneracy = hamiltonian.basis.spin_degeneracy

    def snapshot(x):
        displaced = structure.with_positions(x)
        blocks, vectors = hamiltonian.blocks(displaced, graph), graph.vectors(displaced)

        def add(total, chunk):
            k, weight = chunk
            h, w = jax.vmap(partial(matrices_at, blocks, graph, vectors, displaced, real))(k)
            histogram, e = transition_histogram(h, w, weight, blocks.occupied, grid, tensor)
            return total + histogram, e

        size = batch[1]
        start = jnp.zeros((6 if tensor else 1, grid.count), x.dtype)
        chunks = (points.reshape(-1, size, 3), weights.reshape(-1, size))
        total, e = jax.lax.scan(add, start, chunks)
        prefactor = 4 * jnp.pi**2 * units.COULOMB * degeneracy / displaced.volume
        # Transitions at NaN fall out of the bins.
        total = total if graph.checked else poisoned(total, graph.holds(displaced))
        return prefactor * total, e.reshape(len(points), -1)

    histogram, eigenvalues = jax.lax.map(snapshot, positions, batch_size=batch[0])
    occupied = hamiltonian.basis.occupied(structure.species)
    electrons = occupied * degeneracy / structure.volume
    plasma = 4 * jnp.pi * units.COULOMB * units.HBAR2_PER_ELECTRON_MASS * electrons
    return Transitions(histogram, eigenvalues, weights, plasma, grid, occupied)


def transitions(
    hamiltonian: Hamiltonian,
    snapshots: Snapshots,
    kmesh: Any = 1,
    grid: EnergyGrid = DEFAULT_GRID,
    tensor: bool = True,
    graph: Graph | None = None,
    memory_gb: float = 8.0,
) -> Transitions:
    """Binned dipole transitions of snapshots on a k mesh.

    Args:
        kmesh: divisions of the supercell's reciprocal vectors (an integer or three), or `KPoints`. Where all points are
            time-reversal invariant (a mesh of 1 or 2) and H is real, real arithmetic is used, which is faster.
        grid: energy bins. tensor: six components, or the isotropic mean alone (less memory).
        graph: topology; built from the equilibrium structure by default. Needed where that is being traced.
        memory_gb: bound on the working memory, from which batches over snapshots and k points follow.

    Raises:
        InputError: atoms that left the graph's skin (NaN under tracing), k points that are none, or a matrix that does not
            fit in memory.
    """
    structure = snapshots.structure
    if graph is None:
        graph = hamiltonian.graph(structure)
    graph = snapshots.check(graph)
    k = kmesh.checked() if isinstance(kmesh, KPoints) else mesh(kmesh, periodic=structure.pbc)
    real = k.is_real and hamiltonian.orthogonal and hamiltonian.real
    size = hamiltonian.basis.size(structure.species)
    hoppings = len(graph.senders) * hamiltonian.basis.block_size**2
    batch = batches(size, len(k.points), len(snapshots), real, memory_gb, hoppings)
    dtype = snapshots.positions.dtype
    points, weights = constant(k.points, dtype), constant(k.weights, dtype)
    args = (hamiltonian, structure, graph, snapshots.positions, points, weights, grid, tensor, real, batch)
    found = call_lapack(size, _transitions, *args)
    return replace(found, snapshot_weights=snapshots.weights, groups=snapshots.groups)


def batches(size: int, points: int, snapshots: int, real: bool, memory_gb: float, hoppings: int = 0) -> tuple[int, int]:
    """How many snapshots and k points are computed together so that about `memory_gb` gigabytes suffice.

    Args:
        hoppings: elements of all blocks between atoms. Of small cells they, each with its phase and momenta, take more
            room than the matrices.

    Raises:
        InputError: not even one matrix fits; says how much it needs.
    """
    if not 0 < memory_gb < np.inf:
        raise InputError(f"memory_gb {memory_gb}: give a positive number of gigabytes")
    bytes_each = 10 * size**2 * (8 if real else 16)
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
    return max(1, min(snapshots, at_once // k)), k


def dielectric(
    hamiltonian: Hamiltonian,
    snapshots: Snapshots,
    energies: PhotonEnergies,
    kmesh: Any = 1,
    broadening: Broadening | None = None,
    scissor: float | Array = 0.0,
    tensor: bool = True,
    graph: Graph | None = None,
    grid: EnergyGrid = DEFAULT_GRID,
) -> Spectrum:
    """Dielectric function of snapshots (Williams-Lax): see `transitions` and `Transitions.spectrum`.

    Args:
        energies: photon energies, eV, positive. broadening: Gaussian of 30 meV by default.

    Raises:
        InputError: energies at or below zero, a width the bins do not resolve, and what `transitions` raises.
    """
    broadening = Gaussian(0.03) if broadening is None else broadening
    energies = photon_energies(energies, snapshots.positions.dtype)
    check_width(broadening, grid)
    return transitions(hamiltonian, snapshots, kmesh, grid, tensor, graph).spectrum(energies, broadening, scissor)


def joint_density_of_states(
    eigenvalues: Float[Array, "k N"],
    weights: Float[Array, " k"],
    occupied: int,
    energies: PhotonEnergies,
    broadening: Broadening,
) -> Float[Array, " w"]:
    """Vertical transitions a unit of energy, 1/eV a cell and spin: sum_k w_k sum_{c,v} delta(E_c - E_v - E).

    Raises:
        InputError: a width that is not positive (NaN under tracing), no filled or no empty band.
    """
    energies, fine = numbers("energies", energies, eigenvalues.dtype, 1), EnergyGrid(0.0, 1)
    check_width(broadening, fine)
    check_occupied(occupied, eigenvalues.shape[-1])
    weights = jnp.asarray(weights, eigenvalues.dtype)
    gap = eigenvalues[:, occupied:, None] - eigenvalues[:, None, :occupied]

    def at(energy):
        return jnp.einsum("k,kcv->", weights, broadening.profile(energy - gap, 0.0))

    ok = (jnp.asarray(broadening.width) > 0) & resolves(broadening, fine)
    return poisoned(jax.lax.map(at, energies), ok)
