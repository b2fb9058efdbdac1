"""Molecular dynamics at all temperatures and replicas at once, by jax-md's integrators.

Flows in: a potential, a structure and temperatures. Flows out: frames as they come (`Dynamics`), a `Trajectory`, or
snapshots. Nuclei are classical, or ring polymers. Positions are never wrapped. The runs share one topology until an atom is
about to leave its skin; from then on each has a graph of its own, built again from where its atoms are whenever that is
needed.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.guards import traced, whole
from jaxepi.potentials import topology
from jaxepi.potentials.base import Potential
from jaxepi.potentials.domain import extrapolations
from jaxepi.progress import progress_bar
from jaxepi.sampling.integrators import Chunk, Ensemble, Frame, Integration, Model, engine
from jaxepi.sampling.keys import RandomKey, random_key
from jaxepi.sampling.snapshots import Snapshots, Statistics
from jaxepi.structure import Structure
from jaxepi.tree import field, pytree, static, stored

Kelvins = Sequence[float] | np.ndarray | Array


@stored
@pytree
class Trajectory:
    """Molecular dynamics of one crystal at several temperatures, several replicas each.

    Attributes:
        structure: the structure the runs started from.
        times: of the frames since the start, fs, shape (f,).
        positions: shape (t, f, r, n, 3), angstrom: temperature, frame, replica; the drift of the whole crystal is out.
        temperatures: targets, kelvin, shape (t,).
        kinetic_temperatures: of every frame and replica, kelvin, shape (t, f, r).
        potential_energies: eV, shape (t, f, r). energies: potential plus kinetic energy, eV, shape (t, f, r).
        beads: of the ring polymers that the nuclei are; each replica then has as many rows, bead by bead, whose means are the
            estimates of quantum nuclei.
    """

    structure: Structure
    times: Float[Array, "f"] = field(unit="fs")
    positions: Float[Array, "t f r n 3"] = field(unit="angstrom")
    temperatures: Float[Array, "t"] = field(unit="K")
    kinetic_temperatures: Float[Array, "t f r"] = field(unit="K")
    potential_energies: Float[Array, "t f r"] = field(unit="eV")
    energies: Float[Array, "t f r"] = field(unit="eV")
    beads: int = static(default=1)

    @classmethod
    def gather(
        cls,
        structure: Structure,
        temperatures: Kelvins,
        replicas: int,
        times: Sequence[float],
        frames: list[Frame],
        beads: int = 1,
    ) -> "Trajectory":
        """From frames with one row a run, replicas of a temperature side by side."""
        x = structure.positions
        kelvin = jnp.asarray(temperatures, x.dtype)

        def stack(name: str, *shape: int) -> Array:
            values = np.stack([getattr(f, name) for f in frames]) if frames else np.zeros((0, 1))
            together = values.reshape(len(frames), len(kelvin), replicas * beads, *shape)
            return jnp.asarray(np.moveaxis(together, 0, 1), x.dtype)

        potential = stack("potential")
        return cls(
            structure,
            jnp.asarray(times, x.dtype),
            stack("positions", *x.shape),
            kelvin,
            stack("temperature"),
            potential,
            potential + stack("kinetic"),
            beads,
        )

    def snapshots(self) -> list[Snapshots]:
        """One `Snapshots` a temperature, frame by frame with the replicas of a frame side by side.

        Frames of one replica are correlated, so each replica with its beads is a group; a single one tells no standard error.
        """
        statistics: Statistics = "classical" if self.beads == 1 else "quantum"
        count = self.positions.shape[1] * self.positions.shape[2]
        merged = self.positions.reshape(len(self.temperatures), count, *self.positions.shape[3:])
        groups = tuple(row // self.beads for row in range(self.positions.shape[2])) * self.positions.shape[1]
        pairs = zip(merged, self.temperatures, strict=True)
        return [Snapshots(self.structure, x, t, None, groups, statistics) for x, t in pairs]


class DynamicsError(InputError):
    """A run that exploded, lost an atom or left what its potential can describe.

    Attributes:
        step: the number of whole steps made. trajectory: the frames before, where whoever raised it had them.
    """

    def __init__(self, message: str, step: int) -> None:
        super().__init__(message)
        self.step = step
        self.trajectory: Trajectory | None = None


class Dynamics:
    """Runs at all temperatures, `replicas` each, side by side; `advance` moves them and shows where they are.

    Args:
        structure: whose positions all runs start from. temperatures: targets, kelvin, positive.
        warn: is told, once each, that a run is outside its potential's training data or has atoms closer than those.

    Raises:
        InputError: no temperatures, or ones that are not positive; no replicas; a single atom.
    """

    def __init__(
        self,
        potential: Potential,
        structure: Structure,
        temperatures: Kelvins,
        key: RandomKey,
        integration: Integration | None = None,
        replicas: int = 1,
        warn: Callable[[str], None] | None = None,
    ) -> None:
        _check_runs(temperatures, replicas)
        if len(structure) < 2:
            raise InputError("molecular dynamics of one atom: its centre of mass stays at rest; give a supercell")
        self.step = 0
        self.rebuilt = 0
        self.integration = integration or Integration()
        self.temperatures, self.replicas = [float(t) for t in temperatures], replicas
        self._warn = warn or (lambda message: warnings.warn(message, stacklevel=4))
        self._warned: set[str] = set()
        self._model = Model(potential, structure, potential.graph(structure))
        self._own, self._built = False, -1
        self._shape: topology.Shape = ()
        self._kelvin = jnp.repeat(jnp.asarray(temperatures, structure.positions.dtype), replicas)
        self._engine = engine(self.integration)
        forces = potential.forces(structure, self._model.graph)
        self._key, start = jax.random.split(random_key(key))
        keys = jax.random.split(start, len(self._kelvin))
        self._states = self._engine.start(structure, forces, keys, self._kelvin)
        self._chunk = 16
        self._reach = potential.module.reach
        self._alone = self._frame().loneliest.max() > self._reach

    def advance(self, steps: int, progress: Callable[[int], object] | None = None) -> Frame:
        """Make `steps` steps and look; `progress` is told of every few steps made.

        Raises:
            DynamicsError: a run became too hot, lost an atom, or left a topology that cannot be built again.
        """
        made = 0
        while made < steps:
            begin = time.perf_counter()
            asked = min(self._chunk, steps - made, self.integration.until_redrawn(self.step))
            chunk = self._engine.advance(self._model, self._states, self._kelvin, jnp.asarray(asked), self._own)
            done = int(chunk.done)
            self._states, self.step, made = chunk.states, self.step + done, made + done
            self._stop_when_hot(chunk)
            if done and self.integration.redraws(self.step):
                keys = jax.random.split(jax.random.fold_in(self._key, self.step), len(self._kelvin))
                self._states = self._engine.redraw(self._model.structure, self._states, keys, self._kelvin)
            if progress is not None:
                progress(done)
            if chunk.leaving:
                self._rebuild()
            # Chunks take about a second, so that progress is seen.
            elapsed = time.perf_counter() - begin
            if done == self._chunk and not 0.5 < elapsed < 2.0:
                self._chunk = self._chunk * 2 if elapsed < 1.0 else max(1, self._chunk // 2)
        return self._look()

    def save(self) -> dict[str, np.ndarray]:
        """All that is needed to go on: arrays by name, for `restore`."""
        leaves = jax.tree.leaves(self._states)
        arrays = {f"state{i:02d}": np.asarray(_plain(leaf)) for i, leaf in enumerate(leaves)}
        arrays["key"] = np.asarray(_plain(self._key))
        graph = {"graph": np.asarray(self._model.graph.positions), "shape": np.asarray(self._shape, int)}
        return {**arrays, **graph, "step": np.asarray(self.step), "rebuilt": np.asarray(self.rebuilt)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from what `save` gave, on a `Dynamics` made with the same arguments."""
        leaves, form = jax.tree.flatten(self._states)
        found = [_like(leaf, saved[f"state{i:02d}"]) for i, leaf in enumerate(leaves)]
        self._states = jax.tree.unflatten(form, found)
        self._key = _like(self._key, saved["key"])
        self.step, self.rebuilt = int(saved["step"]), int(saved["rebuilt"])
        self._shape = tuple(int(n) for n in saved["shape"])
        if self._shape:
            self._set_graphs(jnp.asarray(saved["graph"]))
            self._built = -1

    def _frame(self) -> Frame:
        return jax.tree.map(np.asarray, self._engine.observe(self._model, self._states, self._kelvin, self._own))

    def _target(self, row: int) -> float:
        """Kelvin that the run of a row of a frame should have."""
        return float(self._kelvin[row // self.integration.beads])

    def _set_graphs(self, positions: Array) -> None:
        potential, structure, _ = self._model
        graph, self._shape = topology.graphs(potential, structure, positions, self._shape)
        self._model, self._own, self._built = Model(potential, structure, graph), True, self.step

    def _rebuild(self) -> None:
        """A graph for every run, from where its atoms are."""
        skin = self._model.graph.skin
        where = (
            f"after step {self.step} an atom is about to move by more than half the graph's skin ({0.5 * skin:.3f} A)"
        )
        if self._model.potential.module.permanent_bonds:
            raise DynamicsError(
                f"{where}: the crystal melts or diffuses, and this potential has permanent bonds; lower the temperature, or "
                "use a potential without them",
                self.step,
            )
        if self._built == self.step:
            raise DynamicsError(
                f"{where} in one step; use a shorter timestep, or a potential with a larger skin", self.step
            )
        try:
            position = self._states.position
            self._set_graphs(position.mean(axis=1) if self.integration.beads > 1 else position)
        except InputError as error:
            raise DynamicsError(f"{where}, and the new positions were refused: {error}", self.step) from error
        self.rebuilt += 1

    def _stop_when_hot(self, chunk: Chunk) -> None:
        hot = np.flatnonzero(np.asarray(chunk.hot))
        if len(hot):
            target, reached = float(self._kelvin[hot[0]]), float(chunk.temperature[hot[0]])
            raise DynamicsError(
                f"the run at {target:g} K reached {reached:.4g} K by step {self.step}: the dynamics exploded; use a shorter "
                "timestep, or a structure at rest in this potential",
                self.step,
            )

    def _look(self) -> Frame:
        """A frame, refused when an atom is lost; warnings about what the potential does not know."""
        frame, module = self._frame(), self._model.potential.module
        lost = frame.loneliest > self._reach
        if not self._alone and lost.any():
            row = int(np.flatnonzero(lost)[0])
            raise DynamicsError(
                f"the run at {self._target(row):g} K lost an atom by step {self.step}: its nearest neighbour is "
                f"{frame.loneliest[row]:.2f} angstrom away; lower the temperature",
                self.step,
            )
        runs = {"distance": int(frame.closest.argmin()), "novelty": int(frame.novelty.argmax())}
        closest, novelty = float(frame.closest[runs["distance"]]), float(frame.novelty[runs["novelty"]])
        for kind, what in extrapolations(module, closest, novelty):
            if kind not in self._warned:
                self._warned.add(kind)
                self._warn(
                    f"step {self.step}: the run at {self._target(runs[kind]):g} K has {what}; it is extrapolated there"
                )
        return frame


def trajectories(
    potential: Potential,
    structure: Structure,
    *,
    temperatures: Kelvins,
    count: int,
    key: RandomKey,
    ensemble: Ensemble = "langevin",
    timestep: float = 1.0,
    equilibration: int = 2000,
    interval: int = 200,
    replicas: int = 1,
    friction: float = 0.01,
    relaxation: float = 100.0,
    beads: int = 1,
    progress: bool = True,
) -> Trajectory:
    """Run molecular dynamics at all temperatures together and keep decorrelated frames.

    Args:
        structure: at rest, as the potential has it (see `Integration.heating`).
        temperatures: kelvin, positive. count: snapshots a temperature, all replicas together.
        equilibration: steps before the first interval. interval: steps between frames.
        replicas: independent runs a temperature, side by side; must divide count.
        ensemble, timestep, friction, relaxation, beads: see `Integration`; each frame has all beads.
        progress: show a bar with the remaining time.

    Raises:
        InputError: options that make no sense.
        DynamicsError: a run that exploded, lost an atom, or left a topology that cannot be built again; it names the step, and
            its `trajectory` holds the frames before.
    """
    integration = Integration(ensemble, timestep, friction, relaxation, beads=beads)
    _check_runs(temperatures, replicas)
    for name, number, least in (("count", count, 1), ("interval", interval, 1), ("equilibration", equilibration, 0)):
        whole(name, number, least)
    if count % replicas:
        raise InputError(
            f"{count} snapshots cannot be shared by {replicas} replicas; make count a multiple of replicas"
        )
    dynamics = Dynamics(potential, structure, temperatures, key, integration, replicas)
    total = equilibration + count // replicas * interval
    times: list[float] = []
    frames: list[Frame] = []
    with progress_bar(total=total, unit="step", desc="dynamics", shown=progress, leave=False) as bar:
        try:
            if equilibration:
                dynamics.advance(equilibration, bar.update)
            for _ in range(count // replicas):
                frames.append(dynamics.advance(interval, bar.update))
                times.append(dynamics.step * timestep)
        except DynamicsError as stop:
            stop.trajectory = Trajectory.gather(structure, temperatures, replicas, times, frames, beads)
            raise
    return Trajectory.gather(structure, temperatures, replicas, times, frames, beads)


def molecular_dynamics(
    potential: Potential, structure: Structure, *, temperature: float, count: int, key: RandomKey, **options: Any
) -> Snapshots:
    """Snapshots of molecular dynamics at one temperature, quantum with `beads`; options and errors as for `trajectories`."""
    run = trajectories(potential, structure, temperatures=[temperature], count=count, key=key, **options)
    return run.snapshots()[0]


def _check_runs(temperatures: Kelvins, replicas: int) -> None:
    """Refuse targets that make no sense, by name."""
    if traced(temperatures):
        raise InputError("molecular dynamics runs on the host and cannot be traced: call it outside jit, vmap and grad")
    if np.ndim(temperatures) != 1:
        raise InputError(f"temperatures {temperatures}: give a list of numbers of kelvin")
    if len(temperatures) == 0:
        raise InputError("no temperatures: give at least one, in kelvin")
    for temperature in temperatures:
        if not 0 < float(temperature) < np.inf:
            raise InputError(
                f"temperature {float(temperature)} K: molecular dynamics needs a positive number of kelvin (harmonic "
                "sampling with quantum statistics covers 0 K)"
            )
    whole("replicas", replicas, 1)


def _plain(leaf: Array) -> Array:
    """Random keys as the integers they are made of."""
    return jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def _like(leaf: Array, value: Any) -> Array:
    """A saved array in the type of the one it stands for."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(value), impl=jax.random.key_impl(leaf))
    return jnp.asarray(value, leaf.dtype)
