"""Features of edges: invariants, tensors from both ends, products, and sums over the edges that leave an atom.

Edges are directed: those of (i, j, R) and of its reverse (j, i, -R) differ, and what must be the same from both sides, or
Hermitian, is made so at the end (`jaxepi.nn.blocks.hermitian`). Edges that pad a graph carry zeros, since everything is
linear in invariants that vanish at the cutoff.
"""

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxepi.nn.features import Features, Irrep, natural_up_to, paths
from jaxepi.nn.linear import Linear, normalised_silu
from jaxepi.nn.spherical import coupling


class EdgeScalars(nn.Module):
    """Invariants of every edge from its length and from the invariants of both ends: a network that fades at the cutoff.

    Attributes:
        layers: widths, the last of which is that of the output.
    """

    layers: tuple[int, ...]

    @nn.compact
    def __call__(
        self,
        basis: Float[Array, "e b"],
        fade: Float[Array, "e"],
        sender: Float[Array, "e s"],
        receiver: Float[Array, "e s"],
    ) -> Float[Array, "e h"]:
        """fade: vanishes from the cutoff on (`polynomial_cutoff`). sender, receiver: invariants of the ends."""
        x = jnp.concatenate([basis, sender, receiver], axis=1)
        for i, width in enumerate(self.layers):
            w = self.param(f"w{i}", nn.initializers.normal(1.0), (x.shape[-1], width))
            b = self.param(f"b{i}", nn.initializers.zeros, (width,))
            x = normalised_silu(x @ (w.astype(x.dtype) / x.shape[-1] ** 0.5) + b.astype(x.dtype)[None])
        return fade[:, None] * x


class EdgeFeatures(nn.Module):
    """Tensors of every edge: x_ij = sum W(invariants_ij) [(U h_i + V h_j) x Y(r_ij)], coupled to some irreps, then mixed.

    Attributes:
        channels: of the output. irreps: of the output; those that no product of features and harmonics holds are left out.
    """

    channels: int
    irreps: tuple[Irrep, ...]

    @nn.compact
    def __call__(
        self,
        features: Features,
        invariants: Float[Array, "e h"],
        harmonics: tuple[Float[Array, "e _"], ...],
        senders: Int[Array, "e"],
        receivers: Int[Array, "e"],
    ) -> Features:
        """features: of the atoms. invariants: vanish at the cutoff. harmonics: of the edges, from l = 0 on."""
        own, far = (Linear(self.channels, name=name)(features) for name in ("sender", "receiver"))
        ends = {irrep: own[irrep][senders] + far[irrep][receivers] for irrep in features}
        angles = {irrep: harmonics[irrep.l][..., None] for irrep in natural_up_to(len(harmonics) - 1)}

        def weights(path: str) -> Float[Array, "e 1 k"]:
            w = self.param(f"path_{path}", nn.initializers.normal(1.0), (invariants.shape[1], self.channels))
            return (invariants @ (w.astype(invariants.dtype) / w.shape[0] ** 0.5))[:, None]

        found: Features = {}
        for to in sorted(self.irreps):
            pairs = paths(ends, angles, to)
            terms = [
                weights(f"{a.label}_{b.label}_{to.label}") * couple(ends[a], angles[b], a, b, to) for a, b in pairs
            ]
            if terms:
                found[to] = sum(terms[1:], terms[0]) / len(terms) ** 0.5
        return Linear(self.channels, name="mix")(found)


class TensorProduct(nn.Module):
    """Products of two features of the same atoms or edges, channel by channel, coupled to some irreps and mixed.

    Attributes:
        channels: of the output. irreps: of the output; those that no product holds are left out.
    """

    channels: int
    irreps: tuple[Irrep, ...]

    @nn.compact
    def __call__(self, first: Features, second: Features) -> Features:
        """Both have the same number of channels."""
        found: Features = {}
        for to in sorted(self.irreps):
            products = [couple(first[a], second[b], a, b, to) for a, b in paths(first, second, to)]
            if products:
                found[to] = jnp.concatenate(products, axis=-1)
        return Linear(self.channels, name="mix")(found)


def couple(
    x: Float[Array, "e a k"], y: Float[Array, "e b #k"], first: Irrep, second: Irrep, to: Irrep
) -> Float[Array, "e c k"]:
    """Products x y of the irreps `first` and `second`, coupled to `to`; unit variance stays."""
    turned = jnp.einsum("abc,ebk->eack", jnp.asarray(coupling(first.l, second.l, to.l), x.dtype), y)
    return jnp.sum(turned * x[:, :, None, :], axis=1)


def to_atoms(features: Features, rows: Int[Array, "n m"]) -> Features:
    """Sums over the edges that leave each atom.

    Args:
        rows: `Graph.neighbours` or `Table.edges`: edges of each atom, padded with an index past the last edge.
    """
    return {irrep: x.at[rows].get(mode="fill", fill_value=0).sum(axis=1) for irrep, x in features.items()}


def to_edges(values: Float[Array, "n m *rest"], rows: Int[Array, "n m"], count: int) -> Float[Array, "e *rest"]:
    """What stands in the slots of a table, in the order of the graph's edges; zero for edges that the table lacks.

    Args:
        rows: `Table.edges`. count: of the graph's edges.
    """
    return jnp.zeros((count, *values.shape[2:]), values.dtype).at[rows].set(values, mode="drop")
