"""A crystal of two atoms with one orbital each, which compiles fast; with an overlap, and on-site energies of surroundings."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxepi.hamiltonians import Hamiltonian, parameter_files
from jaxepi.hamiltonians.base import BlockModule
from jaxepi.hamiltonians.slater_koster import SlaterKoster
from jaxepi.structure import Structure
from jaxepi.tree import replace

A = 2.46


def cell() -> Structure:
    """Two elements, so that there is a gap."""
    lattice = np.array([[A, 0, 0], [-A / 2, A * 3**0.5 / 2, 0], [0, 0, 20.0]])
    return Structure.create(
        np.array([[0, 0, 0.5], [1 / 3, 2 / 3, 0.5]]) @ lattice, lattice, [5, 7], (True, True, False)
    )


def hamiltonian(general: bool) -> Hamiltonian:
    """p_z orbitals of first neighbours; in general with an overlap, and energies that depend on three atoms at once."""
    hopping = {"pz-pz:pi": {"value": -2.7, "exponent": 3.4, "length": 1.42}}
    pairs = [{"species": pair, "hopping": hopping} for pair in (["B", "N"], ["B", "B"], ["N", "N"])]
    species = {s: {"shells": ["pz"], "electrons": 1, "onsite": {"pz": e}} for s, e in (("B", 1.0), ("N", -1.0))}
    data = {
        "name": "honeycomb", "citation": "of tests", "species": species, "law": "power", "onsite_model": "constant",
        "cutoff": 1.7, "skin": 0.5, "pairs": pairs,
    }  # fmt: skip
    if general:
        for pair in pairs:
            pair["overlap"] = {"pz-pz:pi": {"value": 0.13, "exponent": 3.0, "length": 1.42}}
        for s, e in (("B", 0.8), ("N", -1.1)):
            species[s]["density"] = {"pz": [e, 0.9, -0.4, 0.2]}
        parameters = {"decay": 1.0, "switch": 12.0, "width": 0.5, "coefficients": {"pz": [0.0, 0.0, 0.0, 0.0]}}
        data |= {"onsite_model": "density", "onsite_parameters": parameters}
    module, params = parameter_files.build(data)
    return Hamiltonian(params, Stretched(module) if general else module)


@dataclasses.dataclass(frozen=True)
class Stretched(BlockModule):
    """The same states in other orbitals: each times a number, which surroundings change for boron, so that no atom's own
    overlap is one. No observable may know of it."""

    base: SlaterKoster

    basis = property(lambda self: self.base.basis)
    cutoff = property(lambda self: self.base.cutoff)
    skin = property(lambda self: self.base.skin)
    orthogonal = property(lambda self: self.base.orthogonal)

    def apply(self, variables, structure, graph):
        blocks = self.base.apply(variables, structure, graph)
        near = jnp.exp(-((graph.vectors(structure) ** 2).sum(axis=1)))
        boron = jnp.asarray(np.equal(structure.species, 5))
        w = 1.2 + jnp.where(boron, jax.ops.segment_sum(near, graph.senders, graph.n_atoms), 0.0)
        own, pair = (x[:, None, None] for x in (w, w[graph.senders] * w[graph.receivers]))
        return replace(
            blocks,
            onsite=own**2 * blocks.onsite,
            hopping=pair * blocks.hopping,
            overlap=pair * blocks.overlap,
            onsite_overlap=own**2 * blocks.own_overlap,
        )
