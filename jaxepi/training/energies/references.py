"""What is known before training: reference energies, offsets of k meshes, the scale of forces, and fixed pair terms.

Flows in: `Examples` and an energy module. Flows out: numbers for its parameters, and examples less the fixed terms. The
reference energies are least squares over the training configurations, each divided by its number of atoms.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxepi.potentials.base import PairTerm, TrainableEnergy
from jaxepi.training.energies.problem import EnergyProblem
from jaxepi.training.examples import Examples
from jaxepi.training.packing import pack


@dataclasses.dataclass(frozen=True)
class References:
    """Least squares before training.

    Attributes:
        energies: of each species, eV. scale: root mean square of the force components, eV/angstrom.
        meshes: names. offsets: of their energies, eV an atom; zero for the densest. free: all but the densest.
    """

    energies: Float[np.ndarray, "s"]
    scale: float
    meshes: tuple[str, ...]
    offsets: Float[np.ndarray, "m"]
    free: Bool[np.ndarray, "m"]


def fit_references(examples: Examples, species: Sequence[int], offsets: bool) -> References:
    """Reference energies, offsets (where asked for) and scale from the training configurations.

    Sets on two meshes do not hold the same displacements, so their mean energies differ by more than the offset. What
    explains the energy of a nearly harmonic crystal is fitted along: half the work against the forces on the way from the
    mean sites, the squared forces, and the volume.
    """
    rows = examples.rows("train")
    rows = rows[examples.weights[rows, 0] > 0]
    meshes, which = np.unique(examples.mesh.astype(str), return_inverse=True)
    density = np.bincount(which, examples.points * examples.volume) / np.bincount(which)
    free = np.arange(len(meshes)) != np.argmax(density)
    found = np.zeros(len(meshes))
    forces = examples.forces[np.repeat(examples.split == "train", examples.sizes)]
    scale = float(np.sqrt(np.mean(forces**2))) or 1.0
    if not len(rows):
        return References(np.zeros(len(species)), scale, tuple(meshes), found, free)
    composition = examples.counts(species)[rows] / examples.sizes[rows, None]
    energy = (examples.energy / examples.sizes)[rows]
    if offsets and free.any():
        share = np.eye(len(meshes))[which[rows]][:, free]
        columns = np.concatenate([composition, share, _explanations(examples, rows)], axis=1)
        solution = np.linalg.lstsq(columns, energy, rcond=1e-10)[0]
        found[free] = solution[len(species) : len(species) + int(free.sum())]
        seen = np.isin(np.arange(len(meshes)), which[rows])
        found = np.where(seen, found, 0.0)
    energies = np.linalg.lstsq(composition, energy - found[which[rows]], rcond=1e-10)[0]
    return References(energies, scale, tuple(str(m) for m in meshes), found, free)


def _explanations(examples: Examples, rows: Int[np.ndarray, "k"]) -> Float[np.ndarray, "k 4"]:
    """What the energy an atom follows: work from the mean sites, squared forces, volume and its square."""
    squared = examples.sum((examples.forces**2).sum(axis=1))[rows] / examples.sizes[rows]
    stretch = (examples.volume / examples.sizes)[rows]
    stretch = (stretch - stretch.mean()) / stretch.mean()
    work = _work(examples)[rows]
    return np.stack([work, squared, stretch, stretch**2], axis=1)


def _work(examples: Examples) -> Float[np.ndarray, "c"]:
    """Half the work against the forces, eV an atom, on the way from the mean sites of all cells with the same atoms.

    Zero for a cell that is not like the others: with an atom more than 0.8 angstrom from its mean site.
    """
    work = np.zeros(len(examples))
    atoms = [slice(a, b) for a, b in itertools.pairwise(examples.first)]
    cells: dict[bytes, list[int]] = {}
    for c, mine in enumerate(atoms):
        cells.setdefault(examples.numbers[mine].tobytes(), []).append(c)
    for members in cells.values():
        places = np.stack([examples.positions[atoms[c]] @ np.linalg.inv(examples.cell[c]) for c in members])
        places -= np.round(places - places[0])
        moved = places - places.mean(axis=1, keepdims=True)
        moved = (moved - moved.mean(axis=0)) @ examples.cell[members]
        near = np.linalg.norm(moved, axis=2).max(axis=1) < 0.8
        forces = np.stack([examples.forces[atoms[c]] for c in members])
        work[members] = np.where(near, -0.5 * np.einsum("cia,cia->c", forces, moved) / places.shape[1], 0.0)
    return work


def without_references(examples: Examples, references: References, species: Sequence[int]) -> Examples:
    """With the reference energies subtracted from the energies (offsets of meshes are not)."""
    return dataclasses.replace(examples, energy=examples.energy - examples.counts(species) @ references.energies)


def unseen_meshes(examples: Examples) -> Bool[np.ndarray, "c"]:
    """Configurations on meshes that no training configuration with an energy is on: theirs cannot be compared."""
    training = (examples.split == "train") & (examples.weights[:, 0] > 0)
    return ~np.isin(examples.mesh.astype(str), examples.mesh[training].astype(str))


class _Terms(TrainableEnergy):
    """An energy module that holds the fixed pair terms of another alone."""

    def __init__(self, module: Any):
        self._terms, self._species = module.terms, module.species

    @property
    def terms(self) -> tuple[PairTerm, ...]:
        return self._terms

    @property
    def species(self) -> tuple[int, ...]:
        return self._species

    def site_energies(self, variables: Any, species: Any, vectors: Any, tables: Any) -> Any:
        numbers = jnp.asarray(self.species)[species]
        last = zip(self.terms, vectors[-len(self.terms) :], tables[-len(self.terms) :], strict=True)
        return sum(term.energies(numbers, v, table.receivers) for term, v, table in last)


def without_terms(module: Any, examples: Examples, dtype: str, atoms: int = 512) -> tuple[Any, Examples]:
    """The module without its fixed pair terms, and examples with their energies, forces and stresses subtracted.

    Args:
        module: may have `terms`, whose relations stand behind those of the network. atoms: of a batch.
    """
    terms = module.terms
    if not terms:
        return module, examples
    rest = without_model(_Terms(module), {}, examples, dtype, atoms)
    kept = examples.tables[: len(examples.tables) - len(terms)]
    return dataclasses.replace(module, terms=()), dataclasses.replace(rest, tables=kept)


def without_model(module: Any, params: Any, examples: Examples, dtype: str, atoms: int = 512) -> Examples:
    """Examples with the energies, forces and stresses that an energy module gives them subtracted.

    Args:
        module: `site_energies` and `species`. atoms: of a batch.
    """
    found = _labels_of(module, params, examples, dtype, atoms)
    return dataclasses.replace(examples, **{n: getattr(examples, n) - x for n, x in found.items()})


def with_model(module: Any, params: Any, examples: Examples, dtype: str, atoms: int = 512) -> Examples:
    """Examples with the energies, forces and stresses that an energy module gives them added (see `without_model`)."""
    found = _labels_of(module, params, examples, dtype, atoms)
    return dataclasses.replace(examples, **{n: getattr(examples, n) + x for n, x in found.items()})


def _labels_of(module: Any, params: Any, examples: Examples, dtype: str, atoms: int) -> dict[str, np.ndarray]:
    """What an energy module gives in the place of the labels."""
    packing = pack(examples.sizes, examples.widths(), atoms, shapes=1)
    meshes = len(np.unique(examples.mesh.astype(str)))
    problem = EnergyProblem(module, params, examples, packing, np.zeros(meshes), np.zeros(meshes, bool), dtype)
    plans, evaluate = packing.plans(np.arange(len(examples))), jax.jit(problem.outputs)
    found = problem.collect(plans, [jax.device_get(evaluate({"model": {}}, problem.arrays, plan)) for plan in plans])
    return dict(found._asdict())
