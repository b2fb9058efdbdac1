"""A small world to learn: silicon cells of several sizes, labelled by the Stillinger-Weber potential."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk

from jaxepi import datasets, potentials
from jaxepi.graph import Relation
from jaxepi.potentials.base import TrainableEnergy
from jaxepi.structure import Structure

LEVEL = {"model": {"code": "jaxepi", "version": "1", "settings": {"potential": "Stillinger-Weber"}}}
TEMPERATURES = (100.0, 300.0, 400.0, 200.0)


class Density(nn.Module):
    """Site energies from radial sums over the neighbours: next to nothing, but smooth and learnable."""

    cutoff: float
    species: int

    @nn.compact
    def __call__(self, species, vectors):
        length = jnp.sqrt(jnp.sum(vectors**2, axis=-1))
        inside = length < self.cutoff
        taper = jnp.where(inside, (1 - jnp.where(inside, length, 0.0) / self.cutoff) ** 2, 0.0)
        centres = jnp.linspace(1.5, self.cutoff, 8, dtype=length.dtype)
        features = jnp.sum(taper[..., None] * jnp.exp(-4 * (length[..., None] - centres[None, None]) ** 2), axis=1)
        table = self.param("species", nn.initializers.normal(1.0), (self.species, 8)).astype(features.dtype)
        x = nn.tanh(nn.Dense(16, param_dtype=features.dtype, dtype=features.dtype)(features + table[species]))
        return nn.Dense(1, param_dtype=features.dtype, dtype=features.dtype)(x)[:, 0]


@dataclasses.dataclass(frozen=True)
class TinyEnergy(TrainableEnergy):
    """An energy module with the interface of learned potentials."""

    species: tuple[int, ...] = (14,)
    cutoff: float = 4.0
    skin: float = 0.0
    terms: tuple = ()

    @property
    def relations(self):
        return (Relation(self.cutoff), *(term.relation for term in self.terms))

    @property
    def network(self):
        return Density(self.cutoff, len(self.species))

    def init(self, key):
        variables = jax.jit(self.network.init)(key, jnp.zeros(1, jnp.int32), jnp.ones((1, 1, 3)))
        return {"network": variables["params"], "reference": jnp.zeros(len(self.species)), "scale": jnp.ones(())}

    def site_energies(self, variables: Any, species, vectors, tables):
        p = variables["params"]
        sites = self.network.apply({"params": p["network"]}, species, vectors[0])
        energy = jnp.asarray(p["reference"], sites.dtype)[species] + jnp.asarray(p["scale"], sites.dtype) * sites
        for term, v, table in zip(self.terms, vectors[1:], tables[1:], strict=True):
            energy = energy + term.energies(jnp.asarray(self.species)[species], v, table.receivers)
        return energy

    def apply(self, variables, structure, graph):
        index = jnp.asarray([self.species.index(z) for z in structure.species], jnp.int32)
        vectors = tuple(t.vectors(structure.positions, structure.cell) for t in graph.tables)
        return jnp.sum(self.site_energies(variables, index, vectors, graph.tables))


def labelled(sizes=((1, 24), (2, 3)), seed=0, level="model", shift=None, name="silicon", kind=None):
    """A data set of cubic cells (repeats along x, how many), displaced and strained, in eV and angstrom.

    Args:
        shift: eV an atom added to the energies of each mesh, by mesh; one mesh without it.
    """
    potential = potentials.load("silicon-sw1985")
    label = jax.jit(lambda s, g: (potential.energy(s, g), potential.forces(s, g), potential.stress(s, g)))
    random = np.random.default_rng(seed)
    parts = []
    for repeats, count in sizes:
        for i in range(count):
            mesh, offset = list((shift or {(2, 2, 2, 0, 0, 0): 0.0}).items())[i % len(shift or (1,))]
            temperature = TEMPERATURES[(i // 2) % len(TEMPERATURES)]
            atoms = bulk("Si", "diamond", a=5.43, cubic=True).repeat((repeats, 1, 1))
            strain = random.uniform(-0.01, 0.01, (3, 3))
            strain = 0.5 * (strain + strain.T)
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            atoms.positions += random.normal(scale=0.004 * temperature**0.5, size=atoms.positions.shape)
            structure = Structure.from_ase(atoms)
            graph = potential.graph(structure)
            energy, forces, stress = (np.asarray(x) for x in label(structure, graph))
            labels = {"energy": float(energy) + offset * len(atoms), "forces": forces, "stress": stress}
            more = {"temperature": temperature, "strain": strain, "mesh": mesh, "kind": kind or "thermal"}
            parts.append(
                datasets.single(atoms.positions, atoms.cell.array, atoms.numbers.tolist(), {level: labels}, **more)
            )
    return datasets.gather(name, {level: LEVEL["model"]}, parts)
