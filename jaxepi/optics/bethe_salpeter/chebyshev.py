"""Spectra of electrons and holes that attract each other as a fixed expansion, to be differentiated: `exciton_spectrum`.

<r| g(E - H) |r> with a Gaussian g is a sum of Chebyshev polynomials of H, whose moments <r|T_n(H)|r> come two a product:
mu_2n = 2 <t_n|t_n> - mu_0, mu_2n+1 = 2 <t_n+1|t_n> - mu_1. Nothing is diagonalised but H(k), whose states enter through
`linalg.invariant_subspaces`, so that derivatives are right at degeneracies.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Inexact

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import number, refuse_or_nan, whole
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.kpoints import mesh as regular_mesh
from jaxepi.optics import lanczos
from jaxepi.optics.bethe_salpeter.interaction import Interaction
from jaxepi.optics.bethe_salpeter.pairs import Pairs, check_memory, product
from jaxepi.optics.bethe_salpeter.setup import WEAKER, Setup, at_rest, gapped
from jaxepi.optics.broadening import Broadening, EnergyGrid, Gaussian, PhotonEnergies, check_width, photon_energies
from jaxepi.optics.dielectric import DEFAULT_GRID, Transitions, transitions
from jaxepi.optics.spectrum import Spectrum
from jaxepi.optics.transitions import VOIGT
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure
from jaxepi.tree import replace

ACCURACY = 1e-4
"""Largest truncation of the Gaussian's expansion that is accepted, over its height."""


PROBES = 12
"""Steps of Lanczos' recursion that find the interval of the energies."""


