"""The modified valence force field: measured phonons and elastic constants, symmetry, derivatives, refusals."""

import jax.numpy as jnp
import laws
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import potentials, units
from jaxepi.errors import InputError
from jaxepi.structure import Structure

CRYSTALS = {
    "silicon-mvff": bulk("Si", a=5.431),
    "galliumarsenide-mvff": bulk("GaAs", "zincblende", a=5.6532),
}


def rattled(name: str, amplitude: float = 0.08):
    """A 16-atom cell away from its sites, and the graph of the ideal one."""
    ideal = Structure.from_ase(CRYSTALS[name]).supercell(2)
    potential = potentials.load(name)
    noise = np.random.default_rng(1).normal(size=(len(ideal), 3)) * amplitude
    return potential, ideal.with_positions(ideal.positions + noise), potential.graph(ideal)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "gpa"), [("silicon-mvff", (179, 77, 79)), ("galliumarsenide-mvff", (133, 64, 57))])
def test_elastic_constants(name, gpa):
    c = potentials.elastic_constants(potentials.load(name), Structure.from_ase(CRYSTALS[name])) / units.GPA
    np.testing.assert_allclose([c[0, 0], c[0, 1], c[3, 3]], gpa, rtol=0.01)
    np.testing.assert_allclose(c[:3, 3:], 0, atol=1e-6)
    np.testing.assert_allclose(c, c.T, atol=1e-6)


@pytest.mark.slow
def test_ideal_lattice_is_a_minimum_without_energy():
    for name, atoms in CRYSTALS.items():
        structure = Structure.from_ase(atoms)
        potential = potentials.load(name)
        graph = potential.graph(structure)
        assert abs(potential.energy(structure, graph)) < 1e-20
        assert jnp.abs(potential.forces(structure, graph)).max() < 1e-10
        assert jnp.abs(potential.stress(structure, graph)).max() < 1e-10


@pytest.mark.slow
def test_energy_equals_a_plain_sum_over_atoms():
    """The formula written out with loops, chains found from ideal bonds."""
    potential, structure, graph = rattled("galliumarsenide-mvff")
    p, d = potential.params, potential.module.bond_length
    r, ideal = np.asarray(graph.vectors(structure)), np.asarray(graph.reference)
    leaving = [np.flatnonzero(np.asarray(graph.senders) == i) for i in range(len(structure))]
    to = np.asarray(graph.receivers)

    def s(e):
        return r[e] @ r[e] - d**2

    def t(e, f):
        return r[e] @ r[f] + d**2 / 3

    energy = 0.0
    for edges in leaving:
        energy += 3 / 16 * p["alpha"] * sum(s(e) ** 2 for e in edges)
        for first, e in enumerate(edges):
            for f in edges[first + 1 :]:
                energy += 3 / 8 * (p["beta"] * t(e, f) ** 2 + p["gamma"] * s(e) * s(f))
                energy += 3 / 8 * p["delta"] * (s(e) + s(f)) * t(e, f)
        for c in edges:
            back = next(e for e in leaving[to[c]] if np.allclose(ideal[e], -ideal[c]))
            for e in edges:
                if e != c:
                    outward = next(f for f in leaving[to[c]] if np.allclose(ideal[f], -ideal[e]))
                    # Every central bond is met from both its ends.
                    energy += 0.5 * 3 / 8 * p["nu"] * t(e, c) * t(back, outward)
    np.testing.assert_allclose(potential.energy(structure, graph), energy / d**2, rtol=1e-12)


@pytest.mark.slow
def test_forces_and_stress_equal_finite_differences():
    laws.forces_and_stress_equal_finite_differences(*rattled("silicon-mvff"))


@pytest.mark.slow
def test_rotation_translation_and_permutation():
    potential, structure, graph = rattled("galliumarsenide-mvff")
    energy, forces = potential.energy(structure, graph), potential.forces(structure, graph)
    rotation, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    turned = Structure(structure.positions @ rotation + 0.7, structure.cell @ rotation, structure.species)
    graph_turned = potential.graph(turned)
    np.testing.assert_allclose(potential.energy(turned, graph_turned), energy, rtol=1e-10)
    np.testing.assert_allclose(potential.forces(turned, graph_turned), forces @ rotation, atol=1e-9)
    order = np.random.default_rng(4).permutation(len(structure))
    shuffled = Structure(structure.positions[order], structure.cell, tuple(structure.species[i] for i in order))
    np.testing.assert_allclose(potential.energy(shuffled, potential.graph(shuffled)), energy, rtol=1e-10)


def test_precision_follows_the_structure():
    potential, structure, _ = rattled("silicon-mvff")
    single = structure.astype(jnp.float32)
    assert potential.energy(single, potential.graph(single)).dtype == jnp.float32


def test_too_many_neighbours_are_refused_by_name():
    potential = potentials.load("silicon-mvff")
    with pytest.raises(InputError, match=r"atom 0 has \d+ neighbours.*exactly four"):
        potential.graph(Structure.from_ase(bulk("Si", a=3.6)))


def test_foreign_elements_are_refused():
    with pytest.raises(InputError, match="atom 0 is Ge; silicon-mvff has parameters for Si only"):
        potentials.load("silicon-mvff").graph(Structure.from_ase(bulk("Ge", a=5.43)))


def test_a_foreign_graph_is_refused():
    structure = Structure.from_ase(bulk("Si", a=5.431))
    graph = potentials.load("silicon-sw1985").graph(structure)
    with pytest.raises(InputError, match="own `graph"):
        potentials.load("silicon-mvff").energy(structure, graph)
