"""A run of molecular dynamics: frames and energies streamed to disk, resumed after a kill, kept when the run stops.

Flows in: settings. Flows out: a `Trajectory` in the HDF5 store, a log as CSV, and extended XYZ where that is asked for.
Frames go to part files every few seconds (see `results`), each followed by the state from which the same command goes on;
the log is written frame by frame.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from jaxepi import html, results, signals
from jaxepi.files import FRAMES, RESULTS, Output, claim, mark, whole
from jaxepi.guards import refuse_beyond_memory
from jaxepi.materials import Material
from jaxepi.progress import progress_bar
from jaxepi.results import Quantity
from jaxepi.sampling import Dynamics, DynamicsError, Integration, Trajectory
from jaxepi.sampling.integrators import Frame
from jaxepi.workflows import crystal as crystals
from jaxepi.workflows.settings import DynamicsSettings
from jaxepi.workflows.study import Study

COLUMNS = "step,time_fs,target_k,replica,temperature_k,potential_ev,total_ev,closest_angstrom,novelty"
_SECONDS = 10.0  # between part files: what a kill can cost


class Run(NamedTuple):
    """What a run left behind.

    Attributes:
        closest: shortest distance of two atoms, angstrom, shape (t, f, r) as in the trajectory.
        novelty: largest distance of an atom from the training data of the potential (1 is its edge); 0 where unknown.
        stopped: why the run ended early; empty when it did not. warnings: what was said on the way.
        files: what was written.
    """

    settings: DynamicsSettings
    trajectory: Trajectory
    closest: Float[np.ndarray, "t f r"]
    novelty: Float[np.ndarray, "t f r"]
    stopped: str
    warnings: tuple[str, ...]
    files: tuple[Path, ...]

    def _repr_html_(self) -> str:
        run, settings = self.trajectory, self.settings
        frames = len(run.times)
        length = f"{frames} to {float(run.times[-1]) / 1e3:g} ps" if frames else "none"
        rows: list[tuple[str, Any]] = [
            ("atoms", len(run.structure)),
            ("frames", length),
            ("ensemble", settings.ensemble),
        ]
        for target, kelvin in zip(
            settings.temperatures, np.asarray(run.kinetic_temperatures)[:, frames // 4 :], strict=True
        ):
            if frames:
                rows.append((f"temperature at {target:g} K (K)", f"{kelvin.mean():.1f}, spread {kelvin.std():.1f}"))
        rows += [("stopped", self.stopped)] * bool(self.stopped) + [("files", ", ".join(map(str, self.files)))]
        return html.table(f"Molecular dynamics of {settings.crystal}", rows)


def molecular_dynamics(
    settings: DynamicsSettings,
    output: str | os.PathLike,
    progress: bool = True,
    resume: bool = True,
    command: str = "",
) -> Run:
    """Run molecular dynamics, or finish a run that was interrupted; warnings go to stderr.

    A run that explodes, loses an atom or leaves what its potential can follow ends early: the frames before are kept,
    and `stopped` says why and at which step.

    Args:
        output: HDF5 (.h5, .hdf5), or extended XYZ (.xyz, .extxyz) with the HDF5 file beside it; the log is beside it too.
        resume: go on from what an earlier run with the same settings left; otherwise it is replaced.

    Raises:
        InputError: another suffix, settings that make no sense, no potential, or a file of another run there.
        OSError: the files cannot be written.
    """
    target = Path(output)
    result = target if target.suffix in RESULTS else target.with_suffix(".h5")
    log, made_by = target.with_suffix(".csv"), mark("md", settings.asdict())
    outputs = [Output("--output", target, (*RESULTS, *FRAMES), own=target == result)]
    if target != result:
        outputs.append(Output("--output", result, own=True))
    outputs.append(Output("--output", log, own=results.begun(result)))
    claim(outputs, made_by, not resume, [settings.crystal, settings.potential or ""])
    if resume and result.exists():
        results.read_provenance(result)  # refuses what is no result before the models are loaded
    found = crystals.load(settings.crystal, potential=settings.potential)
    crystal = crystals.prepared(found, settings.cell, settings.precision)
    origin = results.provenance(settings.asdict(), {f"potential {crystal.potential_name}": crystal.potential}, command)
    with Study.open(result, origin, resume=resume, unit="frame") as study:
        contents = study.contents() if study.complete else _Recorder(settings, crystal, study, log).record(progress)
        if not study.complete:
            study.finish(contents)
    if target != result:
        _write_xyz(contents["trajectory"], settings, target, made_by)
    if not log.exists():
        log.write_text(COLUMNS + "\n" + _rows(contents, settings), encoding="utf-8")
    return Run(
        settings,
        contents["trajectory"],
        np.asarray(contents["closest"].value),
        np.asarray(contents["novelty"].value),
        contents["stopped"],
        tuple(contents["warnings"].splitlines()),
        tuple(dict.fromkeys((result, target, log))),
    )


class _Recorder:
    """Moves the atoms and puts what it sees where it is safe."""

    def __init__(self, settings: DynamicsSettings, crystal: Material, study: Study, log: Path) -> None:
        assert study.run is not None
        self.settings, self.run, self.log = settings, study.run, log
        self.said: list[str] = []
        self.structure = crystal.structure.supercell(crystal.periodic(settings.supercell))
        frames = -(-settings.steps // settings.interval) * len(settings.temperatures) * settings.replicas
        what = f"{frames} frames of {len(self.structure)} atoms"
        frames = frames * settings.beads
        refuse_beyond_memory(3.0 * frames * len(self.structure), what, "keep fewer of them: raise interval")
        names = ("ensemble", "timestep", "friction", "relaxation", "heating", "beads")
        given: dict[str, Any] = {name: getattr(settings, name) for name in names}
        integration = Integration(**given, ceiling=max(4.0, 2 * settings.heating))
        key = jax.random.key(settings.seed)
        self.dynamics = Dynamics(
            crystal.potential, self.structure, settings.temperatures, key, integration, settings.replicas, self._say
        )

    def record(self, progress: bool) -> dict[str, Any]:
        """Everything up to the last step, or to where the run stopped."""
        parts, stopped = self._earlier(), ""
        pending: list[dict[str, Any]] = []
        safe = -np.inf
        steps, dynamics = self.settings.steps, self.dynamics
        bar = progress_bar(
            total=steps, initial=dynamics.step, unit="step", desc="dynamics", shown=progress, leave=False
        )
        with signals.postponed(), bar, self._log(parts) as log:
            while dynamics.step < steps and not stopped and not signals.pending():
                try:
                    pending.append(self._frame(min(self.settings.interval, steps - dynamics.step), bar))
                    log.write(_rows(pending[-1], self.settings))
                    log.flush()
                except DynamicsError as stop:
                    stopped = str(stop)
                if pending and (
                    time.monotonic() - safe > _SECONDS or dynamics.step >= steps or stopped or signals.pending()
                ):
                    parts.append(_joined(pending))
                    self._put(parts[-1], len(parts), stopped)
                    pending, safe = [], time.monotonic()
        found = _joined(parts) if parts else self._nothing()
        return {**found, "stopped": stopped, "warnings": "\n".join(self.said)}

    def _earlier(self) -> list[dict[str, Any]]:
        """Parts of an earlier run, whose last state is taken up."""
        state = self.run.get("state")
        if state is None:
            return []
        parts = [self.run.get(f"frames-{i:06d}") for i in range(int(state["parts"].value))]
        kept = [part for part in parts if part is not None]
        if len(kept) < len(parts):
            return []  # a part became unreadable: the run begins again
        self.dynamics.restore({name: value.value for name, value in state["arrays"].items()})
        self.said = state["warnings"].splitlines()
        return kept

    def _log(self, parts: list[dict[str, Any]]) -> TextIO:
        """The log, open for writing, with the rows of earlier parts in it."""
        file = self.log.open("w", encoding="utf-8")
        file.write(COLUMNS + "\n" + "".join(_rows(part, self.settings) for part in parts))
        file.flush()
        return file

    def _frame(self, steps: int, bar: tqdm) -> dict[str, Any]:
        """The next frame, as a part of its own."""
        frame = self.dynamics.advance(steps, bar.update)
        settings = self.settings
        count = len(settings.temperatures)
        kelvin = frame.temperature.reshape(count, -1).mean(axis=1)
        energy = (frame.potential + frame.kinetic).mean() / len(self.structure)
        bar.set_postfix_str(f"{' '.join(f'{t:.0f}' for t in kelvin[:4])} K, {energy:.5f} eV/atom", refresh=False)
        times = [self.dynamics.step * settings.timestep]
        trajectory = self._gather(times, [frame])
        shape = (count, 1, settings.replicas * settings.beads)
        return {
            "trajectory": trajectory,
            "closest": Quantity(frame.closest.reshape(shape), "angstrom"),
            "novelty": Quantity(frame.novelty.reshape(shape), "1"),
        }

    def _put(self, part: dict[str, Any], count: int, stopped: str) -> None:
        """A part, then the state that belongs to its last frame; none for a run that has stopped, which begins again."""
        self.run.put(f"frames-{count - 1:06d}", part)
        if stopped:
            return
        arrays = {name: Quantity(value, "of the integrator") for name, value in self.dynamics.save().items()}
        state = {"arrays": arrays, "parts": Quantity(np.asarray(count), "1"), "warnings": "\n".join(self.said)}
        self.run.put("state", state)

    def _gather(self, times: list[float], frames: list[Frame]) -> Trajectory:
        settings = self.settings
        return Trajectory.gather(
            self.structure, settings.temperatures, settings.replicas, times, frames, settings.beads
        )

    def _nothing(self) -> dict[str, Any]:
        """The parts of a run that stopped before its first frame."""
        empty = self._gather([], [])
        none = np.zeros(empty.energies.shape)
        return {"trajectory": empty, "closest": Quantity(none, "angstrom"), "novelty": Quantity(none, "1")}

    def _say(self, message: str) -> None:
        self.said.append(message)
        tqdm.write(f"jaxepi: warning: {message}", file=sys.stderr)


def _joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One part from several, frame after frame."""
    runs = [part["trajectory"] for part in parts]

    def join(name: str, axis: int) -> jax.Array:
        return jnp.asarray(np.concatenate([np.asarray(getattr(run, name)) for run in runs], axis=axis))

    names = ("positions", "kinetic_temperatures", "potential_energies", "energies")
    arrays = {name: join(name, 1) for name in names}
    trajectory = Trajectory(
        runs[0].structure, join("times", 0), temperatures=runs[0].temperatures, beads=runs[0].beads, **arrays
    )
    quantities = {
        name: Quantity(np.concatenate([np.asarray(part[name].value) for part in parts], axis=1), parts[0][name].unit)
        for name in ("closest", "novelty")
    }
    return {"trajectory": trajectory, **quantities}


