"""Stillinger-Weber potentials of one element, and of several: pairs and triplets within a smooth cutoff.

Stillinger and Weber, PRB 31, 5262 (1985); of several elements as LAMMPS has it (`lammps`). Flows in: a structure and the graph
of all pairs within the cutoff (more pairs do no harm). Flows out: the energy.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxepi.graph import Graph
from jaxepi.model import label
from jaxepi.potentials.base import EnergyModule
from jaxepi.structure import Structure


@dataclasses.dataclass(frozen=True)
class StillingerWeber(EnergyModule):
    """Energy module of the Stillinger-Weber potential.

    With r in units of sigma and the range a,

        E = epsilon { sum_{i<j} A (B r_ij^-p - r_ij^-q) exp[1/(r_ij - a)]
                      + lambda sum_i sum_{j<k} (cos theta_jik - c0)^2 exp[gamma/(r_ij - a) + gamma/(r_ik - a)] }.

    Parameters `epsilon` (eV), `sigma` (angstrom), `lam`, `gamma`, `A`, `B` and `cosine` (c0, dimensionless).

    Attributes:
        cutoff: a times sigma, angstrom. skin: extra radius of the graph, angstrom.
        range: a, dimensionless. p, q: exponents.
        species: atomic numbers the parameters are meant for; empty means any.
    """

    cutoff: float
    skin: float
    range: float
    p: int = 4
    q: int = 0
    species: tuple[int, ...] = ()
    name: str = label()
    citation: str = label()

    @property
    def shares_energy(self) -> bool:
        return True

    @property
    def ends_at_cutoff(self) -> bool:
        return True

    def energies(self, variables: Any, structure: Structure, graph: Graph) -> Float[Array, "n"]:
        """Energy of every atom, eV: half of that of each of its pairs, and that of the triplets it is the centre of."""
        # Padding gets a vector far outside the cutoff: its terms and all their derivatives vanish.
        r = jnp.take(graph.vectors(structure), graph.neighbours, axis=0, mode="fill", fill_value=1e3 * self.cutoff)
        p = {name: jnp.asarray(value, r.dtype) for name, value in variables["params"].items()}
        length = jnp.sqrt(jnp.sum(r**2, axis=-1))
        n = r / length[..., None]
        x = length / p["sigma"]
        pairs = p["A"] * (p["B"] * x**-self.p - x**-self.q) * _decay(x - self.range, 1.0)
        weight = _decay(x - self.range, p["gamma"])
        # sum_jk w_j w_k (cos - c0)^2 from three moments of the neighbours, so that the cost is linear in their number;
        # half of what is left without j = k is the sum over j < k.
        zeroth = jnp.sum(weight, axis=1)
        first = jnp.einsum("ij,ija->ia", weight, n)
        second = jnp.einsum("ij,ija,ijb->iab", weight, n, n)
        c0 = p["cosine"]
        everyone = jnp.sum(second**2, axis=(1, 2)) - 2 * c0 * jnp.sum(first**2, axis=1) + c0**2 * zeroth**2
        oneself = (1 - c0) ** 2 * jnp.sum(weight**2, axis=1)
        return p["epsilon"] * (jnp.sum(pairs, axis=1) / 2 + p["lam"] * (everyone - oneself) / 2)


@dataclasses.dataclass(frozen=True)
class StillingerWeberAlloy(EnergyModule):
    """Energy module of the Stillinger-Weber potential of several elements.

    With e_ij = exp[sigma_ij gamma_ij/(r_ij - a_ij sigma_ij)] and x = sigma_ij/r_ij,

        E = sum_{i<j} epsilon_ij A_ij (B_ij x^p_ij - x^q_ij) exp[sigma_ij/(r_ij - a_ij sigma_ij)]
            + sum_i sum_{j<k} (lambda epsilon)_ijk (cos theta_jik - c_ijk)^2 e_ij e_ik.

    Parameters of a pair (first the centre, shape (z, z)): `epsilon` (eV), `sigma` (angstrom), `range` (a), `gamma`, `A`, `B`,
    `p`, `q`; of a triplet (first the centre, shape (z, z, z)): `strength` (lambda epsilon, eV) and `cosine`.

    Attributes:
        cutoff: the longest a times sigma, angstrom. skin: extra radius of the graph, angstrom.
        species: atomic numbers, in the order of the parameters.
    """

    cutoff: float
    skin: float
    species: tuple[int, ...]
    name: str = label()
    citation: str = label()

    @property
    def shares_energy(self) -> bool:
        return True

    @property
    def ends_at_cutoff(self) -> bool:
        return True

    def kinds(self, structure: Structure) -> Int[np.ndarray, " n"]:
        """Index of each atom's element in `species`."""
        return np.array([self.species.index(z) for z in structure.species])

    def energies(self, variables: Any, structure: Structure, graph: Graph) -> Float[Array, "n"]:
        """Energy of every atom, eV; see `StillingerWeber.energies`."""
        r = jnp.take(graph.vectors(structure), graph.neighbours, axis=0, mode="fill", fill_value=1e3 * self.cutoff)
        kinds = jnp.asarray(self.kinds(structure))
        other = jnp.take(kinds[graph.receivers], graph.neighbours, axis=0, mode="fill", fill_value=0)
        params = {name: jnp.asarray(value, r.dtype) for name, value in variables["params"].items()}
        triplets = {name: params.pop(name)[kinds] for name in ("strength", "cosine")}
        p = {name: value[kinds[:, None], other] for name, value in params.items()}
        length = jnp.sqrt(jnp.sum(r**2, axis=-1))
        n, x = r / length[..., None], length / p["sigma"]
        pairs = p["epsilon"] * p["A"] * (p["B"] * x ** -p["p"] - x ** -p["q"]) * _decay(x - p["range"], 1.0)
        weight = _decay(x - p["range"], p["gamma"])
        # Moments of the neighbours of each element, as in `StillingerWeber`.
        own = weight[..., None] * jax.nn.one_hot(other, len(self.species), dtype=weight.dtype)
        zeroth = jnp.sum(own, axis=1)
        first = jnp.einsum("ijz,ija->iza", own, n)
        second = jnp.einsum("ijz,ija,ijb->izab", own, n, n)
        c0 = triplets["cosine"]
        everyone = jnp.einsum("iyab,izab->iyz", second, second) - 2 * c0 * jnp.einsum("iya,iza->iyz", first, first)
        everyone = everyone + c0**2 * zeroth[:, :, None] * zeroth[:, None]
        oneself = (1 - jnp.diagonal(c0, axis1=1, axis2=2)) ** 2 * jnp.sum(own**2, axis=1)
        strength = triplets["strength"]
        angles = jnp.sum(strength * everyone, axis=(1, 2))
        angles = angles - jnp.sum(jnp.diagonal(strength, axis1=1, axis2=2) * oneself, axis=1)
        return jnp.sum(pairs, axis=1) / 2 + angles / 2


def _decay(x: Float[Array, "n most"], gamma) -> Float[Array, "n most"]:
    """exp(gamma/x) for x < 0 and zero beyond, with finite derivatives of any order on both sides of the cutoff."""
    # exp(-1/0.005) is 1e-87: nothing is lost by cutting there, and powers of 1/x never overflow.
    inside = x < -0.005
    return jnp.where(inside, jnp.exp(gamma / jnp.where(inside, x, -1.0)), 0.0)
