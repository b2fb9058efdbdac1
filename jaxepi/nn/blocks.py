"""From tensors to blocks between shells, and back: the Wigner-Eckart theorem for real orbitals.

A block between a shell of angular momentum l and one of l' turns with the crystal as the product of the two, so that

    block[m, m'] = sum_L sum_M C(l m, l' m'; L M) x_L,M,        |l - l'| <= L <= l + l', parity (-1)^(l + l'),

with C orthonormal. Every Hermitian H(R) that turns with the crystal is of this form, L of both natural and unnatural parity:
p x p' holds 1e, p x d holds 2o. Flows in: tensors of edges and atoms. Flows out: blocks in e3nn's order of harmonics.
"""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float, Inexact, Int

from jaxepi.nn.features import Irrep, natural
from jaxepi.nn.spherical import coupling


def shell_irreps(l1: int, l2: int) -> tuple[Irrep, ...]:
    """Irreps of a block between shells of angular momenta l1 and l2."""
    return natural(l1) * natural(l2)


def block(l1: int, l2: int, tensors: Mapping[Irrep, Float[Array, "*e _"]]) -> Float[Array, "*e a b"]:
    """The block between two shells from its tensors, at least one of the irreps of `shell_irreps`; those that are left out are
    zero."""
    terms = []
    for irrep in shell_irreps(l1, l2):
        if irrep in tensors:
            x = tensors[irrep]
            terms.append(jnp.einsum("abm,...m->...ab", jnp.asarray(coupling(l1, l2, irrep.l), x.dtype), x))
    return sum(terms[1:], terms[0])


def components(l1: int, l2: int, values: Float[Array, "*e a b"]) -> dict[Irrep, Float[Array, "*e _"]]:
    """The tensors of a block between two shells; `block` makes it again."""
    return {
        irrep: jnp.einsum("abm,...ab->...m", jnp.asarray(coupling(l1, l2, irrep.l), values.dtype), values)
        for irrep in shell_irreps(l1, l2)
    }


def hermitian(blocks: Inexact[Array, "e o o"], reverse: Int[Array, "e"] | None = None) -> Inexact[Array, "e o o"]:
    """Half the sum of every block and the conjugate transpose of its reverse: H(k) is Hermitian for all k.

    Args:
        reverse: index of the reverse of every edge (`Graph.reverse`); None for on-site blocks, which are their own.
    """
    back = blocks if reverse is None else blocks[reverse]
    return 0.5 * (blocks + jnp.conj(jnp.swapaxes(back, 1, 2)))
