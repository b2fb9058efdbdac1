"""The steps of molecular dynamics, compiled: all runs (temperatures and replicas) move together, step by step.

Flows in: a potential, a structure, the graph (one for all runs, or one a run) and the target temperatures. Flows out: the
states of jax-md's integrators, and what is known of every run between chunks of steps. A chunk ends early, and says why,
just before an atom leaves the skin of its graph, and right after a run has become too hot. jax-md takes seconds to import
and starts the device backend, so that waits for first use.
"""

import dataclasses
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import whole
from jaxepi.potentials.base import Potential
from jaxepi.sampling import rings
from jaxepi.structure import Structure
from jaxepi.units import AMU_ANGSTROM2_PER_FS2, HBAR, KB

Ensemble = Literal["nve", "langevin", "nose-hoover"]

# With masses in amu, lengths in angstrom and energies in eV, this is the unit of time, in femtoseconds (10.18).
FS_PER_TIME_UNIT = AMU_ANGSTROM2_PER_FS2**0.5

_REDRAWN = 50.0  # fs between momenta drawn anew: half a period of a stiff mode, so that kinetic energy has been shared


@dataclasses.dataclass(frozen=True)
class Integration:
    """How the atoms are moved.

    Attributes:
        ensemble: "nve" (velocity Verlet), "langevin" (BAOAB) or "nose-hoover" (chains of three). The centre of mass
            rests in all of them. Langevin is what samples crystals best: they are nearly harmonic, so without noise each
            mode keeps for long the energy it happens to have.
        timestep: fs. friction: of Langevin dynamics, 1/fs. relaxation: time of the Nose-Hoover thermostat, fs.
        settling: for so long (fs) at the start of Nose-Hoover dynamics, momenta are drawn anew every 50 fs (Andersen). A
            crystal is so nearly harmonic that a chain hardly damps the swing which a start at rest gives it.
        heating: momenta start at this multiple of the target temperature. Two suits a crystal at rest, where half of it
            becomes potential energy; one suits a structure that is hot already.
        beads: of the ring polymer that each nucleus is (path integrals, Langevin alone); one is a classical nucleus. Some three
            times hbar w/kT of the stiffest mode make energies right to a per cent.
        ceiling: a run is stopped when its kinetic temperature passes this multiple of its target by more than ten
            standard deviations of the canonical distribution.

    Raises:
        InputError: a value that makes no sense, by name.
    """

    ensemble: Ensemble = "langevin"
    timestep: float = 1.0
    friction: float = 0.01
    relaxation: float = 100.0
    settling: float = 1000.0
    heating: float = 2.0
    ceiling: float = 4.0
    beads: int = 1

    def __post_init__(self) -> None:
        if self.ensemble not in ("nve", "langevin", "nose-hoover"):
            raise InputError(f"ensemble {self.ensemble!r}: choose 'nve', 'langevin' or 'nose-hoover'")
        if self.beads != 1 and (whole("beads", self.beads, 1) and self.ensemble != "langevin"):
            raise InputError(f"beads {self.beads}: ring polymers move by Langevin dynamics, not {self.ensemble}")
        for name in ("timestep", "friction", "relaxation", "heating"):
            if not 0 < getattr(self, name) < np.inf:
                raise InputError(f"{name} {getattr(self, name)}: give a positive number")
        if not 0 <= self.settling < np.inf:
            raise InputError(f"settling {self.settling}: give zero or a positive time")
        if not self.ceiling > max(1.0, self.heating):
            raise InputError(f"ceiling {self.ceiling}: give more than the heating at the start, {self.heating}")

    def redraws(self, step: int) -> bool:
        """Whether momenta are drawn anew before the step after this many."""
        every = max(1, round(_REDRAWN / self.timestep))
        return self.ensemble == "nose-hoover" and 0 < step <= self.settling / self.timestep and step % every == 0

    def until_redrawn(self, step: int) -> int:
        """Steps from here to where momenta are next drawn anew, if they are."""
        every = max(1, round(_REDRAWN / self.timestep))
        return every - step % every if self.redraws(step + every - step % every) else np.iinfo(np.int32).max


