"""Crystals by name or from files: what every study starts from."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import jax

from jaxepi import hamiltonians, materials, potentials, symmetry
from jaxepi.datasets.structure_files import read_structure
from jaxepi.errors import InputError
from jaxepi.hamiltonians import Hamiltonian
from jaxepi.materials import Material
from jaxepi.sampling import ForceConstants, in_primitive_cells, named_calculators, phonopy_files, polar
from jaxepi.sampling.lattices import sites, warn_of_strain
from jaxepi.structure import Structure
from jaxepi.workflows.settings import AbsorptionSettings, GapSettings, VibrationSettings

REDUCED = 1000
"""Atoms of the largest cell whose symmetry is searched: the time grows with their square."""


def for_settings(settings: AbsorptionSettings | GapSettings) -> Material:
    """The crystal and models that settings name, in their precision.

    Raises:
        InputError: as `load`; also double precision while JAX is set to single, or temperatures of a Hamiltonian that does
            not follow the atoms.
    """
    loaded = load(settings.crystal, settings.hamiltonian, settings.potential, settings.spin_orbit)
    if settings.trajectory is None:
        loaded = bound(loaded, settings)
    else:  # the vibrations are those of the file
        loaded = dataclasses.replace(loaded, ions=None, potential_name="none")
    warm = settings.temperatures or settings.trajectory is not None
    if warm and loaded.electrons is not None and loaded.electrons.fixed:
        raise InputError(
            f"{settings.hamiltonian} is the Hamiltonian of one crystal at rest and follows no displacements: leave "
            "--temperatures and --trajectory out (bands and gap need none), or give a Hamiltonian that follows them, one of "
            f"{', '.join(hamiltonians.available())}"
        )
    return prepared(loaded, settings.cell, settings.precision)


def bound(crystal: Material, settings: VibrationSettings) -> Material:
    """The crystal with the force constants and charges that settings name; a phonopy file as crystal has its own.

    Raises:
        InputError: files that cannot be used, or of another crystal; charges of a crystal that cannot have any.
    """
    own = settings.potential is None and phonopy_files.is_phonopy(settings.crystal)
    if settings.calculator is not None:
        crystal, own = dataclasses.replace(crystal, ions=None, potential_name="none"), False
    path = settings.phonons or (settings.crystal if own else None)
    if path is None:
        if settings.born is None:
            return crystal
        return dataclasses.replace(crystal, polar=polar.of_file(settings.born, crystal.primitive))
    constants = ForceConstants.from_phonopy(path, settings.born)
    if len(constants.base) > len(crystal.primitive):
        constants = in_primitive_cells(constants)
    warn_of_strain(sites(crystal.primitive, constants.base, path), path)  # refuses another crystal before any work
    if constants.polar is None and crystal.polar is not None:
        order = sites(constants.base, crystal.primitive, crystal.name).atom
        charges = polar.Polar(crystal.polar.charges[order], crystal.polar.dielectric)
        constants = dataclasses.replace(constants, polar=charges)
    return dataclasses.replace(
        crystal, ions=None, potential_name="none", constants=constants, constants_name=path, polar=constants.polar
    )


def displaced(settings: VibrationSettings, supercell: Structure, progress: bool = False) -> ForceConstants:
    """Force constants of a supercell from the calculator that settings name; forces that are known already are read.

    Raises:
        InputError: a calculator that cannot be made, that fails (what is done is kept), or that has the crystal not at rest.
    """
    assert settings.calculator is not None
    name = " ".join((settings.calculator, *settings.calculator_options))
    folder = settings.forces or f"{Path(settings.crystal).stem}-forces-{len(supercell)}"
    forces = named_calculators.calculator(settings.calculator, settings.calculator_options)
    options: dict[str, Any] = {"displacement": settings.displacement, "folder": folder, "progress": progress}
    try:
        return ForceConstants.from_ase(forces, supercell, **options, name=name)
    except (InputError, OSError):
        raise
    except Exception as error:  # whatever a calculator of others raises
        raise InputError(
            f"calculator {name} failed ({type(error).__name__}: {error}); forces that are done are kept in {folder}, and the "
            "same line goes on from there"
        ) from error


def force_constants(
    settings: VibrationSettings, crystal: Material, supercell: Structure, progress: bool = False
) -> ForceConstants:
    """Force constants of a supercell from the calculator that settings name, or from what holds the crystal's atoms."""
    if settings.calculator is not None:
        return displaced(settings, supercell, progress)
    return crystal.force_constants(supercell)


def prepared(crystal: Material, cell: str, precision: str) -> Material:
    """A crystal whose `structure` is the "conventional" or "primitive" cell, in "float64" or "float32".

    Raises:
        InputError: double precision while JAX is set to single.
    """
    if precision == "float64" and not jax.config.read("jax_enable_x64"):
        raise InputError(
            "precision float64: JAX is set to single precision; call jax.config.update('jax_enable_x64', True) first, or "
            "ask for precision float32"
        )
    if cell == "primitive":
        crystal = dataclasses.replace(crystal, structure=crystal.primitive)
    return crystal.astype(precision)


def load(
    crystal: str, hamiltonian: str | None = None, potential: str | None = None, spin_orbit: bool = False
) -> Material:
    """A shipped material by name, or a structure file that ASE or phonopy can read, with models by name or path.

    Raises:
        InputError: an unknown name, or a file or model that cannot be read or used.
    """
    if materials.known(crystal):
        return materials.load(crystal, hamiltonian, potential, spin_orbit)
    if not Path(crystal).is_file():
        known = ", ".join(materials.available())
        raise InputError(
            f"no material and no file {crystal!r}: give one of {known}, a bilayer (bilayer-graphene-AB, "
            "twisted-bilayer-graphene-m30-r1), or the path of a structure file"
        )
    structure = phonopy_files.unit_cell(crystal) if phonopy_files.is_phonopy(crystal) else read_structure(crystal)
    electrons = hamiltonians.load(hamiltonian, spin_orbit) if hamiltonian else None
    found = Material(
        primitive=_primitive(crystal, structure, electrons),
        structure=structure,
        electrons=electrons,
        ions=potentials.load(potential) if potential else None,
        name=crystal,
        hamiltonian_name=hamiltonian or "none",
        potential_name=potential or "none",
    )
    found.refuse_foreign()
    return found


def _primitive(path: str, structure: Structure, electrons: Hamiltonian | None) -> Structure:
    """The primitive cell of a file's structure, with a warning where it is another; cells past `REDUCED` as they are."""
    if len(structure) > REDUCED:
        return structure
    try:
        small = symmetry.primitive(structure)
        if electrons is not None and small is not structure:
            electrons.graph(small)
    except InputError:
        return structure  # H(R) of a file may be of just this cell; what a model refuses in both, it will say
    if small is not structure:
        warnings.warn(
            f"{path}: its {len(structure)} atoms are {len(structure) // len(small)} primitive cells; bands, gaps and phonons "
            f"are those of the primitive cell ({len(small)} atoms, in the same orientation)",
            stacklevel=3,
        )
    return small
