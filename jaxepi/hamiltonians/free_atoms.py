"""What is known of free atoms: energies of their shells, radii, electrons in shells. Numbers and sources: `free_atoms.json`."""

import functools
import json
from pathlib import Path
from typing import Any

from ase.data import atomic_numbers, covalent_radii

HARTREE, BOHR = 27.211324570274, 1 / 1.8897259886
"""eV and angstrom, as DeePTB has them, whose models refer to these energies and radii."""


@functools.cache
def _table() -> dict[str, Any]:
    return json.loads((Path(__file__).parent / "free_atoms.json").read_text())


def energies(symbol: str) -> dict[str, float]:
    """Energies of the shells of a free atom in the local density approximation, eV; those that are known."""
    return {shell: value * HARTREE for shell, value in _table()["energies"].get(symbol, {}).items()}


def radius(symbol: str, covalent: bool) -> float | None:
    """Angstrom: the covalent radius, or half the radius of confinement where that is known."""
    if covalent:
        return float(covalent_radii[atomic_numbers[symbol]])
    found = _table()["radii"].get(symbol)
    return None if found is None else found * BOHR / 2


def valence(symbol: str, shells: list[str]) -> int | None:
    """Electrons of the free atom in shells that are named with their principal number; None where names do not tell.

    Main groups alone, and others with both of the shells that share the electrons past the noble gas (ns and (n-1)d).
    """
    named = {name for name in shells if name[0].isdigit()}
    filled = _configuration(atomic_numbers[symbol])
    last = max(int(name[0]) for name in filled)
    open_shells = {name for name, count in filled.items() if name[1] in "df" and count not in (10, 14)}
    closed = f"{last - 1}d" in filled and (atomic_numbers[symbol] in (29, 30, 46, 47, 48, 78, 79, 80))
    needed = {f"{last}s", *open_shells, *({f"{last - 1}d"} if closed else set())}
    if (
        not needed <= named
        or (f"{last}p" in filled and f"{last}p" not in named)
        or any(name[1] == "f" for name in open_shells)
    ):
        return None
    return sum(count for name, count in filled.items() if name in named)


def _configuration(number: int) -> dict[str, int]:
    """Shells and their electrons by Madelung's rule."""
    order = sorted((n + l, n, l) for n in range(1, 8) for l in range(min(n, 4)))
    out = {}
    for _, n, l in order:
        if number <= 0:
            break
        out[f"{n}{'spdf'[l]}"] = min(number, 4 * l + 2)
        number -= 4 * l + 2
    return out
