"""The dielectric kernel: Hamiltonian and snapshots in, eps2(omega; X) out, as one jitted function.

eps2(E) = 4 pi^2 (e^2/4 pi eps0) g_s/(V N_k) sum_{k,c,v} <v|r|c><c|r|v> [delta(E_c - E_v - E) - delta(E_c - E_v + E)],
length gauge: |<c|r|v>| = |<c|dH/dk|v>|/(E_c - E_v). The scissor operator is then a shift of transition energies and
nothing else (r is kept, the velocity scales with (E + D)/E), and line shapes are applied once, after the transitions of
all k points are binned.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.signal import fftconvolve
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import constant, known, number, numbers, poisoned
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.kpoints import KPoints, mesh
from jaxepi.optics.broadening import (
    CARRIED,
    Broadening,
    EnergyGrid,
    Gaussian,
    PhotonEnergies,
    check_carried,
    check_width,
    photon_energies,
    resolves,
)
from jaxepi.optics.kramers_kronig import kramers_kronig
from jaxepi.optics.solvers import Solver, resolving, solver_of
from jaxepi.optics.solvers.case import Case
from jaxepi.optics.spectrum import Spectrum
from jaxepi.optics.transitions import VOIGT, check_occupied
from jaxepi.sampling.averages import Groups
from jaxepi.sampling.snapshots import Snapshots
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
        replicas: histograms that leave out one random vector each (solver `Stochastic`), shape (s, r, p, bins), or None.
        carried: deviation, eV, of the Gaussian that every line of the histogram has already (static); 0 for bare bins.
    """

    histogram: Float[Array, "s p bins"] = field(unit="eV")
    eigenvalues: Float[Array, "s k N"] = field(unit="eV")
    weights: Float[Array, " k"] = field(unit="1")
    plasma: Float[Array, ""] = field(unit="eV^2")
    grid: EnergyGrid = static()
    occupied: int = static()
    snapshot_weights: Float[Array, " s"] | None = field(unit="1", default=None)
    groups: Groups = static(default=())
    replicas: Float[Array, "s r p bins"] | None = field(unit="eV", default=None)
    carried: float = static(default=0.0)

    def __len__(self) -> int:
        return self.histogram.shape[0]

    @property
    def _step(self) -> float:
        """The bins' width, eV, of which line shapes take a third of the square out of their variance."""
        return self.grid.step if not self.carried else math.sqrt(3) * self.carried

    def spectrum(self, energies: PhotonEnergies, broadening: Broadening, scissor: float | Array = 0.0) -> Spectrum:
        """Dielectric function at `energies` (eV, zero or positive) with a line shape, eps1 by Kramers-Kronig.

        Args:
            scissor: rigid shift of all transition energies, eV, with the dipoles kept (gauge-consistent).

        Raises:
            InputError: energies below zero, a width that the bins do not resolve or that lines exceed already, a scissor that
                is no number; under tracing these give NaN. Another shape than a Gaussian for lines that are Gaussians already.
        """
        energies = photon_energies(energies, self.histogram.dtype, static=True)
        check_width(broadening, self.grid)
        check_carried(broadening, self.carried)
        shift = known(number("scissor", scissor, "eV"))
        if shift is not None and not np.isfinite(shift):
            raise InputError(f"scissor {scissor} eV: give a finite shift")
        # A line shape of somebody's own need be no pytree: what is compiled cannot take it then.
        compiled = not jax.tree_util.all_leaves([broadening])
        dielectric = _compiled_dielectric if compiled else _dielectric
        eps1, eps2 = dielectric(self.histogram, energies, broadening, scissor, self.grid, self._step)
        return Spectrum(energies, eps1, eps2, self.snapshot_weights, self.groups)

    def noise(
        self, energies: PhotonEnergies, broadening: Broadening, scissor: float | Array = 0.0
    ) -> Float[Array, "s w"]:
        """Standard error of each snapshot's isotropic eps2 from its random vectors, by leaving out one each (jackknife).

        Raises:
            InputError: another solver than `Stochastic` found these transitions.
        """
        if self.replicas is None:
            raise InputError(
                "these transitions hold no random vectors, and no error of them: use solver=optics.Stochastic()"
            )
        s, r = self.replicas.shape[:2]
        flat = replace(self, histogram=self.replicas.reshape(s * r, *self.replicas.shape[2:]), replicas=None)
        eps2 = flat.spectrum(energies, broadening, scissor).isotropic()[1].reshape(s, r, -1)
        return jnp.sqrt((r - 1) * eps2.var(axis=1))

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
    binned: float,
) -> tuple[Float[Array, "s w a a"], Float[Array, "s w a a"]]:
    """eps1 and eps2 at `energies` of binned transitions; NaN where these, the width or the scissor cannot be."""
    nodes, step, count = grid.nodes.astype(histogram.dtype), grid.step, grid.count

    def lines(detuning):
        return broadening.profile(detuning - scissor, binned)

    detuning = energies[:, None] - nodes[None, :]
    negative = -energies[:, None] - nodes[None, :]
    eps2 = jnp.einsum("spb,wb->spw", histogram, lines(detuning) - lines(negative))
    offsets = step * jnp.arange(1 - count, count, dtype=nodes.dtype)
    kernel = jnp.broadcast_to(lines(offsets), (*histogram.shape[:2], 2 * count - 1))
    everywhere = fftconvolve(histogram, kernel, mode="full", axes=[-1])
    everywhere = everywhere[..., count - 1 : 2 * count - 1] - everywhere[..., count - 1 :: -1]
    eps1 = kramers_kronig(nodes[1:], everywhere[..., 1:], energies)
    ok = jnp.all((energies >= 0) & (energies < jnp.inf)) & resolves(broadening, grid) & jnp.isfinite(scissor)
    # Lines that are Gaussians already (`Transitions.carried`) are not made narrower.
    ok &= (binned == step) | (jnp.asarray(broadening.width) >= (1 - 1e-9) * binned / (math.sqrt(3) * CARRIED))
    return poisoned((_matrices(eps1, 1.0), _matrices(eps2, 0.0)), ok)


