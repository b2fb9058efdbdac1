"""The linear atomic cluster expansion: an energy of pairs, triples and quadruples of atoms, linear in its coefficients.

Drautz, Phys. Rev. B 99, 014104 (2019). Flows in: coefficients, species, edge vectors by relation. Flows out: an energy an atom.
Least squares find the coefficients (`training.references`) from what a trained network leaves.
"""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxepi.graph import Relation, Table
from jaxepi.nn import directions, harmonics, radial_basis
from jaxepi.nn.linear import select
from jaxepi.nn.spherical import coupling


@dataclasses.dataclass(frozen=True)
class Expansion:
    """E_i = sum_v c_v B_iv, the sums over neighbours A_nlm = sum_j R_n(r_ij) Y_lm coupled to invariants B:

        sum_j R_n(r_ij),   sum_m A_nlm A_n'lm,   sum A_nlm A_n'l'm' A_n''l''m'' <lm l'm' l''m''|00>,

    with n also counting the species of the neighbour, R Bessel functions with a polynomial cutoff (p = 5), and coefficients
    c of each species of the atom. Products of two take half the functions and momenta from relations after the first,
    products of three none: layers touch weakly.

    Attributes:
        relations: whose edges count. species: number of species.
        orders: radial functions and highest l of one factor, of two, of three (at most); that of one factor is 0.
    """

    relations: tuple[Relation, ...]
    species: int
    orders: tuple[tuple[int, int], ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Of the coefficients: species, invariants."""
        count = len(self.relations) * self._channels(0)
        if len(self.orders) > 1:
            widths = [sum(self._share(i, l) for i in range(len(self.relations))) for l in range(self.orders[1][1] + 1)]
            count += sum(k * self.species * (k * self.species + 1) // 2 for k in widths)
        if len(self.orders) > 2:
            count += sum(len(self._triples(*ls)[0]) for ls in self._momenta())
        return self.species, count

    def energies(
        self,
        coefficients: Float[Array, "s v"],
        species: Int[Array, "n"],
        vectors: tuple[Float[Array, "n _ 3"], ...],
        tables: tuple[Table, ...],
    ) -> Float[Array, "n"]:
        """Energy of every atom, eV.

        Args:
            coefficients: eV, of shape `shape`. species: index of every atom's. vectors, tables: one a relation.
        """
        invariants = self.invariants(species, vectors, tables)
        c = coefficients.astype(invariants.dtype)
        return select(jnp.moveaxis(invariants @ c.T, -1, 0), species)

    def invariants(
        self, species: Int[Array, "n"], vectors: tuple[Float[Array, "n _ 3"], ...], tables: tuple[Table, ...]
    ) -> Float[Array, "n v"]:
        """B of every atom."""
        found, highest = [], max(l for _, l in self.orders)
        two: list[list[Array]] = [[] for _ in range(self.orders[1][1] + 1 if len(self.orders) > 1 else 0)]
        three: list[Array] = []
        for i, (relation, v, table) in enumerate(zip(self.relations, vectors, tables, strict=True)):
            length, unit = directions(v)
            kinds = (species[table.receivers][..., None] == jnp.arange(self.species)).astype(v.dtype)
            angles = harmonics(unit, highest)

            def summed(count: int, l: int, length=length, kinds=kinds, angles=angles, cutoff=relation.cutoff) -> Array:
                sums = jnp.einsum("nmk,nmz,nma->nzka", radial_basis(length, cutoff, count), kinds, angles[l])
                return sums.reshape(len(length), -1, 2 * l + 1)

            found.append(summed(self.orders[0][0], 0)[..., 0])
            for l, parts in enumerate(two):
                if self._share(i, l):
                    parts.append(summed(self._share(i, l), l))
            if i == 0 and len(self.orders) > 2:
                three = [summed(self.orders[2][0], l) for l in range(self.orders[2][1] + 1)]
        for parts in two:
            a = jnp.concatenate(parts, axis=1)
            first, second = np.triu_indices(a.shape[1])
            found.append(jnp.einsum("nka,nqa->nkq", a, a)[:, first, second])
        for ls in self._momenta() if three else ():
            couple = jnp.asarray(coupling(*ls), three[0].dtype)
            products = jnp.einsum("abc,nka,nqb,npc->nkqp", couple, *(three[l] for l in ls))
            found.append(products[:, *self._triples(*ls)])
        return jnp.concatenate(found, axis=1)

    def _share(self, relation: int, l: int) -> int:
        """Radial functions in products of two with this l."""
        count, highest = self.orders[1]
        if relation:
            count, highest = (count + 1) // 2, highest // 2
        return count if l <= highest else 0

    def _channels(self, order: int) -> int:
        return self.orders[order][0] * self.species

    def _momenta(self) -> list[tuple[int, int, int]]:
        """l <= l' <= l'' of three factors that couple to an invariant."""
        ls = itertools.combinations_with_replacement(range(self.orders[2][1] + 1), 3)
        return [(a, b, c) for a, b, c in ls if c <= a + b and (a + b + c) % 2 == 0]

    def _triples(self, a: int, b: int, c: int) -> tuple[np.ndarray, ...]:
        """Independent choices of three channels: of equal l in one order only."""
        n = range(self._channels(2))
        chosen = [(i, j, k) for i in n for j in n for k in n if (a != b or i <= j) and (b != c or j <= k)]
        return tuple(np.array(chosen).T)
