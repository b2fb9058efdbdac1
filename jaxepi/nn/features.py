"""Features by angular momentum and parity: the irreducible representations of rotations and inversion.

Under a rotation, components of angular momentum l mix by Wigner's D; under inversion they keep or change their sign, the
parity. Spherical harmonics have the natural parity (-1)^l: vectors are 1o. Products leave it: p x p' holds the pseudovector
1e, and p x d the 2o, that blocks of a Hamiltonian need and no sum over harmonics gives.
"""

import dataclasses
from collections.abc import Iterable

from jaxtyping import Array

from jaxepi.errors import InputError


@dataclasses.dataclass(frozen=True)
class Irrep:
    """Angular momentum and parity, printed as 1o (odd) or 1e (even).

    Those of natural parity come first in any order of irreps, so that networks that use no others keep the order, and the
    names, of their parameters.

    Attributes:
        l: angular momentum. parity: 1 or -1.

    Raises:
        InputError: anything else.
    """

    l: int
    parity: int

    def __post_init__(self):
        if self.l < 0 or self.parity not in (1, -1):
            raise InputError(f"angular momentum {self.l} of parity {self.parity}: give l >= 0 and parity 1 or -1")

    @property
    def dim(self) -> int:
        """Components."""
        return 2 * self.l + 1

    @property
    def natural(self) -> bool:
        """Whether the parity is that of the spherical harmonics, (-1)^l."""
        return self.parity == (-1) ** self.l

    @property
    def label(self) -> str:
        """In the names of parameters: 1 for 1o, 1e for 1e."""
        return str(self.l) if self.natural else str(self)

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.parity == 1 else 'o'}"

    def __lt__(self, other: "Irrep") -> bool:
        return (not self.natural, self.l) < (not other.natural, other.l)

    def __mul__(self, other: "Irrep") -> tuple["Irrep", ...]:
        """All irreps that the product of two holds, each once."""
        return tuple(Irrep(l, self.parity * other.parity) for l in range(abs(self.l - other.l), self.l + other.l + 1))


Features = dict[Irrep, Array]
"""features[irrep]: shape (n, 2l+1, channels), n atoms or edges, components in e3nn's order, channels last."""


def natural(l: int) -> Irrep:
    """Angular momentum l with the parity of the spherical harmonics."""
    return Irrep(l, (-1) ** l)


SCALAR = natural(0)


def natural_up_to(lmax: int) -> tuple[Irrep, ...]:
    """Every l <= lmax with its natural parity."""
    return tuple(natural(l) for l in range(lmax + 1))


def all_up_to(lmax: int) -> tuple[Irrep, ...]:
    """Every l <= lmax with both parities."""
    return tuple(sorted(Irrep(l, parity) for l in range(lmax + 1) for parity in (1, -1)))


def paths(first: Iterable[Irrep], second: Iterable[Irrep], to: Irrep) -> list[tuple[Irrep, Irrep]]:
    """Pairs of one irrep of each kind whose product holds `to`."""
    second = sorted(second)
    return [(a, b) for a in sorted(first) for b in second if to in a * b]
