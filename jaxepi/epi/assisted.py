"""Absorption with the help of phonons, to second order, by mode and at any wave vectors of the primitive cell.

Hall, Bardeen and Blatt, Phys. Rev. 95, 559 (1954). With u a displacement of wave vector q, H' = dH/du and W = [H, r] at rest,

    W'_cv = <c|dW/du|v> + sum_m <c|H'|m><m|W|v>/(E_c - E_m) + sum_m' <c|W|m'><m'|H'|v>/(E_v - E_m')

takes v at k to c at k + q; m stand at k, m' at k + q, and dW/du = [H', r] + [H, dr/du] holds what the orbitals' motion adds.
Denominators are those of the static lattice: the sum over modes of <u^2> |W'/(E_c - E_v)|^2 at E_c - E_v is then what averages
over snapshots hold to second order below the direct gap, exactly, and each part carries the quantum that belongs to it.

Flows in: electrons and force constants of an indirect crystal. Flows out: `Assisted`, parts of eps2 by quantum.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from jaxepi import units
from jaxepi.electrons.eigen import eigenvalues
from jaxepi.epi.levels import Electrons
from jaxepi.epi.perturbation import Topology
from jaxepi.epi.stencils import Couplings
from jaxepi.errors import InputError
from jaxepi.guards import poisoned, traced, whole
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.kpoints import quasirandom
from jaxepi.optics.bethe_salpeter.quanta import SOFTEST_EV, ModeSpectra
from jaxepi.optics.broadening import Broadening, EnergyGrid, PhotonEnergies, check_width, photon_energies
from jaxepi.optics.momentum import matrices_at
from jaxepi.optics.transitions import deposit
from jaxepi.sampling.force_constants import ForceConstants
from jaxepi.sampling.harmonic import in_kelvin, variance
from jaxepi.sampling.phonons import eigenvalues_at, interpolated, short_ranged
from jaxepi.sampling.vibrations import occupation, quantum
from jaxepi.tree import field, pytree, stored

BIN = 0.05
"""Width, eV, of the strata of transition energies from each of which equally many pairs of wave vectors are taken."""

QUANTUM_STEP = 0.002
"""Width of the bins of quanta, eV."""

RESOLVED = 0.01
"""eta in x/(x^2 + eta^2), eV, of denominators x: none is as small below the direct gap."""


@stored
@pytree
class Assisted:
    """Parts of eps2 that need a phonon, by quantum, of the lattice's zero-point motion alone.

    Attributes:
        energies: photon energies, eV, shape (w,). parts: shape (m, w). quanta: eV, shape (m,).
        gap, direct: smallest transition with a phonon, and without one, among the sampled wave vectors, eV: some 0.05 eV above
            those of the lattice at rest, by which spectra are aligned (`electrons.band_edges`).
    """

    energies: Float[Array, " w"] = field(unit="eV")
    parts: Float[Array, "m w"] = field(unit="1")
    quanta: Float[Array, " m"] = field(unit="eV")
    gap: Float[Array, ""] = field(unit="eV")
    direct: Float[Array, ""] = field(unit="eV")

    def at(self, temperature: float | Array) -> ModeSpectra:
        """The parts at a temperature, kelvin: 2n + 1 times those of zero-point motion.

        Raises:
            InputError: a temperature below zero; NaN where it is traced.
        """
        kelvin = in_kelvin(temperature, "quantum", self.quanta.dtype)
        more = poisoned(2 * occupation(self.quanta, kelvin) + 1, kelvin >= 0)
        return ModeSpectra(self.energies, self.parts * more[:, None], self.quanta, kelvin)


@pytree
class _Terms:
    """The couplings' blocks as one matrix for each triple of atoms: moved, sender, receiver; short lists are padded."""

    blocks: Array
    bond: Float[Array, "g t 3"]
    start: Float[Array, "g t 3"]

    @classmethod
    def of(cls, held: Couplings) -> "_Terms":
        group, n = np.asarray(held.group), held.atoms
        order, counts = np.argsort(group, kind="stable"), np.bincount(group, minlength=n**3)
        index = np.full((n**3, max(1, counts.max())), len(group))
        index[group[order], np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)] = order
        blocks, bond, start = (
            jnp.concatenate([x, jnp.zeros_like(x[:1])])[index] for x in (held.h, held.bond, held.start)
        )
        return cls(blocks.reshape(*index.shape, -1), bond, start)

    def between(self, held: Couplings, k: Array, q: Array) -> tuple[Complex[Array, "m N N"], Complex[Array, "3 m N N"]]:
        """H' between k and k + q, and [H', r] of the orbitals' sites, for each displacement: see `Couplings.between`."""
        angle = self.bond @ k - self.start @ q
        weights = jnp.concatenate([jnp.ones_like(self.bond[..., :1]), self.bond], axis=-1)
        waves = (jnp.einsum("gtd,gt->gdt", weights, f(angle)) for f in (jnp.cos, jnp.sin))
        cosine, sine = (jnp.einsum("gdt,gtx->gdx", wave.astype(self.blocks.dtype), self.blocks) for wave in waves)
        sums = (
            jax.lax.complex(cosine, sine) if not jnp.iscomplexobj(cosine) else cosine + 1j * sine.astype(cosine.dtype)
        )
        n, width = held.atoms, held.h.shape[-1]
        found = jnp.transpose(sums.reshape(n, n, n, 4, 3, width, width), (3, 0, 4, 1, 5, 2, 6))
        found = found.reshape(4, 3 * n, n * width, n * width)
        if len(held.kept) < n * width:
            kept = np.array(held.kept)
            found = found[:, :, kept][:, :, :, kept]
        return found[0], found[1:]


