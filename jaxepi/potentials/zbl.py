"""Repulsion of nuclei at short range: the universal screened Coulomb potential, switched off at the bond length.

Ziegler, Biersack and Littmark, The Stopping and Range of Ions in Matter (Pergamon, 1985). Flows in: atomic numbers, edge
vectors, neighbours. Flows out: an energy an atom.
"""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from ase.data import covalent_radii
from jaxtyping import Array, Float, Int

from jaxepi.errors import InputError
from jaxepi.graph import Relation
from jaxepi.units import COULOMB

_SHARES = (0.18175, 0.50986, 0.28022, 0.02817)
_DECAYS = (3.19980, 0.94229, 0.40290, 0.20162)
_LENGTH = 0.46850  # angstrom
_POWERS = np.arange(len(covalent_radii)) ** 0.23  # Z^0.23 of every atomic number


@dataclasses.dataclass(frozen=True)
class ZBL:
    """Pair term of the Ziegler-Biersack-Littmark repulsion,

        E = 1/2 sum_ij u(r/r_ij) Z_i Z_j e^2/(4 pi eps0 r) sum_k c_k exp(-d_k r/a_ij),   a_ij = 0.4685/(Z_i^0.23 + Z_j^0.23),

    where the polynomial u with p = 6 (Gasteiger, Gross and Guennemann, ICLR 2020) takes it to zero at the sum of the
    covalent radii, r_ij, with two continuous derivatives.

    Attributes:
        species: atomic numbers that occur; they decide how far the term reaches.
    """

    species: tuple[int, ...]

    @property
    def relation(self) -> Relation:
        """All pairs closer than the largest sum of covalent radii."""
        return Relation(2 * float(max(covalent_radii[z] for z in self.species)))

    def check(self, species: Sequence[int]) -> None:
        """Refuse elements that the term was not made for.

        Raises:
            InputError: names the atomic number.
        """
        for z in species:
            if z not in self.species or not 0 < z < len(covalent_radii):
                raise InputError(f"atomic number {z} is not among those of the repulsion, {list(self.species)}; add it")

    def energies(
        self, numbers: Int[Array, "n"], vectors: Float[Array, "n m 3"], receivers: Int[Array, "n m"]
    ) -> Float[Array, "n"]:
        """Repulsion of every atom, eV: half of that of each of its pairs.

        Args:
            numbers: atomic numbers. vectors: to the neighbours, angstrom. receivers: the neighbours.
        """
        dtype = vectors.dtype
        radius, power = (jnp.asarray(x, dtype)[numbers] for x in (covalent_radii, _POWERS))
        charge = numbers.astype(dtype)
        reach = radius[:, None] + radius[receivers]
        # Slots beyond the reach are moved there, where nothing is left; atoms on one another are moved apart.
        r = jnp.sqrt(jnp.clip(jnp.sum(vectors**2, axis=-1), 1e-6, reach**2))
        x = r * (power[:, None] + power[receivers]) / _LENGTH
        screening = sum(c * jnp.exp(-d * x) for c, d in zip(_SHARES, _DECAYS, strict=True))
        coulomb = COULOMB * charge[:, None] * charge[receivers] / r
        return 0.5 * jnp.sum(_envelope(r / reach) * coulomb * screening, axis=1)


def _envelope(x: Array) -> Array:
    """1 - 28 x^6 + 48 x^7 - 21 x^8, factorised so that nothing is left of it at x = 1 in single precision either."""
    return (1 - x) ** 3 * (1 + x * (3 + x * (6 + x * (10 + x * (15 + x * 21)))))
