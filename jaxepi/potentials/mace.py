"""A network of the MACE class: convolutions over relations, symmetric contractions, site energies.

Batatia et al., NeurIPS 2022; defaults follow that paper (8 Bessel functions, polynomial cutoff with p = 5, lmax 3,
correlation 3, 2 interactions, radial network of 64-64-64, last readout with 16 channels). With two relations, `intra` and
`inter` layer, it is the heterogeneous network of the paper on multilayers (HedgeNet). Flows in: species and edge vectors.
Flows out: one number an atom, in units that the caller scales.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxepi.graph import Relation, Table
from jaxepi.nn import (
    SCALAR,
    Convolution,
    Features,
    Linear,
    SpeciesLinear,
    SymmetricContraction,
    directions,
    gate,
    harmonics,
    natural_up_to,
    of_module,
    radial_basis,
)


class Mace(nn.Module):
    """Site energies from the neighbourhoods of the atoms.

    Attributes:
        relations: disjoint sets of edges, each with its own convolution weights, summed at the atom.
        neighbours: typical number of neighbours in each relation; sums are divided by it.
        species: number of species. channels: of every angular momentum.
        lmax: of spherical harmonics and sums over neighbours. hidden_lmax: of the features that atoms send on.
        correlation: order of the products (body order less one). interactions: convolution layers.
        radial_features: Bessel functions. radial_layers: hidden widths of the radial network. cutoff_power: p.
        readout: hidden channels of the last readout.
        separate: whether products that give one angular momentum are mixed one by one, as mace-torch does (more weights).
        rows: atoms whose neighbourhoods are held at a time, made once more for derivatives; 0: all at once.
    """

    relations: tuple[Relation, ...]
    neighbours: tuple[float, ...]
    species: int
    channels: int = 32
    lmax: int = 3
    hidden_lmax: int = 1
    correlation: int = 3
    interactions: int = 2
    radial_features: int = 8
    radial_layers: tuple[int, ...] = (64, 64, 64)
    cutoff_power: int = 5
    readout: int = 16
    separate: bool = False
    rows: int = 0

    @nn.compact
    def __call__(
        self, species: Int[Array, "n"], vectors: tuple[Float[Array, "n _ 3"], ...], tables: tuple[Table, ...]
    ) -> tuple[Float[Array, "n"], Float[Array, "n f"]]:
        """Site energies, and the invariant features that they are linear in (for estimates of uncertainty).

        Args:
            species: index of each atom's species. vectors, tables: one a relation.
        """
        dtype = vectors[0].dtype
        onehot = jax.nn.one_hot(species, self.species, dtype=dtype)
        shape = (self.species, self.channels)
        embedding = jnp.asarray(self.param("embedding", nn.initializers.normal(1.0), shape), dtype)
        receivers = tuple(table.receivers for table in tables)
        parts = 0 < self.rows < len(species)
        edges = [] if parts else self._edges(vectors)
        features: Features = {SCALAR: onehot[:, None] @ embedding}
        energy, invariants = jnp.zeros(species.shape, dtype), []
        for t in range(self.interactions):
            given, kinds = (features, None) if t else ({SCALAR: embedding[:, None]}, onehot)
            if parts:
                features, read, more = self._in_parts(t, given, kinds, (features, species, vectors, receivers))
            else:
                features, read, more = self._interaction(t, given, kinds, features, species, edges, receivers)
            energy = energy + more
            invariants.append(read)
        return energy, jnp.concatenate(invariants, axis=1)

    def _in_parts(self, t: int, given: Features, kinds: Array | None, rows: tuple[Any, ...]) -> tuple[Any, ...]:
        """`_interaction` of all atoms, part by part, and made again on the way back."""

        def part(network: "Mace", some: tuple[Any, ...]) -> tuple[Any, ...]:
            features, species, vectors, receivers = some
            edges = network._edges(vectors)
            return network._interaction(t, given, kinds, features, species, edges, receivers)

        return of_module(self, part, rows, self.rows)

    def _interaction(
        self,
        t: int,
        given: Features,
        kinds: Array | None,
        features: Features,
        species: Array,
        edges: list[tuple[Array, tuple[Array, ...]]],
        receivers: tuple[Array, ...],
    ) -> tuple[Features, Array, Array]:
        """Features, invariants and energies that one interaction makes of some atoms.

        Args:
            t: which interaction. given, kinds: as `Convolution` takes them, of all atoms. features, species: of these atoms.
                edges, receivers: of their slots, one a relation.
        """
        last = t == self.interactions - 1
        irreps = natural_up_to(0 if last else self.hidden_lmax)
        around = natural_up_to(self.lmax)
        sums = []
        for i, ((basis, angles), there) in enumerate(zip(edges, receivers, strict=True)):
            convolution = Convolution(
                self.channels,
                around,
                self.radial_layers,
                self.neighbours[i],
                self.separate,
                name=f"convolution_{t}_{i}",
            )
            sums.append(convolution(given, basis, angles, there, kinds))
        total = jax.tree.map(lambda *x: sum(x[1:], x[0]), *sums)
        products = SymmetricContraction(self.correlation, self.species, irreps, name=f"products_{t}")(total, species)
        mixed = Linear(self.channels, name=f"mix_{t}")(products)
        kept = SpeciesLinear(self.channels, self.species, irreps, name=f"residual_{t}")(features, species)
        features = {irrep: mixed[irrep] + kept[irrep] for irrep in irreps}
        read = {SCALAR: features[SCALAR]}
        if last:
            read = gate(Linear(self.readout, name="hidden")(read))
        energy = Linear(1, name=f"readout_{t}")(read)[SCALAR][:, 0, 0]
        return features, read[SCALAR][:, 0], energy

    def _edges(self, vectors: tuple[Array, ...]) -> list[tuple[Array, tuple[Array, ...]]]:
        """Radial basis and spherical harmonics of the edges of each relation."""
        found = []
        for v, relation in zip(vectors, self.relations, strict=True):
            length, unit = directions(v)
            basis = radial_basis(length, relation.cutoff, self.radial_features, self.cutoff_power)
            found.append((basis, harmonics(unit, self.lmax)))
        return found
