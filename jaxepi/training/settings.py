"""Settings of a training run, with their defaults in one place, and what is refused of them. Imports nothing heavy.

Lengths in angstrom, energies in eV. A configuration file is TOML with a table each: `[data]`, `[model]` (passed on to the
builder of the model), `[loss]`, `[optimizer]`, `[run]`.
"""

import dataclasses
import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from jaxepi.errors import InputError, refuse_unknown

T = TypeVar("T")

CHOICES = {
    "energy_offsets_per_mesh": ("none", "fixed", "trained"),
    "at_rest": ("kept", "subtracted"),
    "algorithm": ("adamw", "amsgrad", "soap"),
    "schedule": ("plateau", "cosine"),
    "dtype": ("float32", "float64"),
    "align": ("valence", "edge", "minimum", "none"),
}


@dataclasses.dataclass(frozen=True)
class SetSettings:
    """One data set.

    Attributes:
        path: HDF5 data set (.h5, .hdf5) or extended XYZ. weight: of its configurations in the loss.
        energy, forces, stress: further weights of these labels; 0 leaves them out.
        kinds, meshes: only configurations of these kinds, and with these k meshes (divisions, "3x3x3", with shifts in
            units of a division, "2x2x2+0.5,0.5,0.5"); all when empty.
        repeat: how often an epoch goes through them (training of Hamiltonians; small cells cost little and pin the bands
            of the crystal). points: fractional k points that count, the others of the mesh do not (training of
            Hamiltonians; pins the named gaps of a crystal); all when empty.
    """

    path: str = ""
    weight: float = 1.0
    energy: float = 1.0
    forces: float = 1.0
    stress: float = 1.0
    kinds: tuple[str, ...] = ()
    meshes: tuple[str, ...] = ()
    repeat: int = 1
    points: tuple[Sequence[float | int], ...] = ()

    def __post_init__(self) -> None:
        if self.repeat < 1:
            raise InputError(f"{self.path}: repeat {self.repeat}: give at least one")
        for point in self.points:
            if not isinstance(point, list | tuple) or [isinstance(x, int | float) for x in point] != [True] * 3:
                raise InputError(
                    f"{self.path}: points: {point!r} is no k point; give three fractions, [[0, 0, 0], ...]"
                )


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """What is learned.

    Attributes:
        sets: data sets. level: of theory.
        energy_offsets_per_mesh: energies on k meshes of different density differ by a constant an atom. "none" takes them
            as they are, "fixed" fits that constant before training, "trained" starts from there and trains it along.
        at_rest: forces and stress that a k mesh of less symmetry than the crystal gives to the crystal at rest are "kept"
            in the labels, or "subtracted" from all of them (see `rest.without_rest`).
        train: keep so many training configurations, drawn by the seed; 0 keeps all.
    """

    sets: tuple[SetSettings, ...] = ()
    level: str = ""
    energy_offsets_per_mesh: str = "none"
    at_rest: str = "kept"
    train: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        if not self.sets:
            raise InputError('[data] names no sets; give sets = ["path/of/a/set.h5"]')
        if not self.level:
            raise InputError('[data] names no level of theory; give level = "..." (for example "pbe")')
        if self.train < 0:
            raise InputError(f"train {self.train}: give the number of training configurations to keep, or 0 for all")


@dataclasses.dataclass(frozen=True)
class LossSettings:
    """Weights of the mean squared errors.

    Attributes:
        energy: of the energy an atom, eV. forces: of force components, eV/angstrom. stress: of the components of stress
            times volume an atom, eV.
        energy_start: of the energy in the first step; it grows by a constant factor a step to `energy` in the last one.
            Zero is `energy` throughout. MACE begins with little weight on energies, too ("stage two").
        huber: errors of these (of stress times volume an atom) beyond so much count linearly, with the slope they have there:
            a few configurations far from the others decide less. Zero squares all. MACE's `huber_delta` is 0.01.
    """

    energy: float = 10.0
    forces: float = 1.0
    stress: float = 1.0
    energy_start: float = 0.0
    huber: float = 0.0

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if not 0 <= value < math.inf:
                raise InputError(f"{name} {value}: give zero or a positive number")
        if not self.energy + self.forces + self.stress > 0:
            raise InputError("all loss weights are zero; give at least one a positive value")
        if self.energy_start and not self.energy:
            raise InputError(f"energy_start {self.energy_start} grows to energy 0; give energy a positive weight")