class Model(NamedTuple):
    """What moves the atoms. Handed to compiled functions as an argument: closed over, XLA would fold it as constants."""

    potential: Potential
    structure: Structure
    graph: Graph

    def energy(self, positions: Array, **_: Any) -> Array:
        """Potential energy, eV; jax-md hands on keywords that are of no use here. `advance` looks after the graph."""
        return self.potential.apply(self.structure.with_positions(positions), self.graph)


class Frame(NamedTuple):
    """What is known of every run, one row each; of ring polymers one row a bead, run after run, whose means are the estimates.

    positions: angstrom, the drift of the whole crystal taken out. temperature: kinetic, kelvin (of a bead: over the number
    of beads). potential, kinetic: eV (of a bead: by the centroid virial).
    closest: shortest distance of two atoms, angstrom. loneliest: largest distance of an atom from its nearest
    neighbour, angstrom. novelty: largest distance of an atom from the training data, 1 at its edge; zero where the
    potential has no such measure.
    """

    positions: Float[Array, "r n 3"]
    temperature: Float[Array, "r"]
    potential: Float[Array, "r"]
    kinetic: Float[Array, "r"]
    closest: Float[Array, "r"]
    loneliest: Float[Array, "r"]
    novelty: Float[Array, "r"]


class Chunk(NamedTuple):
    """The states after some steps: how many were made, whether an atom is about to leave its graph, and who is too hot."""

    states: Any
    done: Array
    leaving: Array
    hot: Array
    temperature: Array


class Engine(NamedTuple):
    """Compiled functions over all runs; `own` says that the graph has a row a run.

    start(structure, forces, keys, kelvin) -> states; redraw(structure, states, keys, kelvin) -> states;
    advance(model, states, kelvin, steps, own) -> Chunk; observe(model, states, kelvin, own) -> Frame.
    """

    start: Callable[..., Any]
    redraw: Callable[..., Any]
    advance: Callable[..., Chunk]
    observe: Callable[..., Frame]


@lru_cache(maxsize=8)
def engine(integration: Integration) -> Engine:
    """The functions for some settings; kept, so that further runs with the same settings and shapes compile nothing."""
    quantum = integration.beads > 1
    step = partial(_ring_step if quantum else _step, integration)
    begin = partial(_ring_start if quantum else _start, integration)

    @jax.jit
    def start(structure: Structure, forces: Array, keys: Array, kelvin: Array) -> Any:
        return jax.vmap(partial(begin, structure, forces))(keys, kelvin)

    @jax.jit
    def redraw(structure: Structure, states: Any, keys: Array, kelvin: Array) -> Any:
        return jax.vmap(partial(_redraw, structure))(states, keys, kelvin)

    @partial(jax.jit, static_argnums=4)
    def advance(model: Model, states: Any, kelvin: Array, steps: Array, own: bool) -> Chunk:
        together = jax.vmap(step, in_axes=(_axes(own), 0, 0))
        limit = _ceiling(integration, _freedom(model.structure)) * kelvin

        def go_on(chunk: Chunk) -> Array:
            return (chunk.done < steps) & ~chunk.leaving & ~chunk.hot.any()

        def once(chunk: Chunk) -> Chunk:
            moved_on, moved, temperature = together(model, chunk.states, kelvin)
            hot = ~(temperature <= limit)
            leaving = jnp.any(moved > 0.5 * model.graph.skin) & ~hot.any()
            # A step that leaves the graph is not made: its forces would lack pairs.
            kept = jax.tree.map(partial(jnp.where, leaving), chunk.states, moved_on)
            return Chunk(kept, chunk.done + jnp.where(leaving, 0, 1), leaving, hot, temperature)

        nobody = jnp.zeros(kelvin.shape, bool)
        return jax.lax.while_loop(go_on, once, Chunk(states, jnp.asarray(0), jnp.asarray(False), nobody, kelvin))

    @partial(jax.jit, static_argnums=3)
    def observe(model: Model, states: Any, kelvin: Array, own: bool) -> Frame:
        see = _ring_observe if quantum else _observe
        frame = jax.vmap(see, in_axes=(_axes(own), 0, 0))(model, states, kelvin)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), frame) if quantum else frame

    return Engine(start, redraw, advance, observe)


