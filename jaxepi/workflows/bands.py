"""Bands along a path, where the gap is, and what temperature does to it."""

import os
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxepi import electrons, html, kpoints, labelled, results
from jaxepi.electrons import BandEdges, NearBands
from jaxepi.materials import Material
from jaxepi.progress import progress_bar
from jaxepi.results import Quantity
from jaxepi.sampling import Snapshots, named_calculators
from jaxepi.workflows import expansion, samples
from jaxepi.workflows.reports.tables import with_error
from jaxepi.workflows.settings import GapSettings
from jaxepi.workflows.study import Study


class Bands(NamedTuple):
    """Bands along a path: eV, shape (k, bands), at `path.points`; how many are filled, or None where that is not known and
    why."""

    path: kpoints.Path
    energies: Float[np.ndarray, "k n"]
    occupied: int | None
    uncounted: str = ""

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`, a row a point of the path: where it is, and the energies of the bands, eV."""
        columns = labelled.path_columns(self.path) | {f"band {n}": e for n, e in enumerate(self.energies.T, start=1)}
        return labelled.frame(columns, "distance")

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` of energies (eV) over points of the path and bands."""
        columns, units = labelled.path_columns(self.path), {"distance": "1/angstrom"}
        where = {name: ("point", column, units.get(name, "1")) for name, column in columns.items()}
        return labelled.dataset({"energy": (("point", "band"), self.energies, "eV")}, where)

    def _repr_html_(self) -> str:
        from jaxepi import plotting

        return html.picture(plotting.png(plotting.bands(self.path, self.energies, *edges_along(self))))


class GapSummary(NamedTuple):
    """Gap of a crystal at rest: its edges, their fractional k, and the vertical gaps (eV) at points with a name."""

    edges: BandEdges
    valence_k: Float[np.ndarray, "3"]
    conduction_k: Float[np.ndarray, "3"]
    vertical: dict[str, float]

    def _repr_html_(self) -> str:
        rows = [(f"vertical gap at {name} (eV)", f"{gap:.4f}") for name, gap in self.vertical.items()]
        return (self.edges._repr_html_() or "") + html.table("Vertical gaps", rows)


class ThermalGaps(NamedTuple):
    """Snapshots at temperatures, one `Snapshots` each, and the gap of every one of them, eV."""

    snapshots: tuple[Snapshots, ...]
    gaps: Float[np.ndarray, "t s"]

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Kelvin."""
        return tuple(float(one.temperature) for one in self.snapshots)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame`, a row a snapshot: temperature (K), number and gap (eV)."""
        t, s = (index.ravel() for index in np.indices(self.gaps.shape))
        columns = {"temperature": np.array(self.temperatures)[t], "snapshot": s, "gap": self.gaps.ravel()}
        return labelled.frame(columns, ("temperature", "snapshot"))

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` of gaps (eV) over temperatures (K) and snapshots."""
        along = {"temperature": ("temperature", self.temperatures, "K")}
        return labelled.dataset({"gap": (("temperature", "snapshot"), self.gaps, "eV")}, along)

    def _repr_html_(self) -> str:
        rows = [
            (
                f"{float(one.temperature):g} K",
                with_error(float(one.mean(gaps)), float(one.standard_error(gaps))) + " eV",
            )
            for one, gaps in zip(self.snapshots, self.gaps, strict=True)
        ]
        return html.table("Gaps at temperatures", rows)


def bands(crystal: Material, path: str | None = None, count: int = 200) -> Bands:
    """Bands of the primitive cell; electrons need not be counted (a Hamiltonian of a file may leave them open).

    Args:
        path: names of special points, with a comma where the path breaks ("GXU,KGL"), or ASE's standard path of the
            lattice when left out. count: about how many points.

    Raises:
        InputError: a name the cell does not have (the known ones are listed), no Hamiltonian, or one of absurd energies.
    """
    cell = crystal.primitive
    along = kpoints.path(cell, path, count)
    energies = electrons.plausible(electrons.eigenvalues(crystal.hamiltonian, cell, along.points), _whose(crystal))
    basis = crystal.hamiltonian.basis
    if not basis.counts_electrons:
        return Bands(along, energies, None, basis.uncounted)
    return Bands(along, energies, basis.occupied(cell.species))


def bands_near(
    crystal: Material,
    energy: float,
    states: int = 8,
    path: str | None = None,
    count: int = 30,
    progress: bool = False,
    solver: str = "superlu",
) -> tuple[Bands, NearBands]:
    """The states next to an energy (eV) along a path, of a large cell; and with them what `NearBands` says more.

    Args:
        states: at each point. path, count: as of `bands`. progress: a bar on stderr. solver: of `electrons.bands_near`.

    Raises:
        InputError: as `bands`, and as `electrons.bands_near`.
    """
    cell, hamiltonian = crystal.primitive, crystal.hamiltonian
    along = kpoints.path(cell, path, count)
    with progress_bar(total=len(along.points), unit="k point", shown=progress) as bar:
        found = electrons.bands_near(
            hamiltonian, cell, along.points, energy, states, progress=lambda *_: bar.update(1), solver=solver
        )
    why = f"of {hamiltonian.basis.size(cell.species)} states at each point the {states} next to {energy:g} eV are known"
    return Bands(along, electrons.plausible(found.energies, _whose(crystal)), None, why), found


def _whose(crystal: Material) -> str:
    return f"{crystal.name} with {crystal.hamiltonian_name}"


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
        InputError: no Hamiltonian, one of absurd energies, or a metal.
    """
    cell, hamiltonian = crystal.primitive, crystal.hamiltonian
    known = kpoints.special_points(cell)
    at_known = electrons.eigenvalues(hamiltonian, cell, np.array(list(known.values())))
    energies = electrons.plausible(at_known, _whose(crystal))
    edges = electrons.band_edges(hamiltonian, cell)
    occupied = hamiltonian.basis.occupied(cell.species)
    vertical = energies[:, occupied] - energies[:, occupied - 1]
    inverse = np.linalg.inv(np.asarray(cell.reciprocal))
    ends = [np.asarray(k[0]) @ inverse for k in (edges.valence_k, edges.conduction_k)]
    return GapSummary(edges, ends[0], ends[1], dict(zip(known, vertical.tolist(), strict=True)))