@dataclasses.dataclass(frozen=True)
class BandLossSettings:
    """Weights of the mean squared errors of a Hamiltonian, and of what keeps its orbitals physical.

    Attributes:
        align: spectra are compared relative to the mean of their filled bands ("valence"), the highest filled state
            ("edge"), the lowest state ("minimum"), or as they are ("none"). H(R) is compared up to a multiple of S(R), as it
            is for "none".
        window: eV, relative to the highest filled state of the labels; states outside do not count.
        near: weight of the states within `near_width` (eV) of the band edge on their side, relative to the others.
        edge: further factor on those within `edge_width` (eV): few k points hold the edges, so that errors of many times
            the mean cost little there.
        gap: weight of the squared error of the gap on the k mesh. bands: of the labels that are kept; 0 keeps all.
        points: k points of a training step, those of the band edges and others drawn anew for each step; 0 takes all.
        eigenvalues: weight of the eigenvalues as a whole (eV^2).
        hamiltonian, overlap: weights of the elements of H(R) (eV^2) and S(R), of data that holds them; the model must have
            the shells of the data.
        keep_onsite: weight of the squared change of on-site blocks from the published set (eV^2; a shift of all is free).
            keep_hopping: of the squared change of hoppings, relative to the squared hoppings of the set.
        positive_overlap: weight of (1 - s/least_overlap)^2, summed over eigenvalues s of S(k) below `least_overlap`.
    """

    align: str = "valence"
    window: tuple[float, float] = (-math.inf, math.inf)
    near: float = 4.0
    near_width: float = 3.0
    edge: float = 1.0
    edge_width: float = 0.5
    gap: float = 1.0
    bands: int = 0
    points: int = 0
    eigenvalues: float = 1.0
    hamiltonian: float = 0.0
    overlap: float = 0.0
    keep_onsite: float = 0.0
    keep_hopping: float = 0.0
    positive_overlap: float = 0.0
    least_overlap: float = 0.05

    def __post_init__(self) -> None:
        check_choices(self)
        if len(self.window) != 2 or not self.window[0] < self.window[1]:
            raise InputError(f"window {self.window}: give two energies in eV, the lower first")
        for name in ("near", "near_width", "edge", "edge_width"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} {getattr(self, name)}: give a positive number")
        if not self.gap >= 0 or min(self.bands, self.points) < 0:
            raise InputError(f"gap {self.gap}, bands {self.bands}, points {self.points}: give zero or positive numbers")
        weights = ("eigenvalues", "hamiltonian", "overlap", "keep_onsite", "keep_hopping", "positive_overlap")
        for name in weights:
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} {getattr(self, name)}: give zero or a positive number")
        if not self.eigenvalues + self.gap + self.hamiltonian + self.overlap > 0:
            raise InputError("eigenvalues, gap, hamiltonian and overlap are all zero: nothing is left to learn from")
        if not 0 < self.least_overlap < 1:
            raise InputError(f"least_overlap {self.least_overlap}: give a number between 0 and 1")

    @property
    def matrices(self) -> bool:
        """Whether H(R) or S(R) count."""
        return self.hamiltonian + self.overlap > 0


