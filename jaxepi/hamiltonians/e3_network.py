"""The network of an equivariant Hamiltonian: what is left of its blocks once the baseline is subtracted.

Atoms: one sum over neighbours a kind of edge (within layers, between layers), products of these sums of two and three factors
with themselves (body order before depth), a gate; more rounds of messages where they are asked for. Edges: invariants of both
ends and of the length weigh products of the ends' features with the harmonics of the edge. Readouts are linear. An edge sees
the neighbours of its two ends for each round and nothing beyond, so that everything is strictly local. Flows in: species,
vectors, tables. Flows out: tensors of atoms and edges by irrep, one a pair of shells (`e3_shells.Shells`), of the size of one.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxepi.nn import (
    SCALAR,
    Convolution,
    EdgeFeatures,
    EdgeScalars,
    Features,
    Irrep,
    Linear,
    TensorProduct,
    directions,
    gate,
    harmonics,
    natural_up_to,
    of_module,
    polynomial_cutoff,
    radial_basis,
)

Tensors = dict[Irrep, Array]
"""tensors[irrep]: shape (n, 2L+1, pairs of shells)."""


class Readout(nn.Module):
    """Tensors linear in features, one a pair of shells.

    Attributes:
        columns: irreps, and how many pairs of shells hold each.
    """

    columns: tuple[tuple[Irrep, int], ...]

    @nn.compact
    def __call__(self, features: Features) -> Tensors:
        out = {}
        for irrep, count in self.columns:
            x = features[irrep]
            w = self.param(f"w{irrep.label}", nn.initializers.normal(1.0), (x.shape[-1], count))
            out[irrep] = x @ (w.astype(x.dtype) / x.shape[-1] ** 0.5)
        return out


class AtomNetwork(nn.Module):
    """Features of atoms, and the tensors of their own blocks.

    Attributes:
        columns: see `Readout`. cutoff: angstrom. kinds: of edges. neighbours: typical number of each kind.
        species: how many. channels: of every irrep. lmax: of sums over neighbours. correlation: factors of products.
        interactions: rounds of messages. radial_features, radial_layers: of the radial network.
        rows: atoms whose neighbourhoods are held at a time, made once more for derivatives; 0: all at once.
    """

    columns: tuple[tuple[Irrep, int], ...]
    cutoff: float
    kinds: int
    neighbours: tuple[float, ...]
    species: int = 1
    channels: int = 16
    lmax: int = 4
    correlation: int = 3
    interactions: int = 1
    radial_features: int = 8
    radial_layers: tuple[int, ...] = (32,)
    rows: int = 0

    @nn.compact
    def __call__(
        self, species: Int[Array, "n"], vectors: tuple[Float[Array, "n _ 3"], ...], receivers: tuple[Array, ...]
    ) -> tuple[Features, Tensors]:
        """vectors, receivers: one table a kind of edge."""
        dtype = vectors[0].dtype
        onehot = jax.nn.one_hot(species, self.species, dtype=dtype)
        start = self.param("embedding", nn.initializers.normal(1.0), (self.species, self.channels))
        embedding = jnp.asarray(start, dtype)
        features: Features = {SCALAR: onehot[:, None] @ embedding}
        for t in range(self.interactions):
            given, kinds = (features, None) if t else ({SCALAR: embedding[:, None]}, onehot)

            def part(network: "AtomNetwork", rows: Any, t: int = t, given: Any = given, kinds: Any = kinds) -> Features:
                return network._interaction(t, given, kinds, *rows)

            arrays = (features, vectors, receivers)
            parts = 0 < self.rows < len(species)
            features = of_module(self, part, arrays, self.rows) if parts else part(self, arrays)
        return features, Readout(self.columns, name="onsite")(features)

    def _interaction(
        self, t: int, given: Features, kinds: Array | None, own: Features, vectors: tuple[Array, ...], receivers: Any
    ) -> Features:
        """Features that one round of messages makes of some atoms.

        Args:
            given, kinds: as `Convolution` takes them, of all atoms. own, vectors, receivers: of these atoms.
        """
        irreps = tuple(irrep for irrep, _ in self.columns)
        around = natural_up_to(self.lmax) if t == 0 else irreps
        sums = []
        for i, (v, there) in enumerate(zip(vectors, receivers, strict=True)):
            length, unit = directions(v)
            basis, angles = radial_basis(length, self.cutoff, self.radial_features), harmonics(unit, self.lmax)
            convolution = Convolution(
                self.channels, around, self.radial_layers, self.neighbours[i], name=f"convolution_{t}_{i}"
            )
            sums.append(convolution(given, basis, angles, there, kinds))
        return self._products(t, jax.tree.map(lambda *x: sum(x[1:], x[0]), *sums), own, irreps)

    def _products(self, t: int, sums: Features, own: Features, irreps: tuple[Irrep, ...]) -> Features:
        """Sums and their products, side by side, mixed and gated."""

        def mixed(name: str) -> Features:
            return Linear(self.channels, name=f"{name}_{t}")(sums)

        terms = [mixed("first"), own]
        for order in range(2, self.correlation + 1):
            factor = terms[-1] if order > 2 else mixed("left")
            terms.append(
                TensorProduct(self.channels, irreps, name=f"product_{t}_{order}")(factor, mixed(f"right_{order}"))
            )
        joined = {
            irrep: jnp.concatenate([x[irrep] for x in terms if irrep in x], axis=-1)
            for irrep in irreps
            if any(irrep in x for x in terms)
        }
        return gate(Linear(self.channels, gated=True, name=f"mix_{t}")(joined))


class EdgeNetwork(nn.Module):
    """Tensors of edges of one kind from the features of both ends.

    Attributes:
        columns, cutoff, lmax, radial_features: as of `AtomNetwork`. channels: of the features of edges. hidden: widths of
            their invariants.
    """

    columns: tuple[tuple[Irrep, int], ...]
    cutoff: float
    channels: int = 16
    hidden: tuple[int, ...] = (32, 32)
    lmax: int = 4
    radial_features: int = 8

    @nn.compact
    def __call__(
        self, features: Features, vectors: Float[Array, "e 3"], senders: Int[Array, "e"], receivers: Int[Array, "e"]
    ) -> Tensors:
        irreps = tuple(irrep for irrep, _ in self.columns)
        length, unit = directions(vectors)
        basis, fade = radial_basis(length, self.cutoff, self.radial_features), polynomial_cutoff(length, self.cutoff)
        scalars = features[SCALAR][:, 0]
        invariants = EdgeScalars(self.hidden, name="invariants")(basis, fade, scalars[senders], scalars[receivers])
        made = EdgeFeatures(self.channels, irreps, name="edges")(
            features, invariants, harmonics(unit, self.lmax), senders, receivers
        )
        return Readout(self.columns, name="hopping")(made)
