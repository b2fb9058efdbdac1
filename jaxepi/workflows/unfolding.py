"""Spectral functions of snapshots at temperatures, unfolded onto a path through the zone of the primitive cell."""

import os
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxepi import electrons, epi, kpoints, results, sampling
from jaxepi.materials import Material
from jaxepi.results import Quantity
from jaxepi.sampling.harmonic import refuse_imaginary
from jaxepi.workflows.epi_settings import UnfoldingSettings
from jaxepi.workflows.renormalisation import constants_of
from jaxepi.workflows.study import Study


class Unfolded(NamedTuple):
    """Spectral functions along a path.

    Attributes:
        path: of the primitive cell. energies: eV, from `zero`. zero: valence top at rest, eV, or 0 where it is not known.
        bands: at rest, eV, shape (k, n). temperatures: kelvin.
        values, errors: A(k, E) and its standard error (NaN for one pair), 1/eV, shape (t, k, e).
    """

    path: kpoints.Path
    energies: Float[np.ndarray, " e"]
    zero: float
    bands: Float[np.ndarray, "k n"]
    temperatures: Float[np.ndarray, " t"]
    values: Float[np.ndarray, "t k e"]
    errors: Float[np.ndarray, "t k e"]


def unfolding(
    settings: UnfoldingSettings,
    crystal: Material,
    output: str | os.PathLike | None = None,
    progress: bool = False,
    resume: bool = True,
    command: str = "",
) -> Unfolded:
    """A(k, E) at temperatures, averaged over snapshots of a supercell.

    Args:
        crystal: of the settings. output: HDF5 file of the result; finished snapshots are kept beside it meanwhile.

    Raises:
        InputError: no Hamiltonian, nothing that holds the atoms, unstable modes, or a result of other settings at `output`.
    """
    hamiltonian, cell = crystal.hamiltonian, crystal.primitive
    path = kpoints.path(cell, settings.path, settings.points)
    bands = np.asarray(electrons.eigenvalues(hamiltonian, cell, path.points))
    zero = 0.0
    if hamiltonian.basis.counts_electrons:
        zero = float(bands[:, : hamiltonian.basis.occupied(cell.species)].max())
    low, high, count = settings.energies
    energies = np.linspace(low, high, int(count))
    constants = constants_of(crystal, settings, settings.supercell, progress)
    if settings.imaginary == "error":
        refuse_imaginary(constants, settings.calculator or crystal.vibrating_name)
    supercell = constants.supercell
    graph = hamiltonian.graph(supercell)
    noise = sampling.white_noise(jax.random.key(settings.seed), settings.snapshots, len(supercell), antithetic=True)
    temperatures = np.array(settings.temperatures)

    def one(item: tuple[int, int]) -> dict[str, Any]:
        t, s = item
        u = sampling.displacements(
            constants, settings.temperatures[t], noise[s : s + 1], settings.statistics  # type: ignore[arg-type]
        )  # fmt: skip
        drawn = sampling.Snapshots(supercell, supercell.positions[None] + u, settings.temperatures[t])
        found = epi.spectral_functions(hamiltonian, drawn, path.points, zero + energies, settings.broadening, graph)
        return {"spectral_function": Quantity(found[0], "1/eV")}

    items = {f"snapshot-{t:03d}-{s:05d}": (t, s) for t, s in np.ndindex(len(temperatures), settings.snapshots)}
    cells = results.fingerprint(cell)
    more = {} if settings.calculator is None else {"constants_hash": results.fingerprint(constants)}
    origin = results.provenance(settings.asdict(), crystal.models(), command, structure_hash=cells, **more)
    with Study.open(output, origin, resume=resume, unit="snapshot", total=len(items), progress=progress) as study:
        if study.complete:
            held = study.contents()
            values, errors = held["spectral_function"].value, held["standard_error"].value
            return Unfolded(path, energies, zero, bands, temperatures, values, errors)
        parts = study.map(items, one)
        whole = np.array([part["spectral_function"].value for part in parts])
        whole = whole.reshape(len(temperatures), settings.snapshots, len(path.points), -1)
        groups = sampling.averages.antithetic_pairs(settings.snapshots)
        values = whole.mean(axis=1)
        errors = np.array([np.asarray(sampling.averages.standard_error(each, groups)) for each in whole])
        study.finish(
            {
                "spectral_function": Quantity(values, "1/eV"),
                "standard_error": Quantity(errors, "1/eV"),
                "energies": Quantity(energies, "eV"),
                "valence_top": Quantity(zero, "eV"),
                "points": Quantity(path.points, "1"),
                "bands": Quantity(bands, "eV"),
                "temperatures": Quantity(temperatures, "K"),
            }
        )
    return Unfolded(path, energies, zero, bands, temperatures, values, errors)
