"""Modified valence force field of tetrahedral crystals: permanent bonds, five parameters.

Keating's bond stretching (alpha) and bending (beta) with bond-bond (gamma), bond-angle (delta) and coplanar angle-angle
(nu) couplings: the form of Sui and Herman, PRB 48, 17938 (1993), and Paul, Luisier and Klimeck, J. Comput. Electron. 9,
160 (2010). Flows in: a structure near its ideal sites and a graph of the ideal bonds. Flows out: the energy.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.model import label
from jaxepi.potentials.base import EnergyModule
from jaxepi.structure import Structure


@dataclasses.dataclass(frozen=True)
class ValenceForceField(EnergyModule):
    """Energy module of the modified valence force field.

    With bonds r_ij from atom i to its four neighbours, s_ij = r_ij.r_ij - d^2 and t_ijk = r_ij.r_ik + d^2/3,

        E = 1/d^2 { 3/16 alpha sum_i sum_j s_ij^2
                    + 3/8 sum_i sum_{j<k} [beta t_ijk^2 + gamma s_ij s_ik + delta (s_ij + s_ik) t_ijk]
                    + 3/8 nu sum_{chains j-i-k-l} t_ijk t_kil },

    where a chain has one central bond i-k, each bond once, and l is the neighbour of k whose ideal bond is antiparallel
    to the one from i to j (trans, coplanar). Parameters `alpha, beta, gamma, delta, nu` in eV/angstrom^2.

    Attributes:
        bond_length: ideal bond d, angstrom.
        species: atomic numbers the parameters are meant for; empty means any.
    """

    bond_length: float
    species: tuple[int, ...] = ()
    name: str = label()
    citation: str = label()

    @property
    def harmonic_bonds(self) -> bool:
        return True

    @property
    def permanent_bonds(self) -> bool:
        """Molecular dynamics must not look for bonds anew."""
        return True

    # Bonds are permanent, so the graph must hold the first shell only: 1.3 d lies far (in thermal widths) from both the
    # first shell at d and the second at 1.63 d. The share that is called skin says how far an atom may go (0.375 d from
    # its site) before the picture of permanent bonds is refused; no pair beyond the first shell enters the energy.

    @property
    def cutoff(self) -> float:
        """Angstrom; `cutoff + skin` is the radius within which bonds are looked for."""
        return 0.55 * self.bond_length

    @property
    def skin(self) -> float:
        """Angstrom; atoms may leave their sites by half of it."""
        return 0.75 * self.bond_length

    def check(self, structure: Structure, graph: Graph) -> None:
        """Refuse what the force field cannot describe.

        Raises:
            InputError: an atom without exactly four neighbours.
        """
        counts = np.bincount(np.asarray(graph.senders), minlength=len(structure))
        wrong = np.flatnonzero(counts != 4)
        if len(wrong):
            raise InputError(
                f"atom {int(wrong[0])} has {int(counts[wrong[0]])} neighbours within "
                f"{graph.cutoff + graph.skin:.3f} angstrom ({len(wrong)} such atoms); the valence force field needs "
                "exactly four: build the graph from the ideal tetrahedral structure, or choose another potential"
            )

    def apply(self, variables: Any, structure: Structure, graph: Graph) -> Float[Array, ""]:
        """Energy of the cell, eV; zero on the ideal lattice."""
        if graph.neighbours.shape[1] != 4:
            raise InputError(
                f"the graph has up to {graph.neighbours.shape[1]} neighbours an atom; the valence force field needs "
                "four: build the graph with this potential's own `graph(structure)`"
            )
        bond2 = self.bond_length**2
        r = graph.vectors(structure)[graph.neighbours]
        p = {name: jnp.asarray(value, r.dtype) for name, value in variables["params"].items()}
        dot = jnp.einsum("ija,ika->ijk", r, r)
        s = jnp.diagonal(dot, axis1=1, axis2=2) - bond2
        t = dot + bond2 / 3
        other = (1 - jnp.eye(4, dtype=t.dtype))[None]
        both = s[:, :, None] + s[:, None, :]
        pairs = p["beta"] * t**2 + p["gamma"] * s[:, :, None] * s[:, None, :] + p["delta"] * both * t
        stretching = p["alpha"] / 2 * jnp.sum(s**2)
        bending = jnp.sum(other * pairs) / 2
        chains = p["nu"] * jnp.sum(other * t * self._facing_angles(t, graph)) / 2
        return 3 / (8 * bond2) * (stretching + bending + chains)

    def _facing_angles(self, t: Float[Array, "n 4 4"], graph: Graph) -> Float[Array, "n 4 4"]:
        """t_kil of the chain j-i-k-l for every atom i, bond i-k (second index) and bond i-j (third index)."""
        far, opposite = _opposite_bonds(graph)
        # The bond of k that is antiparallel to i->k is the one that leads back to i.
        back = jnp.diagonal(opposite, axis1=1, axis2=2)
        return t[far[:, :, None], back[:, :, None], opposite]


def _opposite_bonds(graph: Graph) -> tuple[Int[Array, "n 4"], Int[Array, "n 4 4"]]:
    """Neighbours k of every atom i, and which bond of k is antiparallel to bond i->j (second index k, third j)."""
    ideal = graph.reference[graph.neighbours]
    far = graph.receivers[graph.neighbours]
    cosine = jnp.einsum("ija,ikla->ikjl", ideal, ideal[far])
    return far, jnp.argmin(cosine, axis=-1)
