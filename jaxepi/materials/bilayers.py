"""Bilayers of graphene: stackings AA, AB and SP, and commensurate twists (m, r); by name or from Python.

A vector of one layer, z = p + q exp(i pi/3) in units of a, has the mirror image q + p exp(i pi/3): turned onto each other they
span one cell of both layers, turned by the angle between them. With z of (m, m + r), and m, r without common factor,

    cos(angle) = (3 m^2 + 3 m r + r^2/2) / (3 m^2 + 3 m r + r^2),   4 (3 m^2 + 3 m r + r^2) atoms

where r is no multiple of three, and a third of the atoms where it is (Lopes dos Santos, Peres, Castro Neto, Phys. Rev. B 86,
155449 (2012)). 60 degrees turn a layer into itself. The axis goes through the centres of hexagons: AA stands in the corners of
the cell.
"""

import math
import re

import numpy as np

from jaxepi.errors import InputError, whole_number
from jaxepi.structure import Structure

A, DISTANCE, HEIGHT = 2.456, 3.349, 20.0
"""Lattice constant, distance of the layers (those of the Hamiltonian graphene-trambly2010) and height of the cell, angstrom."""

STACKINGS = {"AA": 0.0, "AB": 1.0, "SP": 1.5}
"""Sliding of the upper layer along the bonds, in bond lengths."""

MOST = 100_000
"""Atoms of the largest cell that is searched for."""

CARD = {
    "description": "two layers of graphene at rest, p_z electrons, not relaxed",
    "domain": "equilibrium electrons; to relax atoms, take the shipped potential graphene-pbe-d3 at its own lattice constant, "
    "2.473 angstrom, and hold the layers apart (jaxepi.potentials.relaxed_atoms)",
}
"""What a card says of them, beside what that of graphene does."""

STACKED = re.compile(r"bilayer-graphene-(\w+)")
TWISTED = re.compile(r"twisted-bilayer-graphene-(?:m(\d+)-r(\d+)|(\d+(?:\.\d+)?))")


def stacked(stacking: str = "AB", distance: float = DISTANCE, a: float = A) -> Structure:
    """Two layers of graphene without twist, four atoms.

    Args:
        stacking: one of `STACKINGS`. distance: of the layers, angstrom. a: lattice constant, angstrom.

    Raises:
        InputError: another stacking, or lengths that make no bilayer.
    """
    if stacking not in STACKINGS:
        raise InputError(f"stacking {stacking!r}: choose one of {', '.join(STACKINGS)}")
    return _assembled((1, 0), (1, 0), STACKINGS[stacking], distance, a)


def twisted(m: int, r: int = 1, distance: float = DISTANCE, a: float = A) -> Structure:
    """Two layers of graphene turned against each other by `angle(m, r)`, at rest in each layer.

    Args:
        distance: of the layers, angstrom. a: lattice constant, angstrom.

    Raises:
        InputError: m and r with a common factor (the message names the pair that means the same twist), cells of more than
            `MOST` atoms, or lengths that make no bilayer.
    """
    z = _reduced(m, r)
    if 4 * _norm(*z) > MOST:
        raise InputError(
            f"twist m={m}, r={r}: {4 * _norm(*z)} atoms are more than {MOST}; the twist is {angle(m, r):.3f} degrees"
        )
    return _assembled(z, z[::-1], 0.0, distance, a)


def angle(m: int, r: int = 1) -> float:
    """Twist of (m, r), degrees."""
    _reduced(m, r)
    return math.degrees(_argument(m, m + r) - _argument(m + r, m))


def nearest(degrees: float, most_atoms: int = 12_000) -> tuple[int, int]:
    """The pair (m, r) whose twist is nearest to an angle, the smallest cell of equal ones.

    Args:
        degrees: between 0 and 60. most_atoms: of the cell.

    Raises:
        InputError: an angle out of range.
    """
    if not 0 < degrees < 60:
        raise InputError(f"twist of {degrees} degrees: give one between 0 and 60")
    most = round((most_atoms / 4) ** 0.5) + 1
    pairs = ((m, r) for m in range(1, most) for r in range(1, 3 * most) if math.gcd(m, r) == 1)
    sizes = {pair: 4 * _norm(*_reduced(*pair)) for pair in pairs}
    fitting = [pair for pair in sizes if sizes[pair] <= most_atoms]
    return min(fitting, key=lambda pair: (round(abs(angle(*pair) - degrees), 6), sizes[pair]))