def _axes(own: bool) -> Any:
    return Model(None, None, 0 if own else None)  # type: ignore[arg-type]


def _mass(structure: Structure) -> Float[Array, "n 1"]:
    """Amu."""
    return jnp.asarray(structure.masses, structure.positions.dtype)[:, None]


def _freedom(structure: Structure) -> int:
    """Degrees of freedom; the centre of mass is at rest."""
    return 3 * len(structure) - 3


def _ceiling(integration: Integration, freedom: int) -> float:
    """Highest kinetic temperature accepted, in units of the target: canonical fluctuations stay below it."""
    return integration.ceiling + 10 * (2 / freedom) ** 0.5


def _integrator(integration: Integration, energy: Callable[..., Array], kt: Array) -> tuple[Callable, Callable]:
    """jax-md's `init` and `step` for one run; `energy` may give forces instead."""
    with jax.numpy_dtype_promotion("standard"):
        from jax_md import simulate, space

    _, shift = space.free()
    dt = integration.timestep / FS_PER_TIME_UNIT
    if integration.ensemble == "nve":
        init, step = simulate.nve(energy, shift, dt)
        return _lenient(partial(init, kT=kt)), _lenient(step)
    if integration.ensemble == "langevin":
        gamma = integration.friction * FS_PER_TIME_UNIT
        init, step = simulate.nvt_langevin(energy, shift, dt, kt, gamma=gamma)
    else:
        tau = integration.relaxation / FS_PER_TIME_UNIT
        with jax.numpy_dtype_promotion("standard"):
            init, step = simulate.nvt_nose_hoover(energy, shift, dt, kt, chain_length=3, tau=tau)
    return _lenient(partial(init, kT=kt)), _lenient(partial(step, kT=kt))


