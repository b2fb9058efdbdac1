"""Stillinger-Weber files of LAMMPS (`pair_style sw`): plain text, an entry a triplet of elements, lines as long as they like.

    # UNITS: metal CITATION: ...
    # element 1 (centre), element 2, element 3, epsilon, sigma, a, lambda, gamma, cos(theta0), A, B, p, q, tol
    Si Si Si 2.1683 2.0951 1.80 21.0 1.20 -0.333333333333 7.049556277 0.6022245584 4.0 0.0 0.0

Flows in: a path. Flows out: a potential of all elements of the file. The numbers of a pair are those of the entry whose second
and third elements are equal; the others give lambda epsilon and cos(theta0) of triplets. A `tol` shortens the neighbour list
of LAMMPS where the terms fall below it; here they are kept.
"""

import itertools
import re
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from ase import units
from ase.data import atomic_numbers

from jaxepi.errors import InputError, shown
from jaxepi.potentials.base import Potential
from jaxepi.potentials.stillinger_weber import StillingerWeber, StillingerWeberAlloy

ENDING = ".sw"
ENERGIES = {"metal": 1.0, "real": units.kcal / units.mol}
"""eV, of LAMMPS' units of energy; both have lengths in angstrom."""

NAMES = ("epsilon", "sigma", "range", "lam", "gamma", "cosine", "A", "B", "p", "q", "tol")
PAIR = ("epsilon", "sigma", "range", "gamma", "A", "B", "p", "q")
WORDS = 3 + len(NAMES)


class Entries(NamedTuple):
    """Numbers (`NAMES`) by three elements, and what the first lines say of units and origin."""

    numbers: dict[tuple[str, str, str], dict[str, float]]
    citation: str


def entries(path: Path) -> Entries:
    """What a file holds, in eV and angstrom.

    Raises:
        InputError: a file that cannot be read, cut short, of other units, or with words that are no elements or numbers.
    """
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"potential file {path} cannot be read: {error}") from error
    head = " ".join(line for line in text.splitlines() if line.startswith("#"))
    stated = re.search(r"UNITS:\s*(\w+)", head)
    if stated and stated.group(1) not in ENERGIES:
        raise InputError(f"{path}: UNITS: {stated.group(1)}; {' and '.join(ENERGIES)} are read: convert the file")
    energy = ENERGIES[stated.group(1)] if stated else 1.0
    words = [word for line in text.splitlines() for word in line.partition("#")[0].split()]
    if not words or len(words) % WORDS:
        raise InputError(
            f"{path} holds {len(words)} words; each entry has {WORDS}: three elements and {', '.join(NAMES)}; it is cut short, "
            "or no .sw file"
        )
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for start in range(0, len(words), WORDS):
        first, second, third = words[start : start + 3]
        strange = next((e for e in (first, second, third) if not atomic_numbers.get(e)), None)
        if strange is not None:
            raise InputError(f"{path}: {shown(strange)} of entry {start // WORDS + 1} is no element")
        if (first, second, third) in found:
            raise InputError(f"{path} holds the entry {first} {second} {third} twice; keep one")
        found[first, second, third] = _numbers(
            words[start + 3 : start + WORDS], f"{path}: {first} {second} {third}", energy
        )
    cited = re.search(r"CITATION:\s*(.*?)(?=\s[A-Z]+:|$)", head)
    return Entries(found, cited.group(1) if cited else f"file {path.name} of LAMMPS")


def _numbers(words: list[str], where: str, energy: float) -> dict[str, float]:
    """Numbers of one entry, eV and angstrom."""
    try:
        found = {name: float(word) for name, word in zip(NAMES, words, strict=True)}
    except ValueError as error:
        raise InputError(f"{where}: {error}; give numbers") from error
    if (
        not (np.abs(list(found.values())) < 1e6).all()
        or found["epsilon"] < 0
        or found["sigma"] < 0
        or found["range"] < 0
    ):
        raise InputError(f"{where}: epsilon, sigma and a are positive, and no number is beyond 1e6; check the file")
    return {**found, "epsilon": energy * found["epsilon"]}


def read(path: Path) -> Potential:
    """The potential of a file.

    Raises:
        InputError: as `entries`; also triplets that are missing, and numbers that depend on the order of two atoms.
    """
    held = entries(path)
    symbols = list(dict.fromkeys(symbol for triplet in held.numbers for symbol in triplet))
    missing = next((t for t in itertools.product(symbols, repeat=3) if t not in held.numbers), None)
    if missing:
        raise InputError(
            f"{path} has no entry {' '.join(missing)}; {len(symbols)} elements need {len(symbols) ** 3} entries"
        )
    _refuse_asymmetric(held.numbers, symbols, path)
    pairs = {name: np.array([[held.numbers[a, b, b][name] for b in symbols] for a in symbols]) for name in PAIR}
    cutoff = float((pairs["range"] * pairs["sigma"]).max())
    if cutoff <= 0:
        raise InputError(f"{path}: all cutoffs a sigma are zero; check the file")
    skin = 0.74 * cutoff / float(pairs["range"].max())
    species = tuple(atomic_numbers[symbol] for symbol in symbols)
    one = held.numbers[symbols[0], symbols[0], symbols[0]]
    if len(symbols) == 1 and one["p"].is_integer() and one["q"].is_integer():
        params = {name: jnp.asarray(one[name]) for name in ("epsilon", "sigma", "lam", "gamma", "A", "B", "cosine")}
        module = StillingerWeber(
            cutoff, skin, one["range"], int(one["p"]), int(one["q"]), species, path.name, held.citation
        )
        return Potential(params, module)
    triplets = np.array([[[list(_triplet(held.numbers[a, b, c])) for c in symbols] for b in symbols] for a in symbols])
    values = {**pairs, "sigma": np.where(pairs["sigma"] > 0, pairs["sigma"], 1.0)}
    values |= {"strength": triplets[..., 0], "cosine": triplets[..., 1]}
    alloy = StillingerWeberAlloy(cutoff, skin, species, path.name, held.citation)
    return Potential({name: jnp.asarray(value) for name, value in values.items()}, alloy)


def _triplet(entry: dict[str, float]) -> tuple[float, float]:
    return entry["lam"] * entry["epsilon"], entry["cosine"]


def _refuse_asymmetric(numbers: dict[tuple[str, str, str], dict[str, float]], symbols: list[str], path: Path) -> None:
    """Pairs and triplets have no order; LAMMPS would take the numbers of whichever atom comes first."""
    for a, b in itertools.combinations(symbols, 2):
        first, second = numbers[a, b, b], numbers[b, a, a]
        other = next((name for name in PAIR if name != "gamma" and first[name] != second[name]), None)
        if other:
            raise InputError(
                f"{path}: {other} of {a} {b} {b} and of {b} {a} {a} differ; a pair has one: make them equal"
            )
    for a in symbols:
        for b, c in itertools.combinations(symbols, 2):
            if _triplet(numbers[a, b, c]) != _triplet(numbers[a, c, b]):
                raise InputError(
                    f"{path}: lambda epsilon or cos(theta0) of {a} {b} {c} and {a} {c} {b} differ; make them equal"
                )
