"""Crystals with Dirac points in p_z electrons, and what holds their atoms: for fermi_velocity.py and learned_coupling.py.

`bilayer`, `layer`: graphene-trambly2010 and the phonons of graphene-pbe-d3, AB 3.349 angstrom apart, lattice constant of that
potential. `pi`: that layer without sigma hoppings, which only a layer that is not flat has. `nearest`: one layer, first
neighbours alone, phonons of Lindsay and Broido.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi import hamiltonians, potentials, sampling
from jaxepi.errors import InputError
from jaxepi.hamiltonians import Hamiltonian, parameter_files
from jaxepi.materials import bilayers
from jaxepi.sampling import ForceConstants
from jaxepi.structure import Structure
from jaxepi.tree import replace

A = 2.473
"""Lattice constant of graphene-pbe-d3, angstrom."""

REPEATS = 10
"""Of the cells in which that potential's force constants are made: two of its reaches fit between an atom and its image."""

NAMES = ("bilayer", "layer", "pi", "nearest")
"""Crystals; `nearest-4.5` is the last one with another slope of its hopping, eV/angstrom."""

CORNER = np.array([1 / 3, 1 / 3, 0.0])
"""K of cells whose lattice vectors stand 120 degrees apart."""

ANGLE = 0.3
"""Radian from the first lattice vector, along which bands are followed away from K: between the axes of symmetry."""


