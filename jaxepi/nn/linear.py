"""Layers that act on one atom, or one edge, alone: channel mixing, species-dependent mixing, gates and normalisation."""

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxepi.nn.features import SCALAR, Features, Irrep


def normalised_silu(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """x sigmoid(x), scaled so that a normal variable keeps a mean square of one."""
    return 1.6791767923989418 * jax.nn.silu(x)


class Linear(nn.Module):
    """Mix the channels of every irrep: weights are normal variables over the root of the fan-in.

    Attributes:
        channels: of the output. gated: whether the scalars are followed by one gate for each channel of every other irrep,
            as `gate` wants them.
    """

    channels: int
    gated: bool = False

    @nn.compact
    def __call__(self, features: Features) -> Features:
        out = {}
        for irrep, x in sorted(features.items()):
            gates = self.channels * (len(features) - 1) if self.gated and irrep == SCALAR else 0
            w = self.param(f"w{irrep.label}", nn.initializers.normal(1.0), (x.shape[-1], self.channels + gates))
            out[irrep] = x @ (w.astype(x.dtype) / x.shape[-1] ** 0.5)
        return out


class SpeciesLinear(nn.Module):
    """Mix the channels with weights of each atom's species.

    Attributes:
        channels: of the output. species: how many. irreps: of the output; those that the input lacks are zero.
    """

    channels: int
    species: int
    irreps: tuple[Irrep, ...]

    @nn.compact
    def __call__(self, features: Features, index: Int[Array, "n"]) -> Features:
        out = {}
        for irrep in sorted(self.irreps):
            if irrep not in features:
                like = features[SCALAR]
                out[irrep] = jnp.zeros((like.shape[0], irrep.dim, self.channels), like.dtype)
                continue
            x = features[irrep]
            shape = (self.species, x.shape[-1], self.channels)
            w = self.param(f"w{irrep.label}", nn.initializers.normal(1.0), shape).astype(x.dtype) / x.shape[-1] ** 0.5
            mixed = jnp.einsum("nmk,skc->snmc", x, w)
            out[irrep] = select(mixed, index)
        return out


def select(values: Float[Array, "s n *rest"], index: Int[Array, "n"]) -> Float[Array, "n *rest"]:
    """values[index[i], i] for each atom i, by masks: species are few, and nothing is scattered backwards."""
    if values.shape[0] == 1:
        return values[0]
    kinds = jnp.arange(values.shape[0], dtype=index.dtype)
    chosen = (kinds[:, None] == index[None]).astype(values.dtype)
    return jnp.sum(values * chosen.reshape(*chosen.shape, *[1] * (values.ndim - 2)), axis=0)


def gate(features: Features) -> Features:
    """Silu on scalars; every other irrep, pseudoscalars included, is multiplied by sigmoids of further scalars.

    `features[SCALAR]` holds the scalars that pass, followed by one gate for each channel of every other irrep, in their
    order (`Linear` with `gated` makes them).
    """
    others = sorted(irrep for irrep in features if irrep != SCALAR)
    needed = sum(features[irrep].shape[-1] for irrep in others)
    scalars, gates = jnp.split(features[SCALAR], [features[SCALAR].shape[-1] - needed], axis=-1)
    out, start = {SCALAR: normalised_silu(scalars)}, 0
    for irrep in others:
        x = features[irrep]
        # 1.8467 keeps the mean square of the product at one for normal variables.
        out[irrep] = x * 1.8467 * jax.nn.sigmoid(gates[..., start : start + x.shape[-1]])
        start += x.shape[-1]
    return out


def normalise(features: Features, epsilon: float = 1e-4) -> Features:
    """The components of each irrep at each atom or edge, divided by their root mean square over channels (equivariant)."""
    return {
        irrep: x / jnp.sqrt(jnp.mean(x**2, axis=(-2, -1), keepdims=True) + epsilon) for irrep, x in features.items()
    }