def thermal_gaps(
    settings: GapSettings,
    crystal: Material,
    edges: BandEdges,
    output: str | os.PathLike | None = None,
    progress: bool = False,
    resume: bool = True,
    command: str = "",
    given: tuple[Snapshots, ...] = (),
) -> ThermalGaps:
    """Gaps between the band edges of snapshots at temperatures; compiled once for all of them.

    Args:
        crystal: of the settings. edges: of its lattice at rest.
        output: HDF5 file of the result; `<output>.parts/` holds finished snapshots meanwhile. None keeps nothing.
        progress: a bar on stderr. resume: False replaces whatever `output` holds. command: the command line.
        given: snapshots of a trajectory (`trajectories.snapshots`), one entry a temperature; drawn when left out.

    Raises:
        InputError: what `samples.draw` refuses, or a result of other settings at `output`.
    """
    hamiltonian = crystal.hamiltonian
    supercell = given[0].structure if given else crystal.structure.supercell(crystal.periodic(settings.supercell))
    graph = hamiltonian.graph(supercell)
    probe = electrons.edge_probe(edges, supercell, hamiltonian.basis.occupied(supercell.species))
    cells = results.fingerprint(crystal.primitive, crystal.structure)
    more = {"trajectory_hash": results.fingerprint(*given)} if given else {}
    more |= expansion.hashes(settings.expansion) | named_calculators.hashes(settings.calculator)
    origin = results.provenance(settings.asdict(), crystal.models(), command, structure_hash=cells, **more)
    shape = (len(given), len(given[0])) if given else (len(settings.temperatures), settings.snapshots)
    items = {f"snapshot-{t:03d}-{s:05d}": (t, s) for t, s in np.ndindex(*shape)}

    def gap(drawn: tuple[Snapshots, ...], item: tuple[int, int]) -> dict[str, Any]:
        t, s = item
        valence, conduction = electrons.thermal_edges(hamiltonian, drawn[t].take([s]), probe, graph)
        return {"valence": Quantity(valence, "eV"), "conduction": Quantity(conduction, "eV")}

    with Study.open(output, origin, resume=resume, unit="snapshot", total=len(items), progress=progress) as study:
        if study.complete:
            held = study.contents()
            return ThermalGaps(held["snapshots"], held["gaps"].value)
        drawn = study.keep(
            "prepared", lambda: {"snapshots": given or samples.draw(settings, crystal, supercell, progress)}
        )
        found = study.map(items, partial(gap, drawn["snapshots"]))
        gaps = np.array([float(part["conduction"].value[0] - part["valence"].value[0]) for part in found]).reshape(
            shape
        )
        study.finish({"snapshots": drawn["snapshots"], "gaps": Quantity(gaps, "eV"), "band_edges": edges})
    return ThermalGaps(drawn["snapshots"], gaps)
