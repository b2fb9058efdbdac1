"""The absorption study: snapshots at every temperature, their transitions and band edges, spectra and Tauc fits.

Flows in: settings. Flows out: an `AbsorptionResult`, kept in a file of the store; every finished snapshot is kept at once,
and a second call goes on from there. All snapshots have equal shapes, so everything is compiled once, whatever the
number of temperatures.
"""

import dataclasses
import os
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from jaxepi import electrons, html, kpoints, labelled, optics, results
from jaxepi.electrons import BandEdges
from jaxepi.epi import Assisted
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import constant
from jaxepi.kpoints import KPoints
from jaxepi.materials import Material
from jaxepi.optics import Gaussian, Lorentzian, Spectrum, TaucFit, Transitions
from jaxepi.optics.dielectric import DEFAULT_GRID, batches
from jaxepi.optics.spectrum import CONSTANTS
from jaxepi.results import Quantity
from jaxepi.sampling import Snapshots, named_calculators
from jaxepi.sampling.averages import antithetic_pairs
from jaxepi.structure import Structure
from jaxepi.workflows import attraction, expansion, quanta, samples, trajectories
from jaxepi.workflows import crystal as crystals
from jaxepi.workflows.joining import as_many, joined
from jaxepi.workflows.reports.tables import with_error
from jaxepi.workflows.settings import RESOURCES, AbsorptionSettings
from jaxepi.workflows.study import Study

__all__ = ["AbsorptionResult", "AbsorptionSettings", "absorption", "load"]


