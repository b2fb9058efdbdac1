"""Stillinger-Weber potential of one element: pairs and triplets within a smooth cutoff.

Stillinger and Weber, PRB 31, 5262 (1985). Flows in: a structure and the graph of all pairs within the cutoff (more
pairs do no harm). Flows out: the energy.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

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


def _decay(x: Float[Array, "n most"], gamma) -> Float[Array, "n most"]:
    """exp(gamma/x) for x < 0 and zero beyond, with finite derivatives of any order on both sides of the cutoff."""
    # exp(-1/0.005) is 1e-87: nothing is lost by cutting there, and powers of 1/x never overflow.
    inside = x < -0.005
    return jnp.where(inside, jnp.exp(gamma / jnp.where(inside, x, -1.0)), 0.0)
