"""Parameter files of potentials: JSON in the format of published.json, which holds the shipped sets."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
from ase.data import atomic_numbers, chemical_symbols

from jaxepi import schema
from jaxepi.errors import InputError, shown
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
    """The sets of a potential file, by name, checked.

    Raises:
        InputError: a file that cannot be read, of another format or version, or an entry that is missing, unknown, of
            another type or out of range.
    """
    content, where = schema.read(path, "potential file"), f"potential file {path}"
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        found = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise InputError(f"{where} has format {shown(found)}; expected {FORMAT!r}")
    if content.get("version") != VERSION or isinstance(content["version"], bool):
        raise InputError(
            f"{where} has version {shown(content.get('version'))}; this jaxepi reads version {VERSION}: convert the file, or "
            "use the jaxepi release that wrote it"
        )
    HEAD.check(content, where, "")
    for name, entry in content["sets"].items():
        form = FORMS.get(entry["form"])
        if form is None:
            raise InputError(f"{where}: set {name!r} has form {shown(entry['form'])}; known forms: {', '.join(FORMS)}")
        form.check(entry, where, f"sets.{name}")
    return content["sets"]


def build(name: str, entry: dict[str, Any]) -> Potential:
    """The potential of one entry of a file."""
    species = tuple(atomic_numbers[symbol] for symbol in entry["species"])
    return MAKERS[entry["form"]](name, entry, species)


def _valence(name: str, entry: dict[str, Any], species: tuple[int, ...]) -> Potential:
    bond_length = 3**0.5 / 4 * float(entry["lattice_constant_angstrom"])
    names = ("alpha", "beta", "gamma", "delta", "nu")
    params = {n: jnp.asarray(float(entry["parameters"][n]) * NEWTON_PER_METRE) for n in names}
    module = ValenceForceField(bond_length, species, name, str(entry.get("citation", "")))
    return Potential(params, module)


def _stillinger_weber(name: str, entry: dict[str, Any], species: tuple[int, ...]) -> Potential:
    p = entry["parameters"]
    names = ("epsilon", "sigma", "lam", "gamma", "A", "B", "cosine")
    params = {n: jnp.asarray(float(p[n])) for n in names}
    cutoff = float(p["range"]) * float(p["sigma"])
    # In silicon at its lattice constant this skin reaches just below the fourth shell: the widest that costs nothing.
    skin = 0.74 * float(p["sigma"])
    cited = str(entry.get("citation", ""))
    module = StillingerWeber(cutoff, skin, float(p["range"]), int(p["p"]), int(p["q"]), species, name, cited)
    return Potential(params, module)


MAKERS = {"modified-valence-force-field": _valence, "stillinger-weber": _stillinger_weber}


def _form(units: str, parameters: dict[str, schema.Kind], **more: schema.Kind) -> schema.Table:
    """What a set of one form holds."""
    required: dict[str, schema.Kind] = {
        "form": schema.Text(),
        "species": schema.List(schema.Text(tuple(chemical_symbols[1:]))),
        "units": schema.Text((units,)),
        "parameters": schema.Table(parameters),
    }
    return schema.Table(
        {**required, **more}, {"citation": schema.Text(), "read_from": schema.Text(), "note": schema.Text()}
    )


_POSITIVE, _ANY, _POWER = schema.Number(1e-6, 1e4), schema.Number(-1e4, 1e4), schema.Number(0, 20, whole=True)
FORMS = {
    "modified-valence-force-field": _form(
        "N/m",
        dict.fromkeys(("alpha", "beta", "gamma", "delta", "nu"), schema.Number(-1e4, 1e4, "N/m")),
        lattice_constant_angstrom=schema.Number(1, 50, "angstrom"),
    ),
    "stillinger-weber": _form(
        "eV, angstrom",
        {
            "epsilon": schema.Number(1e-6, 1e3, "eV"),
            "sigma": schema.Number(0.1, 10, "angstrom"),
            "range": schema.Number(1, 5),
            "lam": _ANY,
            "gamma": _POSITIVE,
            "cosine": schema.Number(-1, 1),
            "A": _ANY,
            "B": _ANY,
            "p": _POWER,
            "q": _POWER,
        },
    ),
}
"""What a set holds, by its form."""

HEAD = schema.Table(
    {
        "format": schema.Text(),
        "version": schema.Number(whole=True),
        "sets": schema.Entries(schema.Table({"form": schema.Text()}, others=True)),
    },
    {"note": schema.Text()},
)
