"""Bands along a path, where the gap is, and what temperature does to it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxepi import electrons, kpoints
from jaxepi.electrons import BandEdges
from jaxepi.materials import Material
from jaxepi.sampling import Snapshots


class Bands(NamedTuple):
    """Bands along a path: eV, shape (k, bands), at `path.points`; how many are filled, or None where that is not known."""

    path: kpoints.Path
    energies: Float[np.ndarray, "k n"]
    occupied: int | None


class GapSummary(NamedTuple):
    """Gap of a crystal at rest: its edges, their fractional k, and the vertical gaps (eV) at points with a name."""

    edges: BandEdges
    valence_k: Float[np.ndarray, "3"]
    conduction_k: Float[np.ndarray, "3"]
    vertical: dict[str, float]


def bands(crystal: Material, path: str | None = None, count: int = 200) -> Bands:
    """Bands of the primitive cell; electrons need not be counted (a Hamiltonian of a file may leave them open).

    Args:
        path: names of special points, with a comma where the path breaks ("GXU,KGL"), or ASE's standard path of the
            lattice when left out. count: about how many points.

    Raises:
        InputError: a name the cell does not have (the known ones are listed), or no Hamiltonian.
    """
    cell = crystal.primitive
    along = kpoints.path(cell, path, count)
    energies = electrons.eigenvalues(crystal.hamiltonian, cell, along.points)
    basis = crystal.hamiltonian.basis
    return Bands(along, np.asarray(energies), basis.occupied(cell.species) if basis.counts_electrons else None)


def edges_along(found: Bands) -> tuple[float | None, float | None]:
    """Highest filled and lowest empty energy on a path, eV; the second is None where bands overlap or all are filled, both
    are where nothing says how many are filled."""
    if found.occupied is None:
        return None, None
    top = float(found.energies[:, : found.occupied].max())
    bottom = float(found.energies[:, found.occupied :].min(initial=np.inf))
    return top, bottom if np.isfinite(bottom) and bottom > top else None


def gap_summary(crystal: Material) -> GapSummary:
    """Where the gap of the lattice at rest is, and vertical gaps at the special points.

    Raises:
        InputError: no Hamiltonian, or a metal.
    """
    cell, hamiltonian = crystal.primitive, crystal.hamiltonian
    edges = electrons.band_edges(hamiltonian, cell)
    known = kpoints.special_points(cell)
    energies = np.asarray(electrons.eigenvalues(hamiltonian, cell, np.array(list(known.values()))))
    occupied = hamiltonian.basis.occupied(cell.species)
    vertical = energies[:, occupied] - energies[:, occupied - 1]
    inverse = np.linalg.inv(np.asarray(cell.reciprocal))
    ends = [np.asarray(k[0]) @ inverse for k in (edges.valence_k, edges.conduction_k)]
    return GapSummary(edges, ends[0], ends[1], dict(zip(known, vertical.tolist(), strict=True)))


def thermal_gaps(
    crystal: Material, drawn: tuple[Snapshots, ...], edges: BandEdges, progress: bool = False
) -> Float[np.ndarray, "t s"]:
    """Gap between the band edges of every snapshot, eV, one row a temperature; compiled once for all of them."""
    from tqdm import tqdm

    supercell, hamiltonian = drawn[0].structure, crystal.hamiltonian
    graph = hamiltonian.graph(supercell)
    probe = electrons.edge_probe(edges, supercell, hamiltonian.basis.occupied(supercell.species))
    gaps = np.empty((len(drawn), len(drawn[0])))
    with tqdm(total=gaps.size, unit="snapshot", desc="band edges", disable=not progress) as bar:
        for t, s in np.ndindex(*gaps.shape):
            valence, conduction = electrons.thermal_edges(hamiltonian, drawn[t].take([s]), probe, graph)
            gaps[t, s] = float(conduction[0] - valence[0])
            bar.update()
    return gaps