class Transitions(NamedTuple):
    """Transitions from filled states at k to empty ones at k + q.

    Attributes:
        energies: E_c - E_v, eV, shape (c, v). quanta: eV, shape (m,). strengths: zero-point <u^2> |<c|r|v>'|^2, mean over
            directions, angstrom^2, shape (m, c, v); zero of modes that are not bound.
    """

    energies: Float[Array, "c v"]
    quanta: Float[Array, " m"]
    strengths: Float[Array, "m c v"]


@pytree
class _Crystal:
    """What all pairs of wave vectors share."""

    electrons: Electrons
    terms: _Terms
    constants: ForceConstants
    short: Array
    known: Topology

    def states(self, k: Array) -> tuple[Array, Array, Array]:
        """Energies, vectors, and W between them."""
        held = self.electrons
        h, w = matrices_at(held.blocks, held.graph, held.vectors, held.cell, False, k)
        e, u = jnp.linalg.eigh(h)
        return e, u, jnp.einsum("nm,anl->aml", u.conj(), w.apply(u))

    def between(self, k: Float[Array, "3"], q: Float[Array, "3"]) -> Transitions:
        """From k to k + q, both fractional."""
        held, cell = self.electrons, self.electrons.cell
        (e, u, w), (e_there, u_there, w_there) = self.states(k), self.states(k + q)
        step = q @ cell.reciprocal
        h, moved = self.terms.between(held.couplings, k @ cell.reciprocal, step)
        if held.blocks.dipoles is not None:
            d = _onsite(held, jnp.moveaxis(held.blocks.dipoles, 1, 0)).astype(h.dtype)
            moved = moved + h[None] @ d[:, None] - d[:, None] @ h[None]
        h, moved = (u_there.conj().T @ x @ u for x in (h, moved))
        angle = cell.positions @ step
        phase = jax.lax.complex(jnp.cos(angle), -jnp.sin(angle))
        own = _orbitals_of_atoms(held).astype(phase.dtype)
        shares = jnp.einsum("oc,o,ao,ov->acv", u_there.conj(), phase @ own, own, u)
        occupied = held.blocks.occupied
        gaps = e_there[occupied:, None] - e[None, :occupied]
        # dr/du of the orbitals that move, times the energy that the momentum holds.
        shares = shares[:, occupied:, :occupied] * gaps[None].astype(shares.dtype)
        direct = jnp.einsum("ab,icv->aibcv", jnp.eye(3, dtype=shares.dtype), shares).reshape(3, -1, *gaps.shape)
        amplitude = moved[:, :, occupied:, :occupied] + direct
        here = _reciprocal(e_there[occupied:, None] - e[None]).astype(h.dtype)
        there = _reciprocal(e[None, :occupied] - e_there[:, None]).astype(h.dtype)
        amplitude = amplitude + jnp.einsum("icm,amv->aicv", h[:, occupied:] * here[None], w[:, :, :occupied])
        amplitude = amplitude + jnp.einsum("acm,imv->aicv", w_there[:, occupied:], h[:, :, :occupied] * there[None])
        squares, weighted = self.modes(q)
        found = jnp.einsum("aicv,im->amcv", amplitude, weighted.astype(amplitude.dtype))
        energies = quantum(jnp.maximum(squares, 0.0))
        bound = energies > SOFTEST_EV
        size = (jnp.abs(found) ** 2).mean(axis=0) / gaps[None] ** 2
        spread = variance(jnp.where(bound, squares, 1.0), jnp.zeros((), squares.dtype))
        return Transitions(gaps, energies, size * jnp.where(bound, spread, 0.0)[:, None, None])

    def modes(self, q: Array) -> tuple[Array, Array]:
        """Squared frequencies and displacements of the modes, mass-weighted."""
        weight = self.constants.inverse_root_masses.ravel()
        d = interpolated(self.constants, self.short, q, self.known.images).reshape(len(weight), -1)
        squares, modes = jnp.linalg.eigh(d * (weight[:, None] * weight[None]).astype(d.dtype))
        return squares, modes * weight[:, None].astype(modes.dtype)


