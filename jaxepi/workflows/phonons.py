"""Phonons of a crystal: frequencies at its special points and along a path."""

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxepi import html, kpoints, sampling, symmetry
from jaxepi.errors import InputError
from jaxepi.materials import Material, measured
from jaxepi.sampling import Dispersion, ForceConstants, SumRules
from jaxepi.sampling.harmonic import SOFTEST_THZ
from jaxepi.workflows.crystal import displaced
from jaxepi.workflows.settings import PhononsSettings

REPEATS = 4
"""Of the primitive cell, where nobody says."""

LO_TO = (
    "no LO-TO splitting: the long-range field of the atoms' effective charges (the non-analytic term) is not included; in a "
    "crystal that insulates, longitudinal optical modes near Gamma lie too low (charges and dielectric tensor: --born FILE)"
)
"""What is missing from the phonons of a crystal whose symmetry allows effective charges."""

CHARGED = (
    "LO-TO splitting after Gonze and Lee: where Gamma is reached from another point it has the macroscopic field of that "
    "direction; by itself, as in a periodic supercell, it has none"
)

NEUTRAL_POTENTIAL = (
    "the potential itself knows no charges: its frequencies at the wave vectors of the supercell are left as they are, and the "
    "field sets in between the innermost of these and Gamma"
)


UNSTABLE = (
    "imaginary frequencies, down to {:.3f} THz (negative): the crystal is not stable in {} at this structure, or the "
    "supercell is too small"
)


class Phonons(NamedTuple):
    """Phonons of a crystal.

    Attributes:
        constants: force constants. points: THz, ascending, imaginary ones negative, by special point; where the crystal is
            polar "G-X" is Gamma as it is reached from X. dispersion: the same along a path. notes: what is in them, and what is
            missing, in words. broken: by how much sum rules were, before any were imposed.
    """

    constants: ForceConstants
    points: dict[str, Float[np.ndarray, "modes"]]
    dispersion: Dispersion
    notes: tuple[str, ...] = ()
    broken: SumRules | None = None

    def _repr_html_(self) -> str:
        from jaxepi import plotting

        along = self.dispersion
        return html.picture(plotting.png(plotting.phonons(along.path, along.frequencies, note="; ".join(self.notes))))


def with_calculator(crystal: Material, settings: PhononsSettings, progress: bool = False) -> Material:
    """The crystal with force constants from the calculator that settings name, in a supercell of its primitive cell.

    Raises:
        InputError: as `crystal.displaced`.
    """
    repeats = crystal.periodic(REPEATS if settings.supercell is None else settings.supercell)
    constants = displaced(settings, crystal.primitive.supercell(repeats), progress)
    constants = dataclasses.replace(constants, polar=crystal.polar)
    return dataclasses.replace(crystal, constants=constants, constants_name=str(settings.calculator))


def self_consistent(crystal: Material, settings: PhononsSettings) -> Material:
    """The crystal with the self-consistent force constants of its potential, in a supercell of its primitive cell.

    Raises:
        InputError: no potential, or what `sampling.self_consistent` refuses.
    """
    assert settings.self_consistent is not None
    repeats = crystal.periodic(REPEATS if settings.supercell is None else settings.supercell)
    supercell, kelvin = crystal.primitive.supercell(repeats), settings.self_consistent
    found = sampling.self_consistent(crystal.potential, supercell, temperature=kelvin)
    constants = dataclasses.replace(found.constants, polar=crystal.polar)
    name = f"{crystal.potential_name}, self-consistent at {kelvin:g} K"
    return dataclasses.replace(crystal, constants=constants, constants_name=name)


def phonons(
    crystal: Material,
    supercell: int | None = None,
    path: str | None = None,
    count: int = 120,
    sum_rules: str = "none",
) -> Phonons:
    """Phonons of the primitive cell from force constants of a supercell; with the non-analytic term where charges are known.

    Args:
        supercell: repeats of the primitive cell, 4 when left out; force constants that were given have their own.
        path: names of special points ("GXU,KGL"). count: about how many points.
        sum_rules: imposed on the force constants: "none", "acoustic" or "all".

    Raises:
        InputError: no potential, a crystal that is not at rest in it, a supercell besides force constants, or a name the cell
            does not have.
    """
    cell = crystal.primitive
    if crystal.constants is not None:
        if supercell is not None:
            raise InputError(
                f"supercell {supercell}: the force constants of {crystal.constants_name} have their own; leave it out"
            )
        constants = crystal.constants
    else:
        repeated = cell.supercell(crystal.periodic(REPEATS if supercell is None else supercell))
        constants = dataclasses.replace(sampling.force_constants(crystal.potential, repeated), polar=crystal.polar)
    broken = sampling.sum_rules(constants)
    if sum_rules != "none":
        constants = sampling.with_sum_rules(constants, rotational=sum_rules == "all")
    known = kpoints.special_points(cell)
    names = sorted(known, key=lambda name: (name != "G", name))
    own = sampling.in_base(constants, cell, np.array([known[name] for name in names]))
    frequencies = np.asarray(sampling.frequencies_thz(constants, own))
    along = sampling.dispersion(constants, path, count, cell)
    points = dict(zip(names, frequencies, strict=True))
    if constants.polar is not None:
        points = _split(constants, along, dict(zip(names, own, strict=True)), points)
    notes = _notes(crystal, constants)
    lowest = min(float(frequencies.min()), float(along.frequencies.min()))
    if lowest < -SOFTEST_THZ:
        notes = (
            *notes,
            UNSTABLE.format(lowest, crystal.vibrating_name),
        )
    return Phonons(constants, points, along, notes, broken)


def _split(constants: ForceConstants, along: Dispersion, own: dict, points: dict) -> dict:
    """Frequencies at special points, those of Gamma along each stretch of the path that meets it where they differ."""
    corners = [name for _, name in along.path.corners]
    beside = [b if a == "G" else a for a, b in itertools.pairwise(corners) if "G" in (a, b)]
    beside = [name for name in dict.fromkeys(beside) if name in own and name != "G"]
    if not beside or "G" not in points:
        return points
    zero = np.zeros((len(beside), 3))
    directions = np.array([own[name] for name in beside])
    reached = np.asarray(sampling.frequencies_thz(constants, zero, directions=directions))
    found = {"G": points["G"]}
    for name, frequencies in zip(beside, reached, strict=True):
        if all(np.abs(frequencies - other).max() > 1e-3 for other in found.values()):
            found[f"G-{name}"] = frequencies
    return found | {name: f for name, f in points.items() if name != "G"}


def _notes(crystal: Material, constants: ForceConstants) -> tuple[str, ...]:
    """What is in the frequencies and what is missing, and what is measured."""
    notes = []
    if crystal.constants is not None:
        repeats = "x".join(str(n) for n in constants.supercell.repeats)
        notes.append(f"force constants of {crystal.constants_name}: {len(constants.supercell)} atoms, {repeats} cells")
    if constants.polar is not None:
        notes.append(CHARGED)
        notes += [] if crystal.constants is not None else [NEUTRAL_POTENTIAL]
    elif symmetry.allows_charges(crystal.primitive):
        notes.append(LO_TO)
    text = measured.phonons(crystal.name)
    return (*notes, *([f"measured: {text}"] if text else []))