def named(name: str) -> Structure | None:
    """The bilayer of a material's name, such as bilayer-graphene-AB, twisted-bilayer-graphene-m30-r1 or
    twisted-bilayer-graphene-1.08 (degrees, rounded as written); None where the name is of another form.

    Raises:
        InputError: a stacking that is none, or a twist that does not fit; the message names the nearest that does.
    """
    if found := STACKED.fullmatch(name):
        return stacked(found.group(1))
    if not (found := TWISTED.fullmatch(name)):
        return None
    m, r, degrees = found.groups()
    if degrees is None:
        return twisted(int(m), int(r))
    m, r = nearest(float(degrees))
    decimals = len(degrees.partition(".")[2])
    if abs(angle(m, r) - float(degrees)) > 0.5001 * 10**-decimals:
        raise InputError(
            f"{name}: no cell of at most 12000 atoms has a twist of {degrees} degrees; the nearest is {angle(m, r):.4f}: "
            f"twisted-bilayer-graphene-m{m}-r{r}, {4 * _norm(*_reduced(m, r))} atoms"
        )
    return twisted(m, r)


def _reduced(m: int, r: int) -> tuple[int, int]:
    """The vector (p, q) of the smallest cell."""
    m, r = (whole_number(n, f"twist m={m}, r={r}") for n in (m, r))
    common = math.gcd(m, r)
    if common > 1:
        raise InputError(f"twist m={m}, r={r}: m={m // common}, r={r // common} is the same twist; give that")
    p, q = m, m + r
    if r % 3 == 0:  # both vectors have the factor 1 + exp(i pi/3); turns of 60 degrees change no layer
        p, q = (2 * p + q) // 3, (q - p) // 3
    return p, q


def _norm(p: int, q: int) -> int:
    return p * p + p * q + q * q


def _argument(p: int, q: int) -> float:
    return math.atan2(q * 3**0.5 / 2, p + q / 2)


def _assembled(lower: tuple[int, int], upper: tuple[int, int], slide: float, distance: float, a: float) -> Structure:
    """Two layers whose vectors (p, q) both lie along the first lattice vector of their common cell."""
    if not (1.0 < a < 10.0 and 1.0 < distance < HEIGHT - 5.0):
        raise InputError(
            f"lattice constant {a} and distance {distance} angstrom: give 1 to 10 and 1 to {HEIGHT - 5:g} (the cell "
            f"is {HEIGHT:g} high)"
        )
    length = a * _norm(*lower) ** 0.5
    cell = np.array([[length, 0.0, 0.0], [-length / 2, length * 3**0.5 / 2, 0.0], [0.0, 0.0, HEIGHT]])
    sheets = [
        np.column_stack([_layer(*z, a, s) @ cell[:2, :2], np.full(2 * _norm(*z), HEIGHT / 2 + up * distance / 2)])
        for z, s, up in ((lower, 0.0, -1), (upper, slide, 1))
    ]
    positions = np.concatenate(sheets)
    return Structure.create(positions, cell, [6] * len(positions), (True, True, False))


def _layer(p: int, q: int, a: float, slide: float) -> np.ndarray:
    """Atoms of one layer in the cell of (p, q), in fractions of its lattice vectors, at (1, 2)/3 of its hexagons."""
    rows = np.array([[p, q], [-(p + q), p]])  # the second is the first turned by 120 degrees
    count = _norm(p, q)
    reach = np.arange(-2 * (p + q), 2 * (p + q) + 1)
    points = np.stack(np.meshgrid(reach, reach, indexing="ij"), axis=-1).reshape(-1, 2)
    adjugate = np.array([[rows[1, 1], -rows[0, 1]], [-rows[1, 0], rows[0, 0]]])
    inside = points @ adjugate
    points = points[((inside >= 0) & (inside < count)).all(axis=1)]
    sites = points[:, None] + (np.array([[1.0, 1.0], [2.0, 2.0]]) + slide)[None] / 3
    return sites.reshape(-1, 2) @ adjugate / count
