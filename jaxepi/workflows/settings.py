"""Settings of the studies and options of their commands: every field says type, unit, range and meaning. Imports nothing heavy.

A command has settings, which decide its result, and files, which say where that goes. Bounds without a reason in physics are
generous: they stop what would fill any memory, or never end, before the work begins.
"""

import dataclasses
import math
from typing import ClassVar

from jaxepi.errors import InputError, shown
from jaxepi.settings import Counts, Settings, setting
from jaxepi.workflows.crystal_settings import PATH, ElectronSettings, LatticeSettings, VibrationSettings
from jaxepi.workflows.sampling_settings import (
    SEED,
    TrajectorySettings,
    refuse_constants,
    refuse_slopes,
    refuse_twice,
)
from jaxepi.workflows.sampling_settings import (
    SamplingSettings as SamplingSettings,
)
from jaxepi.workflows.solver_settings import SolverSettings, refuse_solver

MOST_POINTS = 10**6
"""k points of a regular mesh."""

MOST_ENERGIES = 20000
"""Photon energies of a spectrum: beyond, the matrix that broadens its bins fills memories."""


@dataclasses.dataclass(frozen=True)
class GapSettings(ElectronSettings, TrajectorySettings):
    """Everything that decides a gap: the Hamiltonian, and the snapshots at temperatures where there are some."""

    group: ClassVar[str] = "snapshots"

    temperatures: tuple[float, ...] = setting(
        (),
        "temperatures, or start:stop:step (default: none, the lattice at rest alone, or those of the trajectory)",
        "K",
        least=0,
        most=1e6,
        metavar="K",
    )


