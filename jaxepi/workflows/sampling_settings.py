"""Settings of how snapshots are drawn, or read from a trajectory. Imports nothing heavy."""

import dataclasses
from typing import Any, ClassVar

from jaxepi.errors import InputError
from jaxepi.settings import Counts, fields, setting
from jaxepi.workflows.crystal_settings import ElectronSettings, VibrationSettings

SEED: dict[str, Any] = {"least": 0, "most": 2**32 - 1, "metavar": "N"}


@dataclasses.dataclass(frozen=True)
class SamplingSettings(VibrationSettings):
    """Everything that decides which snapshots are drawn."""

    group: ClassVar[str] = "snapshots"

    temperatures: tuple[float, ...] = setting(
        (300.0,), "temperatures, or start:stop:step", "K", least=0, most=1e6, metavar="K"
    )
    cell: str = setting(
        "conventional",
        "cell of a material that is repeated (a file has one)",
        choices=("conventional", "primitive"),
    )
    supercell: Counts = setting(2, "its repeats, one number or three", least=1, most=1000, metavar="N")
    snapshots: int = setting(6, "snapshots a temperature", least=1, most=10**6, metavar="N")
    sampling: str = setting(
        "antithetic",
        "harmonic snapshots in random pairs displaced oppositely, each by itself (random), in quasi-random pairs (sobol), "
        "special displacements with their partners; or molecular dynamics, of classical or (path-integral) quantum nuclei",
        choices=("antithetic", "random", "sobol", "special", "molecular-dynamics", "path-integral"),
    )
    beads: int = setting(
        16, "of the ring polymers of path-integral, of which each snapshot is one", least=2, most=1024, metavar="P"
    )
    self_consistent: bool = setting(
        False,
        "force constants that anharmonicity makes at each temperature, of unstable crystals too; needs a potential",
    )
    scrambles: int = setting(
        4, "independent scrambles of sobol, whose scatter tells the error", least=1, most=10**4, metavar="N"
    )
    statistics: str = setting(
        "quantum", "of the nuclei; quantum has zero-point motion", choices=("quantum", "classical")
    )
    imaginary: str = setting(
        "error", "harmonic snapshots: refuse unstable modes, or leave them out", choices=("error", "drop")
    )
    expansion: str | None = setting(
        None,
        "result of jaxepi expand: every temperature at its own lattice constant, as at constant pressure (default: constant "
        "volume)",
        metavar="FILE",
    )
    timestep: float = setting(1.0, "of molecular dynamics", "fs", above=0, most=1000, metavar="FS")
    equilibration: int = setting(
        2000, "steps before the first snapshot of molecular dynamics", least=0, metavar="STEPS"
    )
    interval: int = setting(200, "steps of molecular dynamics between snapshots", least=1, metavar="STEPS")
    seed: int = setting(
        0, "of all random numbers; the same noise serves every temperature, so that differences are smooth", **SEED
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_twice(self.temperatures)
        self._refuse_count()
        if self.moves and (self.phonons or self.calculator) is not None:
            given = f"calculator {self.calculator}" if self.phonons is None else f"phonons {self.phonons}"
            raise InputError(
                f"{given}: molecular dynamics needs a potential of jaxepi, not force constants; give one, or ask for "
                "harmonic snapshots (sampling antithetic)"
            )
        if self.sampling == "molecular-dynamics" and self.statistics == "quantum":
            raise InputError(
                "statistics quantum: molecular dynamics moves nuclei classically; ask for statistics classical, or for "
                "sampling path-integral, or harmonic (antithetic)"
            )
        if self.expansion is not None and (self.moves or self.self_consistent or self.calculator is not None):
            given = self.calculator or ("self-consistent" if self.self_consistent else self.sampling)
            raise InputError(
                f"expansion {self.expansion}: {given} has one lattice constant for all temperatures; leave one out, or take "
                "harmonic snapshots of a potential"
            )
        if self.self_consistent:
            refuse_constants(self)
            if self.moves or self.statistics == "classical":
                raise InputError(
                    f"self-consistent: of harmonic snapshots of quantum nuclei, not of {self.statistics} ones by "
                    f"{self.sampling}; leave it out"
                )
        if self.sampling == "path-integral" and self.statistics == "classical":
            raise InputError(
                "statistics classical: ring polymers are quantum nuclei; ask for sampling molecular-dynamics, or leave it out"
            )

    @property
    def moves(self) -> bool:
        """Whether snapshots are frames of dynamics."""
        return self.sampling in ("molecular-dynamics", "path-integral")

    def _refuse_count(self) -> None:
        """Refuse a number of snapshots that the way of drawing them does not have."""
        count = self.snapshots
        if self.sampling in ("antithetic", "special") and count % 2:
            other = ", or for sampling random" if self.sampling == "antithetic" else ""
            raise InputError(f"snapshots {count}: {self.sampling} snapshots come in pairs; ask for {count + 1}{other}")
        if self.sampling == "sobol":
            pairs = 1 << (max(1, -(-count // (2 * self.scrambles))) - 1).bit_length()
            if count != 2 * self.scrambles * pairs:
                raise InputError(
                    f"snapshots {count}: sobol pairs in {self.scrambles} scrambles are 2 x {self.scrambles} x a power of two; "
                    f"ask for {2 * self.scrambles * pairs}, or for other scrambles"
                )


@dataclasses.dataclass(frozen=True)
class TrajectorySettings(SamplingSettings):
    """Snapshots that a file holds, in place of drawn ones."""

    group: ClassVar[str] = "snapshots of a trajectory"

    trajectory: str | None = setting(
        None,
        "snapshots from this file instead: extended XYZ, ASE's .traj, XDATCAR, vasprun.xml, or HDF5 of sample or md; no "
        "potential is needed",
        metavar="FILE",
    )
    frames: str = setting(
        ":",
        "which of its frames, of each of its runs: start:stop:step, 100::10 for every tenth from 100 on",
        metavar="SLICE",
    )
    reference: str | None = setting(
        None,
        "structure file, the crystal at rest in the cell of the trajectory (default: CRYSTAL repeated to fill it, else the "
        "mean of the frames)",
        metavar="FILE",
    )
    independent: bool = setting(
        False, "frames are independent of each other, so that their scatter tells an error; else they are one run"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.trajectory is None:
            for name in ("frames", "reference", "independent"):
                if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                    raise InputError(f"{name} is of a trajectory: give one (--trajectory FILE), or leave {name} out")
            return
        own = {"temperatures", "statistics", *(f.name for f in fields(ElectronSettings))}
        for field in fields(SamplingSettings):
            if field.name not in own and getattr(self, field.name) != field.default:
                raise InputError(
                    f"{field.name} decides how snapshots are drawn, and trajectory {self.trajectory} holds them: leave one out"
                )


def refuse_constants(settings: VibrationSettings) -> None:
    """Refuse self-consistent force constants of what has no derivatives."""
    for name in ("phonons", "calculator"):
        if getattr(settings, name) is not None:
            raise InputError(
                f"self-consistent force constants are made of a potential of jaxepi, not of {name} {getattr(settings, name)}; "
                "leave one of them out"
            )


def refuse_slopes(settings: TrajectorySettings) -> None:
    """Refuse snapshots that have no derivative by temperature."""
    given = {
        "trajectory": settings.trajectory is not None,
        f"sampling {settings.sampling}": settings.moves or settings.sampling == "special",
        "self-consistent": settings.self_consistent,
        "expansion": settings.expansion is not None,
        "statistics classical at 0 K": settings.statistics == "classical" and 0.0 in settings.temperatures,
    }
    for name, there in given.items():
        if there:
            raise InputError(
                f"slopes: {name} has no derivative by temperature here; take harmonic snapshots (antithetic, random, "
                "sobol) at constant volume, or leave slopes out"
            )


def refuse_twice(temperatures: tuple[float, ...]) -> None:
    """Refuse a temperature that is given more than once.

    Raises:
        InputError: names it.
    """
    for i, temperature in enumerate(temperatures):
        if temperature in temperatures[:i]:
            raise InputError(f"temperature {temperature:g} K is given twice; give each once")
