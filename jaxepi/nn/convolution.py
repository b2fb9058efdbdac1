"""Convolution: sums over the neighbours of each atom, with weights that a radial network learns, one set a relation."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxepi.nn.features import SCALAR, Features, Irrep, natural_up_to, paths
from jaxepi.nn.linear import Linear, normalised_silu
from jaxepi.nn.spherical import coupling


class RadialNetwork(nn.Module):
    """Hidden layers of the radial network: no biases, so that what vanishes at the cutoff still does."""

    layers: tuple[int, ...]

    @nn.compact
    def __call__(self, basis: Float[Array, "*e b"]) -> Float[Array, "*e h"]:
        x = basis
        for i, width in enumerate(self.layers):
            w = self.param(f"w{i}", nn.initializers.normal(1.0), (x.shape[-1], width))
            x = normalised_silu(x @ (w.astype(x.dtype) / x.shape[-1] ** 0.5))
        return x


class Convolution(nn.Module):
    """One relation: A_i = sum_j R(r_ij) [h_j x Y(r_ij)], coupled to some irreps, then mixed.

    The first convolution of a network, whose features depend on the species alone, is summed over the neighbours of each
    species before the last matrix of the radial network: the same numbers for a fraction of the work.

    Attributes:
        channels: of the output. irreps: of the output; those that no product of features and harmonics holds are left out.
        layers: hidden widths of the radial network. neighbours: typical number of neighbours; the sum is divided by it.
        separate: whether the products that give one irrep are mixed with matrices of their own, not summed before.
    """

    channels: int
    irreps: tuple[Irrep, ...]
    layers: tuple[int, ...]
    neighbours: float
    separate: bool = False

    @nn.compact
    def __call__(
        self,
        features: Features,
        basis: Float[Array, "n m b"],
        harmonics: tuple[Float[Array, "n m _"], ...],
        receivers: Int[Array, "n m"],
        species: Float[Array, "a s"] | None = None,
    ) -> Features:
        """Args:
        features: of all atoms; with `species` (one-hot, of all), scalars of each species instead, shape (s, 1, channels).
        basis: invariants of every slot that vanish at the cutoff and where a slot is padded. harmonics: from l = 0 on.
        """
        up = Linear(features[SCALAR].shape[-1], name="up")(features)
        hidden = RadialNetwork(self.layers, name="radial")(basis)
        if species is not None:
            summed = self._by_species(up[SCALAR][:, 0], hidden, harmonics, receivers, species)
        else:
            summed = self._by_edge(up, hidden, harmonics, receivers)
        mixed = Linear(self.channels, name="down")(summed)
        return {irrep: x / self.neighbours for irrep, x in mixed.items()}

    def _weights(self, path: str, hidden: int, channels: int, dtype) -> Float[Array, "h k"]:
        w = self.param(path, nn.initializers.normal(1.0), (hidden, channels))
        return w.astype(dtype) / hidden**0.5

    def _by_species(self, scalars, hidden, harmonics, receivers, species) -> Features:
        """Scalars of each species, shape (s, k)."""
        kinds, channels = scalars.shape
        out = {}
        for irrep in sorted(self.irreps):
            l = irrep.l
            if not irrep.natural or l >= len(harmonics):
                continue
            w = self._weights(f"path_0_{l}_{l}", hidden.shape[-1], channels, hidden.dtype)
            terms = []
            for z in range(kinds):
                h = hidden if kinds == 1 else hidden * species[:, z][receivers][..., None]
                moment = jnp.sum(harmonics[l][..., :, None] * h[..., None, :], axis=1)
                terms.append((moment @ w) * scalars[None, z, None])
            out[irrep] = sum(terms[1:], terms[0])
        return out

    def _by_edge(self, features, hidden, harmonics, receivers) -> Features:
        channels = features[SCALAR].shape[-1]
        sent = {irrep: x[receivers] for irrep, x in features.items()}
        out = {}
        for to in sorted(self.irreps):
            found = paths(features, natural_up_to(len(harmonics) - 1), to)
            terms: list[list[Array]] = []
            for a, b in found:
                name = f"path_{a.label}_{b.label}_{to.label}"
                w = self._weights(name, hidden.shape[-1], channels, hidden.dtype)
                weighted = (hidden @ w)[..., None, :] * sent[a]
                couple = jnp.asarray(coupling(a.l, b.l, to.l), hidden.dtype) / len(found) ** 0.5
                turned = jnp.einsum("abc,nmb->nmac", couple, harmonics[b.l])
                terms.append(
                    [jnp.sum(turned[:, :, m, :, None] * weighted[:, :, m, None, :], axis=1) for m in range(a.dim)]
                )
            if terms:
                groups = terms if self.separate else [[x for term in terms for x in term]]
                out[to] = jnp.concatenate([sum(group[1:], group[0]) for group in groups], axis=-1)
        return out