def _reciprocal(x: Array) -> Array:
    return x / (x**2 + RESOLVED**2)


def _onsite(held: Electrons, blocks: Array) -> Array:
    """Blocks of atoms, shape (3, n, o, o), as matrices between all orbitals."""
    n, width = blocks.shape[1:3]
    whole_ = jnp.einsum("anij,nm->animj", blocks, jnp.eye(n, dtype=blocks.dtype)).reshape(3, n * width, n * width)
    kept = np.array(held.couplings.kept)
    return whole_[:, kept][:, :, kept]


def _orbitals_of_atoms(held: Electrons) -> Array:
    """One where an orbital stands on an atom, shape (n, N)."""
    width = held.blocks.onsite.shape[-1]
    return jnp.asarray(np.repeat(np.eye(held.couplings.atoms), width, axis=1)[:, np.array(held.couplings.kept)])


def crystal_of(hamiltonian: Hamiltonian, constants: ForceConstants, known: Topology) -> _Crystal:
    """A crystal made ready for all pairs of wave vectors.

    Raises:
        InputError: a basis with overlap, or position matrix elements between atoms.
    """
    if traced(hamiltonian, constants):
        raise InputError(
            "phonon-assisted absorption chooses its wave vectors on the host: call it outside jit and grad"
        )
    held = Electrons.of(hamiltonian, constants.base, known.graph, known.stencil)
    if held.blocks.overlap is not None or held.blocks.edge_dipoles is not None:
        raise InputError(
            f"{hamiltonian.module.called}: absorption with phonons is for orthogonal orbitals whose dipoles stand on atoms; "
            "take optics.mode_spectra of a supercell"
        )
    return _Crystal(held, _Terms.of(held.couplings), constants, short_ranged(constants, known.images), known)