def moments(
    pairs: Pairs,
    start: Inexact[Array, "p K c v"],
    centre: Array,
    half: Array,
    count: int,
    attract: bool,
    tamm_dancoff: bool = True,
) -> Float[Array, "p n"]:
    """<r|T_n((H - centre)/half)|r> for n below `count`; without the interaction where not `attract`.

    Beyond Tamm-Dancoff <r|M T_n((P M - centre)/half)|r> with M = A - B and P = A + B: of squared energies.
    """
    free = jnp.zeros_like(pairs.attraction)
    operator = pairs if attract else replace(pairs, attraction=free, exchange=None)

    def scaled(x: Array) -> tuple[Array, Array]:
        there = x if tamm_dancoff else product(operator, x, -1)
        ahead = product(operator, there, 0 if tamm_dancoff else 1)
        return there, (ahead - centre.astype(x.dtype) * x) / half.astype(x.dtype)

    def one(r: Array) -> Array:
        there, first = scaled(r)

        @jax.checkpoint
        def step(state, _):
            before, last = state
            there, ahead = scaled(last)
            return (last, 2 * ahead - before), (_dot(last, there), _dot(before, there))

        _, (same, crossed) = jax.lax.scan(step, (r, first), None, length=-(-count // 2))
        even = jnp.concatenate([_dot(r, there)[None], 2 * same - _dot(r, there)])
        odd = jnp.concatenate([_dot(first, there)[None], 2 * crossed[1:] - _dot(first, there)])
        return jnp.stack([even[:-1], odd], axis=1).reshape(-1)[:count]

    return jax.lax.map(one, start)


def _dot(x: Array, y: Array) -> Array:
    return jnp.sum(x.conj() * y).real


def coefficients(
    shape: Callable[[Float[Array, " m"]], Float[Array, "w m"]], centre: Array, half: Array, count: int
) -> Float[Array, "w n"]:
    """c_n of functions of an energy: shape(x) = sum_n c_n T_n((x - centre)/half) on the interval of H."""
    nodes = 2 * count
    angle = np.pi * (np.arange(nodes) + 0.5) / nodes
    cosines = jnp.cos(jnp.asarray(angle, half.dtype)[:, None] * jnp.arange(count, dtype=half.dtype)[None])
    weight = jnp.full(count, 2.0 / nodes, half.dtype).at[0].set(1.0 / nodes)
    # From the lower end, so that no node is zero by round-off where that end is.
    above = jnp.asarray(1 + np.cos(angle), half.dtype)
    return (shape((centre - half) + half * above) @ cosines) * weight[None]


def gaussian(width: Array) -> Callable[[Array], Array]:
    """A Gaussian line of unit area."""
    return lambda u: jnp.exp(-0.5 * (u / width) ** 2) / (jnp.sqrt(2 * jnp.pi) * width)


def dispersion(width: Array) -> Callable[[Array], Array]:
    """(1/pi) P int g(t)/(t - u) dt of that Gaussian: -sqrt(2)/(pi width) times Dawson's integral of u/(sqrt(2) width)."""
    return lambda u: -jnp.sqrt(2.0) / (jnp.pi * width) * dawson(u / (jnp.sqrt(2.0) * width))


def dawson(z: Float[Array, "*d"]) -> Float[Array, "*d"]:
    """exp(-z^2) int_0^z exp(t^2) dt, to round-off, by Rybicki's sum over odd n (Computers in Physics 3, 85 (1989))."""
    step = 0.25
    even = 2 * jnp.round(jax.lax.stop_gradient(z) / (2 * step))
    odd = np.arange(-27, 28, 2)
    rest = z - even * step
    terms = (jnp.exp(-((rest - float(n) * step) ** 2)) / (even + float(n)) for n in odd)
    return sum(terms, jnp.zeros_like(z)) / jnp.sqrt(jnp.pi)


def truncation(half: Any, width: Any, count: int) -> Any:
    """How much of a Gaussian's height its expansion of `count` terms misses, about: exp(-(n width/half)^2/2)."""
    return jnp.exp(-0.5 * (count * jnp.asarray(width) / jnp.asarray(half)) ** 2)


def bounds(pairs: Pairs, tamm_dancoff: bool = True) -> tuple[Array, Array]:
    """Centre and half width of an interval that holds all energies of the pairs, eV, or their squares beyond Tamm-Dancoff.

    Ritz values of `PROBES` steps from a random vector, widened by what couples the last to the rest (Zhou, Saad, Tiago and
    Chelikowsky, J. Comput. Phys. 219, 172 (2006)); without derivative.
    """
    pairs = jax.lax.stop_gradient(pairs)
    shape = (1, *pairs.dipoles.shape[1:])
    noise = jax.random.normal(jax.random.key(0), (2, *shape), pairs.dipoles.real.dtype)
    start = jax.lax.complex(noise[0], noise[1])
    if tamm_dancoff:
        _, alpha, beta = lanczos.advance(product, pairs, lanczos.begin(start), PROBES)
    else:
        state = lanczos.Alternation(jnp.zeros_like(start), start)
        less, more = (partial(product, coupling=sign) for sign in (-1, 1))
        _, alpha, beta = lanczos.alternate(less, more, pairs, state, PROBES + 1)
        alpha, beta = alpha[:, :-1], beta[:, 1:]
    values, _ = lanczos.ritz(alpha, beta)
    values = values.astype(noise.dtype)
    low, high = values.min() - beta[0, -1], values.max() + beta[0, -1]
    if tamm_dancoff:
        return 0.5 * (low + high), 0.52 * (high - low)
    # Squares of independent particles are in the same interval, and none is below zero.
    upper, lower = (jnp.diagonal(e, axis1=1, axis2=2).real for e in (pairs.upper, pairs.lower))
    half = 0.52 * jnp.maximum(high, (upper.max() - lower.min()) ** 2)
    return half, half


def exciton_spectrum(
    hamiltonian: Hamiltonian,
    snapshots: Snapshots | Structure,
    energies: PhotonEnergies,
    kmesh: int | Sequence[int],
    interaction: Interaction,
    broadening: Broadening | None = None,
    valence: int | None = None,
    conduction: int | None = None,
    moments_count: int = 600,
    polarisations: Any = None,
    exchange: bool = True,
    shift: Sequence[float] = (0.0, 0.0, 0.0),
    grid: EnergyGrid = DEFAULT_GRID,
    graph: Graph | None = None,
    memory_gb: float = 8.0,
    tamm_dancoff: bool = True,
) -> Spectrum:
    """Dielectric function with the attraction of electron and hole, for jit, vmap and reverse-mode grad.

    The spectrum of independent particles (`transitions`), plus what the interaction changes among the active bands, both
    expanded alike; without an interaction the former alone. Reverse mode keeps two amplitudes of each of moments_count/2
    steps.

    Args:
        broadening: Gaussian of 0.1 eV by default. moments_count: of the expansion, about 4.3 half widths of all pair energies
            over the width of a line. valence, conduction: active bands, all filled ones and a quarter more empty ones by
            default; a degenerate set that this cuts has no derivative.
        graph: needed where the structure is being traced.
        others: as `excitons`.

    Raises:
        InputError: as `excitons`, but for pairs of no real energy beyond Tamm-Dancoff alone; a line that is no Gaussian;
            moments too few for the width: says how many are needed. What values alone show is NaN under tracing.
    """
    if isinstance(snapshots, Structure):
        snapshots = at_rest(snapshots)
    broadening = Gaussian(0.1) if broadening is None else broadening
    if not isinstance(broadening, Gaussian):
        raise InputError(
            f"{type(broadening).__name__} lines: this expansion takes optics.Gaussian; optics.excitons takes any"
        )
    dtype = snapshots.positions.dtype
    energies = photon_energies(energies, dtype)
    check_width(broadening, grid)
    count = whole("moments_count", moments_count, 4)
    structure = snapshots.structure
    graph = hamiltonian.graph(structure) if graph is None else graph
    snapshots.check(graph)
    precision = "float64" if dtype == jnp.float64 else "float32"
    setup = Setup.of(hamiltonian, structure, kmesh, valence, conduction, polarisations, shift, precision)
    check_memory(setup.memory(), memory_gb, setup.mesh, setup.bands)
    points = regular_mesh(kmesh, shift, time_reversal=False, periodic=structure.pbc)
    free = _independent(setup, transitions(hamiltonian, snapshots, points, grid, graph=graph))
    width = jnp.asarray(number("broadening", broadening.width, "eV"), dtype)

    def change(positions: Array) -> tuple[Array, Array, Array, Array]:
        one = structure.with_positions(positions)
        pairs, _ = setup.pairs(hamiltonian, one, graph, interaction, exchange, None)
        scale = setup.scale(one).astype(dtype) / len(setup.polarisations)
        eps1, eps2, half, stable = changed(pairs, energies, width, count, tamm_dancoff)
        return scale * eps1, scale * eps2, half, stable

    eps1, eps2, half, stable = jax.lax.map(change, snapshots.positions)
    eps1, eps2 = refuse_or_nan((eps1, eps2), stable.all(), lambda: f"pairs have no real energies: {WEAKER}")
    eps1, eps2 = refuse_or_nan((eps1, eps2), *_enough(half.max(), width, count))
    independent = free.spectrum(energies, broadening)
    return replace(
        independent,
        eps1=independent.eps1 + eps1[:, :, None, None],
        eps2=independent.eps2 + eps2[:, :, None, None],
    )


def _independent(setup: Setup, free: Transitions) -> Transitions:
    """Transitions along the polarisations, of a crystal with a gap."""
    filled, levels = setup.bands[1], free.eigenvalues
    tops, bottoms = (levels[..., n].reshape(len(levels), -1) for n in (filled - 1, filled))
    worst = (bottoms.min(axis=1) - tops.max(axis=1)).argmin()
    free = gapped(free, tops[worst].max(), bottoms[worst].min())
    along = _along(setup.polarisations).astype(free.histogram.dtype)
    return replace(free, histogram=jnp.einsum("v,svb->sb", along, free.histogram)[:, None])


def changed(
    pairs: Pairs, energies: Float[Array, " w"], width: Array, count: int, tamm_dancoff: bool
) -> tuple[Float[Array, " w"], Float[Array, " w"], Array, Array]:
    """What the interaction changes of eps1 and eps2, over their scale, the half width of the pairs' energies, eV, and whether
    these are real."""
    centre, half = bounds(pairs, tamm_dancoff)
    attracted, free = (
        moments(pairs, pairs.dipoles, centre, half, count, attract, tamm_dancoff).sum(axis=0)
        for attract in (True, False)
    )
    difference = attracted - free
    # |T_n| <= 1 on the interval: larger moments, or NaN, are of pairs outside it, whose squared energies are negative.
    stable = jnp.abs(attracted).max() <= 1.001 * attracted[0]

    def part(line: Callable[[Array], Array], parity: float) -> Array:
        def shape(x: Array) -> Array:
            x = x if tamm_dancoff else jnp.sqrt(x)
            both = line(energies[:, None] - x[None]) + parity * line(-energies[:, None] - x[None])
            return both if tamm_dancoff else both / x[None]

        return coefficients(shape, centre, half, count) @ difference

    # eps2 is odd in the energy; its transform (1/pi) P int eps2(w)/(w - E) dw is even. Terms of a square count twice.
    of_energies = half if tamm_dancoff else 0.5 * jnp.sqrt(2 * half)
    return part(dispersion(width), 1.0), part(gaussian(width), -1.0), of_energies, jnp.asarray(tamm_dancoff) | stable


def _enough(half: Array, width: Array, count: int) -> tuple[Array, Callable[[], str]]:
    """Whether so many terms suffice, and what is said where they do not."""
    missed = truncation(half, width, count)

    def complaint() -> str:
        need = int(np.ceil(np.sqrt(-2 * np.log(ACCURACY)) * float(half) / float(width)))
        return (
            f"the expansion misses {float(missed):.1e} of a line of {float(width):g} eV: pair energies span "
            f"{2 * float(half):.1f} eV; give moments_count={need} or more, fewer bands, or a wider line"
        )

    return missed < ACCURACY, complaint


def _along(polarisations: np.ndarray) -> Array:
    """Weights of the Voigt components of a tensor in the mean of e.T.e over polarisations e."""
    pairs = [polarisations[:, a] * polarisations[:, b] * (1 if a == b else 2) for a, b in VOIGT]
    return jnp.asarray(np.array(pairs).mean(axis=1))
