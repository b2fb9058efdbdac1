"""Symmetric contraction: products of an atom's features with themselves, the many-body basis of MACE.

Batatia et al., NeurIPS 2022 (MACE), eqs. 10 and 11. With A the features of one channel, all components in one vector,

    B_M = sum_c A_c [ sum_{a<=b} U3_{abc,M} A_a A_b ] + sum_{a<=b} U2_{ab,M} A_a A_b + sum_a U1_{a,M} A_a,

where U are the couplings to total angular momentum, already contracted with the learned weights of the atom's species.
The products A_a A_b are made once for all M and orders; what is left is one matrix product a channel.
"""

from functools import lru_cache

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Int

from jaxepi.errors import InputError
from jaxepi.nn.linear import Features, select


@lru_cache(maxsize=64)
def symmetric_basis(lmax: int, order: int, l: int) -> np.ndarray:
    """Independent symmetric couplings of `order` factors with l <= lmax (natural parities) to angular momentum `l`.

    Returns:
        Shape (c,)*order + (2l+1, paths), c = (lmax + 1)^2.
    """
    import e3nn_jax as e3nn

    parity = {0: "e", 1: "o"}
    factor = e3nn.Irreps("+".join(f"{k}{parity[k % 2]}" for k in range(lmax + 1)))
    basis = e3nn.reduced_symmetric_tensor_product_basis(factor, order, keep_ir=[e3nn.Irrep(f"{l}{parity[l % 2]}")])
    array = np.asarray(basis.array)
    return np.moveaxis(array.reshape(*array.shape[:-1], -1, 2 * l + 1), -1, -2)


class SymmetricContraction(nn.Module):
    """Products of up to `order` factors, coupled to every l <= lmax.

    Attributes:
        order: 1, 2 or 3 (the correlation order). species: how many. lmax: highest angular momentum of the output.
    """

    order: int
    species: int
    lmax: int

    @nn.compact
    def __call__(self, features: Features, index: Int[Array, "n"]) -> Features:
        """features[l]: shape (n, 2l+1, k); index: species of each atom."""
        if self.order not in (1, 2, 3):
            raise InputError(f"correlation order {self.order}: choose 1, 2 or 3")
        a = jnp.transpose(jnp.concatenate(features, axis=1), (2, 1, 0))  # channels, components, atoms
        couplings = [self._couplings(order, len(features) - 1, a) for order in range(1, self.order + 1)]
        values = select(jnp.stack([self._contract(a, [u[z] for u in couplings]) for z in range(self.species)]), index)
        starts = np.cumsum([2 * l + 1 for l in range(self.lmax + 1)])[:-1]
        return tuple(jnp.split(values, starts, axis=1))

    def _couplings(self, order: int, lmax: int, like: Array) -> Array:
        """Couplings times weights, shape (species, channels, c, ..., all M of all l)."""
        out = []
        for l in range(self.lmax + 1):
            basis = symmetric_basis(lmax, order, l)
            shape = (self.species, basis.shape[-1], like.shape[0])
            w = self.param(f"w{order}_{l}", nn.initializers.normal(1.0 / basis.shape[-1]), shape).astype(like.dtype)
            out.append(jnp.einsum("...p,spk->sk...", jnp.asarray(basis, like.dtype), w))
        return jnp.concatenate(out, axis=-1)

    def _contract(self, a: Array, couplings: list[Array]) -> Array:
        """All orders, for the weights of one species: shape (atoms, M, channels)."""
        k, c, n = a.shape
        total = jnp.einsum("kam,kan->knm", couplings[0], a)
        if self.order > 1:
            first, second = np.triu_indices(c)
            twice = np.where(first == second, 1.0, 2.0).astype(a.dtype)
            pairs = a[:, first] * a[:, second]
            rows = couplings[1][:, first, second] * twice[:, None]
            total = total + jnp.einsum("kpm,kpn->knm", rows, pairs)
        if self.order > 2:
            rows = (couplings[2][:, first, second] * twice[:, None, None]).reshape(k, len(first), -1)
            partial = jnp.einsum("kpr,kpn->krn", rows, pairs).reshape(k, c, -1, n)
            total = total + jnp.einsum("kcmn,kcn->knm", partial, a)
        return jnp.transpose(total, (1, 2, 0))