def _lenient(function: Callable) -> Callable:
    """jax-md mixes single and double precision, which strict promotion of types forbids."""

    def call(*arguments: Any, **options: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"):
            return function(*arguments, **options)

    return call


def _rest(momentum: Array, mass: Array) -> Array:
    """Momenta with the centre of mass at rest."""
    return momentum - mass * momentum.sum(axis=0, keepdims=True) / mass.sum()


def _momenta(structure: Structure, key: Array, kelvin: Array) -> Array:
    """Momenta of the canonical ensemble, centre of mass at rest."""
    x, mass = structure.positions, _mass(structure)
    return _rest(jnp.sqrt(KB * kelvin * mass) * jax.random.normal(key, x.shape, x.dtype), mass)


def _start(integration: Integration, structure: Structure, forces: Array, key: Array, kelvin: Array) -> Any:
    """State of one run, with random momenta; `forces` are those of the structure, eV/angstrom."""
    mass, freedom = _mass(structure), _freedom(structure)
    velocities, inner = jax.random.split(key)
    momenta = _momenta(structure, velocities, integration.heating * kelvin)
    if integration.ensemble == "nve":
        momenta = momenta * jnp.sqrt(freedom * integration.heating * KB * kelvin / jnp.sum(momenta**2 / mass))
    init, _ = _integrator(integration, lambda x, **_: forces, KB * kelvin)
    state = init(inner, structure.positions, mass=mass, momenta=momenta)
    if integration.ensemble == "nose-hoover":
        # jax-md counts 3n degrees of freedom; the centre of mass is at rest here.
        state = state.set(chain=state.chain.set(degrees_of_freedom=freedom))
    return state


def _redraw(structure: Structure, state: Any, key: Array, kelvin: Array) -> Any:
    """A Nose-Hoover state with momenta of atoms and chain from the canonical ensemble."""
    velocities, inner = jax.random.split(key)
    momenta, chain = _momenta(structure, velocities, kelvin), state.chain
    swing = jnp.sqrt(KB * kelvin * chain.mass) * jax.random.normal(inner, chain.momentum.shape, chain.momentum.dtype)
    kinetic = 0.5 * jnp.sum(momenta**2 / _mass(structure))
    return state.set(momentum=momenta, chain=chain.set(momentum=swing, kinetic_energy=kinetic))


def _step(integration: Integration, model: Model, state: Any, kelvin: Array) -> tuple[Any, Array, Array]:
    """One step of one run: its state, how far an atom is from where its graph was built (angstrom), and its kelvin."""
    mass = _mass(model.structure)
    state = _integrator(integration, model.energy, KB * kelvin)[1](state)
    state = state.set(momentum=_rest(state.momentum, mass))
    temperature = jnp.sum(state.momentum**2 / mass) / (_freedom(model.structure) * KB)
    return state, _moved(model, state.position), temperature


def _moved(model: Model, position: Array) -> Array:
    """How far an atom is from where its graph was built, angstrom, the drift of the whole crystal aside."""
    away = position - model.graph.positions.astype(position.dtype)
    away = away - away.mean(axis=0, keepdims=True)
    return jnp.sqrt((away**2).sum(axis=1).max())


def _bead_forces(model: Model) -> Callable[[Array], Array]:
    return jax.vmap(lambda x: -jax.grad(model.energy)(x))


def _ring_start(integration: Integration, structure: Structure, forces: Array, key: Array, kelvin: Array) -> rings.Ring:
    """State of one ring polymer, all its beads at the structure, whose forces these are."""
    x = jnp.broadcast_to(structure.positions, (integration.beads, *structure.positions.shape))
    same = jnp.broadcast_to(forces, x.shape)
    kt = KB * integration.heating * kelvin
    return rings.start(lambda _: same, x, _mass(structure), kt, key, rest=True)


def _ring_step(integration: Integration, model: Model, state: rings.Ring, kelvin: Array) -> tuple[Any, Array, Array]:
    """As `_step`, of one ring polymer; the graph is shared by its beads."""
    mass = _mass(model.structure)
    state = rings.step(
        _bead_forces(model),
        state,
        mass,
        KB * kelvin,
        hbar=HBAR / FS_PER_TIME_UNIT,
        timestep=integration.timestep / FS_PER_TIME_UNIT,
        friction=integration.friction * FS_PER_TIME_UNIT,
        rest=True,
    )
    freedom = _freedom(model.structure) * integration.beads**2
    temperature = jnp.sum(state.momentum**2 / mass[None]) / (freedom * KB)
    moved = jax.vmap(partial(_moved, model))(state.position).max()
    return state, moved, temperature


def _ring_observe(model: Model, state: rings.Ring, kelvin: Array) -> Frame:
    """A row a bead."""
    axes = rings.Ring(0, 0, 0, None)  # type: ignore[arg-type]
    frame = jax.vmap(partial(_observe, model), in_axes=(axes,))(state)
    beads = len(state.position)
    energies = rings.virial_energies(state.position, state.force, KB * kelvin, _freedom(model.structure))
    return frame._replace(kinetic=energies, temperature=frame.temperature / beads)


def _observe(model: Model, state: Any, _: Array | None = None) -> Frame:
    mass, graph = _mass(model.structure), model.graph
    drift = jnp.sum(mass * (state.position - model.structure.positions), axis=0, keepdims=True) / mass.sum()
    positions = state.position - drift
    structure = model.structure.with_positions(positions)
    kinetic = 0.5 * jnp.sum(state.momentum**2 / mass)
    lengths = jnp.sqrt(jnp.sum(graph.vectors(structure) ** 2, axis=1))
    nearest = jnp.take(lengths, graph.neighbours, mode="fill", fill_value=jnp.inf).min(axis=1)
    return Frame(
        positions,
        2 * kinetic / (_freedom(model.structure) * KB),
        model.energy(positions),
        kinetic,
        nearest.min(),
        nearest.max(),
        model.potential.novelty(structure, graph),
    )
