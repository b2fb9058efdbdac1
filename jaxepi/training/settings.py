"""Settings of a training run: every field says type, unit, range and meaning. Imports nothing heavy.

Lengths in angstrom, energies in eV. A configuration file is TOML with a table each: `[data]`, `[model]` (passed on to the
builder of the model, whose settings check it), `[loss]`, `[optimizer]`, `[run]`.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from jaxepi.errors import InputError, refuse_unknown, shown
from jaxepi.settings import Settings, from_table, given_of, read_toml, setting

WEIGHT: dict[str, Any] = {"least": 0, "most": 1e12}


@dataclasses.dataclass(frozen=True)
class SetSettings(Settings):
    """One data set."""

    path: str = setting("", "HDF5 data set (.h5, .hdf5), extended XYZ, or folder of DeePTB's layout; needed")
    weight: float = setting(1.0, "of its configurations in the loss", **WEIGHT)
    energy: float = setting(1.0, "further weight of its energies; 0 leaves them out", **WEIGHT)
    forces: float = setting(1.0, "further weight of its forces; 0 leaves them out", **WEIGHT)
    stress: float = setting(1.0, "further weight of its stresses; 0 leaves them out", **WEIGHT)
    kinds: tuple[str, ...] = setting((), "only configurations of these kinds; all when empty")
    meshes: tuple[str, ...] = setting(
        (),
        'only configurations on these k meshes: divisions ("3x3x3"), with shifts in units of a division '
        '("2x2x2+0.5,0.5,0.5"); all when empty',
    )
    repeat: int = setting(
        1,
        "how often an epoch goes through them (Hamiltonians; small cells cost little and pin the bands of the crystal)",
        least=1,
        most=10**6,
    )
    points: tuple[tuple[float, float, float], ...] = setting(
        (),
        "fractional k points that count, the others of the mesh do not (Hamiltonians; pins the named gaps of a crystal); "
        "all when empty",
    )
    split: str = setting(
        "auto",
        'which configurations train: as the file says ("file"), shares drawn by a hash of the geometry ("fraction"), the rule '
        'of `jaxepi.datasets.split_of` ("rule"), or all for one purpose; "auto" is "file" where it says, else "fraction"',
        choices=("auto", "file", "fraction", "rule", "train", "validation", "test"),
    )
    validation: float = setting(
        0.1, 'share for validation of "fraction", at least three of a dozen configurations', least=0, below=1
    )
    test: float = setting(
        0.0, 'share of "fraction" that is predicted at the end and never trained on', least=0, below=1
    )
    electrons: Mapping[str, Any] = setting(
        dict,
        "valence electrons of each element in a folder of DeePTB: { Si = 4 } (default: what the folder says, else those of the "
        "published set)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.validation + self.test < 1:
            raise InputError(
                f"validation {self.validation:g} and test {self.test:g} leave nothing for training; lower them"
            )
        for element, count in self.electrons.items():
            if type(count) not in (int, float) or not 0 < count < 100:
                raise InputError(
                    f"electrons of {shown(element)} {shown(count)}: give a positive number, as in {{ Si = 4 }}"
                )


@dataclasses.dataclass(frozen=True)
class KeySettings(Settings):
    """What the labels are called in extended XYZ; needed where they are neither ASE's names nor MACE's (REF_energy, ...)."""

    group: ClassVar[str] = "keys"

    energy: str = setting("", "energy of a frame, eV")
    forces: str = setting("", "forces, eV/angstrom")
    stress: str = setting("", "stress, eV/angstrom^3, positive for tension")
    virial: str = setting("", "in its place, minus stress times volume, eV")


@dataclasses.dataclass(frozen=True)
class DataSettings(Settings):
    """What is learned."""

    sets: tuple[SetSettings, ...] = setting(
        (), "data sets: a path, or a table of what follows, each", table=SetSettings
    )
    level: str = setting("", "of theory, a name; needed. Files that do not say theirs are taken to be of this one")
    relative_to: str = setting(
        "",
        "a second level that the sets hold and that the potential of [run] start describes: learned is what that potential "
        "gives, plus the difference of the labels of both levels on equal meshes, where coarse meshes are good enough",
    )
    keys: Mapping[str, Any] = setting(
        dict, "what labels are called in extended XYZ (default: as ASE or MACE calls them)", table=KeySettings
    )
    energy_offsets_per_mesh: str = setting(
        "none",
        'energies on k meshes of different density differ by a constant an atom: "none" takes them as they are, "fixed" '
        'fits that constant before training, "trained" starts from there and trains it along',
        choices=("none", "fixed", "trained"),
    )
    at_rest: str = setting(
        "kept",
        "forces and stress that a k mesh of less symmetry than the crystal gives to the crystal at rest: stay in the "
        "labels, or are subtracted from all of them",
        choices=("kept", "subtracted"),
    )
    train: int = setting(0, "keep so many training configurations, drawn by the seed; 0 keeps all", least=0)

    def __post_init__(self) -> None:
        if not self.sets:
            raise InputError('[data] names no sets; give sets = ["path/of/a/set.h5"]')
        super().__post_init__()
        if not self.level.strip():
            raise InputError('[data] names no level of theory; give level = "..." (for example "pbe")')
        if self.relative_to == self.level:
            raise InputError(f"[data] relative_to = {self.relative_to!r} is the level itself; give a second one")


@dataclasses.dataclass(frozen=True)
class LossSettings(Settings):
    """Weights of the mean squared errors of a potential."""

    energy: float = setting(10.0, "of the energy an atom, eV", **WEIGHT)
    forces: float = setting(1.0, "of force components, eV/angstrom", **WEIGHT)
    stress: float = setting(1.0, "of the components of stress times volume an atom, eV", **WEIGHT)
    energy_start: float = setting(
        0.0,
        "of the energy in the first step; it grows by a constant factor a step to `energy` in the last one (MACE begins with "
        "little weight on energies, too); 0 is `energy` throughout",
        **WEIGHT,
    )
    huber: float = setting(
        0.0,
        "errors of these (of stress times volume an atom) beyond so much count linearly, with the slope they have there: a "
        "few configurations far from the others decide less; 0 squares all. MACE's `huber_delta` is 0.01",
        **WEIGHT,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.energy + self.forces + self.stress > 0:
            raise InputError("all loss weights are zero; give at least one a positive value")
        if self.energy_start and not self.energy:
            raise InputError(f"energy_start {self.energy_start} grows to energy 0; give energy a positive weight")

    @property
    def grows(self) -> bool:
        """Whether the loss changes with the part of the epochs that is done."""
        return self.energy_start > 0


@dataclasses.dataclass(frozen=True)
class BandLossSettings(Settings):
    """Weights of the mean squared errors of a Hamiltonian, and of what keeps its orbitals physical.

    H(R) is compared up to a multiple of S(R), as it is for align "none".
    """

    align: str = setting(
        "valence",
        'spectra are compared relative to the mean of their filled bands ("valence"), the highest filled state ("edge"), the '
        'lowest state ("minimum"), or as they are ("none")',
        choices=("valence", "edge", "minimum", "none"),
    )
    window: tuple[float, float] = setting(
        (-math.inf, math.inf),
        "relative to the highest filled state of the labels; states outside do not count",
        "eV",
        infinite=True,
    )
    near: float = setting(
        4.0,
        "weight of states within `near_width` of the band edge on their side, relative to the others",
        above=0,
        most=1e12,
    )
    near_width: float = setting(3.0, "where `near` applies", "eV", above=0, infinite=True)
    edge: float = setting(
        1.0,
        "further factor on those within `edge_width`: few k points hold the edges, so that errors of many times the mean "
        "cost little there",
        above=0,
        most=1e12,
    )
    edge_width: float = setting(0.5, "where `edge` applies", "eV", above=0, infinite=True)
    gap: float = setting(1.0, "weight of the squared error of the gap on the k mesh", **WEIGHT)
    levels: float = setting(
        0.0,
        "weight of the squared errors of the lowest empty levels above the valence top, each the mean of the states that are "
        "degenerate in the crystal at rest (`jaxepi.training.bands.edges`), so that their shifts with vibrations and strain "
        "are right; of groups that hold the crystal at rest in the split train",
        **WEIGHT,
    )
    shifts: float = setting(
        0.0,
        "weight of the squared errors of how far these levels, and the valence top above the mean of filled bands, lie from "
        "the crystal at rest on the same mesh, so that meshes that place levels otherwise do not pull at their shifts; of sets "
        "that hold the crystal at rest in the split train",
        **WEIGHT,
    )
    levels_within: float = setting(1.5, "of the lowest empty state: which levels count", "eV", above=0, most=1e3)
    bands: int = setting(0, "of the labels that are kept; 0 keeps all", least=0)
    points: int = setting(
        0,
        "k points of a training step, those of the band edges and others drawn anew for each step; 0 takes all",
        least=0,
    )
    eigenvalues: float = setting(1.0, "weight of the eigenvalues as a whole, eV^2", **WEIGHT)
    hamiltonian: float = setting(
        0.0, "weight of the elements of H(R), eV^2, of data that holds them with the shells of the model", **WEIGHT
    )
    overlap: float = setting(0.0, "weight of the elements of S(R), likewise", **WEIGHT)
    keep_onsite: float = setting(
        0.0, "of the squared change of on-site blocks from the published set, eV^2; a shift of all is free", **WEIGHT
    )
    keep_hopping: float = setting(
        0.0, "of the squared change of hoppings, relative to the squared hoppings of the set", **WEIGHT
    )
    positive_overlap: float = setting(
        0.0, "of (1 - s/least_overlap)^2, summed over eigenvalues s of S(k) below `least_overlap`", **WEIGHT
    )
    least_overlap: float = setting(0.05, "where `positive_overlap` begins", above=0, below=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.window[0] < self.window[1]:
            raise InputError(f"window {self.window}: give two energies in eV, the lower first")
        if self.levels + self.shifts and self.points:
            raise InputError(
                "levels (or shifts) and points: a level is the mean over k points of the mesh; leave one of the two at 0"
            )
        if not self.eigenvalues + self.gap + self.levels + self.shifts + self.hamiltonian + self.overlap > 0:
            raise InputError(
                "eigenvalues, gap, levels, shifts, hamiltonian and overlap are all zero: nothing is left to learn from"
            )

    @property
    def matrices(self) -> bool:
        """Whether H(R) or S(R) count."""
        return self.hamiltonian + self.overlap > 0

    @property
    def grows(self) -> bool:
        """Whether the loss changes with the part of the epochs that is done."""
        return False


@dataclasses.dataclass(frozen=True)
class BlockLossSettings(Settings):
    """Weights of the errors of an equivariant Hamiltonian: means of mean absolute and root mean square errors of H(R), up to a
    multiple of S(R), in units of what the baseline leaves."""

    onsite: float = setting(1.0, "of on-site blocks", **WEIGHT)
    hopping: float = setting(1.0, "of hoppings", **WEIGHT)
    eigenbasis: float = setting(
        0.0, "of the error of H(k) between the label's own states (`jaxepi.training.matrices.eigenbasis`)", **WEIGHT
    )
    eigenbasis_width: float = setting(
        2.0, "energy from the Fermi level at which a state counts half, eV", above=0, most=1e3
    )
    eigenbasis_points: int = setting(4, "k points of a configuration, of which a step takes one", least=1, most=100)
    eigenbasis_from: float = setting(
        0.5,
        "part of the epochs after which that weight begins to rise; it is whole half-way from there",
        least=0,
        below=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.onsite + self.hopping + self.eigenbasis > 0:
            raise InputError("onsite, hopping and eigenbasis are all zero: nothing is left to learn from")

    @property
    def grows(self) -> bool:
        """Whether the loss changes with the part of the epochs that is done."""
        return self.eigenbasis > 0


@dataclasses.dataclass(frozen=True)
class OptimizerSettings(Settings):
    """How parameters are moved."""

    algorithm: str = setting(
        "amsgrad",
        'of descent: "amsgrad" is "adamw" with the largest second moment so far, "soap" the same in the eigenbasis of the '
        "gradients' averages (`jaxepi.training.core.soap`)",
        choices=("adamw", "amsgrad", "soap"),
    )
    learning_rate: float = setting(0.01, "its peak", above=0, most=1e6)
    weight_decay: float = setting(0.0, "of matrices, times the learning rate a step", least=0, most=1e6)
    clip: float = setting(10.0, "largest global norm of a gradient", above=0, infinite=True)
    average: float = setting(
        0.99,
        "decay of the moving average of parameters, with which is validated and predicted",
        least=0,
        below=1,
    )
    schedule: str = setting(
        "plateau",
        '"plateau" lowers the rate by `factor` when the validation loss has not improved for `patience` epochs; "cosine" '
        "goes down over all epochs",
        choices=("plateau", "cosine"),
    )
    warmup: float = setting(0.0, "epochs of linear rise", least=0, most=1e9)
    factor: float = setting(0.5, "of a plateau", least=0, below=1)
    patience: int = setting(25, "epochs without improvement before the rate falls", least=1)
    final: float = setting(
        1e-3,
        "training stops when a plateau's rate falls below this part of the peak; the cosine ends there",
        least=0,
        below=1,
    )
    stop: int = setting(150, "epochs without improvement after which training stops", least=1)


@dataclasses.dataclass(frozen=True)
class RunSettings(Settings):
    """How long, in which portions and in which precision."""

    epochs: int = setting(300, "passes over the training set at most", least=1, most=10**7)
    batch_atoms: int = setting(64, "atoms a batch, about", least=1, most=10**6)
    seed: int = setting(0, "of initial parameters and of the order of configurations", least=0, most=2**32 - 1)
    dtype: str = setting("float32", "of all arithmetic", choices=("float32", "float64"))
    max_minutes: float = setting(math.inf, "stop after so many minutes of this call", least=0, infinite=True)
    save_minutes: float = setting(2.0, "the state is kept at least so often", least=0, infinite=True)
    presolve: int = setting(
        0,
        "steps of L-BFGS by which `radial` terms of a Hamiltonian are fitted to its smallest cells before training; none for 0",
        least=0,
        most=10**6,
    )
    start: str = setting("", "checkpoint whose parameters to begin from; none when empty")


@dataclasses.dataclass(frozen=True)
class TrainingSettings(Settings):
    """Everything that decides the result of a training run; [loss] is `BandLossSettings` for a Hamiltonian."""

    data: DataSettings
    model: Mapping[str, Any] = setting(dict, "for the builder of the model")
    loss: Any = setting(LossSettings(), "what is minimised")
    optimizer: OptimizerSettings = setting(OptimizerSettings(), "how")
    run: RunSettings = setting(RunSettings(), "how long")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.loss, LossSettings | BandLossSettings | BlockLossSettings):
            raise InputError(
                f"loss {shown(self.loss)}: give LossSettings, or BandLossSettings or BlockLossSettings for a Hamiltonian"
            )


AnyLoss = LossSettings | BandLossSettings | BlockLossSettings
"""What a model learns by."""


def read_settings(
    path: str | Path, loss: type[AnyLoss] = LossSettings, model: type[Settings] | None = None
) -> TrainingSettings:
    """Settings from a TOML file; paths of data sets and checkpoints are relative to its folder.

    Args:
        loss: what [loss] is read into. model: what checks [model]; left to its builder without.

    Raises:
        InputError: the file is not TOML, an unknown key (with the nearest known one), or a value that is refused.
            OSError: the file cannot be read.
    """
    path = Path(path)
    content = read_toml(path)
    refuse_unknown(content, [f.name for f in dataclasses.fields(TrainingSettings)], f"{path}")
    for name, table in content.items():
        if not isinstance(table, dict):
            raise InputError(f"{path}: {name} is no table; write [{name}] and its options below")
    data = dict(content.get("data", {}))
    data["sets"] = _sets(data.get("sets", []), path)
    run = from_table(RunSettings, content.get("run", {}), f"{path}: [run]")
    if run.start:
        run = dataclasses.replace(run, start=str(path.parent / run.start))
    asked, where = content.get("model", {}), f"{path}: [model]"
    return TrainingSettings(
        data=from_table(DataSettings, data, f"{path}: [data]"),
        model=dict(asked) if model is None else given_of(model, asked, where),
        loss=from_table(loss, content.get("loss", {}), f"{path}: [loss]"),
        optimizer=from_table(OptimizerSettings, content.get("optimizer", {}), f"{path}: [optimizer]"),
        run=run,
    )


def _sets(listed: Any, path: Path) -> tuple[SetSettings, ...]:
    """The data sets of [data]; each is a path, or a table."""
    found = []
    for entry in listed if isinstance(listed, list) else [listed]:
        where = f"{path}: [data] sets"
        one = from_table(SetSettings, {"path": entry} if isinstance(entry, str) else entry, where)
        if not one.path.strip():
            raise InputError(f"{where}: {shown(entry)} names no file; give path")
        found.append(dataclasses.replace(one, path=str(path.parent / one.path)))
    return tuple(found)
