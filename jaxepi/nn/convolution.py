"""Convolution: sums over the neighbours of each atom, with weights that a radial network learns, one set a relation."""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxepi.nn.linear import Features, Linear, normalised_silu
from jaxepi.nn.spherical import coupling


class RadialNetwork(nn.Module):
    """Hidden layers of the radial network: no biases, so that what vanishes at the cutoff still does."""

    layers: tuple[int, ...]

    @nn.compact
    def __call__(self, basis: Float[Array, "n m b"]) -> Float[Array, "n m h"]:
        x = basis
        for i, width in enumerate(self.layers):
            w = self.param(f"w{i}", nn.initializers.normal(1.0), (x.shape[-1], width))
            x = normalised_silu(x @ (w.astype(x.dtype) / x.shape[-1] ** 0.5))
        return x


class Convolution(nn.Module):
    """One relation: A_i = sum_j R(r_ij) [h_j x Y(r_ij)], coupled to every l <= lmax of natural parity, then mixed.

    The first convolution of a network, whose features depend on the species alone, is summed over the neighbours of each
    species before the last matrix of the radial network: the same numbers for a fraction of the work.

    Attributes:
        channels: of the output. lmax: of the output. layers: hidden widths of the radial network.
        neighbours: typical number of neighbours; the sum is divided by it.
    """

    channels: int
    lmax: int
    layers: tuple[int, ...]
    neighbours: float

    @nn.compact
    def __call__(
        self,
        features: Features,
        basis: Float[Array, "n m b"],
        harmonics: tuple[Float[Array, "n m _"], ...],
        receivers: Int[Array, "n m"],
        species: Float[Array, "n s"] | None = None,
    ) -> Features:
        """Args:
        features: of all atoms; with `species` (one-hot), scalars of each species instead, shape (s, 1, channels).
        """
        up = Linear(features[0].shape[-1], name="up")(features)
        hidden = RadialNetwork(self.layers, name="radial")(basis)
        if species is not None:
            summed = self._by_species(up[0][:, 0], hidden, harmonics, receivers, species)
        else:
            summed = self._by_edge(up, hidden, harmonics, receivers)
        mixed = Linear(self.channels, name="down")(summed)
        return tuple(x / self.neighbours for x in mixed)

    def _weights(self, path: str, hidden: int, channels: int, dtype) -> Float[Array, "h k"]:
        w = self.param(path, nn.initializers.normal(1.0), (hidden, channels))
        return w.astype(dtype) / hidden**0.5

    def _by_species(self, scalars, hidden, harmonics, receivers, species) -> Features:
        """Scalars of each species, shape (s, k)."""
        kinds, channels = scalars.shape
        out = []
        for l in range(self.lmax + 1):
            w = self._weights(f"path_0_{l}_{l}", hidden.shape[-1], channels, hidden.dtype)
            terms = []
            for z in range(kinds):
                h = hidden if kinds == 1 else hidden * species[:, z][receivers][..., None]
                moment = jnp.sum(harmonics[l][..., :, None] * h[..., None, :], axis=1)
                terms.append((moment @ w) * scalars[z])
            out.append(sum(terms[1:], terms[0]))
        return tuple(out)

    def _by_edge(self, features, hidden, harmonics, receivers) -> Features:
        channels = features[0].shape[-1]
        sent = [x[receivers] for x in features]
        out = []
        for l3 in range(self.lmax + 1):
            paths = [
                (l1, l2)
                for l1 in range(len(features))
                for l2 in range(len(harmonics))
                if abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 + l3) % 2 == 0
            ]
            terms = []
            for l1, l2 in paths:
                w = self._weights(f"path_{l1}_{l2}_{l3}", hidden.shape[-1], channels, hidden.dtype)
                weighted = (hidden @ w)[..., None, :] * sent[l1]
                couple = jnp.asarray(coupling(l1, l2, l3), hidden.dtype) / len(paths) ** 0.5
                turned = jnp.einsum("abc,nmb->nmac", couple, harmonics[l2])
                for a in range(2 * l1 + 1):
                    terms.append(jnp.sum(turned[:, :, a, :, None] * weighted[:, :, a, None, :], axis=1))
            out.append(sum(terms[1:], terms[0]))
        return tuple(out)
