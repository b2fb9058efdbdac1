"""Settings of `jaxepi label`: what is labelled, by which recipe, and where it goes."""

import dataclasses

from jaxepi.errors import InputError
from jaxepi.labelling.recipes import RECIPES
from jaxepi.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class StructuresSettings(Settings):
    """Structures to label."""

    set: str = setting("", "set of structures (`jaxepi label list` prints all)", positional=True, metavar="SET")
    seed: int = setting(0, "of displacements and strains", least=0)
    first: int | None = setting(None, "how many of the set, from its first (default: all)", least=1)
    mesh: tuple[int, int, int] | None = setting(
        None, "k mesh to label them with instead of the set's; shifts stay", least=1, metavar="N"
    )


@dataclasses.dataclass(frozen=True)
class StructuresFiles(Settings):
    """Where structures are written."""

    output: str = setting("", "extended XYZ to write", positional=True, metavar="OUT")
    overwrite: bool = setting(False, "replace a file that is there")


@dataclasses.dataclass(frozen=True)
class RunSettings(Settings):
    """Which structures are labelled, and how."""

    structures: str = setting("", "extended XYZ of `jaxepi label structures`", positional=True, metavar="FILE")
    recipe: str = setting("", "engine and its settings", choices=tuple(RECIPES))
    known: str | None = setting(None, "a data set; what it holds is not labelled again", metavar="SET")
    retry: bool = setting(False, "try failed configurations again")
    hours: float = setting(
        float("inf"), "start no configuration after so many (default: no end)", above=0, infinite=True
    )


@dataclasses.dataclass(frozen=True)
class WorkFiles(Settings):
    """Where labels are collected."""

    work: str = setting("", "folder of the work folders, outside the repository", metavar="DIR")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.work:
            raise InputError("give --work DIR, the folder that the labels are collected in")


@dataclasses.dataclass(frozen=True)
class PackSettings(Settings):
    """What is packed into a data set."""

    name: str = setting("", "of the data set", positional=True, metavar="NAME")
    output: str = setting("", "data set, HDF5; one that stands is extended", positional=True, metavar="SET")
    folders: tuple[str, ...] = setting((), "work folders", positional=True, metavar="FOLDER")


@dataclasses.dataclass(frozen=True)
class ImportSettings(Settings):
    """What is imported."""

    files: tuple[str, ...] = setting(
        (), ".npz files of the silicon labels made beforehand", positional=True, metavar="FILE"
    )


@dataclasses.dataclass(frozen=True)
class Nothing(Settings):
    """Of an action that has no settings, or writes no file."""
