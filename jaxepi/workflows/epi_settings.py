"""Settings of what vibrations do to electronic levels: renormalisation and unfolding. Imports nothing heavy."""

import dataclasses
from typing import ClassVar

from jaxepi.errors import InputError
from jaxepi.settings import Counts, setting
from jaxepi.workflows.crystal_settings import PATH, ElectronSettings, VibrationSettings
from jaxepi.workflows.sampling_settings import refuse_twice
from jaxepi.workflows.settings import SEED

TEMPERATURES = (0.0, 100.0, 200.0, 300.0, 400.0)


@dataclasses.dataclass(frozen=True)
class RenormalisationSettings(ElectronSettings, VibrationSettings):
    """Which levels are shifted by which vibrations, and how that is computed."""

    group: ClassVar[str] = "renormalisation"

    temperatures: tuple[float, ...] = setting(
        TEMPERATURES, "temperatures, or start:stop:step", "K", least=0, most=1e6, metavar="K"
    )
    qmesh: tuple[int, ...] = setting(
        (4, 6, 8), "divisions of meshes of phonon wave vectors, for second order; 0 leaves it out", least=0, most=200,
        metavar="N",
    )  # fmt: skip
    constants: int = setting(
        4,
        "repeats of the primitive cell for the force constants of a potential or calculator",
        least=1,
        most=100,
        metavar="N",
    )
    dynamic: bool = setting(False, "phonon energies in the denominators, in place of nuclei that stand still")
    broadening: float = setting(
        0.1,
        "of the denominators; 0 needs no other state to have the energy of the level",
        "eV",
        least=0,
        most=10,
        metavar="EV",
    )
    statistics: str = setting(
        "quantum", "of the nuclei; quantum has zero-point motion", choices=("quantum", "classical")
    )
    imaginary: str = setting("error", "refuse unstable modes, or leave them out", choices=("error", "drop"))
    k: tuple[float, float, float] | None = setting(
        None, "one level in place of the band edges: its k, fractional", metavar=("KX", "KY", "KZ")
    )
    band: int | None = setting(None, "its band, from 0", least=0, most=10**6, metavar="N")
    path: str | None = setting(
        None, "whole bands too, along these special points (GX,LG), with the largest mesh (default: none)"
    )
    points: int = setting(21, "points on that path, about", least=2, most=10**4, metavar="N")
    snapshots: int = setting(
        0, "snapshots of a Monte Carlo average of the gap, in pairs displaced oppositely (default: none)", least=0,
        most=10**6, metavar="N",
    )  # fmt: skip
    supercell: int = setting(2, "repeats of the primitive cell in the snapshots", least=1, most=100, metavar="N")
    amplitude: float = setting(
        1.0, "of the snapshots' displacements; shifts are divided by its square (0.1: second order alone)", above=0, most=10,
        metavar="FACTOR",
    )  # fmt: skip
    seed: int = setting(0, "of the snapshots", **SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_twice(self.temperatures)
        if (self.k is None) != (self.band is None):
            raise InputError("k and band name one level together: give both, or neither for the band edges")
        meshes = self.meshes
        if not meshes and not self.snapshots:
            raise InputError("qmesh 0 and snapshots 0 leave nothing to compute: give one of them")
        if not meshes and self.path is not None:
            raise InputError(f"path {self.path}: whole bands need a mesh of wave vectors; give qmesh")
        if self.snapshots and (self.snapshots % 2 or self.snapshots < 4):
            raise InputError(
                f"snapshots {self.snapshots}: an error needs two pairs at least, and pairs an even number; ask for "
                f"{max(4, self.snapshots + self.snapshots % 2)}"
            )
        if self.snapshots and self.k is not None:
            raise InputError("snapshots average the gap at the band edges: leave k and band out, or snapshots")
        if self.snapshots and meshes and self.supercell not in meshes:
            shown = " ".join(str(n) for n in meshes)
            raise InputError(
                f"supercell {self.supercell} has the wave vectors of a mesh of {self.supercell} divisions, not among "
                f"qmesh {shown}: add it, so that both can be compared"
            )
        if self.dynamic and self.statistics == "classical":
            raise InputError("dynamic: phonon energies in denominators are those of quanta; ask for statistics quantum")

    @property
    def meshes(self) -> tuple[int, ...]:
        """Divisions of the meshes for second order, ascending: the last is the one that bands and figures have."""
        return tuple(sorted({n for n in self.qmesh if n}))


@dataclasses.dataclass(frozen=True)
class UnfoldingSettings(ElectronSettings, VibrationSettings):
    """Which spectral function is computed."""

    group: ClassVar[str] = "unfolding"

    temperatures: tuple[float, ...] = setting(
        (300.0,), "temperatures, or start:stop:step", "K", least=0, most=1e6, metavar="K"
    )
    supercell: Counts = setting(3, "repeats of the primitive cell, one number or three", least=1, most=100, metavar="N")
    snapshots: int = setting(
        4, "snapshots a temperature, in pairs displaced oppositely", least=2, most=10**6, metavar="N"
    )
    statistics: str = setting(
        "quantum", "of the nuclei; quantum has zero-point motion", choices=("quantum", "classical")
    )
    imaginary: str = setting("error", "refuse unstable modes, or leave them out", choices=("error", "drop"))
    seed: int = setting(0, "of all random numbers", **SEED)
    path: str | None = setting(
        None,
        PATH,
    )
    points: int = setting(60, "points on the path, about", least=2, most=10**5, metavar="N")
    energies: tuple[float, float, int] = setting(
        (-6.0, 6.0, 241),
        "lowest and highest energy, from the valence top where it is known, and how many",
        "eV",
        least=-1e5,
        most=1e5,
        metavar=("MIN", "MAX", "COUNT"),
    )
    broadening: float = setting(0.05, "half width at half maximum", "eV", above=0, most=10, metavar="EV")

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_twice(self.temperatures)
        low, high, count = self.energies
        if not low < high or not 2 <= count <= 20000:
            raise InputError(
                f"energies from {low:g} to {high:g} eV, {count:g} of them: give increasing ones, 2 to 20000"
            )
        if self.snapshots % 2:
            raise InputError(f"snapshots {self.snapshots}: they come in pairs; ask for {self.snapshots + 1}")
        if self.supercell in (1, (1, 1, 1)):
            raise InputError("supercell 1 has nothing to unfold: give a larger one")