@dataclasses.dataclass(frozen=True)
class OptimizerSettings:
    """How parameters are moved.

    Attributes:
        algorithm: "adamw", "amsgrad" (the same with the largest second moment so far), or "soap" (the same in
            the eigenbasis of the gradients' averages; see `jaxepi.training.core.soap`).
        learning_rate: its peak. weight_decay: of matrices, times the learning rate a step. clip: largest global norm of a
            gradient. average: decay of the moving average of parameters, with which is validated and predicted.
        schedule: "plateau" lowers the rate by `factor` when the validation loss has not improved for `patience` epochs;
            "cosine" goes down over all epochs. warmup: epochs of linear rise.
        final: training stops when a plateau's rate falls below this part of the peak; the cosine ends there.
        stop: epochs without improvement after which training stops.
    """

    algorithm: str = "amsgrad"
    learning_rate: float = 0.01
    weight_decay: float = 0.0
    clip: float = 10.0
    average: float = 0.99
    schedule: str = "plateau"
    warmup: float = 0.0
    factor: float = 0.5
    patience: int = 25
    final: float = 1e-3
    stop: int = 150

    def __post_init__(self) -> None:
        check_choices(self)
        inside = {"average": (0.0, 1.0), "factor": (0.0, 1.0), "final": (0.0, 1.0)}
        for name, (low, high) in inside.items():
            if not low <= getattr(self, name) < high:
                raise InputError(f"{name} {getattr(self, name)}: give a number from {low:g} to below {high:g}")
        for name in ("learning_rate", "clip", "patience", "stop"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} {getattr(self, name)}: give a positive number")
        for name in ("weight_decay", "warmup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InputError(f"{name} {getattr(self, name)}: give zero or a positive number")


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """How long, in which portions and in which precision.

    Attributes:
        epochs: passes over the training set at most. batch_atoms: atoms a batch, about.
        seed: of initial parameters and of the order of configurations. dtype: of all arithmetic.
        max_minutes: stop after so many minutes of this call. save_minutes: the state is kept at least so often.
        start: checkpoint whose parameters to begin from; none when empty.
    """

    epochs: int = 300
    batch_atoms: int = 64
    seed: int = 0
    dtype: str = "float32"
    max_minutes: float = math.inf
    save_minutes: float = 2.0
    start: str = ""

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("epochs", "batch_atoms"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: give a positive integer")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed {self.seed}: give an integer from 0 to {2**32 - 1}")
        for name in ("max_minutes", "save_minutes"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} {getattr(self, name)}: give zero or a positive number of minutes")


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """Everything that decides the result of a training run.

    Attributes:
        model: for the builder of the model. loss: `LossSettings` of a potential, `BandLossSettings` of a Hamiltonian.
    """

    data: DataSettings
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    loss: Any = dataclasses.field(default_factory=LossSettings)
    optimizer: OptimizerSettings = dataclasses.field(default_factory=OptimizerSettings)
    run: RunSettings = dataclasses.field(default_factory=RunSettings)

    def asdict(self) -> dict[str, Any]:
        """All settings, as nested dicts."""
        return dataclasses.asdict(self)


def read_settings(path: str | Path, loss: type = LossSettings) -> TrainingSettings:
    """Settings from a TOML file; paths of data sets and checkpoints are relative to its folder.

    Args:
        loss: what [loss] is read into.

    Raises:
        InputError: the file is not TOML, an unknown key (with the nearest known one), or a value that is refused.
            OSError: the file cannot be read.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from error
    refuse_unknown(content, [f.name for f in dataclasses.fields(TrainingSettings)], f"{path}")
    for name, table in content.items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: {name} is no table; write [{name}] and its options below")
    data = dict(content.get("data", {}))
    listed = data.get("sets", [])
    entries = [{"path": s} if isinstance(s, str) else s for s in (listed if isinstance(listed, list) else [listed])]
    sets = [from_table(SetSettings, entry, f"{path}: [data] sets") for entry in entries]
    data["sets"] = [dataclasses.replace(s, path=str(path.parent / s.path)) for s in sets]
    run = from_table(RunSettings, content.get("run", {}), f"{path}: [run]")
    if run.start:
        run = dataclasses.replace(run, start=str(path.parent / run.start))
    return TrainingSettings(
        data=from_table(DataSettings, data, f"{path}: [data]"),
        model=dict(content.get("model", {})),
        loss=from_table(loss, content.get("loss", {}), f"{path}: [loss]"),
        optimizer=from_table(OptimizerSettings, content.get("optimizer", {}), f"{path}: [optimizer]"),
        run=run,
    )


def from_table(cls: type[T], table: Any, where: str) -> T:
    """A dataclass of settings from a table, types checked by those of the defaults.

    Raises:
        InputError: an unknown key, or a value of the wrong type; the message begins with `where`.
    """
    if not isinstance(table, Mapping):
        raise InputError(f"{where}: {table!r} is no table of options")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    refuse_unknown(table, fields, where)
    values = {}
    for key, value in table.items():
        default = fields[key].default
        if isinstance(default, tuple) and isinstance(value, str | list | tuple):
            value = (value,) if isinstance(value, str) else tuple(value)
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) is not type(default):
            raise InputError(f"{where}: {key} = {value!r}; expected {_WORDS[type(default)]}, for example {default!r}")
        values[key] = value
    try:
        return cls(**values)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


_WORDS: dict[type, str] = {int: "an integer", float: "a number", str: "a text", bool: "true or false", tuple: "a list"}


def check_choices(settings: Any) -> None:
    """Refuse a word that is not one of the choices of its setting.

    Raises:
        InputError: lists the choices.
    """
    for name, choices in CHOICES.items():
        if getattr(settings, name, choices[0]) not in choices:
            raise InputError(f"{name} {getattr(settings, name)!r}: choose one of {', '.join(choices)}")
