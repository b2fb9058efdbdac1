"""Parameter files of potentials: JSON in the format of published.json, which holds the shipped sets."""

import json
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


def shipped() -> dict[str, dict]:
    """The shipped sets, by name."""
    return sets(Path(__file__).parent / "published.json")


def read(path: Path, member: str | None = None) -> Potential:
    """The potential of a file, one of its sets.

    Raises:
        InputError: a file that cannot be read, of another format or version, without the set, or with parameters missing.
    """
    found = sets(path)
    if member is None and len(found) == 1:
        member = next(iter(found))
    if member is None or member not in found:
        raise InputError(f"potential file {path} has no set {member!r}; choose one of {', '.join(found) or '(none)'}")
    return build(member, found[member])


def sets(path: Path) -> dict[str, dict]:
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


def build(name: str, entry: dict[str, Any]) -> Potential:
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
    module = ValenceForceField(bond_length, species, name, str(entry.get("citation", "")))
    return Potential(params, module)


def _stillinger_weber(name: str, entry: dict[str, Any], species: tuple[int, ...]) -> Potential:
    if entry["units"] != "eV, angstrom":
        raise InputError(f"potential {name!r} has units {entry['units']!r}; convert it to 'eV, angstrom'")
    p = entry["parameters"]
    names = ("epsilon", "sigma", "lam", "gamma", "A", "B", "cosine")
    params = {n: jnp.asarray(float(p[n])) for n in names}
    cutoff = float(p["range"]) * float(p["sigma"])
    # In silicon at its lattice constant this skin reaches just below the fourth shell: the widest that costs nothing.
    skin = 0.74 * float(p["sigma"])
    cited = str(entry.get("citation", ""))
    module = StillingerWeber(cutoff, skin, float(p["range"]), int(p["p"]), int(p["q"]), species, name, cited)
    return Potential(params, module)
