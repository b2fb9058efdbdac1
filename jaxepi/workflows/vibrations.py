"""What follows from the phonons of a crystal: densities of states, thermodynamics, sound, names of modes, sum rules."""

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxepi import html, kpoints, labelled, sampling
from jaxepi.errors import InputError
from jaxepi.files import whole
from jaxepi.sampling import Density, Dispersion, ForceConstants, GammaModes, SumRules, Thermodynamics
from jaxepi.sampling.vibrations import unstable
from jaxepi.structure import Structure
from jaxepi.workflows.phonons import Phonons
from jaxepi.workflows.settings import PhononsSettings

LONG = 0.01
"""1/angstrom: wave vectors at which the speed of sound is taken; at ten times that silicon's is off by a percent."""


class Vibrations(NamedTuple):
    """What follows from phonons.

    Attributes:
        density: of states. thermodynamics: at temperatures, or None where modes are unstable, which `notes` then name.
        sound: speeds of the three acoustic modes, angstrom/fs, ascending, by the special point they travel towards.
        gamma: sets of modes at Gamma by their representations; empty where nothing tells them, which `notes` then say.
        rules: how far the force constants broke the sum rules. notes: what is left out, and why.
    """

    density: Density
    thermodynamics: Thermodynamics | None
    sound: dict[str, Float[np.ndarray, "3"]]
    gamma: tuple[GammaModes, ...]
    rules: SumRules
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        from jaxepi import plotting

        return html.picture(plotting.png(plotting.density_of_states(self.density)))


def vibrations(
    constants: ForceConstants,
    settings: PhononsSettings,
    cell: Structure | None = None,
    source: str = "this potential",
    broken: SumRules | None = None,
) -> Vibrations:
    """What settings ask for of force constants.

    Args:
        cell: whose special points sound travels towards; the base cell where left out. source: of the force constants.
        broken: by how much they broke sum rules before any were imposed; as they are where left out.

    Raises:
        InputError: a mesh that cannot be.
    """
    mesh = settings.mesh
    modes = sampling.normal_modes(constants, mesh, imaginary="drop")
    complaint = unstable(modes, source) if settings.imaginary == "error" else None
    heat = None
    if complaint is None:
        heat = sampling.thermodynamics(constants, settings.temperatures, mesh, imaginary="drop")
    notes = [] if complaint is None else [f"no thermodynamics: {complaint}"]
    try:
        gamma = sampling.gamma_modes(constants)
    except InputError as error:
        gamma = ()
        notes.append(f"modes at Gamma have no labels: {error}")
    density = sampling.density_of_states(constants, None, mesh, settings.smearing)
    rules = sampling.sum_rules(constants) if broken is None else broken
    return Vibrations(density, heat, sound(constants, cell), gamma, rules, tuple(notes))


def sound(constants: ForceConstants, cell: Structure | None = None) -> dict[str, Float[np.ndarray, "3"]]:
    """Speeds of sound, angstrom/fs, ascending, towards the special points of a cell (of the base cell where left out).

    Those of modes that are not bound, or do not travel, are NaN.
    """
    cell = cell or constants.base
    known = {name: k for name, k in kpoints.special_points(cell).items() if np.abs(k).max() > 1e-9}
    cartesian = np.array(list(known.values())) @ np.asarray(cell.reciprocal)
    cartesian /= np.linalg.norm(cartesian, axis=1, keepdims=True)
    lattice = np.asarray(constants.base.cell, dtype=float)
    points = LONG * cartesian @ lattice.T / (2 * np.pi)
    velocities = np.asarray(sampling.group_velocities(constants, points, cartesian))[:, :3]
    bound = np.asarray(sampling.frequencies_thz(constants, points))[:, :3] > 0
    along = np.where(bound, np.einsum("qma,qa->qm", velocities, cartesian), np.nan)
    return dict(zip(known, np.sort(along, axis=1), strict=True))


def velocities_along(constants: ForceConstants, along: Dispersion, cell: Structure) -> Float[np.ndarray, "q m 3"]:
    """Group velocities, Cartesian, angstrom/fs, of the modes at the points of a dispersion of this cell."""
    points = sampling.in_base(constants, cell, along.path.points)
    return np.asarray(sampling.group_velocities(constants, points))


def write_tables(
    found: Phonons, more: Vibrations, cell: Structure, paths: Sequence[Path], made_by: str = ""
) -> list[Path]:
    """Three CSV files: the dispersion with velocities, densities of states, thermodynamics (where there is one).

    Args:
        cell: of the dispersion. paths: of the three.

    Raises:
        OSError: a file cannot be written.
    """
    along, dispersion, density, heat = found.dispersion, paths[0], paths[1], paths[2]
    speeds = 100 * np.linalg.norm(velocities_along(found.constants, along, cell), axis=-1)
    columns = labelled.path_columns(along.path)
    for n, (thz, speed) in enumerate(zip(along.frequencies.T, speeds.T, strict=True), start=1):
        columns |= {f"frequency_{n}": thz, f"speed_{n}": speed}
    head = ["distance in 1/angstrom, k in reciprocal lattice vectors, frequency in THz, speed (of a group) in km/s"]
    write_csv(dispersion, columns, head, made_by)
    write_csv(density, more.density.columns(), ["frequency in THz, states in 1/THz a cell"], made_by)
    if more.thermodynamics is None:
        return [dispersion, density]
    head = ["temperatures in K, energies in eV a cell, entropy and heat_capacity in eV/K, mean_square in angstrom^2"]
    write_csv(heat, more.thermodynamics.columns(), head, made_by)
    return [dispersion, density, heat]


def write_csv(path: str | os.PathLike, columns: Mapping[str, Any], head: list[str], made_by: str = "") -> None:
    """Columns by name as CSV, after lines of comment, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    lines = [f"# {line}" for line in (*([f"made by {made_by}"] if made_by else []), *head)]
    with whole(path) as temporary, temporary.open("w", newline="") as file:
        file.write("\n".join(lines) + "\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        rows = zip(*(np.asarray(values).tolist() for values in columns.values()), strict=True)
        writer.writerows([f"{v:.9g}" if isinstance(v, float) else v for v in row] for row in rows)
