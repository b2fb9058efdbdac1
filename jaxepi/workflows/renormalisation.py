"""Renormalisation of band edges, gaps, levels and whole bands at temperatures: second order over meshes, and Monte Carlo."""

import dataclasses
import functools
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxepi import electrons, epi, kpoints, results, sampling, symmetry
from jaxepi.epi.wave_vectors import refuse_unbound_modes
from jaxepi.errors import InputError
from jaxepi.materials import Material
from jaxepi.results import Quantity
from jaxepi.sampling import ForceConstants
from jaxepi.sampling.harmonic import refuse_imaginary
from jaxepi.workflows import crystal as crystals
from jaxepi.workflows.epi_settings import RenormalisationSettings
from jaxepi.workflows.study import Study

POLAR = (
    "polar crystal: electrons feel the displacements, not the long-range field of longitudinal modes (no Froehlich coupling); "
    "what is missing is about -alpha times the LO energy at each edge"
)
"""What is missing where symmetry allows effective charges."""


class Carlo(NamedTuple):
    """Monte Carlo: shift of each edge in every snapshot, eV, shape (t, s), those of one pair half the snapshots apart."""

    valence: Float[np.ndarray, "t s"]
    conduction: Float[np.ndarray, "t s"]

    def gap(self) -> tuple[np.ndarray, np.ndarray]:
        """Shift of the gap and its standard error, eV, shape (t,)."""
        shifts, groups = (self.conduction - self.valence).T, sampling.averages.antithetic_pairs(self.valence.shape[1])
        return np.asarray(shifts.mean(axis=0)), np.asarray(sampling.averages.standard_error(shifts, groups))


class Renormalised(NamedTuple):
    """Shifts of levels.

    Attributes:
        levels: names of the levels. rest: their energies at rest, eV. temperatures: kelvin.
        meshes: divisions. fan, debye_waller: eV, shape (levels, meshes, t).
        modes: by level, of the largest mesh: points, weights, thz, fan and debye_waller by mode (t, q, m).
        path, bands, band_shifts: whole bands, eV, (k, n) and (t, k, n), or None.
        carlo: of the gap, or None.
    """

    levels: tuple[str, ...]
    rest: Float[np.ndarray, " levels"]
    temperatures: Float[np.ndarray, " t"]
    meshes: tuple[int, ...]
    fan: Float[np.ndarray, "levels meshes t"]
    debye_waller: Float[np.ndarray, "levels meshes t"]
    modes: Mapping[str, Any]
    path: kpoints.Path | None = None
    bands: Float[np.ndarray, "k n"] | None = None
    band_shifts: Float[np.ndarray, "t k n"] | None = None
    carlo: Carlo | None = None

    @property
    def shifts(self) -> Float[np.ndarray, "levels meshes t"]:
        """Both terms, eV."""
        return self.fan + self.debye_waller

    def gap(self, upper: str = "conduction", lower: str = "valence") -> Float[np.ndarray, "meshes t"]:
        """Shift of the difference of two levels, eV."""
        return self.shifts[self.levels.index(upper)] - self.shifts[self.levels.index(lower)]


def constants_of(crystal: Material, settings: Any, repeats: Any, progress: bool = False) -> ForceConstants:
    """Force constants of the primitive cell, as settings have them, with charges where they are known."""
    supercell = crystal.primitive.supercell(crystal.periodic(repeats))
    found = crystals.force_constants(settings, crystal, supercell, progress)
    return dataclasses.replace(found, polar=crystal.polar) if found.polar is None else found


def _levels(settings: RenormalisationSettings, crystal: Material) -> tuple[dict[str, epi.Level], Any, float]:
    """The levels by name, the band edges (or None), and an energy between filled and empty states."""
    hamiltonian, cell = crystal.hamiltonian, crystal.primitive
    if settings.k is not None and settings.band is not None:
        level = epi.Level.at(hamiltonian, cell, settings.k, settings.band)
        if not settings.dynamic:
            return {"level": level}, None, 0.0
        if not hamiltonian.basis.counts_electrons:
            raise InputError(f"dynamic: {hamiltonian.basis.uncounted}; which states are filled is needed, leave it out")
        energies = np.asarray(electrons.eigenvalues(hamiltonian, cell, kpoints.mesh(6, periodic=cell.pbc)))
        filled = hamiltonian.basis.occupied(cell.species)
        return {"level": level}, None, float(energies[:, filled - 1].max() + energies[:, filled].min()) / 2
    edges = electrons.band_edges(hamiltonian, cell)
    valence, conduction = epi.edge_levels(hamiltonian, cell, edges)
    found = {"valence": valence, "conduction": conduction}
    if not edges.is_direct:
        found["direct"] = epi.Level.at(hamiltonian, cell, valence.k, hamiltonian.basis.occupied(cell.species))
    return found, edges, float(edges.valence + edges.gap / 2)


