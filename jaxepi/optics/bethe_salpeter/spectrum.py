"""Spectra of electrons and holes that attract each other, by Lanczos: `excitons`.

Flows in: a Hamiltonian, snapshots, an interaction. Flows out: `Excitons`, from which dielectric functions of any line shape
follow, beside those of independent particles on the same mesh.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import traced, whole
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.optics import lanczos
from jaxepi.optics.bethe_salpeter.interaction import Interaction
from jaxepi.optics.bethe_salpeter.pairs import Pairs, check_memory, product
from jaxepi.optics.bethe_salpeter.setup import WEAKER, Setup, at_rest
from jaxepi.optics.broadening import Broadening, EnergyGrid, PhotonEnergies
from jaxepi.optics.dielectric import DEFAULT_GRID, Transitions
from jaxepi.optics.spectrum import Spectrum
from jaxepi.optics.transitions import deposit
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure
from jaxepi.tree import field, pytree, replace, static, stored

STEPS = 400
"""Steps of Lanczos' recursion: they resolve lines of 30 meV in silicon; see `Excitons.convergence`."""

SEGMENT = 20
"""Steps between two reports of progress."""


UNIT = "eV, or eV^2 beyond Tamm-Dancoff"


@stored
@pytree
class Excitons:
    """Lanczos coefficients of snapshots: all a spectrum needs, for any line shape, scissor or frequencies.

    Attributes:
        alpha, beta: diagonal and next diagonal of the pairs' Hamiltonian in Lanczos' basis, eV, shape (s, p, m); beyond
            Tamm-Dancoff of its square, eV^2.
        strength: total squared dipoles of the active pairs, as they enter eps2, eV, shape (s, p): the integral of eps2; beyond
            Tamm-Dancoff that of E eps2, eV^2.
        rest: transitions outside the active bands, which stay independent. independent: all transitions, on the same mesh.
        tamm_dancoff: whether pairs do not couple to those that are taken away (static).
    """

    alpha: Float[Array, "s p m"] = field(unit=UNIT)
    beta: Float[Array, "s p m"] = field(unit=UNIT)
    strength: Float[Array, "s p"] = field(unit=UNIT)
    rest: Transitions
    independent: Transitions
    tamm_dancoff: bool = static(default=True)

    def __len__(self) -> int:
        return self.alpha.shape[0]

    def transitions(self, steps: int | None = None) -> Transitions:
        """Squared dipoles a bin with attraction: a `Transitions`, whose `spectrum`, `f_sum` and `static_eps1` hold.

        Args:
            steps: of the recursion that are used; all by default.

        Raises:
            InputError: more steps than it took.
        """
        most = self.alpha.shape[2]
        m = most if steps is None else whole("steps", steps, 1)
        if m > most:
            raise InputError(f"steps {m}: the recursion took {most}; give that at most")
        snapshots, polarisations = self.strength.shape
        alpha, beta = (x[:, :, :m].reshape(snapshots * polarisations, m) for x in (self.alpha, self.beta))
        values, weights = _lines(alpha, beta, self.tamm_dancoff)
        weights = weights * self.strength.reshape(-1, 1) / polarisations
        grid = self.rest.grid
        bins = jax.vmap(lambda e, w: deposit(grid, e, w[None])[0])(values, weights)
        bins = bins.reshape(snapshots, polarisations, -1).sum(axis=1, keepdims=True)
        return replace(self.rest, histogram=self.rest.histogram + bins.astype(self.rest.histogram.dtype))

    def spectrum(
        self, energies: PhotonEnergies, broadening: Broadening, scissor: float | Array = 0.0, steps: int | None = None
    ) -> Spectrum:
        """Dielectric function at `energies` (eV) with a line shape: as `Transitions.spectrum`."""
        return self.transitions(steps).spectrum(energies, broadening, scissor)

    def convergence(self, energies: PhotonEnergies, broadening: Broadening) -> float:
        """Largest change of eps2 that the last fifth of the steps made, over the largest eps2."""
        last, before = (
            np.asarray(self.spectrum(energies, broadening, steps=m).eps2)
            for m in (self.alpha.shape[2], max(1, (4 * self.alpha.shape[2]) // 5))
        )
        return float(np.abs(last - before).max() / np.abs(last).max())


def excitons(
    hamiltonian: Hamiltonian,
    snapshots: Snapshots | Structure,
    kmesh: int | Sequence[int],
    interaction: Interaction,
    valence: int | None = None,
    conduction: int | None = None,
    steps: int = STEPS,
    polarisations: Any = None,
    exchange: bool = True,
    shift: Sequence[float] = (0.0, 0.0, 0.0),
    precision: str = "float64",
    grid: EnergyGrid = DEFAULT_GRID,
    graph: Graph | None = None,
    memory_gb: float = 8.0,
    progress: Callable[[int, int], None] | None = None,
    tamm_dancoff: bool = True,
) -> Excitons:
    """Absorption with the attraction of electron and hole (Bethe-Salpeter), by Lanczos.

    Args:
        snapshots: or one structure. kmesh: divisions of the reciprocal vectors, one number or three; the Born-von Karman cell
            that it makes must hold the relative motion. interaction: `Screening`, or `Keldysh` of layers.
        valence, conduction: active bands; all filled ones and a quarter more empty ones by default. Others stay independent.
        steps: of Lanczos' recursion (`Excitons.convergence` says whether they suffice).
        polarisations: directions of the field, shape (p, 3), whose mean is taken; x, y and z by default. One is enough for a
            cubic crystal at rest.
        exchange: local fields, of crystals that are periodic in three directions (others have none).
        shift: of the mesh, in units of one division. precision: of states and products, "float32" halves memory and time;
            energies are found in that of the structure.
        graph: from the structure by default; nearest images and sums of local fields are those of the crystal that it was built
            from. memory_gb: bound on the working memory. progress: called with steps done and steps in all.
        tamm_dancoff: leave out what couples pairs that are made to pairs that are taken away. Without (False), a step is two
            products, each half as much again.

    Raises:
        InputError: a metal, an interaction that is not physical or too strong for the gap, a mesh or bands that there are not,
            what does not fit in memory (says how much, and what reduces it), or traced arguments (`exciton_spectrum` takes
            them).
    """
    if isinstance(snapshots, Structure):
        snapshots = at_rest(snapshots)
    if traced(hamiltonian, snapshots, interaction):
        raise InputError("excitons runs step by step on the host; under jit, vmap and grad use exciton_spectrum")
    steps = whole("steps", steps, 2)
    structure = snapshots.structure
    graph = hamiltonian.graph(structure) if graph is None else graph
    snapshots.check(graph)
    setup = Setup.of(hamiltonian, structure, kmesh, valence, conduction, polarisations, shift, precision, halved=True)
    check_memory(setup.memory(), memory_gb, setup.mesh, setup.bands)
    coefficients, found = [], []
    for s in range(len(snapshots)):
        one = structure.with_positions(snapshots.positions[s])
        pairs, parts = setup.pairs(hamiltonian, one, graph, interaction, exchange, grid)

        def report(done: int, before: int = s * steps) -> None:
            if progress is not None:
                progress(before + done, steps * len(snapshots))

        alpha, beta, norm = run(pairs, steps, report, tamm_dancoff)
        _refuse_unstable(alpha, beta, tamm_dancoff)
        coefficients.append((alpha, beta, setup.scale(one) * norm**2))
        found.append(parts)
    alpha, beta, strength = (jnp.stack(x) for x in zip(*coefficients, strict=True))
    levels = [part[2] for part in found]
    kept = [setup.transitions(hamiltonian, snapshots, [part[i] for part in found], levels, grid) for i in range(2)]
    return Excitons(alpha, beta, strength, rest=kept[1], independent=kept[0], tamm_dancoff=tamm_dancoff)


def _lines(alpha: Array, beta: Array, tamm_dancoff: bool) -> tuple[Array, Array]:
    """Energies, eV, and their weights in eps2, over the strength; not of an unstable crystal."""
    values, weights = lanczos.ritz(alpha, beta)
    if tamm_dancoff:
        return values, weights
    # Zeros stand where the space was used up, without weight.
    there = values > 0
    energies = jnp.sqrt(jnp.where(there, values, 1.0))
    return energies, jnp.where(there, weights / energies, 0.0)


def _refuse_unstable(alpha: Array, beta: Array, tamm_dancoff: bool) -> None:
    """Refuse an attraction that makes pairs of no energy.

    Raises:
        InputError: says how low the lowest one lies.
    """
    if not bool(jnp.isfinite(alpha).all() & jnp.isfinite(beta).all()):
        raise InputError(f"pairs have no real energies: {WEAKER}")
    energies, weights = (np.asarray(x) for x in lanczos.ritz(alpha, beta))
    if weights[energies <= 0].sum() > 1e-6:
        lowest = energies[weights > 1e-6].min()
        square = "" if tamm_dancoff else "the square of "
        unit = "eV" if tamm_dancoff else "eV^2"
        raise InputError(f"{square}the lowest pair's energy is {lowest:.2f} {unit}: {WEAKER}")


def run(
    pairs: Pairs, steps: int, report: Callable[[int], None], tamm_dancoff: bool = True
) -> tuple[Array, Array, Array]:
    """Lanczos' coefficients, shapes (p, steps), in double precision, and the norms of the start vectors.

    Beyond Tamm-Dancoff the coefficients are those of squared energies, and the norms are roots of <r|A - B|r>.
    """
    start = pairs.dipoles
    state: Any = lanczos.begin(start) if tamm_dancoff else lanczos.Alternation(jnp.zeros_like(start), start)
    alphas, betas = [], []
    for done in range(0, steps, SEGMENT):
        state, alpha, beta = jax.block_until_ready(_advance(pairs, state, min(SEGMENT, steps - done), tamm_dancoff))
        alphas.append(np.asarray(alpha, float))
        betas.append(np.asarray(beta, float))
        report(min(done + SEGMENT, steps))
    alpha, beta = (jnp.asarray(np.concatenate(x, axis=1)) for x in (alphas, betas))
    if tamm_dancoff:
        return alpha, beta, jnp.asarray(state.norm, float)
    return alpha, jnp.pad(beta[:, 1:], ((0, 0), (0, 1))), beta[:, 0]


@partial(jax.jit, static_argnames=("steps", "tamm_dancoff"))
def _advance(pairs: Pairs, state: Any, steps: int, tamm_dancoff: bool) -> tuple[Any, Array, Array]:
    if tamm_dancoff:
        return lanczos.advance(product, pairs, state, steps)
    less, more = (partial(product, coupling=sign) for sign in (-1, 1))
    return lanczos.alternate(less, more, pairs, state, steps)
