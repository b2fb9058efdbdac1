"""Potentials by name or file: published sets (JSON) and learned ones (one-file checkpoints in `models/`)."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from ase.data import atomic_numbers

from jaxepi.errors import InputError
from jaxepi.potentials.base import Potential
from jaxepi.potentials.stillinger_weber import StillingerWeber
from jaxepi.potentials.valence import ValenceForceField
from jaxepi.units import NEWTON_PER_METRE

FORMAT, VERSION = "jaxepi-potentials", 1


def available() -> tuple[str, ...]:
    """Names of the published sets and of the shipped models that `load` knows."""
    return (*_published(), *_shipped())


def load(name: str | Path, member: str | None = None) -> Potential:
    """A potential by name, from a JSON file in the format of published.json, or from a checkpoint of a learned one.

    Args:
        name: one of `available()`, or the path of a file (ending in .json, or in .npz for a checkpoint).
        member: which set of a JSON file; may be left out when it holds one.

    Raises:
        InputError: an unknown name (the known ones are listed), a file that cannot be read, of another format or
            version, or with parameters missing.
    """
    checkpoint = _shipped().get(str(name))
    if checkpoint is not None or str(name).endswith(".npz"):
        from jaxepi.potentials.learned import read

        return read(checkpoint or name)[0]
    if isinstance(name, Path) or name.endswith(".json"):
        return _from_file(Path(name), member)
    sets = _published()
    if name not in sets:
        known = ", ".join(available())
        raise InputError(f"unknown potential {name!r}; known: {known}, or the path of a .json or .npz file")
    return _build(name, sets[name])


def citation(name: str) -> str:
    """Where a published set comes from; of a file (ending in .json), what it says of itself.

    Raises:
        InputError: an unknown name, or a file that `load` refuses.
    """
    if name in _shipped() or name.endswith(".npz"):
        return str(card(name).get("citation", "no citation"))
    if name.endswith(".json"):
        return "; ".join(str(entry.get("citation", "no citation")) for entry in _sets(Path(name)).values())
    sets = _published()
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


def _published() -> dict[str, dict]:
    text = resources.files("jaxepi.potentials").joinpath("published.json").read_text(encoding="utf-8")
    return json.loads(text)["sets"]


def _from_file(path: Path, member: str | None) -> Potential:
    sets = _sets(path)
    if member is None and len(sets) == 1:
        member = next(iter(sets))
    if member is None or member not in sets:
        raise InputError(f"potential file {path} has no set {member!r}; choose one of {', '.join(sets) or '(none)'}")
    return _build(member, sets[member])


def _sets(path: Path) -> dict[str, dict]:
    """The sets of a potential file, by name."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"potential file {path} cannot be read: {error}; give a JSON file like published.json"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise InputError(f"potential file {path} has format {found!r}; expected {FORMAT!r}")
    if content.get("version") != VERSION:
        raise InputError(
            f"potential file {path} has version {content.get('version')!r}; this jaxepi reads version {VERSION}: "
            "convert the file, or use the jaxepi release that wrote it"
        )
    return content.get("sets") or {}


def _build(name: str, entry: dict[str, Any]) -> Potential:
    """The potential of one entry of a file."""
    makers = {"modified-valence-force-field": _valence, "stillinger-weber": _stillinger_weber}
    form = entry.get("form")
    if form not in makers:
        raise InputError(f"potential {name!r} has form {form!r}; known forms: {', '.join(makers)}")
    try:
        species = tuple(atomic_numbers[symbol] for symbol in entry["species"])
        return makers[form](name, entry, species)
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"potential {name!r}: bad or missing entry ({error}); compare with published.json") from error


def _valence(name: str, entry: dict[str, Any], species: tuple[int, ...]) -> Potential:
    if entry["units"] != "N/m":
        raise InputError(f"potential {name!r} gives its force constants in {entry['units']!r}; convert them to 'N/m'")
    bond_length = 3**0.5 / 4 * float(entry["lattice_constant_angstrom"])
    names = ("alpha", "beta", "gamma", "delta", "nu")
    params = {n: jnp.asarray(float(entry["parameters"][n]) * NEWTON_PER_METRE) for n in names}
    return Potential(params, ValenceForceField(bond_length, species))


def _stillinger_weber(name: str, entry: dict[str, Any], species: tuple[int, ...]) -> Potential:
    if entry["units"] != "eV, angstrom":
        raise InputError(f"potential {name!r} has units {entry['units']!r}; convert it to 'eV, angstrom'")
    p = entry["parameters"]
    names = ("epsilon", "sigma", "lam", "gamma", "A", "B", "cosine")
    params = {n: jnp.asarray(float(p[n])) for n in names}
    cutoff = float(p["range"]) * float(p["sigma"])
    # In silicon at its lattice constant this skin reaches just below the fourth shell: the widest that costs nothing.
    skin = 0.74 * float(p["sigma"])
    return Potential(params, StillingerWeber(cutoff, skin, float(p["range"]), int(p["p"]), int(p["q"]), species))
