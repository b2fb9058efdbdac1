"""Layers that act on one atom: channel mixing, species-dependent mixing, gates and normalisation."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

Features = tuple[Array, ...]
"""features[l]: shape (n, 2l+1, channels)."""


def normalised_silu(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """x sigmoid(x), scaled so that a normal variable keeps a mean square of one."""
    return 1.6791767923989418 * jax.nn.silu(x)


class Linear(nn.Module):
    """Mix the channels of every angular momentum: weights are normal variables over the root of the fan-in.

    Attributes:
        channels: of the output.
    """

    channels: int

    @nn.compact
    def __call__(self, features: Features) -> Features:
        out = []
        for l, x in enumerate(features):
            w = self.param(f"w{l}", nn.initializers.normal(1.0), (x.shape[-1], self.channels))
            out.append(x @ (w.astype(x.dtype) / x.shape[-1] ** 0.5))
        return tuple(out)


class SpeciesLinear(nn.Module):
    """Mix the channels with weights of each atom's species.

    Attributes:
        channels: of the output. species: how many. lmax: highest angular momentum of the output; missing ones are zero.
    """

    channels: int
    species: int
    lmax: int

    @nn.compact
    def __call__(self, features: Features, index: Int[Array, "n"]) -> Features:
        out = []
        for l in range(self.lmax + 1):
            if l >= len(features):
                out.append(jnp.zeros((features[0].shape[0], 2 * l + 1, self.channels), features[0].dtype))
                continue
            x = features[l]
            shape = (self.species, x.shape[-1], self.channels)
            w = self.param(f"w{l}", nn.initializers.normal(1.0), shape).astype(x.dtype) / x.shape[-1] ** 0.5
            mixed = jnp.einsum("nmk,skc->snmc", x, w)
            out.append(select(mixed, index))
        return tuple(out)


def select(values: Float[Array, "s n *rest"], index: Int[Array, "n"]) -> Float[Array, "n *rest"]:
    """values[index[i], i] for each atom i, by masks: species are few, and nothing is scattered backwards."""
    if values.shape[0] == 1:
        return values[0]
    chosen = (jnp.arange(values.shape[0])[:, None] == index).astype(values.dtype)
    return jnp.sum(values * chosen.reshape(*chosen.shape, *[1] * (values.ndim - 2)), axis=0)


def gate(features: Features) -> Features:
    """Silu on scalars; every other angular momentum is multiplied by silu-free gates, sigmoids of further scalars.

    `features[0]` holds the scalars that pass, followed by one gate for each channel of every l > 0.
    """
    needed = sum(x.shape[-1] for x in features[1:])
    scalars, gates = jnp.split(features[0], [features[0].shape[-1] - needed], axis=-1)
    out, start = [normalised_silu(scalars)], 0
    for x in features[1:]:
        # 1.8467 keeps the mean square of the product at one for normal variables.
        out.append(x * 1.8467 * jax.nn.sigmoid(gates[..., start : start + x.shape[-1]]))
        start += x.shape[-1]
    return tuple(out)


def normalise(features: Features, epsilon: float = 1e-4) -> Features:
    """Each atom's components of each angular momentum, divided by their root mean square over channels (equivariant)."""
    return tuple(x / jnp.sqrt(jnp.mean(x**2, axis=(-2, -1), keepdims=True) + epsilon) for x in features)
