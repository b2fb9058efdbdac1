"""From numbers of a bond to blocks that turn with it: two-centre integrals, on-site terms, three-centre tensors.

Flows in: directions of bonds, and numbers or tensors that a network gives each. Flows out: blocks between all shells.
"""

import dataclasses
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.hamiltonians.basis import SHELLS, Basis
from jaxepi.hamiltonians.two_centre import two_centre
from jaxepi.nn.spherical import coupling


def integrals(basis: Basis) -> tuple[tuple[str, str, int], ...]:
    """Unordered pairs of shells (the first not after the second in `basis.all_shells`), with their number of integrals."""
    shells = basis.all_shells
    return tuple((a, b, min(SHELLS[a][0], SHELLS[b][0]) + 1) for i, a in enumerate(shells) for b in shells[i:])


def three_centre(basis: Basis, lmax: int) -> tuple[tuple[str, str, int], ...]:
    """Pairs of shells as in `integrals`, with every angular momentum 0 < l <= lmax of natural parity that couples them."""
    out = []
    for a, b, _ in integrals(basis):
        la, lb = SHELLS[a][0], SHELLS[b][0]
        out += [(a, b, l) for l in range(abs(la - lb), la + lb + 1) if 0 < l <= lmax and (la + lb + l) % 2 == 0]
    return tuple(out)


@dataclasses.dataclass(frozen=True)
class Angles:
    """Angular factors of the bonds: turns integrals into blocks.

    Attributes:
        shells: in the order of the blocks. pairs: of `integrals`. blocks: pair -> factors, arrays (e, 2l+1, 2l'+1).
    """

    shells: tuple[str, ...]
    pairs: tuple[tuple[str, str, int], ...]
    blocks: Mapping[tuple[str, str], list[Array]]

    @classmethod
    def of(cls, basis: Basis, direction: Float[Array, "e 3"]) -> "Angles":
        """Of unit vectors from sender to receiver."""
        pairs = integrals(basis)
        blocks: dict[tuple[str, str], list[Array]] = {}
        for a, b, _ in pairs:
            (l1, keep1), (l2, keep2) = SHELLS[a], SHELLS[b]
            blocks[a, b] = [x[:, np.array(keep1)][:, :, np.array(keep2)] for x in two_centre(l1, l2, direction)]
        return cls(basis.all_shells, pairs, blocks)

    @property
    def count(self) -> int:
        """Integrals of a bond."""
        return sum(n for _, _, n in self.pairs)

    def hoppings(self, there: Float[Array, "e c"], back: Float[Array, "e c"]) -> Float[Array, "e o o"]:
        """Blocks <sender| |receiver> from integrals of each bond and of the same bond reversed."""
        found, start = {}, 0
        for a, b, n in self.pairs:
            forward, reverse = there[:, start : start + n], back[:, start : start + n]
            start += n
            if a == b:
                found[a, b] = self._sum(a, b, 0.5 * (forward + reverse))
                continue
            found[a, b] = self._sum(a, b, forward)
            sign = (-1.0) ** (SHELLS[a][0] + SHELLS[b][0])
            found[b, a] = sign * jnp.swapaxes(self._sum(a, b, reverse), 1, 2)
        return self._assemble(found)

    def tensors(
        self, paths: tuple[tuple[str, str, int], ...], there: tuple[Array, ...], back: tuple[Array, ...]
    ) -> Float[Array, "e o o"]:
        """Three-centre blocks from the tensors of each bond and of the same bond reversed, one a path."""
        found = {}
        for a, b, _ in self.pairs:
            zero = jnp.zeros_like(self.blocks[a, b][0])
            found[a, b], found[b, a] = zero, jnp.swapaxes(zero, 1, 2)
        for (a, b, l), forward, reverse in zip(paths, there, back, strict=True):
            (l1, keep1), (l2, keep2) = SHELLS[a], SHELLS[b]
            couple = jnp.asarray(coupling(l1, l2, l)[np.array(keep1)][:, np.array(keep2)], forward.dtype)
            one = jnp.einsum("abm,em->eab", couple, forward)
            other = jnp.einsum("abm,em->eba", couple, reverse)
            if a == b:
                found[a, b] = found[a, b] + 0.5 * (one + other)
            else:
                found[a, b], found[b, a] = found[a, b] + one, found[b, a] + other
        return self._assemble(found)

    def factors(self, there: Float[Array, "e p"], back: Float[Array, "e p"]) -> Float[Array, "e o o"]:
        """One number a pair of shells, over the whole block of that pair."""
        found = {}
        for i, (a, b, _) in enumerate(self.pairs):
            one = jnp.ones_like(self.blocks[a, b][0])
            if a == b:
                found[a, b] = 0.5 * (there[:, i] + back[:, i])[:, None, None] * one
            else:
                found[a, b] = there[:, i, None, None] * one
                found[b, a] = back[:, i, None, None] * jnp.swapaxes(one, 1, 2)
        return self._assemble(found)

    def onsite(self, values: Float[Array, "e c"]) -> Float[Array, "e o o"]:
        """What each bond adds to the block of its sender: symmetric blocks."""
        found, start = {}, 0
        for a, b, n in self.pairs:
            found[a, b] = self._sum(a, b, values[:, start : start + n])
            found[b, a] = jnp.swapaxes(found[a, b], 1, 2)
            start += n
        return self._assemble(found)

    def _sum(self, a: str, b: str, values: Array) -> Array:
        terms = [values[:, i, None, None] * x for i, x in enumerate(self.blocks[a, b])]
        return sum(terms[1:], terms[0])

    def _assemble(self, found: Mapping[tuple[str, str], Array]) -> Array:
        rows = [jnp.concatenate([found[a, b] for b in self.shells], axis=2) for a in self.shells]
        return jnp.concatenate(rows, axis=1)
