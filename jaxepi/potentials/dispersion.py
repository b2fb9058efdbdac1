"""London dispersion between pairs: D3 with Becke-Johnson damping, switched off smoothly at its own cutoff.

Grimme, Antony, Ehrlich and Krieg, J. Chem. Phys. 132, 154104 (2010); damping: Grimme, Ehrlich and Goerigk, J. Comput.
Chem. 32, 1456 (2011). No three-body term. Flows in: atomic numbers, edge vectors, neighbours. Flows out: an energy an atom.
"""

import dataclasses
import json
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from ase.units import Bohr, Hartree
from jaxtyping import Array, Float, Int

from jaxepi.errors import InputError
from jaxepi.graph import Relation

_STEEPNESS, _STRETCH, _WEIGHT = 16.0, 4.0 / 3.0, 4.0  # k1, k2 and k3 of the 2010 paper
_ACCURACY = 2e-5  # largest relative error of C6 from the truncated sum of products; the table has four decimals
_FAR = 1e3  # coordination number in the place of references that an element does not have: their weight is zero


@dataclasses.dataclass(frozen=True)
class Dispersion:
    """Pair term of D3(BJ),

        E = -1/2 sum_ij S(r) C6_ij [s6/(r^6 + R^6) + 3 s8 Q_i Q_j/(r^8 + R^8)],   R = a1 sqrt(3 Q_i Q_j) + a2,

    where C6_ij follows the coordination numbers of both atoms, and S falls from one to zero over the last `width` before
    the cutoff with two continuous derivatives. Damping parameters are those of PBE.

    Attributes:
        cutoff: angstrom. width: of the switch, angstrom.
        s6, s8, a1: dimensionless. a2: bohr.
        species: atomic numbers to load; empty loads all there are parameters for, which takes a little more time.
    """

    cutoff: float = 12.0
    width: float = 2.0
    s6: float = 1.0
    s8: float = 0.7875
    a1: float = 0.4289
    a2: float = 4.4407
    species: tuple[int, ...] = ()

    @property
    def relation(self) -> Relation:
        """All pairs within the cutoff."""
        return Relation(self.cutoff)

    def check(self, species: Sequence[int]) -> None:
        """Refuse elements without parameters, and a range that makes no sense.

        Raises:
            InputError: names the element or the length.
        """
        if not 0 < self.width <= self.cutoff < np.inf:
            raise InputError(
                f"dispersion cutoff {self.cutoff} and width {self.width} angstrom: give 0 < width <= cutoff"
            )
        known = _elements()
        for z in species:
            if chemical_symbols[z] not in known or (self.species and z not in self.species):
                there = ", ".join(chemical_symbols[s] for s in self.species) or ", ".join(known)
                raise InputError(
                    f"{chemical_symbols[z]} (atomic number {z}) has no dispersion parameters here; there are {there}: "
                    "leave the dispersion term out, or add the element to d3.json"
                )

    def energies(
        self, numbers: Int[Array, "n"], vectors: Float[Array, "n m 3"], receivers: Int[Array, "n m"]
    ) -> Float[Array, "n"]:
        """Dispersion energy of every atom, eV: half of that of each of its pairs.

        Args:
            numbers: atomic numbers. vectors: to the neighbours, angstrom; those beyond the cutoff count nothing.
            receivers: the neighbours.
        """
        table = _reference(self.species)
        dtype = vectors.dtype
        kind = jnp.asarray(table.rows)[numbers]
        radius, quotient, coordination, factors = (
            jnp.asarray(x, dtype)[kind] for x in (table.radius, table.quotient, table.coordination, table.factors)
        )
        # Slots beyond the cutoff are moved there, where nothing is left; atoms on one another are moved apart.
        r = jnp.sqrt(jnp.clip(jnp.sum(vectors**2, axis=-1), 1e-4, self.cutoff**2))
        switch = _switch((self.cutoff - r) / self.width)
        bond = _STRETCH * (radius[:, None] + radius[receivers])
        count = jnp.sum(switch * jax.nn.sigmoid(_STEEPNESS * (bond / r - 1)), axis=1)
        weight = jax.nn.softmax(-_WEIGHT * (count[:, None] - coordination) ** 2, axis=1)
        # C6 is a sum of few products of one factor an atom, so that no table of pairs of references is ever formed.
        g = jnp.einsum("na,nar->nr", weight, factors)
        c6 = jnp.einsum("nr,nmr->nm", g * jnp.asarray(table.signs, dtype)[None], g[receivers])
        ratio = 3 * quotient[:, None] * quotient[receivers]
        size = self.a1 * jnp.sqrt(ratio) + self.a2 * Bohr
        damped = self.s6 / (r**6 + size**6) + self.s8 * ratio / (r**8 + size**8)
        return -0.5 * jnp.sum(switch * c6 * damped, axis=1)


