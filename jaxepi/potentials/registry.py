"""Potentials by name or file: published sets (JSON) and learned ones (one-file checkpoints in `models/`)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxepi.errors import InputError
from jaxepi.guards import warn_of_single_precision
from jaxepi.potentials import lammps, parameter_files
from jaxepi.potentials.base import Potential

PICKLED = (".model", ".pt", ".pth")
"""How names of files end that torch writes."""


def available() -> tuple[str, ...]:
    """Names of the published sets and of the shipped models that `load` knows."""
    return (*parameter_files.shipped(), *_shipped())


def load(name: str | Path, member: str | None = None) -> Potential:
    """A potential by name, from a JSON file in the format of published.json, a Stillinger-Weber file of LAMMPS, or a checkpoint
    of a learned one.

    Args:
        name: one of `available()`, or the path of a file (ending in .json, in .sw, or in .npz for a checkpoint).
        member: which set of a JSON file; may be left out when it holds one.

    Raises:
        InputError: an unknown name (the known ones are listed), a file that cannot be read, of another format or
            version, or with parameters missing.
    """
    warn_of_single_precision(name)
    checkpoint = _shipped().get(str(name))
    if checkpoint is not None or str(name).endswith(".npz"):
        from jaxepi.potentials.learned import read

        return read(checkpoint or name)[0]
    if str(name).endswith(lammps.ENDING):
        return lammps.read(Path(name))
    if str(name).endswith(".json"):
        return parameter_files.read(Path(name), member)
    name = str(name)
    if name.endswith(PICKLED):
        raise InputError(
            f"potential {name} is a file of torch, which is not unpickled here: convert a model of mace-torch with "
            f"python scripts/convert_mace.py {name} model.npz where both are installed, or take force constants from its ASE "
            f"calculator (--calculator mace.calculators:MACECalculator --calculator-options model_paths={name})"
        )
    sets = parameter_files.shipped()
    if name not in sets:
        known = ", ".join(available())
        raise InputError(f"unknown potential {name!r}; known: {known}, or the path of a .json, .sw or .npz file")
    return parameter_files.build(name, sets[name])


def citation(name: str) -> str:
    """Where a published set comes from; of a file (ending in .json or .sw), what it says of itself.

    Raises:
        InputError: an unknown name, or a file that `load` refuses.
    """
    if name in _shipped() or name.endswith(".npz"):
        return str(card(name).get("citation", "no citation"))
    if name.endswith(lammps.ENDING):
        return lammps.entries(Path(name)).citation
    if name.endswith(".json"):
        return "; ".join(
            str(entry.get("citation", "no citation")) for entry in parameter_files.sets(Path(name)).values()
        )
    sets = parameter_files.shipped()
    if name not in sets:
        raise InputError(f"unknown potential {name!r}; known: {', '.join(available())}")
    return sets[name]["citation"]


def card(name: str) -> Mapping[str, Any]:
    """What a learned potential says of itself: its data, errors (meV/atom, meV/angstrom), domain and origin.

    Args:
        name: of a shipped model, or the path of a checkpoint (ending in .npz).

    Raises:
        InputError: a name or file without a card.
    """
    from jaxepi.checkpoint import read_checkpoint

    checkpoint = _shipped().get(name)
    if checkpoint is None and not name.endswith(".npz"):
        raise InputError(f"no card of {name!r}; learned potentials have one: {', '.join(_shipped())}, or a .npz file")
    return read_checkpoint(checkpoint or name, "potential").card


def _shipped() -> dict[str, Path]:
    """Shipped checkpoints by name."""
    folder = Path(__file__).parent / "models"
    return {path.stem: path for path in sorted(folder.glob("*.npz"))}