class Crystal(NamedTuple):
    """Electrons and atoms of one cell.

    Attributes:
        constants: makes those of the lattice, in a supercell of `repeats`.
    """

    name: str
    cell: Structure
    hamiltonian: Hamiltonian
    constants: Callable[[], ForceConstants]
    repeats: int

    @property
    def dirac(self) -> tuple[int, int]:
        """Bands on both sides of the Dirac point: half of all p_z states are filled."""
        half = self.hamiltonian.basis.size(self.cell.species) // 2
        return half - 1, half

    def points(self, kappas: np.ndarray) -> np.ndarray:
        """Fractional k at distances from K, 1/angstrom."""
        along = np.array([np.cos(ANGLE), np.sin(ANGLE), 0.0]) @ np.linalg.inv(np.asarray(self.cell.reciprocal))
        return CORNER + kappas[:, None] * along

    def edge(self, repeats: int) -> float:
        """Distance from K, 1/angstrom, up to which no other state that an n x n cell folds onto it is as near to its own cone.

        k - P, with P any other cone's K or K' moved by a wave vector of the cell, is farther from the origin than k - K while
        2 (k - K).(P - K) < |P - K|^2. A P that coincides with K, K' in 3n cells, is as near everywhere and not counted.
        """
        steps = np.indices((4 * repeats + 1,) * 2).reshape(2, -1).T / repeats - 2
        steps = np.concatenate([steps, steps - 2 * CORNER[:2]])
        away = steps @ np.asarray(self.cell.reciprocal)[:2, :2]
        along, squares = away @ [np.cos(ANGLE), np.sin(ANGLE)], np.sum(away**2, axis=1)
        ahead = (squares > 1e-9) & (along > 1e-9)
        return float(np.min(squares[ahead] / (2 * along[ahead])))

    def states(self, kappas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Energies, eV, and Bloch states at rest, at distances from K."""
        graph = self.hamiltonian.graph(self.cell)
        matrices = [
            hamiltonians.hamiltonian_k(self.hamiltonian, self.cell, graph, jnp.asarray(k))[0]
            for k in self.points(kappas)
        ]
        return np.linalg.eigh(np.asarray(matrices))


def one_layer(a: float, height: float = 20.0) -> Structure:
    """Graphene, lattice vectors 120 degrees apart."""
    lattice = np.array([[a, 0, 0], [-a / 2, a * 3**0.5 / 2, 0], [0, 0, height]])
    sites = np.array([[0, 0, 0.5], [1 / 3, 2 / 3, 0.5]])
    return Structure.create(sites @ lattice, lattice, [6, 6], (True, True, False))


def slope_of(name: str) -> float | None:
    """Slope of the hopping of `nearest`, eV/angstrom, or None: another crystal.

    Raises:
        InputError: no such crystal.
    """
    kind, dash, slope = name.partition("-")
    try:
        steep = float(slope) if dash else 6.4
    except ValueError:
        steep = math.nan
    if kind not in NAMES or (dash and kind != "nearest") or not (math.isfinite(steep) and steep > 0):
        raise InputError(
            f"no crystal {name!r}: known are {', '.join(NAMES)}, and nearest-4.5 with any positive slope, eV/angstrom"
        )
    return steep if kind == "nearest" else None


def loaded(name: str, hamiltonian: str = "graphene-trambly2010") -> Crystal:
    """One of `bilayer`, `layer`, `pi`, `nearest`; the first two also with another Hamiltonian, the last with another slope.

    Raises:
        InputError: no such crystal.
    """
    steep = slope_of(name)
    if steep is not None:
        a = relaxed()
        return Crystal(name, one_layer(a), p_z(a / 3**0.5, steep), lambda: tersoff(a), 5)
    cell = bilayers.stacked("AB", a=A) if name == "bilayer" else one_layer(A)
    model = roomy(hamiltonians.load(hamiltonian))
    if name == "pi":
        hopping = model.params["hopping"]
        sigma = hopping["pz-pz:sigma"]
        without = {**hopping, "pz-pz:sigma": {**sigma, "value": 0 * sigma["value"]}}
        model = replace(model, params={**model.params, "hopping": without})
    return Crystal(name, cell, model, lambda: learned_constants(cell), REPEATS)


def roomy(hamiltonian: Hamiltonian, skin: float = 1.2) -> Hamiltonian:
    """With neighbours found farther away, for atoms of soft layers go far."""
    return replace(hamiltonian, module=dataclasses.replace(hamiltonian.module, skin=skin))


def learned_constants(cell: Structure, repeats: int = REPEATS) -> ForceConstants:
    """Of graphene-pbe-d3. Two layers are held at the measured distance, where that potential pulls them together by 0.04
    eV/angstrom an atom (its own is 3.22)."""
    supercell = cell.supercell((repeats, repeats, 1))
    return sampling.force_constants(potentials.load("graphene-pbe-d3"), supercell, force_tolerance=0.1, batch=1)


def tersoff(a: float) -> ForceConstants:
    """Graphene with the potential of Lindsay and Broido, Phys. Rev. B 81, 205441 (2010), 5 x 5 cells."""
    supercell = one_layer(a).supercell((5, 5, 1))
    x, box = np.asarray(supercell.positions), np.asarray(supercell.cell)
    between = x[None] - x[:, None]
    between -= np.round(between @ np.linalg.inv(box)) @ box
    order = np.argsort(np.linalg.norm(between, axis=-1), axis=1)[:, 1:4]
    wrap = jnp.asarray(np.take_along_axis(between, order[:, :, None], 1) - (x[order] - x[:, None]))

    def energy(y):
        return tersoff_energy(y[order] - y[:, None] + wrap)

    def row(i):
        e = jnp.zeros(x.shape).at[i // 3, i % 3].set(1)
        return jax.jvp(jax.grad(energy), (supercell.positions,), (e,))[1]

    return ForceConstants(supercell, jax.lax.map(row, jnp.arange(6)).reshape(2, 3, 25, 2, 3))


def tersoff_energy(bonds) -> jax.Array:
    """Energy of atoms with three bonds each, shape (n, 3, 3), all within the inner cutoff, eV."""
    big, b, lam1, lam2 = 1393.6, 430.0, 3.4879, 2.2119
    beta, n, c, d, h = 1.5724e-7, 0.72751, 38049.0, 4.3484, -0.93
    length = jnp.linalg.norm(bonds, axis=-1)
    cosine = jnp.einsum("iab,icb->iac", bonds, bonds) / (length[:, :, None] * length[:, None])
    g = (1 + c**2 / d**2 - c**2 / (d**2 + (h - cosine) ** 2)) * (1 - jnp.eye(3))
    order = (1 + (beta * g.sum(axis=2)) ** n) ** (-1 / (2 * n))
    return 0.5 * jnp.sum(big * jnp.exp(-lam1 * length) - order * b * jnp.exp(-lam2 * length))


def relaxed() -> float:
    """Lattice constant of least energy of that potential, angstrom."""
    angles = np.deg2rad([90, 210, 330])
    star = jnp.asarray(np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1))[None]
    slope = jax.jit(jax.value_and_grad(jax.grad(lambda d: tersoff_energy(d * star))))
    d = jnp.asarray(1.44)
    for _ in range(20):
        first, second = slope(d)
        d = d - first / second
    return float(d) * 3**0.5


def p_z(length: float, steep: float) -> Hamiltonian:
    """First neighbours, 2.7 eV, falling by `steep` eV/angstrom."""
    law = {"value": -2.7, "decay": steep * length / 2.7, "length": length, "switch": 10.0, "width": 0.1}
    data = {
        "name": "p_z", "citation": "of this script", "law": "exponential", "onsite_model": "constant", "cutoff": 1.7,
        "skin": 0.7, "species": {"C": {"shells": ["pz"], "electrons": 1, "onsite": {"pz": 0.0}}},
        "pairs": [{"species": ["C", "C"], "hopping": {"pz-pz:pi": law}}],
    }  # fmt: skip
    module, params = parameter_files.build(data)
    return Hamiltonian(params, module)