@dataclasses.dataclass(frozen=True)
class AbsorptionResult:
    """What an absorption study found, temperature by temperature.

    Attributes:
        settings: of the study. gap_kind: indirect, direct or none. edges: of the primitive cell at rest, or None.
        snapshots, transitions, spectra: one entry a temperature.
        valence, conduction: band edges of every snapshot, eV, scissor not included, shape (t, s); NaN without edges.
        fits: Tauc fits of the mean spectra, one a temperature; empty without a gap.
        equilibrium: spectrum of the lattice at rest, on many k points of the primitive cell.
        attracted: spectra in which electrons and holes attract each other, one a temperature; empty where not asked for.
        pairs: the transitions behind them, for other line shapes and scissors.
        equilibrium_attracted: that of the lattice at rest, or None.
        assisted: parts of eps2 by phonon energy, or None where these were not asked for.
        quanta, attracted_quanta: `spectra` and `attracted` with phonon energies; empty where not asked for.
        provenance: versions, command, models and their hash, settings, date.
    """

    settings: AbsorptionSettings
    gap_kind: str
    edges: BandEdges | None
    snapshots: tuple[Snapshots, ...]
    transitions: tuple[Transitions, ...]
    spectra: tuple[Spectrum, ...]
    valence: Float[np.ndarray, "t s"]
    conduction: Float[np.ndarray, "t s"]
    fits: tuple[TaucFit, ...]
    equilibrium: Spectrum
    provenance: dict[str, Any]
    attracted: tuple[Spectrum, ...] = ()
    equilibrium_attracted: Spectrum | None = None
    pairs: tuple[Transitions, ...] = ()
    assisted: Assisted | None = None
    quanta: tuple[Spectrum, ...] = ()
    attracted_quanta: tuple[Spectrum, ...] = ()

    @property
    def temperatures(self) -> tuple[float, ...]:
        """Kelvin."""
        return tuple(float(one.temperature) for one in self.snapshots)

    @property
    def gaps(self) -> Float[np.ndarray, "t s"]:
        """Gap between the band edges of every snapshot, eV, scissor included."""
        return self.conduction - self.valence + self.settings.scissor

    @property
    def thermal_gaps(self) -> tuple[float, ...]:
        """Mean gap of each temperature, eV, scissor not included."""
        gaps = zip(self.snapshots, self.conduction - self.valence, strict=True)
        return tuple(float(one.mean(gap)) for one, gap in gaps)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` over temperatures (K): optical constants of photon energies (eV), and gaps of snapshots (eV)."""
        over = ("temperature", "energy")
        variables: dict[str, Any] = {
            name: (over, np.stack([function(s.energies, *s.mean()) for s in self.spectra]), unit)
            for name, (function, unit, _) in CONSTANTS.items()
        }
        variables["absorption_error"] = over, np.stack([s.standard_error() for s in self.spectra]), "1/cm"
        variables["gap"] = ("temperature", "snapshot"), self.gaps, "eV"
        coordinates = {
            "temperature": ("temperature", self.temperatures, "K"),
            "energy": ("energy", self.spectra[0].energies, "eV"),
        }
        return labelled.dataset(variables, coordinates, crystal=self.settings.crystal)

    def to_pandas(self) -> Any:
        """A `pandas.DataFrame` over temperatures (K) and photon energies (eV): the spectra, one after the other."""
        tables = [s.to_pandas().reset_index() for s in self.spectra]
        temperatures = np.repeat(self.temperatures, [len(table) for table in tables])
        columns = {name: np.concatenate([table[name].to_numpy() for table in tables]) for name in tables[0].columns}
        return labelled.frame({"temperature": temperatures, **columns}, ("temperature", "energy"))

    def _repr_html_(self) -> str:
        from jaxepi import plotting
        from jaxepi.materials import measured

        known = measured.absorption(self.settings.crystal)
        figure = plotting.absorption(self.spectra, self.temperatures, self.equilibrium, known, self.settings.crystal)
        rows = []
        for one, gaps, fit in zip(self.snapshots, self.gaps, self.fits or (None,) * len(self.snapshots), strict=True):
            edges = with_error(float(one.mean(gaps)), float(one.standard_error(gaps)))
            tauc = "" if fit is None else f"; Tauc fit {with_error(float(fit.gap), float(fit.sensitivity))} eV"
            poor = ", poor fit" if fit is not None and bool(fit.poor) else ""
            rows.append((f"gap at {float(one.temperature):g} K", f"band edges {edges} eV{tauc}{poor}"))
        atoms = len(self.snapshots[0].structure)
        title = (
            f"Absorption of {self.settings.crystal}, {atoms} atoms, {len(self.snapshots[0])} snapshots a temperature"
        )
        return html.table(title, rows) + html.picture(plotting.png(figure))

    def contents(self) -> dict[str, Any]:
        """What the store keeps."""
        kept: dict[str, Any] = {"snapshots": self.snapshots, "transitions": self.transitions, "spectra": self.spectra}
        kept |= {"tauc_fits": self.fits, "equilibrium": self.equilibrium}
        valence, conduction = Quantity(self.valence, "eV"), Quantity(self.conduction, "eV")
        kept["thermal_edges"] = {"valence": valence, "conduction": conduction}
        kept["gap_kind"] = self.gap_kind
        if self.equilibrium_attracted is not None:
            kept |= {
                "attracted": self.attracted,
                "equilibrium_attracted": self.equilibrium_attracted,
                "pairs": self.pairs,
            }
        if self.assisted is not None:
            kept |= {"assisted": self.assisted, "quanta": self.quanta, "attracted_quanta": self.attracted_quanta}
        return kept if self.edges is None else {**kept, "band_edges": self.edges}


def absorption(
    settings: AbsorptionSettings,
    output: str | os.PathLike,
    progress: bool = True,
    resume: bool = True,
    command: str = "",
) -> AbsorptionResult:
    """Run the study, or go on with it, or read it where it is finished.

    Args:
        output: HDF5 file of the result; `<output>.parts/` holds finished snapshots while the study runs.
        progress: a bar with the remaining time on stderr.
        resume: False replaces whatever `output` holds.
        command: the command line, for the provenance.

    Raises:
        InputError: a crystal or model that cannot be used, a request that does not fit in memory, a result of other
            settings at `output`, or what the samplers and the optics refuse. OSError: `output` cannot be written.
    """
    stages = _Stages.of(settings)
    items = {f"snapshot-{t:03d}-{s:05d}": (t, s) for t, s in np.ndindex(stages.shape)}
    options: dict[str, Any] = {"resume": resume, "unit": "snapshot", "total": len(items), "progress": progress}
    with Study.open(output, stages.origin(command), ignore=RESOURCES, **options) as study:
        if study.complete:
            return load(output)
        prepared = study.keep("prepared", partial(stages.prepare, progress))
        found = study.map(items, partial(stages.compute, prepared), settings.workers or stages.workers)
        rest = study.keep("rest", partial(stages.rest, progress, prepared))
        result = stages.analyse(prepared, found, rest, study.origin)
        study.finish(result.contents())
    return result


def load(path: str | os.PathLike) -> AbsorptionResult:
    """A finished study.

    Raises:
        InputError: the file is missing, damaged, of another version, or not an absorption study.
    """
    held, origin = results.read(path)
    try:
        edges = held.pop("thermal_edges")
        settings = AbsorptionSettings(**_renamed(results.tuples(origin["settings"])))
        if settings.trajectory is None and settings.sampling == "antithetic":
            held |= {name: tuple(_paired(one) for one in held[name]) for name in BY_SNAPSHOT if name in held}
        return AbsorptionResult(
            settings=settings,
            edges=held.pop("band_edges", None),
            fits=held.pop("tauc_fits"),
            valence=edges["valence"].value,
            conduction=edges["conduction"].value,
            provenance=origin,
            **held,
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not an absorption study ({error}); give the output of `jaxepi absorb`") from error


def _renamed(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a result, those of older files by their names of today."""
    if "sampler" not in settings:
        return settings
    kept = {name: value for name, value in settings.items() if name not in ("sampler", "antithetic")}
    harmonic = "antithetic" if settings.get("antithetic", True) else "random"
    return {**kept, "sampling": harmonic if settings["sampler"] == "harmonic" else settings["sampler"]}


def _paired(held: Any) -> Any:
    """Snapshots, or what was computed of them, as antithetic pairs: older files do not say so themselves."""
    return held if held.groups else dataclasses.replace(held, groups=antithetic_pairs(len(held)))


BY_SNAPSHOT = ("snapshots", "transitions", "spectra", "attracted", "pairs", "quanta", "attracted_quanta")
"""Parts of a result that know antithetic pairs."""

SMALL_MATRIX = 200
"""Orbitals of a supercell below which snapshots are computed one after the other: XLA then spreads the k points of one over
its threads, and two such computations at once may each hold threads that the other waits for, for ever (jaxlib 0.10.1)."""


@dataclasses.dataclass(frozen=True)
class _Stages:
    """The fixed objects of a study: what all its snapshots share."""

    settings: AbsorptionSettings
    crystal: Material
    supercell: Structure
    graph: Graph
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
        return 1 if small else os.cpu_count() or 1

    @classmethod
    def of(cls, settings: AbsorptionSettings) -> "_Stages":
        """Load everything, and refuse what cannot be before any work is done."""
        crystal = crystals.for_settings(settings)
        given: tuple[Snapshots, ...] = ()
        repeats = crystal.periodic(settings.supercell)
        size = crystal.hamiltonian.basis.size(crystal.structure.species) * int(np.prod(repeats))
        if settings.trajectory is not None:
            crystal, given = trajectories.snapshots(settings, crystal)
            size = crystal.hamiltonian.basis.size(given[0].structure.species)
        # Before the supercell is built: a request far too large would exhaust the memory on the way.
        batches(size, 1, 1, _is_real(settings, crystal), settings.memory_gb)
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
        quanta.check(settings, crystal)
        return cls(settings, crystal, supercell, graph, given)

    def origin(self, command: str) -> dict[str, Any]:
        """Provenance: besides settings and models, what the structure file held."""
        cells = results.fingerprint(self.crystal.primitive, self.crystal.structure)
        more = {"trajectory_hash": results.fingerprint(*self.given)} if self.given else {}
        more |= expansion.hashes(self.settings.expansion) | named_calculators.hashes(self.settings.calculator)
        return results.provenance(self.settings.asdict(), self.crystal.models(), command, structure_hash=cells, **more)

    def prepare(self, progress: bool) -> dict[str, Any]:
        """Snapshots, and band edges where the crystal has a gap."""
        drawn = self.given or samples.draw(self.settings, self.crystal, self.supercell, progress)
        screening = {"screening": attraction.screening(self.settings, self.crystal)} if self.settings.excitons else {}
        if (self.settings.gap_kind or self.crystal.gap_kind) == "none":
            electrons.plausible(electrons.eigenvalues(self.crystal.hamiltonian, self.crystal.primitive, np.zeros(3)))
            return {"snapshots": drawn, **screening}
        edges = electrons.band_edges(self.crystal.hamiltonian, self.crystal.primitive)
        return {"snapshots": drawn, "edges": edges, **screening}

    def compute(self, prepared: dict[str, Any], item: tuple[int, int]) -> dict[str, Any]:
        """Transitions and band edges of one snapshot of one temperature; the same compiled functions serve all."""
        t, s = item
        drawn: Snapshots = prepared["snapshots"][t]
        one = drawn.take([s])
        hamiltonian, memory = self.crystal.hamiltonian, self.settings.memory_gb
        points = _kpoints(self.settings, self.crystal, s)
        kept = optics.transitions(hamiltonian, one, points, graph=self.graph, memory_gb=memory)
        valence = conduction = constant([np.nan])
        if "edges" in prepared:
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
            found["assisted"] = quanta.parts(self.settings, self.crystal, _broadening(self.settings), progress)
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
            return binned.spectrum(energies, _broadening(settings), settings.scissor)

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
        )
        if edges is None or "assisted" not in rest:
            return result
        put = partial(
            quanta.put_back, rest["assisted"], edges, result.thermal_gaps, result.temperatures, settings.scissor
        )
        alone, both = put(result.spectra, result.equilibrium), put(result.attracted, result.equilibrium_attracted)
        return dataclasses.replace(result, assisted=rest["assisted"], quanta=alone, attracted_quanta=both)

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


def _is_real(settings: AbsorptionSettings, crystal: Material) -> bool:
    """Whether H(k) is real at all k points."""
    hamiltonian = crystal.hamiltonian
    return hamiltonian.orthogonal and hamiltonian.real and _kpoints(settings, crystal, 0).is_real


def _broadening(settings: AbsorptionSettings) -> Gaussian | Lorentzian:
    return Gaussian(settings.width) if settings.broadening == "gaussian" else Lorentzian(settings.width)


_fit = jax.jit(optics.tauc_fit, static_argnames="kind")
