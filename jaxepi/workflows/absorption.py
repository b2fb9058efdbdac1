"""The absorption study: snapshots at every temperature, their transitions and band edges, spectra and Tauc fits.

Flows in: settings. Flows out: an `AbsorptionResult`, kept in a file of the store; every finished snapshot is kept at once,
and a second call goes on from there. All snapshots have equal shapes, so everything is compiled once, whatever the
number of temperatures; where there are many, or several devices, some are computed together (`lots`), of whatever temperatures.
"""

import dataclasses
import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from jaxepi import electrons, kpoints, optics, results
from jaxepi.electrons import BandEdges
from jaxepi.electrons.edges import levels_at_gamma
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import constant
from jaxepi.kpoints import KPoints
from jaxepi.machines import Devices
from jaxepi.materials import Material
from jaxepi.optics import Spectrum, SpectrumSlope, Transitions
from jaxepi.optics.dielectric import DEFAULT_GRID
from jaxepi.optics.solvers.case import Case
from jaxepi.optics.solvers.dense import batches, batches_of
from jaxepi.results import Quantity
from jaxepi.sampling import Snapshots, named_calculators
from jaxepi.structure import Structure
from jaxepi.workflows import attraction, expansion, quanta, samples, trajectories
from jaxepi.workflows import crystal as crystals
from jaxepi.workflows.absorption_result import AbsorptionResult, load
from jaxepi.workflows.joining import as_many, joined
from jaxepi.workflows.lots import LARGEST, Lots
from jaxepi.workflows.settings import AbsorptionSettings
from jaxepi.workflows.solver_settings import resources
from jaxepi.workflows.solving import LARGEST_EDGES, decided, line_shape, solver_of
from jaxepi.workflows.study import Study

__all__ = ["AbsorptionResult", "AbsorptionSettings", "absorption", "load"]


def absorption(
    settings: AbsorptionSettings,
    output: str | os.PathLike | None,
    progress: bool = True,
    resume: bool = True,
    command: str = "",
    devices: Devices | None = None,
) -> AbsorptionResult:
    """Run the study, or go on with it, or read it where it is finished.

    Args:
        output: HDF5 file of the result; `<output>.parts/` holds finished snapshots while the study runs. None keeps nothing.
        progress: a bar with the remaining time on stderr.
        resume: False replaces whatever `output` holds.
        command: the command line, for the provenance.
        devices: over which snapshots are spread; all of this process when left out.

    Raises:
        InputError: a crystal or model that cannot be used, devices that are not there, a request that does not fit in
            memory, a result of other settings at `output`, or what the samplers and the optics refuse.
        OSError: `output` cannot be written.
    """
    stages = _Stages.of(settings)
    items = {f"snapshot-{t:03d}-{s:05d}": (t, s) for t, s in np.ndindex(stages.shape)}
    options: dict[str, Any] = {"resume": resume, "unit": "snapshot", "total": len(items), "progress": progress}
    mesh = stages.mesh(devices)
    with Study.open(output, stages.origin(command), ignore=resources(settings.asdict()), **options) as study:
        if study.complete:
            assert output is not None
            return load(output)
        prepared = study.keep("prepared", partial(stages.prepare, progress))
        size = stages.together(mesh)
        if size > 1 or settings.slopes:
            together = partial(stages.compute_lot, prepared, stages.lots(prepared, mesh, size))
            found = study.map_lots(items, together, size)
        else:
            found = study.map(items, partial(stages.compute, prepared), settings.workers or stages.workers)
        rest = study.keep("rest", partial(stages.rest, progress, prepared))
        result = stages.analyse(prepared, found, rest, study.origin)
        study.finish(result.contents())
    return result


MANY = 64
"""Snapshots of all temperatures from which several of a small supercell are computed together."""

SMALL_MATRIX = 200
"""Orbitals of a supercell below which snapshots are computed one after the other: XLA then spreads the k points of one over
its threads, and two such computations at once may each hold threads that the other waits for, for ever (jaxlib 0.10.1)."""


