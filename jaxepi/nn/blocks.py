"""From tensors to blocks between shells, and back: the Wigner-Eckart theorem for real orbitals.

A block between a shell of angular momentum l and one of l' turns with the crystal as the product of the two, so that

    block[m, m'] = sum_L sum_M C(l m, l' m'; L M) x_L,M,        |l - l'| <= L <= l + l', parity (-1)^(l + l'),

with C orthonormal. Every Hermitian H(R) that turns with the crystal is of this form, L of both natural and unnatural parity:
p x p' holds 1e, p x d holds 2o. Flows in: features of edges and atoms. Flows out: blocks in e3nn's order of harmonics.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Inexact, Int

from jaxepi.errors import InputError
from jaxepi.nn.features import Features, Irrep, natural
from jaxepi.nn.spherical import coupling


def shell_irreps(l1: int, l2: int) -> tuple[Irrep, ...]:
    """Irreps of a block between shells of angular momenta l1 and l2."""
    return natural(l1) * natural(l2)


def block(l1: int, l2: int, tensors: Mapping[Irrep, Float[Array, "*e _"]]) -> Float[Array, "*e a b"]:
    """The block between two shells from its tensors, one an irrep of `shell_irreps`."""
    terms = []
    for irrep in shell_irreps(l1, l2):
        x = tensors[irrep]
        terms.append(jnp.einsum("abm,...m->...ab", jnp.asarray(coupling(l1, l2, irrep.l), x.dtype), x))
    return sum(terms[1:], terms[0])


def components(l1: int, l2: int, values: Float[Array, "*e a b"]) -> dict[Irrep, Float[Array, "*e _"]]:
    """The tensors of a block between two shells; `block` makes it again."""
    return {
        irrep: jnp.einsum("abm,...ab->...m", jnp.asarray(coupling(l1, l2, irrep.l), values.dtype), values)
        for irrep in shell_irreps(l1, l2)
    }


class BlockReadout(nn.Module):
    """Blocks between all shells, linear in the features of edges (hopping) or atoms (on-site).

    A block is directed like its edge, <sender mu| H |receiver nu>; see `hermitian`. What the shells of a pair of species lack
    is left to the basis, which knows the padding of ragged blocks.

    Attributes:
        shells: angular momentum of every shell, in the order of the block.
    """

    shells: tuple[int, ...]

    @nn.compact
    def __call__(self, features: Features) -> Float[Array, "e o o"]:
        """Raises:
        InputError: features that lack an irrep which the shells need.
        """
        pairs = [(i, j) for i in range(len(self.shells)) for j in range(len(self.shells))]
        wanted = {pair: shell_irreps(*(self.shells[i] for i in pair)) for pair in pairs}
        needed = sorted({irrep for irreps in wanted.values() for irrep in irreps})
        missing = [str(irrep) for irrep in needed if irrep not in features]
        if missing:
            raise InputError(
                f"blocks between shells of angular momenta {self.shells} need features {', '.join(missing)}: add them to the "
                "irreps of the layers before"
            )
        read = {}
        for irrep in needed:
            x, users = features[irrep], [pair for pair in pairs if irrep in wanted[pair]]
            w = self.param(f"w{irrep.label}", nn.initializers.normal(1.0), (x.shape[-1], len(users)))
            found = x @ (w.astype(x.dtype) / x.shape[-1] ** 0.5)
            read.update({(pair, irrep): found[..., i] for i, pair in enumerate(users)})
        rows = [
            jnp.concatenate(
                [
                    block(self.shells[i], self.shells[j], {irrep: read[(i, j), irrep] for irrep in wanted[i, j]})
                    for j in range(len(self.shells))
                ],
                axis=2,
            )
            for i in range(len(self.shells))
        ]
        return jnp.concatenate(rows, axis=1)


def hermitian(blocks: Inexact[Array, "e o o"], reverse: Int[Array, "e"] | None = None) -> Inexact[Array, "e o o"]:
    """Half the sum of every block and the conjugate transpose of its reverse: H(k) is Hermitian for all k.

    Args:
        reverse: index of the reverse of every edge (`Graph.reverse`); None for on-site blocks, which are their own.
    """
    back = blocks if reverse is None else blocks[reverse]
    return 0.5 * (blocks + jnp.conj(jnp.swapaxes(back, 1, 2)))
