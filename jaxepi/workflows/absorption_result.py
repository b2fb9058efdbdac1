"""What an absorption study found: spectra and gaps of its temperatures, as they are kept in a file and read again."""

import dataclasses
import os
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxepi import html, labelled, results
from jaxepi.electrons import BandEdges
from jaxepi.epi import Assisted
from jaxepi.errors import InputError
from jaxepi.optics import Spectrum, SpectrumSlope, TaucFit, Transitions
from jaxepi.optics.spectrum import CONSTANTS
from jaxepi.results import Quantity
from jaxepi.sampling import Snapshots
from jaxepi.sampling.averages import antithetic_pairs
from jaxepi.workflows.reports.tables import with_error
from jaxepi.workflows.settings import AbsorptionSettings


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
        slopes: derivatives of the spectra by temperature, one a temperature; empty where not asked for.
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
    slopes: tuple[SpectrumSlope, ...] = ()

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
        kept |= {"slopes": self.slopes} if self.slopes else {}
        return kept if self.edges is None else {**kept, "band_edges": self.edges}


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