def _rows(part: dict[str, Any], settings: DynamicsSettings) -> str:
    """Lines of the log, frame by frame, a line a run: of ring polymers the means over beads, and their extremes."""
    run: Trajectory = part["trajectory"]
    lines = []
    columns = (run.kinetic_temperatures, run.potential_energies, run.energies)
    shape = (*run.energies.shape[:2], settings.replicas, settings.beads)
    means = [np.asarray(x, dtype=float).reshape(shape).mean(axis=-1) for x in columns]
    closest, novelty = (np.asarray(part[name].value, dtype=float).reshape(shape) for name in ("closest", "novelty"))
    values = np.stack([*means, closest.min(axis=-1), novelty.max(axis=-1)], axis=-1)
    for f, now in enumerate(np.asarray(run.times, dtype=float)):
        step = round(now / settings.timestep)
        for t, target in enumerate(settings.temperatures):
            for r in range(settings.replicas):
                kelvin, potential, total, near, new = values[t, f, r]
                lines.append(
                    f"{step},{now:g},{target:g},{r},{kelvin:.3f},{potential:.6f},{total:.6f},{near:.4f},{new:.4f}\n"
                )
    return "".join(lines)


def _write_xyz(trajectory: Trajectory, settings: DynamicsSettings, target: Path, made_by: str) -> None:
    """All frames in one file, run after run, whole or not at all; each says its run, time, kelvin and potential energy."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io.extxyz import write_extxyz

    atoms = trajectory.structure.to_ase()
    with whole(target) as temporary, temporary.open("w", encoding="utf-8") as file:
        for t, f, r in sorted(np.ndindex(trajectory.energies.shape), key=lambda i: (i[0], i[2], i[1])):
            atoms.positions = np.asarray(trajectory.positions[t, f, r])
            atoms.info = {
                "temperature": settings.temperatures[t],
                "statistics": "classical" if trajectory.beads == 1 else "quantum",
                "group": r // trajectory.beads,
                "replica": r // trajectory.beads,
                **({} if trajectory.beads == 1 else {"bead": r % trajectory.beads}),
                "time_fs": float(trajectory.times[f]),
                "made_by": made_by,
                "kinetic_temperature": float(trajectory.kinetic_temperatures[t, f, r]),
            }
            energy = float(trajectory.potential_energies[t, f, r])
            atoms.calc = SinglePointCalculator(atoms, energy=energy)
            write_extxyz(file, [atoms])
