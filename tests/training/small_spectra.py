"""A small world of electrons to learn: displaced silicon crystals with the eigenvalues of a Hamiltonian that is known."""

import dataclasses

import jax
import numpy as np
from ase.build import bulk

from jaxepi import datasets, hamiltonians, kpoints
from jaxepi.electrons.eigen import eigenvalues
from jaxepi.structure import Structure

MODEL = {
    "channels": 2,
    "features": 2,
    "hidden": [8],
    "cutoff": 3.4,
    "switch": [2.9, 3.2],
    "base": "si-vogl1983",
    "skin": 0.0,
}
LEVEL = {"pbe": {"code": "jaxepi", "version": "1", "settings": {"hamiltonian": "Vogl, changed"}}}
MESH = kpoints.mesh(2, (0.5, 0.5, 0.5))


def teacher():
    """Vogl's silicon with deeper s states and weaker bonds."""
    h = hamiltonians.load("si-vogl1983")
    params = jax.tree.map(lambda x: x, h.params)
    params["onsite"] = params["onsite"].at[0, 0].add(-0.4)
    params["hopping"]["p-p:sigma"] = {**params["hopping"]["p-p:sigma"]}
    params["hopping"]["p-p:sigma"]["value"] = 0.95 * params["hopping"]["p-p:sigma"]["value"]
    return dataclasses.replace(h, params=params)


def labelled():
    """A data set of one group: nine crystals to train on, two to validate, one to test; each has a zero of its own."""
    known, parts = teacher(), []
    for i in range(12):
        atoms = bulk("Si", a=5.43 * (1 + 0.003 * (i % 3)))
        atoms.rattle(0.05, seed=i)
        atoms.positions, atoms.cell = atoms.positions.round(8), atoms.cell.array.round(8)  # as data sets keep them
        e = np.asarray(eigenvalues(known, Structure.from_ase(atoms), MESH.points))[:, :7] + 0.2 * i
        labels = {"pbe": {"energy": 0.0, "eigenvalues": e}}
        more = {"kpoints": MESH.points, "weights": MESH.weights, "occupied": 4, "temperature": 300.0}
        parts.append(datasets.single(atoms.positions, atoms.cell.array, atoms.numbers.tolist(), labels, **more))
    whole = datasets.gather("test", LEVEL, parts)
    group = dataclasses.replace(whole.groups[0], split=("train",) * 9 + ("validation",) * 2 + ("test",))
    return dataclasses.replace(whole, groups=(group,))