def _switch(x: Array) -> Array:
    """Zero below 0, one above 1, with two continuous derivatives."""
    x = jnp.clip(x, 0.0, 1.0)
    return x**3 * (10 - 15 * x + 6 * x**2)


class _Reference(NamedTuple):
    """Parameters of some elements, one row each.

    rows: row of every atomic number. radius: covalent, angstrom. quotient: Q, angstrom, with C8 = 3 Q_i Q_j C6.
    coordination: of the references. factors, signs: C6 of references a and b is sum_r signs_r factors_ar factors_br,
    eV angstrom^6.
    """

    rows: np.ndarray
    radius: np.ndarray
    quotient: np.ndarray
    coordination: np.ndarray
    factors: np.ndarray
    signs: np.ndarray


@lru_cache(maxsize=1)
def _data() -> dict:
    return json.loads(resources.files("jaxepi.potentials").joinpath("d3.json").read_text(encoding="utf-8"))


def _elements() -> tuple[str, ...]:
    return tuple(_data()["elements"])


@lru_cache(maxsize=32)
def _reference(species: tuple[int, ...]) -> _Reference:
    """Parameters of some elements; all when none are named."""
    symbols = [chemical_symbols[z] for z in species] or list(_elements())
    entries = [_data()["elements"][s] for s in symbols]
    widths = [len(e["coordination"]) for e in entries]
    rows = np.zeros(len(chemical_symbols), np.int32)
    rows[[atomic_numbers[s] for s in symbols]] = np.arange(len(symbols))
    coordination = np.full((len(symbols), max(widths)), _FAR)
    for row, entry in zip(coordination, entries, strict=True):
        row[: len(entry["coordination"])] = entry["coordination"]
    vectors, signs = _products(np.block([[_c6(s, t) for t in symbols] for s in symbols]) * Hartree * Bohr**6)
    factors = np.zeros((*coordination.shape, len(signs)))
    factors[coordination < _FAR] = vectors
    numbers = np.array([atomic_numbers[s] for s in symbols])
    ratios = np.array([e["r4_over_r2"] for e in entries])
    quotient = np.sqrt(0.5 * ratios * np.sqrt(numbers)) * Bohr
    return _Reference(rows, np.array([e["radius"] for e in entries]), quotient, coordination, factors, signs)


def _c6(first: str, second: str) -> np.ndarray:
    """Reference C6 of two elements, hartree bohr^6: a row a reference of the first."""
    pairs = _data()["c6"]
    return np.array(pairs[f"{first}-{second}"]) if f"{first}-{second}" in pairs else _c6(second, first).T


def _products(c6: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The shortest sum of products that gives a symmetric matrix of C6: C6 = factors @ diag(signs) @ factors^T.

    C6 is an integral over imaginary frequency of two polarisabilities (Casimir and Polder), so few terms suffice.
    """
    values, vectors = np.linalg.eigh(c6)
    order = np.argsort(-np.abs(values))
    values, vectors = values[order], vectors[:, order]
    for rank in range(1, len(values) + 1):
        signs, factors = np.sign(values[:rank]), vectors[:, :rank] * np.sqrt(np.abs(values[:rank]))
        if np.abs((factors * signs) @ factors.T / c6 - 1).max() < _ACCURACY:
            break
    return factors, signs