@dataclasses.dataclass(frozen=True)
class _Stages:
    """The fixed objects of a study: what all its snapshots share.

    Attributes:
        solver: the kind of all snapshots, decided. given: frames of a trajectory by temperature.
    """

    settings: AbsorptionSettings
    crystal: Material
    supercell: Structure
    graph: Graph
    solver: str
    given: tuple[Snapshots, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        """Temperatures, and snapshots of each."""
        if self.given:
            return len(self.given), len(self.given[0])
        return len(self.settings.temperatures), self.settings.snapshots

    @property
    def workers(self) -> int:
        """Snapshots computed at once where the settings leave it open."""
        small = self.crystal.hamiltonian.basis.size(self.supercell.species) < SMALL_MATRIX
        return 1 if small or self.solver != "dense" else os.cpu_count() or 1

    @classmethod
    def of(cls, settings: AbsorptionSettings) -> "_Stages":
        """Load everything, and refuse what cannot be before any work is done."""
        crystal = crystals.for_settings(settings)
        crystal.hamiltonian.check_positions()
        given: tuple[Snapshots, ...] = ()
        repeats = crystal.periodic(settings.supercell)
        size = crystal.hamiltonian.basis.size(crystal.structure.species) * int(np.prod(repeats))
        if settings.trajectory is not None:
            crystal, given = trajectories.snapshots(settings, crystal)
            size = crystal.hamiltonian.basis.size(given[0].structure.species)
        real = _is_real(settings, crystal, len(given[0]) if given else settings.snapshots)
        # Before the supercell is built: a request far too large would exhaust the memory on the way.
        if settings.solver == "dense":
            batches(size, 1, 1, real, settings.memory_gb)
        if settings.width < 2 * DEFAULT_GRID.step:
            least = 2 * DEFAULT_GRID.step
            raise InputError(f"width {settings.width:g} eV: the energy bins resolve {least:g} eV or more; give that")
        if not given and settings.calculator is None:
            crystal.refuse_unbound()
        supercell = given[0].structure if given else crystal.structure.supercell(repeats)
        graph = crystal.hamiltonian.graph(supercell)
        for one in given:
            one.check(graph)
        attraction.check(settings, crystal, given)
        quanta.check(settings, crystal, size)
        somewhere = constant(np.zeros((1, 3))), constant(np.ones(1))
        case = Case(crystal.hamiltonian, supercell, graph, supercell.positions[None], *somewhere, real)
        return cls(settings, crystal, supercell, graph, decided(settings, case), given)

    def origin(self, command: str) -> dict[str, Any]:
        """Provenance: besides settings and models, what the structure file held."""
        cells = results.fingerprint(self.crystal.primitive, self.crystal.structure)
        more = {"trajectory_hash": results.fingerprint(*self.given)} if self.given else {}
        more |= {"solver": self.solver} if self.settings.solver == "auto" else {}
        more |= expansion.hashes(self.settings.expansion) | named_calculators.hashes(self.settings.calculator)
        return results.provenance(self.settings.asdict(), self.crystal.models(), command, structure_hash=cells, **more)

    def mesh(self, devices: Devices | None) -> Mesh:
        """The devices: one where every temperature has a cell of its own, for snapshots side by side share theirs."""
        asked = Devices() if devices is None else devices
        dense = self.solver == "dense"
        if not self.given and self.settings.expansion is None and dense:
            return asked.mesh()
        if asked.count not in (None, 1):
            if not dense:
                raise InputError(
                    f"devices {asked.count}: snapshots with solver {self.solver} are solved on one; give 1"
                )
            why = "a trajectory" if self.given else f"expansion {self.settings.expansion}"
            raise InputError(
                f"devices {asked.count}: with {why} each temperature has a cell of its own; give 1, or let processes share the "
                "snapshots out (--distributed)"
            )
        return Devices(1).mesh()

    def together(self, mesh: Mesh) -> int:
        """Snapshots computed together: one a row of devices, and more of small supercells where there are very many."""
        per_device = 1
        alike = not self.given and self.settings.expansion is None and self.solver == "dense"
        if np.prod(self.shape) >= MANY and alike:
            hamiltonian, points = self.crystal.hamiltonian, _kpoints(self.settings, self.crystal, 0)
            real = _is_real(self.settings, self.crystal, self.shape[1])
            memory = self.settings.memory_gb
            per_device, _ = batches_of(hamiltonian, self.graph, len(points.points), LARGEST, real, memory)
        return len(mesh.devices) * per_device

    def lots(self, prepared: dict[str, Any], mesh: Mesh, size: int) -> Lots:
        """What computes snapshots together."""
        hamiltonian, probe = self.crystal.hamiltonian, None
        if "edges" in prepared:
            occupied = hamiltonian.basis.occupied(self.supercell.species)
            probe = electrons.edge_probe(prepared["edges"], self.supercell, occupied)
        # Devices of a GPU have memories of their own; those of a CPU share one.
        shared = mesh.size if mesh.devices.flat[0].platform == "cpu" else 1
        points = partial(_kpoints, self.settings, self.crystal)
        return Lots(hamiltonian, self.graph, mesh, size, self.settings.memory_gb / shared, points, probe)

    def compute_lot(self, prepared: dict[str, Any], lots: Lots, lot: Sequence[tuple[int, int]]) -> list[dict[str, Any]]:
        """`compute` of some snapshots together, with derivatives by temperature where they are asked for."""
        directions = prepared["directions"].value if self.settings.slopes else None
        parts = lots(prepared["snapshots"], lot, directions)
        for (t, s), part in zip(lot, parts, strict=True) if self.settings.excitons else ():
            one = prepared["snapshots"][t].take([s])
            part["attracted"] = attraction.of_snapshot(self.settings, self.crystal, one, s, prepared["screening"])
        return parts

    def prepare(self, progress: bool) -> dict[str, Any]:
        """Snapshots, and band edges where the crystal has a gap."""
        drawn, more = self.given, {}
        if not drawn:
            asked = self.settings, self.crystal, self.supercell, progress, self.settings.slopes
            drawn, directions = samples.draw_with_slopes(*asked)
            more = {} if directions is None else {"directions": Quantity(directions, "angstrom/K")}
        screening = {"screening": attraction.screening(self.settings, self.crystal)} if self.settings.excitons else {}
        if (self.settings.gap_kind or self.crystal.gap_kind) == "none":
            electrons.plausible(levels_at_gamma(self.crystal.hamiltonian, self.crystal.primitive))
            return {"snapshots": drawn, **more, **screening}
        edges = electrons.band_edges(self.crystal.hamiltonian, self.crystal.primitive)
        return {"snapshots": drawn, "edges": edges, **more, **screening}

    def compute(self, prepared: dict[str, Any], item: tuple[int, int]) -> dict[str, Any]:
        """Transitions and band edges of one snapshot of one temperature; the same compiled functions serve all."""
        t, s = item
        drawn: Snapshots = prepared["snapshots"][t]
        one = drawn.take([s])
        hamiltonian, memory = self.crystal.hamiltonian, self.settings.memory_gb
        points = _kpoints(self.settings, self.crystal, s)
        solver = solver_of(self.settings, self.solver, s)
        kept = optics.transitions(hamiltonian, one, points, graph=self.graph, memory_gb=memory, solver=solver)
        valence = conduction = constant([np.nan])
        if "edges" in prepared and hamiltonian.basis.size(self.supercell.species) <= LARGEST_EDGES:
            occupied = hamiltonian.basis.occupied(self.supercell.species)
            probe = electrons.edge_probe(prepared["edges"], self.supercell, occupied)
            valence, conduction = electrons.thermal_edges(hamiltonian, one, probe, self.graph)
        edges = {"valence": Quantity(valence, "eV"), "conduction": Quantity(conduction, "eV")}
        found = {"transitions": kept, "edges": edges}
        if self.settings.excitons:
            found["attracted"] = attraction.of_snapshot(self.settings, self.crystal, one, s, prepared["screening"])
        return found

    def rest(self, progress: bool, prepared: dict[str, Any]) -> dict[str, Any]:
        """Transitions of the lattice at rest, from the primitive cell."""
        primitive = self.crystal.primitive
        x = np.asarray(primitive.positions)
        at_rest = Snapshots(primitive, constant(x[None]), constant(0.0, x.dtype))
        points = kpoints.quasirandom(self.settings.equilibrium_points, periodic=primitive.pbc)
        memory = self.settings.memory_gb
        binned = optics.transitions(self.crystal.hamiltonian, at_rest, points, memory_gb=memory)
        found: dict[str, Any] = {"transitions": binned}
        if self.settings.phonon_energies:
            found["assisted"] = quanta.parts(self.settings, self.crystal, line_shape(self.settings), progress)
        if self.settings.excitons:
            found["attracted"] = attraction.at_rest(self.settings, self.crystal, prepared["screening"])
        return found

    def analyse(
        self, prepared: dict[str, Any], found: list[dict[str, Any]], rest: dict[str, Any], origin: dict[str, Any]
    ) -> AbsorptionResult:
        """Spectra and Tauc fits from the transitions."""
        settings, per = self.settings, self.shape[1]
        low, high, count = settings.energies
        energies = constant(np.linspace(low, high, count), self.supercell.positions.dtype)
        groups = [found[i : i + per] for i in range(0, len(found), per)]
        drawn = prepared["snapshots"]

        def together(name: str) -> tuple[Transitions, ...]:
            return tuple(joined([p[name] for p in group], d) for group, d in zip(groups, drawn, strict=True))

        def spectrum(binned: Transitions) -> Spectrum:
            return binned.spectrum(energies, line_shape(settings), settings.scissor)

        binned = together("transitions")
        pairs = together("attracted") if settings.excitons else ()
        spectra = tuple(map(spectrum, binned))
        edges: BandEdges | None = prepared.get("edges")
        kind, window = self.tauc(edges)
        fits = () if kind == "none" else tuple(_fit(s.energies, s.mean()[1], kind, window) for s in spectra)

        def edge(name: str) -> np.ndarray:
            return np.array([[float(part["edges"][name].value[0]) for part in group] for group in groups])

        result = AbsorptionResult(
            settings=settings,
            gap_kind=kind,
            edges=edges,
            snapshots=prepared["snapshots"],
            transitions=binned,
            spectra=spectra,
            valence=edge("valence"),
            conduction=edge("conduction"),
            fits=fits,
            equilibrium=as_many(rest["transitions"], per, spectrum),
            provenance=origin,
            attracted=tuple(map(spectrum, pairs)),
            equilibrium_attracted=as_many(rest["attracted"], per, spectrum) if settings.excitons else None,
            pairs=pairs,
            slopes=self.slopes_of(groups, binned, energies) if settings.slopes else (),
        )
        if edges is None or "assisted" not in rest:
            return result
        put = partial(
            quanta.put_back, rest["assisted"], edges, result.thermal_gaps, result.temperatures, settings.scissor
        )
        alone, both = put(result.spectra, result.equilibrium), put(result.attracted, result.equilibrium_attracted)
        return dataclasses.replace(result, assisted=rest["assisted"], quanta=alone, attracted_quanta=both)

    def slopes_of(
        self, groups: list[list[dict[str, Any]]], joined: tuple[Transitions, ...], energies: Array
    ) -> tuple[SpectrumSlope, ...]:
        """Derivatives of the spectra by temperature."""
        settings = self.settings
        histograms = [constant(np.concatenate([part["slope"].value for part in group])) for group in groups]
        each = zip(joined, histograms, strict=True)
        shape = energies, line_shape(settings), settings.scissor
        return tuple(optics.spectrum_slope(binned, histogram, *shape) for binned, histogram in each)

    def tauc(self, edges: BandEdges | None) -> tuple[str, tuple[float, float]]:
        """Kind of the gap and window of the fit (eV): asked for, the material's, or from the band edges."""
        kind, window = self.settings.gap_kind or self.crystal.gap_kind, self.settings.tauc_window
        if edges is None:
            return "none", window or (0.0, 0.0)
        kind = kind or ("direct" if edges.is_direct else "indirect")
        if window is None and self.settings.scissor == 0:
            window = self.crystal.tauc_window
        if window is None:
            start = float(edges.gap) + self.settings.scissor
            window = (start + 0.1, start + 0.5) if kind == "direct" else (start + 0.3, start + 1.2)
        return kind, window


def _kpoints(settings: AbsorptionSettings, crystal: Material, snapshot: int) -> KPoints:
    """k points of the supercell for one snapshot: the regular mesh, or its own stretch of the quasirandom sequence."""
    if settings.kmesh is not None:
        return kpoints.mesh(crystal.periodic(settings.kmesh))
    return kpoints.quasirandom(settings.twists, snapshot * settings.twists, crystal.structure.pbc)


def _is_real(settings: AbsorptionSettings, crystal: Material, count: int) -> bool:
    """Whether H(k) is real at all k points of all snapshots, each of which has its own: the first may have Gamma alone."""
    hamiltonian = crystal.hamiltonian
    ends = (_kpoints(settings, crystal, s) for s in {0, count - 1})
    return hamiltonian.orthogonal and hamiltonian.real and all(points.is_real for points in ends)


_fit = jax.jit(optics.tauc_fit, static_argnames="kind")