def renormalisation(
    settings: RenormalisationSettings,
    crystal: Material,
    output: str | os.PathLike | None = None,
    progress: bool = False,
    resume: bool = True,
    command: str = "",
) -> Renormalised:
    """Shifts of the band edges (or of one level, and of whole bands) at temperatures, mesh by mesh, and their Monte Carlo.

    Args:
        crystal: of the settings. output: HDF5 file of the result; finished levels and snapshots are kept beside it meanwhile.
        progress: a bar on stderr. resume: False replaces whatever `output` holds. command: the command line.

    Raises:
        InputError: no Hamiltonian or one that follows no atoms, nothing that holds the atoms, unstable modes, a metal without k
            and band, or a result of other settings at `output`.
    """
    # A file's own force constants are not interpolated twice.
    given = () if crystal.constants is None else crystal.constants.supercell.repeats
    constants = constants_of(crystal, settings, max((settings.constants, *given)), progress)
    meshes = settings.meshes
    source = settings.calculator or crystal.vibrating_name
    if settings.imaginary == "error":
        for n in meshes:
            refuse_unbound_modes(constants, epi.wave_vectors(crystal.primitive, n), source)
    known = epi.topology(crystal.hamiltonian, constants)
    levels, edges, fermi = _levels(settings, crystal)
    how = epi.Treatment(settings.broadening, fermi, settings.dynamic, settings.statistics)  # type: ignore[arg-type]
    temperatures = np.array(settings.temperatures)
    path = None if settings.path is None else kpoints.path(crystal.primitive, settings.path, settings.points)

    @functools.cache
    def shared() -> epi.Electrons:
        return epi.Electrons.of(crystal.hamiltonian, crystal.primitive, known.graph, known.stencil)

    def shifted(level: epi.Level, n: int) -> dict[str, Any]:
        prepared = epi.problem(crystal.hamiltonian, constants, level, known, electrons=shared())
        points = epi.wave_vectors(crystal.primitive, n, np.asarray(level.k))
        found = epi.by_mode(prepared, points, temperatures, how)
        return {
            "energy": Quantity(np.diagonal(prepared.states.energy).real.mean(), "eV"),
            "points": Quantity(points.points, "1"),
            "weights": Quantity(points.weights, "1"),
            "frequencies": Quantity(found.thz, "THz"),
            "fan": Quantity(found.fan, "eV"),
            "debye_waller": Quantity(found.debye_waller, "eV"),
        }

    def row(k: np.ndarray) -> dict[str, Any]:
        energies = np.asarray(electrons.eigenvalues(crystal.hamiltonian, crystal.primitive, k[None], known.graph))[0]
        shifts = np.zeros((len(temperatures), len(energies)))
        band = 0
        while band < len(energies):
            level = epi.Level.at(crystal.hamiltonian, crystal.primitive, k, band)
            own = shifted(level, meshes[-1])
            total = np.asarray(own["fan"].value) + np.asarray(own["debye_waller"].value)
            shifts[:, level.first : level.first + level.count] = np.einsum("q,tqm->t", own["weights"].value, total)[
                :, None
            ]
            band = level.first + level.count
        return {"energies": Quantity(energies, "eV"), "shifts": Quantity(shifts, "eV")}

    snapshot = _sampler(settings, crystal, edges, constants) if settings.snapshots else None
    items: dict[str, tuple] = {f"{name}-{n:03d}": (shifted, level, n) for name, level in levels.items() for n in meshes}
    if path is not None:
        items |= {f"k-{i:04d}": (row, k) for i, k in enumerate(path.points)}
    if snapshot is not None:
        pairs = np.ndindex(len(temperatures), settings.snapshots // 2)
        items |= {f"pair-{t:03d}-{s:05d}": (snapshot, t, s) for t, s in pairs}
    cells = results.fingerprint(crystal.primitive)
    more = {} if settings.calculator is None else {"constants_hash": results.fingerprint(constants)}
    origin = results.provenance(settings.asdict(), crystal.models(), command, structure_hash=cells, **more)
    with Study.open(output, origin, resume=resume, unit="item", total=len(items), progress=progress) as study:
        if study.complete:
            return _gathered(settings, tuple(levels), path, study.contents())
        parts = dict(zip(items, study.map(items, lambda item: item[0](*item[1:])), strict=True))
        study.finish(parts)
    return _gathered(settings, tuple(levels), path, parts)


def _sampler(settings: RenormalisationSettings, crystal: Material, edges: Any, known: ForceConstants):
    """What computes the shifts of both edges in one pair of snapshots.

    Args:
        known: the force constants of second order: a calculator's are not computed again.
    """
    hamiltonian, source = crystal.hamiltonian, settings.calculator or crystal.vibrating_name
    if settings.calculator is None:
        constants = constants_of(crystal, settings, settings.supercell)
    else:
        supercell = crystal.primitive.supercell(crystal.periodic(settings.supercell))
        constants = sampling.resampled(known, supercell, name=settings.calculator)
    supercell = constants.supercell
    if settings.imaginary == "error":
        refuse_imaginary(constants, source)
    graph = hamiltonian.graph(supercell)
    probe = electrons.edge_probe(edges, supercell, hamiltonian.basis.occupied(supercell.species))
    rest = sampling.Snapshots(supercell, supercell.positions[None], 0.0)
    still = [float(e[0]) for e in electrons.thermal_edges(hamiltonian, rest, probe, graph, "dense")]
    noise = sampling.white_noise(jax.random.key(settings.seed), settings.snapshots // 2, len(supercell))

    def pair(t: int, s: int) -> dict[str, Any]:
        one = noise[s : s + 1]
        u = sampling.displacements(
            constants, settings.temperatures[t], jnp.concatenate([one, -one]), settings.statistics  # type: ignore[arg-type]
        )  # fmt: skip
        positions = supercell.positions[None] + settings.amplitude * u
        drawn = sampling.Snapshots(supercell, positions, settings.temperatures[t])
        found = electrons.thermal_edges(hamiltonian, drawn, probe, graph, "dense")
        names = ("valence", "conduction")
        return {
            name: Quantity((np.asarray(e) - zero) / settings.amplitude**2, "eV")
            for name, e, zero in zip(names, found, still, strict=True)
        }

    return pair


def _gathered(
    settings: RenormalisationSettings, levels: tuple[str, ...], path: kpoints.Path | None, parts: Mapping[str, Any]
) -> Renormalised:
    """The parts of a study in arrays."""
    meshes, count = settings.meshes, len(settings.temperatures)

    def array(part: Mapping[str, Any], name: str) -> np.ndarray:
        return np.asarray(part[name].value)

    def summed(name: str) -> np.ndarray:
        found = [
            [np.einsum("q,tqm->t", array(parts[f"{level}-{n:03d}"], "weights"), array(parts[f"{level}-{n:03d}"], name))
             for n in meshes]
            for level in levels
        ]  # fmt: skip
        return np.array(found).reshape(len(levels), len(meshes), count)

    largest = {level: parts[f"{level}-{meshes[-1]:03d}"] for level in levels} if meshes else {}
    rest = np.array([float(array(part, "energy")) for part in largest.values()])
    bands = shifts = carlo = None
    if path is not None:
        rows = [parts[f"k-{i:04d}"] for i in range(len(path.points))]
        bands = np.array([array(part, "energies") for part in rows])
        shifts = np.stack([array(part, "shifts") for part in rows], axis=1)
    if settings.snapshots:
        pairs = settings.snapshots // 2
        edges = [
            np.array([[array(parts[f"pair-{t:03d}-{s:05d}"], name) for s in range(pairs)] for t in range(count)])
            for name in ("valence", "conduction")
        ]
        carlo = Carlo(*(np.swapaxes(edge, 1, 2).reshape(count, -1) for edge in edges))
    temperatures = np.array(settings.temperatures)
    return Renormalised(
        levels, rest, temperatures, meshes, summed("fan"), summed("debye_waller"), largest, path, bands, shifts, carlo
    )


def remarks(crystal: Material) -> tuple[str, ...]:
    """What shifts and spectral functions of a crystal do not have in them, in words."""
    return (POLAR,) if symmetry.allows_charges(crystal.primitive) else ()


def refuse_unfit(crystal: Material) -> None:
    """Refuse, before any work, crystals without a Hamiltonian that follows the atoms.

    Raises:
        InputError: there is none, or it is that of one crystal at rest.
    """
    if crystal.hamiltonian.fixed:
        raise InputError(
            f"{crystal.hamiltonian_name} is the Hamiltonian of one crystal at rest and follows no displacements: give one that "
            "does"
        )
