"""What models there are: shipped potentials and Hamiltonians with their elements, level, errors and citation, from their files.

Flows in: headers of files, no parameters. Flows out: `ModelCard`s, and the words of refusals that name what fits a crystal.
"""

import json
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from ase.data import chemical_symbols

from jaxepi import archive
from jaxepi.errors import InputError
from jaxepi.hamiltonians import parameter_files as hamiltonian_files
from jaxepi.model import Module
from jaxepi.potentials import parameter_files as potential_files
from jaxepi.structure import Structure

KINDS = ("potential", "hamiltonian")
EMPIRICAL = "empirical"
"""The level of what was fitted to measurements."""


class ModelCard(NamedTuple):
    """A shipped model in a line or two.

    Attributes:
        kind: one of `KINDS`. elements: symbols, sorted. level: of theory of its labels. errors: in words; empty where its file
            says nothing of them.
    """

    kind: str
    name: str
    elements: tuple[str, ...]
    level: str
    errors: str
    citation: str

    @property
    def learned_potential(self) -> bool:
        """Whether `potentials.card` says more of it."""
        return self.kind == "potential" and self.level != EMPIRICAL


def catalogue() -> dict[str, dict[str, Any]]:
    """Entries of the shipped materials, by name."""
    return json.loads((resources.files("jaxepi.materials") / "catalogue.json").read_text())


@cache
def shipped() -> tuple[ModelCard, ...]:
    """All shipped models, potentials first."""
    cards = [_published_potential(name, entry) for name, entry in potential_files.shipped().items()]
    cards += [_learned(path) for path in _checkpoints("potentials")]
    cards += [_published_hamiltonian(name) for name in hamiltonian_files.sets()]
    cards += [_learned(path) for path in _checkpoints("hamiltonians")]
    return tuple(sorted(cards, key=lambda card: (KINDS.index(card.kind), card.name)))


def holding(kind: str, elements: Iterable[str]) -> list[ModelCard]:
    """Shipped models of a kind that have parameters for all of some elements."""
    wanted = set(elements)
    return [card for card in shipped() if card.kind == kind and wanted <= set(card.elements)]


def remedy(kind: str, structure: Structure) -> str:
    """What to do about a crystal without a fitting model: names of those that have its elements, or how to train one."""
    elements = sorted({chemical_symbols[z] for z in structure.species})
    fitting, words = holding(kind, elements), " and ".join(elements)
    train = f"train one: jaxepi train --example {kind}"
    if not fitting:
        return f"no shipped {kind} has {words}: give the path of one (--{kind}), or {train}"
    names = ", ".join(card.name for card in fitting)
    return f"those of {words} are {names} (--{kind} NAME or path; what they hold for: jaxepi materials), or {train}"


def refuse_foreign(kind: str, name: str, module: Module, structure: Structure) -> None:
    """Refuse a model for a crystal with elements that it does not have.

    Raises:
        InputError: names the elements, and models that fit.
    """
    for i, z in enumerate(structure.species):
        if module.species and z not in module.species:
            known = ", ".join(chemical_symbols[s] for s in module.species)
            raise InputError(
                f"atom {i} is {chemical_symbols[z]}; {name} has parameters for {known} only; {remedy(kind, structure)}"
            )


def lines(cards: Iterable[ModelCard]) -> list[str]:
    """Cards as text: a line of facts each, its errors and its citation below."""
    out = []
    for card in cards:
        out.append(f"{card.kind:12} {card.name:22} {' '.join(card.elements):6} {card.level}")
        out += [f"{'':13}{words}" for words in (card.errors, card.citation) if words]
    return out


def _checkpoints(room: str) -> list[Path]:
    """Shipped checkpoints of a room."""
    return sorted((Path(__file__).parents[1] / room / "models").glob("*.npz"))


def _published_potential(name: str, entry: dict[str, Any]) -> ModelCard:
    cited, note = str(entry.get("citation", "")), str(entry.get("note", ""))
    return ModelCard("potential", name, tuple(sorted(entry["species"])), EMPIRICAL, note, cited)


def _published_hamiltonian(name: str) -> ModelCard:
    entry = hamiltonian_files.read(name)
    elements = tuple(sorted(entry["species"]))
    return ModelCard("hamiltonian", name, elements, EMPIRICAL, "", str(entry["citation"]))


def _learned(path: Path) -> ModelCard:
    """Of a checkpoint's header; parameters are not read."""
    with archive.opened(path) as file:
        kind, config, card = (file.header[n] for n in ("kind", "config", "card"))
    cited = str(card.get("citation", ""))
    if kind == "potential":
        elements = tuple(sorted(chemical_symbols[z] for z in config["species"]))
        level, test = ", ".join(card["level"]), card["errors"]["test"]
        errors = f"test: {test['energy_rmse']:.2f} meV/atom, {test['forces_rmse']:.1f} meV/angstrom rms"
    elif config["model"].get("kind") == "equivariant":
        elements = tuple(sorted(chemical_symbols[z] for z in config["species"]))
        level, test = str(card["level"]), card["errors_mev"]["test"]
        errors = (
            f"test: {test['all']:.2f} meV of H(R), {test['onsite']:.1f} on-site, mean absolute, up to a multiple of S"
        )
    else:
        elements = tuple(sorted(config["model"]["base"]["species"]))
        level, test = str(card["level"]), card["errors_mev"]["test"]
        errors = f"test: bands {test['bands_rmse']:.0f} meV rms, gap {test['gap_bias']:+.0f} +- {test['gap_scatter']:.0f} meV"
    return ModelCard(kind, path.stem, elements, level, errors, cited)


def material_lines(elements: Iterable[str] = ()) -> list[str]:
    """Shipped materials and models that hold all of some elements, as text."""
    wanted = set(elements)
    out = ["Materials (their cards: jaxepi materials NAME)"]
    for name, entry in sorted(catalogue().items()):
        if wanted <= set(_elements(entry)):
            models = f"{entry['hamiltonian']}, {entry['potential'] or 'no potential'}"
            out.append(f"{name:16} {' '.join(_elements(entry)):6} {entry['description']}; {models}")
    cards = [card for card in shipped() if wanted <= set(card.elements)]
    if len(out) == 1 and not cards:
        kinds = " or ".join(KINDS)
        return [f"Nothing shipped holds {' and '.join(sorted(wanted))}; train a model: jaxepi train --example {kinds}"]
    found = out if len(out) > 1 else [f"No shipped material holds {' and '.join(sorted(wanted))}"]
    return [*found, "", "Models", *lines(cards)]


def _elements(entry: dict[str, Any]) -> tuple[str, ...]:
    """Symbols of a material, sorted."""
    from ase.formula import Formula

    return tuple(sorted(Formula(entry["crystal"]["name"]).count()))
