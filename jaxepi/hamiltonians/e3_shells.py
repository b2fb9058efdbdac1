"""Blocks between the shells of a basis as tensors: the one order in which the parts of an equivariant Hamiltonian keep them.

A block of a pair of shells holds every angular momentum |l1 - l2| ... l1 + l2 once (`nn.block`). Columns of one irrep, over
all ordered pairs of shells that hold it, stand together, so that one matrix product makes them all.
"""

import dataclasses
from collections.abc import Mapping
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.nn import Irrep, block, coupling, shell_irreps


@dataclasses.dataclass(frozen=True)
class Shells:
    """Angular momenta of the shells of a block, in its order."""

    l: tuple[int, ...]

    @property
    def width(self) -> int:
        """Orbitals of a block."""
        return sum(2 * l + 1 for l in self.l)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Where each shell begins in a block."""
        return tuple(int(n) for n in np.cumsum([0, *(2 * l + 1 for l in self.l)])[:-1])

    def part(self, shell: int) -> slice:
        """Where a shell stands in a block."""
        return slice(self.starts[shell], self.starts[shell] + 2 * self.l[shell] + 1)

    @cached_property
    def columns(self) -> dict[Irrep, tuple[tuple[int, int], ...]]:
        """Ordered pairs of shells whose block holds an irrep, by irrep."""
        found: dict[Irrep, list[tuple[int, int]]] = {}
        for i, first in enumerate(self.l):
            for j, second in enumerate(self.l):
                for irrep in shell_irreps(first, second):
                    found.setdefault(irrep, []).append((i, j))
        return {irrep: tuple(found[irrep]) for irrep in sorted(found)}

    @property
    def irreps(self) -> tuple[Irrep, ...]:
        """All irreps of the blocks."""
        return tuple(self.columns)

    @property
    def natural(self) -> tuple[Irrep, ...]:
        """Those of natural parity: of two centres alone."""
        return tuple(irrep for irrep in self.irreps if irrep.natural)

    def tensors(self, blocks: Float[np.ndarray, "e o o"], irrep: Irrep) -> Float[np.ndarray, "e m p"]:
        """What `blocks` makes of an irrep: its components in every pair of shells (on the host)."""
        held = ((coupling(self.l[i], self.l[j], irrep.l), self.part(i), self.part(j)) for i, j in self.columns[irrep])
        return np.stack([np.einsum("abm,eab->em", c, blocks[:, first, second]) for c, first, second in held], axis=2)

    def blocks(self, tensors: Mapping[Irrep, Array]) -> Float[Array, "e o o"]:
        """Blocks of all pairs of shells from their tensors; irreps that are left out are zero."""
        like = next(iter(tensors.values()))
        rows = []
        for i, first in enumerate(self.l):
            row = []
            for j, second in enumerate(self.l):
                # No zeros for what is left out: the compiler would multiply them out for all edges.
                held = {
                    irrep: tensors[irrep][..., self.columns[irrep].index((i, j))]
                    for irrep in shell_irreps(first, second)
                    if irrep in tensors
                }
                empty = jnp.zeros((like.shape[0], 2 * first + 1, 2 * second + 1), like.dtype)
                row.append(block(first, second, held) if held else empty)
            rows.append(jnp.concatenate(row, axis=2))
        return jnp.concatenate(rows, axis=1)
