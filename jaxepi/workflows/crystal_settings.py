"""Settings that say which crystal is studied, and what describes its electrons and vibrations. Imports nothing heavy."""

import dataclasses
from typing import ClassVar

from jaxepi.errors import InputError
from jaxepi.settings import Settings, setting

PATH = "special points by name, a comma where the path breaks: GXU,KGL (G is Gamma; default: ASE's path of the cell)"
"""What `path` means wherever there is one."""

DISPLACEMENT = 0.01
"""Angstrom: small enough for the parabola, large enough for forces of four digits."""


@dataclasses.dataclass(frozen=True)
class CrystalSettings(Settings):
    """What is studied, and in which precision."""

    crystal: str = setting(
        "silicon", "a material by name, or a structure file ASE reads (its cell at rest)", positional=True
    )
    precision: str = setting("float64", "of all arithmetic", choices=("float64", "float32"))


@dataclasses.dataclass(frozen=True)
class ElectronSettings(CrystalSettings):
    """The Hamiltonian of a crystal."""

    hamiltonian: str | None = setting(
        None, "electrons: a set by name, or a file (default: the material's)", metavar="NAME"
    )
    spin_orbit: bool = setting(False, "spin-orbit coupling, in the spinor basis")


@dataclasses.dataclass(frozen=True)
class LatticeSettings(CrystalSettings):
    """The potential of a crystal."""

    potential: str | None = setting(
        None, "energies of the lattice: a set by name, or a file (default: the material's)", metavar="NAME"
    )


@dataclasses.dataclass(frozen=True)
class CalculatorSettings(LatticeSettings):
    """A calculator of ASE that gives forces in place of a potential."""

    group: ClassVar[str] = "forces of an ASE calculator"

    calculator: str | None = setting(
        None,
        "forces in place of a potential: an ASE calculator by ASE's name (emt, espresso, mace_mp), module:class or "
        "file.py:function; displaces as few atoms as symmetry allows",
        metavar="NAME",
    )
    calculator_options: tuple[str, ...] = setting(
        (), "keyword arguments of the calculator (default: none)", metavar="NAME=VALUE"
    )
    displacement: float = setting(
        DISPLACEMENT, "of each atom, for the calculator", "angstrom", above=0, most=0.5, metavar="D"
    )
    forces: str | None = setting(
        None,
        "keeps the forces of every supercell, so that an interrupted run goes on (default: CRYSTAL-forces-ATOMS)",
        metavar="FOLDER",
    )


@dataclasses.dataclass(frozen=True)
class VibrationSettings(CalculatorSettings):
    """What holds the atoms of a crystal in place: a potential, or forces or force constants of another code."""

    group: ClassVar[str] = ""

    phonons: str | None = setting(
        None,
        "force constants in place of a potential: phonopy.yaml or phonopy_params.yaml, FORCE_CONSTANTS, FORCE_SETS or "
        "force_constants.hdf5 beside it",
        metavar="FILE",
    )
    born: str | None = setting(
        None,
        "charges and dielectric tensor of a polar crystal, phonopy's BORN (default: those of the phonon file, or that beside "
        "it, or the material's)",
        metavar="FILE",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        held = {name: getattr(self, name) for name in ("potential", "phonons", "calculator")}
        given = [f"{name} {value}" for name, value in held.items() if value is not None]
        if len(given) > 1:
            raise InputError(f"{given[0]} and {given[1]}: both hold the atoms in place; give one of them")
        if self.calculator is None:
            for name in ("calculator_options", "displacement", "forces"):
                if getattr(self, name) != type(self).__dataclass_fields__[name].default:
                    raise InputError(f"{name} is of a calculator: give one (--calculator NAME), or leave {name} out")
