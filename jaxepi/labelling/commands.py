"""The actions of `jaxepi label`, thin: each calls what does the work and prints. Imports little until one is called."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxepi.errors import InputError
from jaxepi.files import FRAMES, RESULTS, Output, claim
from jaxepi.labelling import settings as s
from jaxepi.labelling.recipes import RECIPES


def structures(settings: s.StructuresSettings, files: s.StructuresFiles, _: str) -> None:
    """Make a set of structures."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from jaxepi.labelling.structures import sets

    output = Path(files.output)
    claim([Output("OUT", output, FRAMES)], overwrite=files.overwrite)
    made = sets.make(settings.set, settings.seed, settings.first, settings.mesh)
    sets.write(made, output)
    print(f"{len(made)} structures in {output}")


def run(settings: s.RunSettings, files: s.WorkFiles, _: str) -> None:
    """Label structures; what failed is named at the end, as refused input is."""
    from jaxepi.labelling import engines, labels
    from jaxepi.labelling.structures import sets

    path = Path(settings.structures)
    engine = engines.get(*RECIPES[settings.recipe])
    found = sets.read(path)
    labels.refuse(found, engine, settings.structures)
    if settings.known is not None:
        found = labels.unknown(found, Path(settings.known))
        print(f"{len(found)} structures are not in {settings.known}", flush=True)

    def say(line: str) -> None:
        print(line, flush=True)

    folder = Path(files.work) / path.stem
    failures = labels.run(found, engine, folder, settings.retry, settings.hours, say)
    if failures:
        print(f"{failures} configurations failed; their reasons are in {folder}/*.failed.json", file=sys.stderr)
        raise SystemExit(1)


def pack(settings: s.PackSettings, files: s.Nothing, _: str) -> None:
    """Pack work folders into a data set."""
    from jaxepi.labelling import packing

    if not settings.folders:
        raise InputError("name at least one work folder to pack")
    output = Path(settings.output)
    claim([Output("SET", output, RESULTS, own=True)])
    whole, failures = packing.pack(settings.name, output, [Path(folder) for folder in settings.folders])
    for failure in failures:
        print(f"left out: {failure}")
    counts = {split: len(whole.select(split)) for split in ("train", "validation", "test")}
    size = output.stat().st_size / 1e6
    print(f"{output}: {len(whole)} configurations {counts} in {len(whole.groups)} groups, {size:.2f} MB")


def import_(settings: s.ImportSettings, files: s.WorkFiles, _: str) -> None:
    """Import labels made beforehand."""
    from jaxepi.labelling import imported

    for path, folder in imported.import_files([Path(file) for file in settings.files], Path(files.work)).items():
        print(f"{len(list(folder.glob('*.npz')))} configurations of {path.name} in {folder}")


def list_(settings: s.Nothing, files: s.Nothing, _: str) -> None:
    """Print all sets of structures and all recipes."""
    from jaxepi.labelling.structures.sets import SETS

    print("sets of structures:")
    print("\n".join(f"  {name:26} {_first_sentence(make)}" for name, make in sorted(SETS.items())))
    print("\nrecipes:")
    print("\n".join(f"  {name:26} {engine}: {_shown(recipe)}" for name, (engine, recipe) in sorted(RECIPES.items())))


def _first_sentence(make: Any) -> str:
    """What a set says of itself, with what it was told."""
    text = " ".join((getattr(make, "func", make).__doc__ or "").split()).partition(". ")[0].rstrip(".")
    given = ", ".join(f"{name} {value}" for name, value in getattr(make, "keywords", {}).items())
    return f"{text} ({given})" if given else text


def _shown(recipe: Any) -> str:
    return ", ".join(f"{name} {value}" for name, value in recipe.items())


ACTIONS: dict[str, tuple[type[s.Settings], type[s.Settings], Callable[[Any, Any, str], None]]] = {
    "structures": (s.StructuresSettings, s.StructuresFiles, structures),
    "run": (s.RunSettings, s.WorkFiles, run),
    "pack": (s.PackSettings, s.Nothing, pack),
    "import": (s.ImportSettings, s.WorkFiles, import_),
    "list": (s.Nothing, s.Nothing, list_),
}
"""Actions: their settings, their files, what runs them."""
