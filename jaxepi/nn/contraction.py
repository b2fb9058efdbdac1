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
from jaxepi.nn.features import Features, Irrep
from jaxepi.nn.linear import select


@lru_cache(maxsize=64)
def symmetric_basis(irreps: tuple[Irrep, ...], order: int, to: Irrep) -> np.ndarray:
    """Independent symmetric couplings of `order` factors, each of all `irreps`, to the irrep `to`.

    Returns:
        Shape (c,)*order + (2l+1, paths), c the components of all irreps.
    """
    import e3nn_jax as e3nn

    factor = e3nn.Irreps("+".join(map(str, irreps)))
    try:
        basis = e3nn.reduced_symmetric_tensor_product_basis(factor, order, keep_ir=[e3nn.Irrep(str(to))])
    except ValueError:  # e3nn's answer where there is no such coupling, as of two equal vectors to a pseudovector
        return np.zeros((factor.dim,) * order + (to.dim, 0))
    array = np.asarray(basis.array)
    return np.moveaxis(array.reshape(*array.shape[:-1], -1, to.dim), -1, -2)


class SymmetricContraction(nn.Module):
    """Products of up to `order` factors, coupled to some irreps.

    Attributes:
        order: 1, 2 or 3 (the correlation order). species: how many. irreps: of the output; each that no product of so many
            factors holds is zero.
    """

    order: int
    species: int
    irreps: tuple[Irrep, ...]

    @nn.compact
    def __call__(self, features: Features, index: Int[Array, "n"]) -> Features:
        """index: species of each atom."""
        if self.order not in (1, 2, 3):
            raise InputError(f"correlation order {self.order}: choose 1, 2 or 3")
        given, made = tuple(sorted(features)), sorted(self.irreps)
        a = jnp.transpose(
            jnp.concatenate([features[i] for i in given], axis=1), (2, 1, 0)
        )  # channels, components, atoms
        couplings = [self._couplings(order, given, made, a) for order in range(1, self.order + 1)]
        values = select(jnp.stack([self._contract(a, [u[z] for u in couplings]) for z in range(self.species)]), index)
        starts = np.cumsum([irrep.dim for irrep in made])[:-1]
        return dict(zip(made, jnp.split(values, starts, axis=1), strict=True))

    def _couplings(self, order: int, given: tuple[Irrep, ...], made: list[Irrep], like: Array) -> Array:
        """Couplings times weights, shape (species, channels, c, ..., all components of all irreps made)."""
        out = []
        for irrep in made:
            basis = symmetric_basis(given, order, irrep)
            if basis.shape[-1] == 0:
                out.append(jnp.zeros((self.species, like.shape[0], *basis.shape[:-1]), like.dtype))
                continue
            shape = (self.species, basis.shape[-1], like.shape[0])
            start = nn.initializers.normal(1.0 / basis.shape[-1])
            w = self.param(f"w{order}_{irrep.label}", start, shape).astype(like.dtype)
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
            rows = couplings[1][:, first, second] * twice[None, :, None]
            total = total + jnp.einsum("kpm,kpn->knm", rows, pairs)
        if self.order > 2:
            rows = (couplings[2][:, first, second] * twice[None, :, None, None]).reshape(k, len(first), -1)
            partial = jnp.einsum("kpr,kpn->krn", rows, pairs).reshape(k, c, -1, n)
            total = total + jnp.einsum("kcmn,kcn->knm", partial, a)
        return jnp.transpose(total, (1, 2, 0))