def assisted_absorption(
    hamiltonian: Hamiltonian,
    constants: ForceConstants,
    energies: PhotonEnergies,
    broadening: Broadening,
    known: Topology,
    points: int = 2000,
    pairs: int = 60,
) -> Assisted:
    """eps2 that needs a phonon, by quantum, below the direct gap.

    Args:
        constants: of the primitive cell. known: `epi.topology(hamiltonian, constants)`.
        points: quasirandom k; pairs of them are sorted by their smallest transition. pairs: that are taken of every 50 meV.

    Raises:
        InputError: a crystal without a gap or whose gap is direct, and what `crystal_of` refuses.
    """
    crystal = crystal_of(hamiltonian, constants, known)
    dtype = constants.matrix.dtype
    energies = photon_energies(energies, dtype)
    grid = EnergyGrid(0.005, 1 + int(np.ceil((float(np.asarray(energies)[-1]) + 0.5) / 0.005)))
    check_width(broadening, grid)
    cell = constants.base
    k = quasirandom(whole("points", points, 8)).points
    occupied = hamiltonian.basis.occupied(cell.species)
    levels = np.asarray(eigenvalues(hamiltonian, cell, k))
    top, bottom = levels[:, occupied - 1], levels[:, occupied]
    direct, gap = (bottom - top).min(), bottom.min() - top.max()
    if gap <= 0 or direct - gap < 0.1:
        raise InputError(
            f"transitions with phonons begin at {gap:.2f} eV and those without at {direct:.2f} eV: phonon energies belong to "
            "the tail of an indirect gap"
        )
    first, second, weights = _chosen(top, bottom, min(float(direct), float(grid.nodes[-1])), pairs)
    count = int(np.ceil(_highest(constants, known) / QUANTUM_STEP)) + 1
    start, step, shares = (jnp.asarray(x, dtype) for x in (k[first], k[second] - k[first], weights))
    bins = _binned(crystal, start, step, shares, float(direct), grid, count)
    scale = 4 * jnp.pi**2 * units.COULOMB * hamiltonian.basis.spin_degeneracy / cell.volume
    lines = broadening.profile(energies[:, None] - grid.nodes.astype(dtype)[None], grid.step)
    quanta = QUANTUM_STEP * (jnp.arange(count, dtype=dtype) + 0.5)
    return Assisted(energies, scale * bins @ lines.T, quanta, jnp.asarray(gap, dtype), jnp.asarray(direct, dtype))


def _highest(constants: ForceConstants, known: Topology) -> float:
    """A bound on all quanta, eV: the largest at some wave vectors, and a twentieth more."""
    found = eigenvalues_at(constants, jnp.asarray(quasirandom(32).points, constants.matrix.dtype), known.images)
    return 1.05 * float(quantum(jnp.maximum(found, 0.0)).max())


def _chosen(top: np.ndarray, bottom: np.ndarray, most: float, pairs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of k points, equally many of every stratum of their smallest transition up to `most`, and their weights."""
    gaps = (bottom[None] - top[:, None]).astype(np.float32).ravel()
    inside = np.flatnonzero(gaps < most)
    inside = inside[np.argsort(gaps[inside], kind="stable")]
    stratum = ((gaps[inside] - gaps[inside[0]]) / BIN).astype(int)
    ends = np.flatnonzero(np.diff(stratum)) + 1
    kept, weights = [], []
    for members in np.split(inside, ends):
        taken = members[np.linspace(0, len(members) - 1, min(pairs, len(members))).round().astype(int)]
        kept.append(taken)
        weights.append(np.full(len(taken), len(members) / len(taken) / len(gaps)))
    chosen = np.concatenate(kept)
    return chosen // len(top), chosen % len(top), np.concatenate(weights)


def _binned(crystal: _Crystal, k: Array, q: Array, weights: Array, most: float, grid: EnergyGrid, count: int) -> Array:
    """Strengths of transitions below `most` by quantum and energy, weighted, shape (count, bins)."""

    @jax.jit
    def add(crystal: _Crystal, k: Array, q: Array, weights: Array) -> Array:
        def one(total: Array, pair: tuple[Array, Array, Array]) -> tuple[Array, None]:
            k, q, weight = pair
            found = jax.vmap(crystal.between)(k, q)
            place = jnp.clip(found.quanta / QUANTUM_STEP, 0, count - 1).astype(int)
            below = (found.energies < most).astype(weight.dtype)
            strengths = weight[:, None, None, None] * below[:, None] * found.strengths
            shares = jax.nn.one_hot(place, count, dtype=strengths.dtype)
            by_quantum = jnp.einsum("pms,pmcv->pscv", shares, strengths)
            return total + deposit(grid, found.energies, jnp.moveaxis(by_quantum, 1, 0)), None

        start = jnp.zeros((count, grid.count), weights.dtype)
        return jax.lax.scan(one, start, (k, q, weights))[0]

    size = 8
    padding = -len(k) % size
    k, q, weights = (jnp.concatenate([x, jnp.zeros((padding, *x.shape[1:]), x.dtype)]) for x in (k, q, weights))
    return add(crystal, *(x.reshape(-1, size, *x.shape[1:]) for x in (k, q, weights)))