_compiled_dielectric = jax.jit(_dielectric, static_argnames=("grid", "binned"))


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


def _case(hamiltonian: Hamiltonian, snapshots: Snapshots, kmesh: Any, graph: Graph | None) -> Case:
    """What is solved: model, graph and k points are checked."""
    hamiltonian.check_positions()
    structure = snapshots.structure
    if graph is None:
        graph = hamiltonian.graph(structure)
    graph = snapshots.check(graph)
    k = kmesh.checked() if isinstance(kmesh, KPoints) else mesh(kmesh, periodic=structure.pbc)
    real = k.is_real and hamiltonian.orthogonal and hamiltonian.real
    dtype = snapshots.positions.dtype
    points, weights = constant(k.points, dtype), constant(k.weights, dtype)
    return Case(hamiltonian, structure, graph, snapshots.positions, points, weights, real)


def planned(
    solver: Solver, hamiltonian: Hamiltonian, snapshots: Snapshots, kmesh: Any = 1, graph: Graph | None = None
) -> Solver:
    """A solver with everything that it looks up in known values, so that it can be used under jit and grad.

    Raises:
        InputError: what the solver does not serve, such as crystals without a gap.
    """
    return solver.plan(_case(hamiltonian, snapshots, kmesh, graph))


def transitions(
    hamiltonian: Hamiltonian,
    snapshots: Snapshots,
    kmesh: Any = 1,
    grid: EnergyGrid = DEFAULT_GRID,
    tensor: bool = True,
    graph: Graph | None = None,
    memory_gb: float = 8.0,
    solver: Solver | None = None,
) -> Transitions:
    """Binned dipole transitions of snapshots on a k mesh.

    Args:
        kmesh: divisions of the supercell's reciprocal vectors (an integer or three), or `KPoints`. Where all points are
            time-reversal invariant (a mesh of 1 or 2) and H is real, real arithmetic is used, which is faster.
        grid: energy bins. tensor: six components, or the isotropic mean alone (less memory).
        graph: topology; built from the equilibrium structure by default. Needed where that is being traced.
        memory_gb: bound on the working memory, from which batches over snapshots and k points follow.
        solver: `Dense` (default), `Filtered`, `Stochastic`, or `Automatic`, which chooses by size and memory.

    Raises:
        InputError: atoms that left the graph's skin, or overlaps of which no positions follow (both NaN under tracing); k
            points that are none, or a matrix that does not fit in memory.
    """
    solver, case = solver_of(solver), _case(hamiltonian, snapshots, kmesh, graph)
    found = solver.solve(case, grid, tensor, memory_gb)
    return Transitions(
        found.histogram,
        found.eigenvalues,
        case.weights,
        found.plasma,
        grid,
        found.occupied,
        snapshots.weights,
        snapshots.groups,
        found.replicas,
        found.carried,
    )


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
    solver: Solver | None = None,
    memory_gb: float = 8.0,
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
    if solver is not None:
        solver = resolving(solver, broadening)
    found = transitions(hamiltonian, snapshots, kmesh, grid, tensor, graph, memory_gb, solver)
    return found.spectrum(energies, broadening, scissor)


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
