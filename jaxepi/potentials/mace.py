"""A network of the MACE class: convolutions over relations, symmetric contractions, site energies.

Batatia et al., NeurIPS 2022; defaults follow that paper (8 Bessel functions, polynomial cutoff with p = 5, lmax 3,
correlation 3, 2 interactions, radial network of 64-64-64, last readout with 16 channels). With two relations, `intra` and
`inter` layer, it is the heterogeneous network of the paper on multilayers (HedgeNet). Flows in: species and edge vectors.
Flows out: one number an atom, in units that the caller scales.
"""

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
        edges = [self._edges(v, relation.cutoff) for v, relation in zip(vectors, self.relations, strict=True)]
        features: Features = {SCALAR: onehot[:, None] @ embedding}
        energy, invariants = jnp.zeros(species.shape, dtype), []
        for t in range(self.interactions):
            last = t == self.interactions - 1
            irreps = natural_up_to(0 if last else self.hidden_lmax)
            around = natural_up_to(self.lmax)
            sums = []
            for i, ((basis, angles), table) in enumerate(zip(edges, tables, strict=True)):
                convolution = Convolution(
                    self.channels,
                    around,
                    self.radial_layers,
                    self.neighbours[i],
                    self.separate,
                    name=f"convolution_{t}_{i}",
                )
                given, kinds = (features, None) if t else ({SCALAR: embedding[:, None]}, onehot)
                sums.append(convolution(given, basis, angles, table.receivers, kinds))
            total = jax.tree.map(lambda *x: sum(x[1:], x[0]), *sums)
            products = SymmetricContraction(self.correlation, self.species, irreps, name=f"products_{t}")(
                total, species
            )
            mixed = Linear(self.channels, name=f"mix_{t}")(products)
            kept = SpeciesLinear(self.channels, self.species, irreps, name=f"residual_{t}")(features, species)
            features = {irrep: mixed[irrep] + kept[irrep] for irrep in irreps}
            read = {SCALAR: features[SCALAR]}
            if last:
                read = gate(Linear(self.readout, name="hidden")(read))
            invariants.append(read[SCALAR][:, 0])
            energy = energy + Linear(1, name=f"readout_{t}")(read)[SCALAR][:, 0, 0]
        return energy, jnp.concatenate(invariants, axis=1)

    def _edges(self, vectors: Array, cutoff: float) -> tuple[Array, tuple[Array, ...]]:
        """Radial basis and spherical harmonics of one relation's edges."""
        length, unit = directions(vectors)
        return radial_basis(length, cutoff, self.radial_features, self.cutoff_power), harmonics(unit, self.lmax)
