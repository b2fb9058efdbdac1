"""Where commands of studies put their results, and what they say on the way: options that decide no result. Imports little."""

import dataclasses
from typing import ClassVar

from jaxepi.errors import InputError
from jaxepi.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class Files(Settings):
    """Where results go, and what is said on the way. Names that are left out follow from that of the crystal."""

    group: ClassVar[str] = "files"

    output: str | None = setting(None, "", metavar="FILE")
    overwrite: bool = setting(False, "replace what is there and was made with other settings")
    progress: bool = setting(True, "progress bars on stderr")
    keep_compiled: bool | str = setting(
        False,
        "keep compiled programs for later calls, which then start sooner; without a name, in ~/.cache/jaxepi",
        metavar="FOLDER",
    )


@dataclasses.dataclass(frozen=True)
class StudyFiles(Files):
    """Files of a study, and the machines that compute its items."""

    group: ClassVar[str] = "machines"

    distributed: bool | str = setting(
        False,
        "share the items out over processes, all of which run this command: those of a step of SLURM or of another launcher, "
        "or with HOST:PORT of process 0 those that --processes and --process count",
        metavar="HOST:PORT",
    )
    processes: int | None = setting(None, "with HOST:PORT: how many", least=1, metavar="N")
    process: int | None = setting(None, "with HOST:PORT: the number of this one; 0 writes", least=0, metavar="N")

    def __post_init__(self) -> None:
        super().__post_init__()
        explicit = isinstance(self.distributed, str)
        for name in ("processes", "process"):
            if (getattr(self, name) is not None) != explicit:
                raise InputError(
                    f"{name}: goes with --distributed HOST:PORT, --processes and --process: give all three, or --distributed "
                    "alone under a launcher such as srun"
                )


@dataclasses.dataclass(frozen=True)
class AbsorptionFiles(StudyFiles):
    """Files of an absorption study."""

    group: ClassVar[str] = "files"

    devices: int | None = setting(
        None, "devices of each process over which snapshots are spread (default: all)", least=1, metavar="N"
    )
    devices_per_snapshot: int = setting(1, "of them share the k points of one snapshot", least=1, metavar="N")

    output: str | None = setting(None, "result, HDF5 (default: CRYSTAL-absorption.h5)", metavar="FILE")
    figure: str | None = setting(None, "figure, PNG, PDF or SVG (default: beside the result, .png)", metavar="FILE")
    csv: bool | str = setting(False, "optical constants as CSV too; without a name, beside the result", metavar="FILE")


@dataclasses.dataclass(frozen=True)
class BandsFiles(Files):
    """Files of bands."""

    output: str | None = setting(None, "figure, energies in eV (default: CRYSTAL-bands.png)", metavar="FILE")


@dataclasses.dataclass(frozen=True)
class PhononsFiles(Files):
    """Files of phonons."""

    output: str | None = setting(
        None, "figure, frequencies and density of states in THz (default: CRYSTAL-phonons.png)", metavar="FILE"
    )
    csv: bool | str = setting(
        False,
        "frequencies and group velocities along the path as CSV, and beside it densities of states (-dos) and the table of "
        "thermodynamics (-thermodynamics); without a name, beside the figure",
        metavar="FILE",
    )
    write_phonopy: str | None = setting(
        None, "force constants and charges too, as a phonopy_params.yaml (needs phonopy)", metavar="FILE"
    )


@dataclasses.dataclass(frozen=True)
class ExpandFiles(StudyFiles):
    """Files of a thermal expansion."""

    output: str | None = setting(
        None, "result, HDF5, which --expansion of other commands reads (default: CRYSTAL-expansion.h5)", metavar="FILE"
    )
    figure: str | None = setting(None, "figure, PNG, PDF or SVG (default: beside the result, .png)", metavar="FILE")


@dataclasses.dataclass(frozen=True)
class SamplingFiles(Files):
    """Files of snapshots."""

    output: str | None = setting(
        None, "extended XYZ (.xyz) or HDF5 (.h5), angstrom (default: CRYSTAL-snapshots.xyz)", metavar="FILE"
    )


@dataclasses.dataclass(frozen=True)
class DynamicsFiles(Files):
    """Files of molecular dynamics."""

    output: str | None = setting(
        None,
        "trajectory: HDF5 (.h5), or extended XYZ (.xyz) beside it, angstrom, eV; log beside it (default: CRYSTAL-md.h5)",
        metavar="FILE",
    )


@dataclasses.dataclass(frozen=True)
class TrainFiles(Files):
    """Files of a training run."""

    output: str | None = setting(
        None,
        "folder of the model, its measures and figures, where a stopped run goes on, or the file of an example (default: "
        "CONFIG-training, or MODEL.toml)",
        metavar="PATH",
    )


@dataclasses.dataclass(frozen=True)
class GapFiles(StudyFiles):
    """Files of gaps."""

    output: str | None = setting(
        None, "gaps and snapshots at temperatures, HDF5, eV and angstrom (default: none is kept)", metavar="FILE"
    )


@dataclasses.dataclass(frozen=True)
class RenormalisationFiles(StudyFiles):
    """Files of a renormalisation."""

    output: str | None = setting(
        None, "shifts by level, mesh and mode, HDF5, eV (default: CRYSTAL-renormalisation.h5)", metavar="FILE"
    )
    figure: str | None = setting(None, "figure, PNG, PDF or SVG (default: beside the result, .png)", metavar="FILE")
    csv: bool | str = setting(False, "shifts as CSV too; without a name, beside the result", metavar="FILE")


@dataclasses.dataclass(frozen=True)
class UnfoldingFiles(StudyFiles):
    """Files of spectral functions."""

    output: str | None = setting(
        None, "spectral functions along the path, HDF5, 1/eV (default: CRYSTAL-unfolding.h5)", metavar="FILE"
    )
    figure: str | None = setting(
        None, "picture, PNG, PDF or SVG, one a temperature (default: beside the result, .png)", metavar="FILE"
    )


@dataclasses.dataclass(frozen=True)
class Nothing(Settings):
    """Of a command that neither writes nor waits."""
