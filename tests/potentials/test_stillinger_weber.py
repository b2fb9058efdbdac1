"""Stillinger-Weber: the published cohesive energy, a brute-force sum, the cutoff."""

import jax
import jax.numpy as jnp
import laws
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from jaxepi import potentials
from jaxepi.errors import InputError
from jaxepi.structure import Structure


def brute_force(potential, atoms: Atoms) -> float:
    """The energy by loops over all atoms and the 27 nearest images."""
    p, a = {k: float(v) for k, v in potential.params.items()}, potential.module.range
    images = np.array(list(np.ndindex(3, 3, 3))) - 1
    everyone = (atoms.positions[None] + (images @ atoms.cell.array)[:, None]).reshape(-1, 3)
    energy = 0.0
    for x in atoms.positions:
        bonds = [v / p["sigma"] for v in everyone - x if 1e-6 < np.linalg.norm(v) < a * p["sigma"]]
        for first, v in enumerate(bonds):
            r = np.linalg.norm(v)
            energy += 0.5 * p["A"] * (p["B"] * r**-4 - 1) * np.exp(1 / (r - a))
            for w in bonds[first + 1 :]:
                q = np.linalg.norm(w)
                decay = np.exp(p["gamma"] / (r - a) + p["gamma"] / (q - a))
                energy += p["lam"] * (v @ w / (r * q) + 1 / 3) ** 2 * decay
    return energy * p["epsilon"]


@pytest.mark.parametrize("name", ["silicon-sw1985", "silicon-vink2001", "silicon-leehwang2012"])
def test_energy_equals_brute_force(name):
    potential = potentials.load(name)
    atoms = bulk("Si", a=5.2, cubic=True)
    atoms.rattle(0.2, seed=3)
    structure = Structure.from_ase(atoms)
    energy = potential.energy(structure, potential.graph(structure))
    np.testing.assert_allclose(energy, brute_force(potential, atoms), rtol=1e-10)


def test_cohesive_energy():
    potential = potentials.load("silicon-sw1985")
    structure = Structure.from_ase(bulk("Si", a=5.431))
    graph = potential.graph(structure)
    np.testing.assert_allclose(potential.energy(structure, graph) / 2, -4.3363, atol=5e-4)
    assert jnp.abs(potential.stress(structure, graph)).max() < 1e-4


@pytest.mark.slow
def test_forces_and_stress_equal_finite_differences():
    potential = potentials.load("silicon-sw1985")
    atoms = bulk("Si", a=5.431, cubic=True)
    atoms.rattle(0.15, seed=1)
    structure = Structure.from_ase(atoms)
    graph = potential.graph(structure)
    laws.forces_and_stress_equal_finite_differences(potential, structure, graph)


@pytest.mark.slow
def test_nothing_jumps_at_the_cutoff():
    """A third atom that crosses the cutoff of a pair: energy and two derivatives vanish smoothly and stay finite."""
    potential = potentials.load("silicon-sw1985")
    cutoff = potential.module.cutoff
    structure = Structure.create([[0, 0, 0], [2.4, 0, 0], [0, 3.7, 0]], np.eye(3) * 30, [14] * 3)
    graph = potential.graph(structure)

    def energy(y):
        return potential.energy(structure.with_positions(structure.positions.at[2, 1].set(y)), graph)

    alone = float(energy(cutoff + 0.3))
    f = energy
    for order in range(3):
        values = np.asarray(jax.jit(jax.vmap(f))(cutoff + jnp.array([-1e-3, -1e-6, 0.0, 1e-9, 1e-3])))
        np.testing.assert_allclose(values, alone if order == 0 else 0.0, atol=1e-12)
        f = jax.grad(f)


def test_padding_and_skin_change_nothing():
    """An atom with fewer neighbours than others (padded rows) has finite forces; a wider graph gives the same ones."""
    potential = potentials.load("silicon-sw1985")
    structure = Structure.create([[0, 0, 0], [2.4, 0, 0], [1.1, 2.1, 0.3], [5.5, 0, 0]], np.eye(3) * 30, [14] * 4)
    from jaxepi.graph import build_graph

    narrow = potential.forces(structure, build_graph(structure, potential.module.cutoff))
    wide = potential.forces(structure, build_graph(structure, potential.module.cutoff, 2.0))
    assert np.isfinite(narrow).all()
    np.testing.assert_allclose(narrow, wide, atol=1e-12)
    np.testing.assert_allclose(narrow.sum(axis=0), 0, atol=1e-12)


def test_foreign_elements_are_refused():
    with pytest.raises(InputError, match=r"atom . is C; .* has parameters for Si only"):
        potentials.load("silicon-sw1985").graph(Structure.from_ase(bulk("C", a=3.567)))
