"""Thermal expansion of a crystal in the quasi-harmonic approximation, and what it does to the gap."""

import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxepi import electrons, html, labelled, potentials, results, sampling, symmetry
from jaxepi.errors import InputError
from jaxepi.materials import Material
from jaxepi.results import Quantity
from jaxepi.sampling import Expanded, QuasiHarmonic
from jaxepi.sampling.lattices import sites
from jaxepi.sampling.vibrations import unstable
from jaxepi.structure import Structure
from jaxepi.workflows.settings import ExpandSettings
from jaxepi.workflows.study import Study


class Expansion(NamedTuple):
    """Thermal expansion.

    Attributes:
        crystal: energies and modes at several lattice constants. temperatures: K, shape (t,).
        states: the crystal at each, arrays of shape (t,). lengths: of the lattice vectors at each, angstrom, shape (t, 3).
        cell_temperature: of which the cell is that gaps are of, K, or None for one at rest.
        rest_gap: of that cell, eV; NaN without a Hamiltonian. gaps: of its lattice at rest, expanded as at each temperature.
        notes: what is left out, in words.
    """

    crystal: QuasiHarmonic
    temperatures: Float[np.ndarray, " t"]
    states: Expanded
    lengths: Float[np.ndarray, "t 3"]
    cell_temperature: float | None
    rest_gap: float
    gaps: Float[np.ndarray, " t"]
    notes: tuple[str, ...] = ()

    def columns(self) -> dict[str, np.ndarray]:
        """All by name, for tables."""
        lengths = {f"length_{n}": column for n, column in enumerate(self.lengths.T, start=1)}
        states = {name: np.asarray(values) for name, values in self.states._asdict().items()}
        return {"temperature": self.temperatures} | lengths | states | {"gap": self.gaps}

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`, a row a temperature (K): angstrom, 1/K, eV, eV/angstrom^3, eV/K."""
        return labelled.frame(self.columns(), "temperature")

    def _repr_html_(self) -> str:
        rows = [(f"{t:g} K", f"{a[0]:.4f} angstrom") for t, a in zip(self.temperatures, self.lengths, strict=True)]
        return html.table("Thermal expansion", rows)


SHAPE = (
    "the shape of the cell is kept at every volume; symmetry lets {} of its strains differ, which this does not follow: "
    "lengths are those of a crystal that expands alike along all directions"
)
FOREIGN = (
    "{0} is harmonic in the lengths of bonds: what it has of anharmonicity is geometry alone, and its thermal expansion is not "
    "that of the crystal; take a learned potential (jaxepi materials lists them)"
)


def expansion(
    settings: ExpandSettings,
    crystal: Material,
    output: str | os.PathLike | None = None,
    progress: bool = False,
    resume: bool = True,
    command: str = "",
) -> Expansion:
    """Thermal expansion of a crystal; every volume is kept when it is finished.

    Args:
        crystal: of the settings. output: HDF5 file of the result; None keeps nothing. progress: a bar on stderr.
        resume: False replaces whatever `output` holds. command: the command line.

    Raises:
        InputError: no potential, no rest, modes that are unstable at a volume, a temperature at which the crystal leaves the
            volumes, or a result of other settings at `output`.
    """
    potential = crystal.potential
    origin = results.provenance(
        settings.asdict(), crystal.models(), command, structure_hash=results.fingerprint(crystal.primitive)
    )
    factors = 1 + np.linspace(*settings.strain, settings.volumes)
    items = {f"volume-{n:03d}": float(f) for n, f in enumerate(factors)}
    with Study.open(output, origin, resume=resume, unit="volume", total=len(items), progress=progress) as study:
        if study.complete:
            return _loaded(study.contents(), settings, crystal)
        rest = study.keep("rest", lambda: {"structure": potentials.relaxed(potential, crystal.primitive)})["structure"]
        mesh = sampling.fine_mesh(rest, settings.mesh)

        def at(factor: float) -> dict[str, Any]:
            return _at_length(crystal, rest, factor, settings, mesh)

        found = study.map(items, at)
        held = QuasiHarmonic(
            rest,
            jnp.asarray(factors, rest.cell.dtype),
            jnp.stack([jnp.asarray(part["energy"].value) for part in found]),
            jnp.asarray(mesh.points, rest.cell.dtype),
            jnp.asarray(mesh.weights, rest.cell.dtype),
            jnp.stack([jnp.asarray(part["eigenvalues"].value) for part in found]),
        )
        whole = evaluated(held, settings, crystal)
        contents: dict[str, Any] = {"crystal": held, "temperatures": Quantity(whole.temperatures, "K")}
        contents |= {"cell_factor": Quantity(np.asarray(_cell_factor(held, whole.cell_temperature)), "1")}
        contents |= {"gaps": Quantity(whole.gaps, "eV"), "rest_gap": Quantity(np.asarray(whole.rest_gap), "eV")}
        study.finish(contents)
    return whole


def _at_length(
    crystal: Material, rest: Structure, factor: float, settings: ExpandSettings, mesh: Any
) -> dict[str, Any]:
    """Energy and modes at a lattice constant, with the atoms at rest there."""
    potential = crystal.potential
    cell = potentials.relaxed(potential, potentials.stretched(rest, factor), lengths=False)
    energy = potential.energy(cell, potential.graph(cell))
    counts = [settings.supercell if p else 1 for p in cell.pbc]
    constants = sampling.force_constants(potential, cell.supercell(counts))
    modes = sampling.normal_modes(constants, mesh, imaginary="drop")
    complaint = unstable(modes, f"{crystal.potential_name} at lengths of {factor:.4f} of those at rest")
    if complaint is not None:
        raise InputError(f"{complaint.split('. Relax')[0]}. Narrow the volumes (--strain), or take another potential")
    return {"energy": Quantity(energy, "eV"), "eigenvalues": Quantity(modes.eigenvalues, "eV/(angstrom^2 amu)")}


def evaluated(held: QuasiHarmonic, settings: ExpandSettings, crystal: Material) -> Expansion:
    """The crystal at the temperatures of the settings, and the gaps of its cell expanded as it does."""
    kelvins = np.asarray(settings.temperatures, dtype=float)
    for kelvin in kelvins:
        sampling.expanded(held, float(kelvin))  # refuses by name
    states = jax.vmap(lambda t: sampling.expanded(held, t))(jnp.asarray(kelvins, held.factors.dtype))
    lengths = np.linalg.norm(np.asarray(held.structure.cell), axis=1)
    scale = np.where(np.asarray(held.structure.pbc), np.asarray(states.factor)[:, None], 1.0)
    told = settings.cell_temperature if settings.cell_temperature is not None else crystal.cell_temperature
    rest, gaps = _gaps(crystal, np.asarray(states.factor) / _cell_factor(held, told))
    return Expansion(held, kelvins, states, lengths * scale, told, rest, gaps, _notes(held.structure, crystal))


def _cell_factor(held: QuasiHarmonic, temperature: float | None) -> float:
    """Lengths of a cell of that temperature over those at rest."""
    return 1.0 if temperature is None else float(sampling.expanded(held, float(temperature)).factor)


def _gaps(crystal: Material, factors: np.ndarray) -> tuple[float, np.ndarray]:
    """Gap of the crystal's own cell, and of it stretched by factors, at rest, eV; NaN where there is none to be had."""
    hamiltonian = crystal.electrons
    if hamiltonian is None or hamiltonian.fixed or crystal.gap_kind == "none" or not hamiltonian.basis.counts_electrons:
        return np.nan, np.full(len(factors), np.nan)

    def gap(factor: float) -> float:
        try:
            return float(electrons.band_edges(hamiltonian, potentials.stretched(crystal.primitive, factor)).gap)
        except InputError as error:  # a metal, at this length or at all: how it expands is known all the same
            warnings.warn(f"no gap of the lattice stretched by {factor:.4f}: {error}", stacklevel=2)
            return np.nan

    return gap(1.0), np.array([gap(float(factor)) for factor in factors])


def _notes(structure: Structure, crystal: Material) -> tuple[str, ...]:
    """What the approximation leaves out of this crystal."""
    notes = []
    free = strains(structure)
    if free > 1:
        notes.append(SHAPE.format(free))
    if crystal.potential.module.harmonic_bonds:
        notes.append(FOREIGN.format(crystal.potential_name))
    return tuple(notes)


def strains(structure: Structure) -> int:
    """How many strains of its periodic directions the symmetry of a crystal leaves free: 1 where it expands alike along all."""
    group = symmetry.operations(structure)
    rows = np.asarray(structure.cell)[np.asarray(structure.pbc)]
    basis = np.linalg.qr(rows.T)[0]
    within = basis.T @ group.cartesian @ basis
    trace = np.trace(within, axis1=1, axis2=2)
    squares = np.trace(within @ within, axis1=1, axis2=2)
    return round(float(np.mean((trace**2 + squares) / 2)))


def _loaded(contents: dict[str, Any], settings: ExpandSettings, crystal: Material) -> Expansion:
    return evaluated(contents["crystal"], settings, crystal)


def hashes(path: str | os.PathLike | None) -> dict[str, str]:
    """For `results.provenance`: what the result of `jaxepi expand` holds that snapshots follow, where they follow one."""
    return {} if path is None else {"expansion_hash": results.fingerprint(_held(path))}


def _held(path: str | os.PathLike) -> dict[str, Any]:
    contents = results.read(Path(path)).contents
    if "crystal" not in contents or "cell_factor" not in contents:
        raise InputError(f"{path} is no result of `jaxepi expand`: give the file that it wrote")
    return {name: contents[name] for name in ("crystal", "cell_factor")}


def factor_of(path: str | os.PathLike, temperatures: Any, cell: Structure) -> np.ndarray:
    """Lengths at temperatures over those of the cell that `jaxepi expand` was given, from its result.

    Args:
        cell: the crystal that is to follow it.

    Raises:
        InputError: a file that is no such result, one of another crystal, or temperatures beyond its volumes.
    """
    held = _held(path)
    sites(cell, held["crystal"].structure, str(path))
    found = [float(sampling.expanded(held["crystal"], float(t)).factor) for t in temperatures]
    return np.array(found) / float(held["cell_factor"].value)
