"""Molecular dynamics through jax-md, for all temperatures and replicas at once on one fixed topology.

Flows in: a potential, a structure and temperatures. Flows out: a `Trajectory`, or snapshots. Nuclei are classical.
Positions are never wrapped, so the edges of the graph stay what they were; a guard between chunks of steps refuses
atoms that left the skin. jax-md takes seconds to import and starts the device backend, so that waits for first use.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from tqdm import tqdm

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.potentials.base import Potential
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure
from jaxepi.tree import pytree
from jaxepi.units import AMU_ANGSTROM2_PER_FS2, KB

Ensemble = Literal["nve", "langevin", "nose-hoover"]

# With masses in amu, lengths in angstrom and energies in eV, this is the unit of time, in femtoseconds (10.18).
FS_PER_TIME_UNIT = AMU_ANGSTROM2_PER_FS2**0.5


@pytree
class Trajectory:
    """Molecular dynamics of one crystal at several temperatures, several replicas each.

    Attributes:
        structure: the structure the runs started from.
        positions: shape (t, f, r, n, 3), angstrom: temperature, frame, replica; the drift of the whole crystal is out.
        temperatures: targets, kelvin, shape (t,).
        kinetic_temperatures: of every frame and replica, kelvin, shape (t, f, r).
        energies: potential plus kinetic energy, eV, shape (t, f, r).
    """

    structure: Structure
    positions: Float[Array, "t f r n 3"]
    temperatures: Float[Array, "t"]
    kinetic_temperatures: Float[Array, "t f r"]
    energies: Float[Array, "t f r"]

    def snapshots(self) -> list[Snapshots]:
        """One `Snapshots` a temperature, frame by frame with the replicas of a frame side by side."""
        merged = self.positions.reshape(len(self.temperatures), -1, *self.positions.shape[3:])
        return [Snapshots(self.structure, x, t) for x, t in zip(merged, self.temperatures, strict=True)]


def molecular_dynamics(
    potential: Potential, structure: Structure, *, temperature: float, count: int, key: Key[Array, ""], **options: Any
) -> Snapshots:
    """Snapshots of classical molecular dynamics at one temperature; options and errors as for `trajectories`."""
    return trajectories(potential, structure, temperatures=[temperature], count=count, key=key, **options).snapshots()[
        0
    ]


def trajectories(
    potential: Potential,
    structure: Structure,
    *,
    temperatures: Sequence[float],
    count: int,
    key: Key[Array, ""],
    ensemble: Ensemble = "langevin",
    timestep: float = 1.0,
    equilibration: int = 2000,
    interval: int = 200,
    replicas: int = 1,
    friction: float = 0.01,
    relaxation: float = 100.0,
    progress: bool = True,
) -> Trajectory:
    """Run molecular dynamics at all temperatures together and keep decorrelated frames.

    Args:
        structure: at rest, as the potential has it. Momenta start at twice the temperature: half of that becomes
            potential energy, so NVE runs of a nearly harmonic crystal (started with exactly that kinetic energy) settle
            at the target.
        temperatures: kelvin, positive. count: snapshots a temperature, all replicas together.
        ensemble: "nve", "langevin" (BAOAB) or "nose-hoover" (chains). The centre of mass rests in all of them.
        timestep: fs. equilibration: steps before the first interval. interval: steps between frames.
        replicas: independent runs a temperature, side by side; must divide count.
        friction: of Langevin dynamics, 1/fs. relaxation: time of the Nose-Hoover thermostat, fs.
        progress: show a bar with the remaining time.

    Raises:
        InputError: options that make no sense; a run whose kinetic temperature passes ten times its target or is NaN
            (names the step), or whose atoms leave the skin of the graph.
    """
    _check_options(temperatures, count, timestep, equilibration, interval, replicas, friction, relaxation, ensemble)
    model = _Model(potential, structure, potential.graph(structure))
    frames = count // replicas
    kelvin = jnp.asarray(temperatures, structure.positions.dtype)
    engine = _engine(ensemble, float(timestep), float(friction), float(relaxation))
    runs = jnp.repeat(kelvin, replicas)
    states = engine.start(model, jax.random.split(key, len(runs)), runs)
    kept = []
    done, total = 0, equilibration + frames * interval
    with tqdm(total=total, unit="step", desc="dynamics", disable=not progress, leave=False) as bar:
        while done < total:
            left = equilibration - done
            # Steps of an equilibration that is no multiple of the interval come in one shorter chunk.
            steps = min(interval, left) if left > 0 else interval
            states, frame = engine.advance(model, states, runs, steps)
            done += steps
            _guard(frame, runs, model.graph, done)
            if left <= 0:
                kept.append(jax.tree.map(np.asarray, frame))
            bar.update(steps)

    def stack(values: list[np.ndarray]) -> Array:
        together = np.stack(values).reshape(frames, len(kelvin), replicas, *values[0].shape[1:])
        return jnp.asarray(np.moveaxis(together, 0, 1))

    return Trajectory(
        structure,
        stack([frame.positions for frame in kept]),
        kelvin,
        stack([frame.temperature for frame in kept]),
        stack([frame.energy for frame in kept]),
    )


class _Frame(NamedTuple):
    """What is known of every run between chunks: drift-free positions, kelvin, eV, and the largest displacement."""

    positions: Array
    temperature: Array
    energy: Array
    moved: Array


class _Engine(NamedTuple):
    """Compiled: `start(model, keys, kelvin)` and `advance(model, states, kelvin, steps)`, batched over runs."""

    start: Callable[["_Model", Array, Array], Any]
    advance: Callable[["_Model", Any, Array, Array | int], tuple[Any, _Frame]]


class _Model(NamedTuple):
    """What the runs share. Handed to compiled functions as an argument: closed over, XLA would fold it as constants."""

    potential: Potential
    structure: Structure
    graph: Graph

    @property
    def mass(self) -> Array:
        """Shape (n, 1), amu."""
        return jnp.asarray(self.structure.masses, self.structure.positions.dtype)[:, None]

    @property
    def freedom(self) -> int:
        """Degrees of freedom; the centre of mass is at rest."""
        return 3 * len(self.structure) - 3

    def energy(self, positions: Array, **_: Any) -> Array:
        """Potential energy, eV; jax-md hands on keywords that are of no use here."""
        return self.potential.energy(self.structure.with_positions(positions), self.graph)


@lru_cache(maxsize=8)
def _engine(ensemble: Ensemble, timestep: float, friction: float, relaxation: float) -> _Engine:
    """The integrator; kept, so that further runs with the same settings and shapes compile nothing."""
    from jax_md import simulate, space

    _, shift = space.free()
    dt = timestep / FS_PER_TIME_UNIT

    def integrator(model: _Model, kt: Array):
        if ensemble == "nve":
            init, step = simulate.nve(model.energy, shift, dt)
            return partial(init, kT=kt), step
        if ensemble == "langevin":
            init, step = simulate.nvt_langevin(model.energy, shift, dt, kt, gamma=friction * FS_PER_TIME_UNIT)
        else:
            tau = relaxation / FS_PER_TIME_UNIT
            init, step = simulate.nvt_nose_hoover(model.energy, shift, dt, kt, chain_length=3, tau=tau)
        return partial(init, kT=kt), partial(step, kT=kt)

    def rest(momentum: Array, mass: Array) -> Array:
        return momentum - mass * momentum.sum(axis=0) / mass.sum()

    def start(model: _Model, key: Array, kelvin: Array):
        x, mass = model.structure.positions, model.mass
        velocities, inner = jax.random.split(key)
        momenta = rest(jnp.sqrt(2 * KB * kelvin * mass) * jax.random.normal(velocities, x.shape, x.dtype), mass)
        if ensemble == "nve":
            momenta = momenta * jnp.sqrt(model.freedom * KB * kelvin / (0.5 * jnp.sum(momenta**2 / mass)))
        init, _ = integrator(model, KB * kelvin)
        state = init(inner, x, mass=mass, momenta=momenta)
        if ensemble == "nose-hoover":
            # jax-md counts 3n degrees of freedom; the centre of mass is at rest here.
            state = state.set(chain=state.chain.set(degrees_of_freedom=model.freedom))
        return state

    def advance(model: _Model, state, kelvin: Array, steps: Array):
        mass = model.mass
        _, step = integrator(model, KB * kelvin)

        def once(_, s):
            s = step(s)
            return s.set(momentum=rest(s.momentum, mass))

        state = jax.lax.fori_loop(0, steps, once, state)
        drift = jnp.sum(mass * (state.position - model.structure.positions), axis=0) / mass.sum()
        positions = state.position - drift
        kinetic = 0.5 * jnp.sum(state.momentum**2 / mass)
        moved = model.graph.displacement(model.structure.with_positions(positions))
        return state, _Frame(positions, 2 * kinetic / (model.freedom * KB), kinetic + model.energy(positions), moved)

    return _Engine(
        jax.jit(jax.vmap(start, in_axes=(None, 0, 0))), jax.jit(jax.vmap(advance, in_axes=(None, 0, 0, None)))
    )


def _guard(frame: _Frame, runs: Array, graph: Graph, step: int) -> None:
    """Refuse to go on with a run that exploded or left its topology."""
    kelvin, target = np.asarray(frame.temperature), np.asarray(runs)
    moved = np.asarray(frame.moved)
    wild = ~(kelvin <= 10 * target) | ~np.isfinite(np.asarray(frame.energy))
    if wild.any():
        run = int(np.flatnonzero(wild)[0])
        raise InputError(
            f"the run at {target[run]:g} K reached {kelvin[run]:.4g} K by step {step}: the dynamics exploded; use a "
            "shorter timestep, or a structure at rest in this potential"
        )
    if moved.max() > 0.5 * graph.skin:
        run = int(moved.argmax())
        raise InputError(
            f"at {target[run]:g} K an atom moved by {moved[run]:.3f} angstrom by step {step}, more than half the "
            f"graph's skin ({0.5 * graph.skin:.3f}): the crystal melts or diffuses, which a fixed topology cannot "
            "follow; lower the temperature, or use a potential with a larger skin"
        )


def _check_options(temperatures, count, timestep, equilibration, interval, replicas, friction, relaxation, ensemble):
    """Refuse options that make no sense, by name."""
    if ensemble not in ("nve", "langevin", "nose-hoover"):
        raise InputError(f"ensemble {ensemble!r}: choose 'nve', 'langevin' or 'nose-hoover'")
    if len(temperatures) == 0:
        raise InputError("no temperatures: give at least one, in kelvin")
    for temperature in temperatures:
        if not 0 < float(temperature) < np.inf:
            raise InputError(
                f"temperature {float(temperature)} K: molecular dynamics needs a positive number of kelvin (harmonic "
                "sampling with quantum statistics covers 0 K)"
            )
    positive = {"timestep": timestep, "friction": friction, "relaxation": relaxation}
    for name, value in positive.items():
        if not 0 < value < np.inf:
            raise InputError(f"{name} {value}: give a positive number")
    whole = {
        "count": (count, 1),
        "interval": (interval, 1),
        "replicas": (replicas, 1),
        "equilibration": (equilibration, 0),
    }
    for name, (number, least) in whole.items():
        if number < least:
            raise InputError(f"{name} {number}: give at least {least}")
    if count % replicas:
        raise InputError(
            f"{count} snapshots cannot be shared by {replicas} replicas; make count a multiple of replicas"
        )
