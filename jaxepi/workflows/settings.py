"""Settings of the studies, with their defaults in one place, and what is refused of them. Imports nothing heavy."""

import dataclasses
import math
from typing import Any

from jaxepi.errors import InputError

CHOICES = {
    "statistics": ("quantum", "classical"),
    "sampler": ("harmonic", "molecular-dynamics"),
    "broadening": ("gaussian", "lorentzian"),
    "precision": ("float64", "float32"),
    "imaginary": ("error", "drop"),
    "gap_kind": (None, "indirect", "direct", "none"),
    "cell": ("conventional", "primitive"),
    "ensemble": ("langevin", "nose-hoover", "nve"),
}

RESOURCES = ("memory_gb", "workers")
"""Settings that change how, not what, is computed: a run may be resumed with others."""

Counts = int | tuple[int, ...]
"""One number for all directions, or three."""


@dataclasses.dataclass(frozen=True)
class SamplingSettings:
    """Everything that decides which snapshots are drawn.

    Attributes:
        crystal: a shipped material by name, or the path of a structure file (its cell at rest).
        hamiltonian, potential: by shipped name or path; a material's own when left out.
        spin_orbit: spinor basis of the Hamiltonian.
        temperatures: kelvin.
        cell, supercell: which cell of a material is repeated (a file has one), how often: an integer or three.
        snapshots: a temperature. antithetic: in pairs displaced oppositely (harmonic sampler only).
        sampler, statistics: molecular dynamics is classical.
        imaginary: "drop" samples without unstable modes, "error" refuses them.
        timestep: fs. equilibration, interval: steps (molecular dynamics only).
        seed: of all random numbers; the same noise serves every temperature, so differences between them are smooth.
        precision: of all arithmetic.
    """

    crystal: str = "silicon"
    hamiltonian: str | None = None
    potential: str | None = None
    spin_orbit: bool = False
    temperatures: tuple[float, ...] = (300.0,)
    cell: str = "conventional"
    supercell: Counts = 2
    snapshots: int = 6
    antithetic: bool = True
    sampler: str = "harmonic"
    statistics: str = "quantum"
    imaginary: str = "error"
    timestep: float = 1.0
    equilibration: int = 2000
    interval: int = 200
    seed: int = 0
    precision: str = "float64"

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperatures", tuple(float(t) for t in self.temperatures))
        _check_choices(self)
        _check_temperatures(self.temperatures)
        _check_sampler(self)
        check_counts("supercell", self.supercell)
        _check_seed(self.seed)

    def asdict(self) -> dict[str, Any]:
        """All settings, in JSON types."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class AbsorptionSettings(SamplingSettings):
    """Everything that decides the result of an absorption study.

    Attributes:
        twists: quasirandom k points of each snapshot, of which every snapshot has its own: together they sample the zone
            far better than one regular mesh. kmesh: a regular mesh for all snapshots instead, by the divisions of the
            supercell's reciprocal vectors; 1 and 2 need only real arithmetic.
        broadening, width: line shape and its width, eV. scissor: rigid shift of transition energies, eV.
        energies: lowest and highest photon energy, eV, and how many.
        equilibrium_points: quasirandom k points of the primitive cell for the lattice at rest.
        gap_kind, tauc_window: of the Tauc fit, eV; the material's, or by the band edges, when left out.
        memory_gb: bound on working memory, GB. workers: snapshots computed at once; when left out the
            cores, or one of small supercells.
    """

    twists: int = 16
    kmesh: Counts | None = None
    broadening: str = "gaussian"
    width: float = 0.03
    scissor: float = 0.0
    energies: tuple[float, float, int] = (0.5, 5.0, 451)
    equilibrium_points: int = 10000
    gap_kind: str | None = None
    tauc_window: tuple[float, float] | None = None
    memory_gb: float = 8.0
    workers: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        low, high, count = self.energies
        if count != int(count):
            raise InputError(f"{count:g} photon energies: give a whole number")
        object.__setattr__(self, "energies", (float(low), float(high), int(count)))
        _check_spectrum(self)
        if self.kmesh is not None:
            check_counts("k mesh", self.kmesh)
        if self.twists < 1:
            raise InputError(f"twists {self.twists}: ask for at least one k point a snapshot")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers {self.workers}: give at least one")
        if self.equilibrium_points < 1:
            raise InputError(f"equilibrium points {self.equilibrium_points}: give a positive integer")
        if not self.memory_gb > 0:
            raise InputError(f"memory {self.memory_gb} GB: give a positive number")


@dataclasses.dataclass(frozen=True)
class DynamicsSettings:
    """Everything that decides a run of molecular dynamics.

    Attributes:
        crystal: a shipped material by name, or the path of a structure file. potential: by shipped name or path; a
            material's own when left out.
        temperatures: kelvin. replicas: independent runs a temperature; all runs move side by side.
        cell, supercell: which cell of a material is repeated (a file has one), how often: an integer or three.
        ensemble: "langevin", "nose-hoover" or "nve". timestep: fs. steps: in all. interval: steps between frames.
        friction: of Langevin dynamics, 1/fs. relaxation: time of the Nose-Hoover thermostat, fs.
        heating: momenta start at this multiple of the temperature; two for a crystal at rest, one for a hot structure.
        seed: of all random numbers. precision: of all arithmetic.
    """

    crystal: str = "silicon"
    potential: str | None = None
    temperatures: tuple[float, ...] = (300.0,)
    replicas: int = 1
    cell: str = "conventional"
    supercell: Counts = 2
    ensemble: str = "langevin"
    timestep: float = 1.0
    steps: int = 10000
    interval: int = 100
    friction: float = 0.01
    relaxation: float = 100.0
    heating: float = 2.0
    seed: int = 0
    precision: str = "float64"

    def __post_init__(self) -> None:
        object.__setattr__(self, "temperatures", tuple(float(t) for t in self.temperatures))
        _check_choices(self)
        _check_temperatures(self.temperatures)
        if 0.0 in self.temperatures:
            raise InputError("temperature 0 K: molecular dynamics needs positive ones; nothing moves at zero")
        check_counts("supercell", self.supercell)
        for name in ("replicas", "steps", "interval"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)}: give at least 1")
        for name in ("timestep", "friction", "relaxation"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"{name} {getattr(self, name)}: give a positive number")
        if not 0 < self.heating < 4:
            raise InputError(f"heating {self.heating}: give a number between 0 and 4")
        _check_seed(self.seed)

    def asdict(self) -> dict[str, Any]:
        """All settings, in JSON types."""
        return dataclasses.asdict(self)


def check_counts(name: str, value: int | tuple[int, ...]) -> None:
    """Refuse divisions or repeats that are not one or three positive integers.

    Raises:
        InputError: names the value.
    """
    counts = (value,) if isinstance(value, int) else tuple(value)
    if len(counts) not in (1, 3) or min(counts) < 1:
        raise InputError(f"{name} {' '.join(str(c) for c in counts)}: give one positive integer or three")


def _check_choices(settings: Any) -> None:
    for name, choices in CHOICES.items():
        if getattr(settings, name, choices[0]) not in choices:
            known = ", ".join(str(c) for c in choices if c is not None)
            raise InputError(f"{name} {getattr(settings, name)!r}: choose one of {known}")


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**32:
        raise InputError(f"seed {seed}: give an integer from 0 to {2**32 - 1}")


def _check_temperatures(temperatures: tuple[float, ...]) -> None:
    if not temperatures:
        raise InputError("no temperatures: give at least one, in kelvin")
    for i, temperature in enumerate(temperatures):
        if not 0 <= temperature < math.inf:
            raise InputError(f"temperature {temperature:g} K: give zero or a positive number of kelvin")
        if temperature in temperatures[:i]:
            raise InputError(f"temperature {temperature:g} K is given twice; give each once")


def _check_sampler(settings: SamplingSettings) -> None:
    if settings.snapshots < 1:
        raise InputError(f"snapshots {settings.snapshots}: ask for at least one a temperature")
    if settings.sampler == "harmonic":
        if settings.antithetic and settings.snapshots % 2:
            raise InputError(
                f"snapshots {settings.snapshots}: antithetic snapshots come in pairs; ask for {settings.snapshots + 1}, "
                "or switch pairs off (--no-antithetic)"
            )
        return
    if settings.statistics == "quantum":
        raise InputError(
            "statistics quantum: molecular dynamics moves nuclei classically; ask for statistics classical, or for the "
            "harmonic sampler"
        )


def _check_spectrum(settings: AbsorptionSettings) -> None:
    low, high, count = settings.energies
    if not 0 < low < high < math.inf:
        raise InputError(f"photon energies from {low:g} to {high:g} eV: give positive, increasing ones")
    if count < 2:
        raise InputError(f"{count} photon energies: ask for at least two")
    if not 0 < settings.width < math.inf:
        raise InputError(f"width {settings.width:g} eV: give a positive broadening")
    if not math.isfinite(settings.scissor):
        raise InputError(f"scissor {settings.scissor} eV: give a finite number")
    window = settings.tauc_window
    if window is not None and not 0 < window[0] < window[1] < math.inf:
        raise InputError(f"Tauc window {window[0]:g} to {window[1]:g} eV: give positive, increasing energies")