@dataclasses.dataclass(frozen=True)
class AbsorptionSettings(SolverSettings, ElectronSettings, TrajectorySettings):
    """Everything that decides the result of an absorption study.

    Quasirandom k points, of which every snapshot has its own, sample the zone together far better than one regular mesh.
    """

    group: ClassVar[str] = "spectrum"

    temperatures: tuple[float, ...] = setting(
        (),
        "temperatures, or start:stop:step (default: 300, or those of the trajectory)",
        "K",
        least=0,
        most=1e6,
        metavar="K",
    )
    twists: int = setting(16, "quasirandom k points of each snapshot", least=1, most=10**6, metavar="N")
    kmesh: Counts | None = setting(
        None,
        "regular mesh instead: divisions of the reciprocal vectors, one number or three; 1 and 2 need only real arithmetic",
        least=1,
        most=1000,
        metavar="N",
    )
    broadening: str = setting("gaussian", "line shape", choices=("gaussian", "lorentzian"))
    width: float = setting(
        0.03, "broadening: standard deviation or half width at half maximum", "eV", above=0, most=100, metavar="EV"
    )
    scissor: float = setting(0.0, "rigid shift of all transition energies", "eV", least=-100, most=100, metavar="EV")
    energies: tuple[float, float, int] = setting(
        (0.5, 5.0, 451),
        "lowest and highest photon energy, and how many",
        "eV",
        above=0,
        most=10**6,
        metavar=("MIN", "MAX", "COUNT"),
    )
    slopes: bool = setting(
        False, "derivatives of the spectra by temperature too, of harmonic snapshots at constant volume"
    )
    equilibrium_points: int = setting(
        10000, "quasirandom k points of the primitive cell, lattice at rest", least=1, most=10**7, metavar="N"
    )
    phonon_energies: bool = setting(
        False, "quanta in an indirect gap's tail, which snapshots leave out: spectra with them beside those without"
    )
    excitons: bool = setting(
        False, "electrons and holes attract each other: spectra of them beside those of independent particles"
    )
    exciton_mesh: Counts = setting(
        10,
        "with excitons: k mesh of the primitive cell at rest, one number or three; snapshots have kmesh, or as dense a mesh",
        least=1,
        most=100,
        metavar="N",
    )
    exciton_steps: int = setting(400, "with excitons: steps of Lanczos' recursion", least=2, most=10**5, metavar="N")
    exciton_directions: str = setting(
        "all", "with excitons: of the field in a snapshot, or one in turn (a third of the cost)", choices=("all", "one")
    )
    tamm_dancoff: bool = setting(
        True,
        "with excitons: pairs that are made do not couple to those that are taken away (less than half of the cost)",
    )
    exciton_screening: str = setting(
        "model", "with excitons: by a model dielectric function, or 2 eV on one atom", choices=("model", "onsite")
    )
    dielectric_constant: float | None = setting(
        None,
        "with excitons: of the electrons, which screens (default: the material's, or that of independent particles)",
        least=1,
        most=1e6,
        metavar="EPS0",
    )
    gap_kind: str | None = setting(
        None,
        "of the Tauc fit (default: the material's, or from the band edges)",
        choices=("indirect", "direct", "none"),
    )
    tauc_window: tuple[float, float] | None = setting(
        None,
        "of the Tauc fit (default: the material's, or from the band edges)",
        "eV",
        above=0,
        most=1000,
        metavar=("MIN", "MAX"),
    )
    memory_gb: float = setting(8.0, "bound on working memory", "GB", above=0, most=1e6, metavar="GB")
    workers: int | None = setting(
        None,
        "snapshots computed at once (default: the cores; 1 of small supercells)",
        least=1,
        most=10**4,
        metavar="N",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.temperatures and self.trajectory is None:
            object.__setattr__(self, "temperatures", (300.0,))
        low, high, count = self.energies
        if not low < high:
            raise InputError(f"photon energies from {low:g} to {high:g} eV: give positive, increasing ones")
        if not 2 <= count <= MOST_ENERGIES:
            raise InputError(f"{count} photon energies: ask for at least two, and for {MOST_ENERGIES} at most")
        mesh = self.kmesh or 1
        points = mesh**3 if isinstance(mesh, int) else math.prod(mesh)
        if points > MOST_POINTS:
            raise InputError(f"kmesh {self.kmesh}: {points} k points; give divisions of {MOST_POINTS} points at most")
        refuse_solver(self)
        window = self.tauc_window
        if window is not None and not window[0] < window[1]:
            raise InputError(f"Tauc window {window[0]:g} to {window[1]:g} eV: give positive, increasing energies")
        if self.slopes:
            refuse_slopes(self)


@dataclasses.dataclass(frozen=True)
class BandsSettings(ElectronSettings):
    """Which bands are drawn."""

    path: str | None = setting(
        None,
        PATH,
    )
    points: int = setting(200, "points on the path, about", least=2, most=10**5, metavar="N")
    window: tuple[float, float] | None = setting(
        None,
        "energies shown, from the valence top where it is known (default: -6 to 6 about it, else all)",
        "eV",
        least=-1e5,
        most=1e5,
        metavar=("MIN", "MAX"),
    )
    near: float | None = setting(
        None,
        "only the `count` states next to this energy at each point, by sparse matrices: for large cells",
        "eV",
        least=-1e5,
        most=1e5,
        metavar="E",
    )
    count: int = setting(8, "states at each point, with `near`", least=1, most=10_000, metavar="N")
    solver: str = setting("superlu", "of the equations of `near`; pardiso is MKL's", choices=("superlu", "pardiso"))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window is not None and not self.window[0] < self.window[1]:
            low, high = self.window
            raise InputError(f"window {low:g} to {high:g} eV: give the lower energy first, and another as the upper")


@dataclasses.dataclass(frozen=True)
class PhononsSettings(VibrationSettings):
    """Which phonons are computed."""

    supercell: int | None = setting(
        None, "repeats of the primitive cell (default: 4, or those of the phonon file)", least=1, most=100, metavar="N"
    )
    path: str | None = setting(
        None,
        PATH,
    )
    points: int = setting(120, "points on the path, about", least=2, most=10**5, metavar="N")
    self_consistent: float | None = setting(
        None,
        "force constants that anharmonicity makes at this temperature, of unstable crystals too (default: those at rest)",
        "K",
        least=0,
        most=1e6,
        metavar="K",
    )
    mesh: Counts | None = setting(
        None,
        "divisions of the zone for densities of states and thermodynamics, one number or three (default: 60 angstrom over "
        "the lengths of the cell)",
        least=1,
        most=1000,
        metavar="N",
    )
    smearing: float | None = setting(
        None,
        "of the density of states: a Gaussian's deviation (default: tetrahedra)",
        "THz",
        above=0,
        most=100,
        metavar="THZ",
    )
    temperatures: tuple[float, ...] = setting(
        (0.0, 100.0, 200.0, 300.0, 400.0, 500.0),
        "of the table of thermodynamics, or start:stop:step",
        "K",
        least=0,
        most=1e6,
        metavar="K",
    )
    imaginary: str = setting(
        "error", "unstable modes: no thermodynamics, or leave them out of it", choices=("error", "drop")
    )
    sum_rules: str = setting(
        "none",
        "imposed on the force constants: none, that of translations, or those of rotations too",
        choices=("none", "acoustic", "all"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.self_consistent is not None:
            refuse_constants(self)
        mesh = self.mesh or 1
        points = mesh**3 if isinstance(mesh, int) else math.prod(mesh)
        if points > MOST_POINTS:
            raise InputError(f"mesh {self.mesh}: {points} points; give divisions of {MOST_POINTS} points at most")


@dataclasses.dataclass(frozen=True)
class ExpandSettings(ElectronSettings, LatticeSettings):
    """Which thermal expansion is computed."""

    temperatures: tuple[float, ...] = setting(
        (0.0, 100.0, 200.0, 300.0, 400.0, 600.0, 800.0, 1000.0),
        "of the table, or start:stop:step",
        "K",
        least=0,
        most=1e6,
        metavar="K",
    )
    supercell: int = setting(
        4, "repeats of the primitive cell, for force constants at every volume", least=1, most=100, metavar="N"
    )
    volumes: int = setting(9, "lattice constants at which the crystal is harmonic", least=5, most=1000, metavar="N")
    strain: tuple[float, float] = setting(
        (-0.01, 0.02),
        "smallest and largest of them, relative to the one at rest",
        least=-0.3,
        most=0.5,
        metavar=("MIN", "MAX"),
    )
    mesh: Counts | None = setting(
        None,
        "divisions of the zone, one number or three (default: 60 angstrom over the lengths of the cell)",
        least=1,
        most=1000,
        metavar="N",
    )
    cell_temperature: float | None = setting(
        None,
        "of which the cell of the crystal is; gaps are those of this cell, expanded (default: the material's; of a file: at "
        "rest, without zero-point motion)",
        "K",
        least=0,
        most=1e6,
        metavar="K",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_twice(self.temperatures)
        if not self.strain[0] < 0 < self.strain[1]:
            low, high = self.strain
            raise InputError(
                f"strain {low:g} to {high:g}: give a negative and a positive one, for the minimum is between them"
            )
        mesh = self.mesh or 1
        points = mesh**3 if isinstance(mesh, int) else math.prod(mesh)
        if points > MOST_POINTS:
            raise InputError(f"mesh {self.mesh}: {points} points; give divisions of {MOST_POINTS} points at most")


@dataclasses.dataclass(frozen=True)
class DynamicsSettings(LatticeSettings):
    """Everything that decides a run of molecular dynamics."""

    group: ClassVar[str] = "runs"

    temperatures: tuple[float, ...] = setting(
        (300.0,), "targets, or start:stop:step; their runs move side by side", "K", above=0, most=1e6, metavar="K"
    )
    replicas: int = setting(1, "independent runs a temperature", least=1, most=10**5, metavar="N")
    cell: str = setting(
        "conventional",
        "cell of a material that is repeated (a file has one)",
        choices=("conventional", "primitive"),
    )
    supercell: Counts = setting(2, "its repeats, one number or three", least=1, most=1000, metavar="N")
    ensemble: str = setting("langevin", "thermostat, or none", choices=("langevin", "nose-hoover", "nve"))
    timestep: float = setting(1.0, "of the integrator", "fs", above=0, most=1000, metavar="FS")
    steps: int = setting(10000, "steps of each run", least=1, metavar="N")
    interval: int = setting(100, "steps between frames", least=1, metavar="STEPS")
    friction: float = setting(0.01, "of langevin", "1/fs", above=0, most=1000, metavar="RATE")
    relaxation: float = setting(100.0, "time of nose-hoover", "fs", above=0, most=1e9, metavar="FS")
    beads: int = setting(
        1,
        "of the ring polymer that each nucleus is: path integrals, Langevin alone; three times hbar w/kT of the stiffest mode "
        "(1: classical nuclei)",
        least=1,
        most=1024,
        metavar="P",
    )
    heating: float = setting(
        2.0,
        "kinetic energy at the start over its target: 2 for a crystal at rest, 1 for a hot structure",
        above=0,
        below=4,
        metavar="FACTOR",
    )
    seed: int = setting(0, "of all random numbers", **SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_twice(self.temperatures)


@dataclasses.dataclass(frozen=True)
class TrainSettings(Settings):
    """Which model is trained, and what of [run] the command line replaces."""

    what: str | None = setting(
        None, "the kind of model", choices=("potential", "hamiltonian"), positional=True, metavar="MODEL"
    )
    file: str | None = setting(
        None, "TOML file: [data], [model], [loss], [optimizer], [run]", positional=True, metavar="CONFIG"
    )
    example: str | None = setting(
        None,
        "write a commented configuration of this kind of model in place of training one (default: no)",
        choices=("potential", "hamiltonian"),
    )
    data: str | None = setting(
        None,
        "data set that the example names and fits: extended XYZ, HDF5 or a folder of DeePTB's layout (default: a name to "
        "replace)",
        metavar="PATH",
    )
    seed: int | None = setting(None, "of initial parameters and the order of configurations", **SEED)
    epochs: int | None = setting(None, "passes over the training set at most", least=1, metavar="N")
    max_minutes: float | None = setting(
        None, "stop this call after so many minutes", least=0, infinite=True, metavar="MIN"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.example is None and (self.what is None or self.file is None):
            raise InputError(
                "train: name the kind of model and its configuration: jaxepi train potential CONFIG; jaxepi train --example "
                "potential writes one"
            )
        if self.example is not None and (self.what is not None or self.file is not None):
            raise InputError(f"train: --example {self.example} only writes a configuration; leave {self.what} out")
        if self.example is None and self.data is not None:
            raise InputError("train: --data is what --example names; a configuration names its sets under [data]")


@dataclasses.dataclass(frozen=True)
class MaterialsSettings(Settings):
    """What is listed, or whose card is printed."""

    name: str | None = setting(None, "print the card of this material or model", positional=True)
    elements: tuple[str, ...] = setting((), "only what holds all of these (default: everything)", metavar="SYMBOL")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name and self.elements:
            raise InputError(f"elements {' '.join(self.elements)}: they choose what is listed; leave {self.name!r} out")
        if self.elements:
            from ase.data import atomic_numbers

            for symbol in self.elements:
                if symbol not in atomic_numbers:
                    raise InputError(f"elements {shown(symbol)}: that is no element; give symbols, as in Ga As")
