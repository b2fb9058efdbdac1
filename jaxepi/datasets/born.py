"""BORN files, phonopy's format of Born effective charges and the dielectric tensor: numbers of a crystal, no model.

The first line is a unit conversion or the word default, and may name a method; then the dielectric tensor, nine numbers;
then the charges, nine numbers a line, of the atoms that symmetry makes all others of. `#` begins a comment.
"""

import os
from typing import NamedTuple

import numpy as np
from ase.units import Bohr
from jaxtyping import Float

from jaxepi.errors import InputError
from jaxepi.units import COULOMB


class Born(NamedTuple):
    """Charges, elementary charges, shape (a, 3, 3), field direction first; dielectric tensor, shape (3, 3)."""

    charges: Float[np.ndarray, "a 3 3"]
    dielectric: Float[np.ndarray, "3 3"]


def read_born(path: str | os.PathLike) -> Born:
    """A BORN file.

    Raises:
        InputError: what is no such file, by line; an unknown conversion of units.
        OSError: there is no file, or it may not be read.
    """
    with open(path, encoding="utf-8", errors="replace") as file:
        lines = [(n, text) for n, line in enumerate(file, 1) if (text := line.split("#")[0].strip())]
    if lines and len(lines[0][1].split()) < 9:
        _refuse_units(path, lines.pop(0)[1].split()[0])
    rows = [_nine(path, n, text) for n, text in lines]
    if len(rows) < 2:
        raise InputError(
            f"{path} is no BORN file: after its first line it needs nine numbers of the dielectric tensor, and nine of the "
            f"charge of each independent atom; it has {len(rows)} such lines"
        )
    return Born(np.array(rows[1:]), rows[0])


CONVERSIONS = (COULOMB, 2.0, 1.0, Bohr)
"""e^2/(4 pi eps0) in the units of the codes that phonopy reads: eV angstrom, Rydberg bohr, Hartree bohr, Hartree angstrom."""


def _refuse_units(path: str | os.PathLike, word: str) -> None:
    """Refuse a conversion that is none: it changes the unit of force constants, not that of charges."""
    try:
        factor = float(word)
    except ValueError:
        return  # default, or the name of a method
    if not any(abs(factor / known - 1) < 1e-3 for known in CONVERSIONS):
        raise InputError(
            f"{path}, line 1: unit conversion {factor:g} is none of {', '.join(f'{c:.5g}' for c in CONVERSIONS)}; "
            "charges are in elementary charges: give the word default"
        )


def _nine(path: str | os.PathLike, number: int, text: str) -> Float[np.ndarray, "3 3"]:
    try:
        values = [float(word) for word in text.split()]
    except ValueError:
        values = []
    if len(values) != 9 or not np.isfinite(values).all():
        raise InputError(f"{path}, line {number}: expected nine numbers, found {text[:60]!r}")
    return np.array(values).reshape(3, 3)
