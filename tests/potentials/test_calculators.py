"""ASE's interface: derivatives, energies of atoms, optimisation, finite displacements, precision, graphs that are kept."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.test import calculate_numerical_forces
from ase.filters import FrechetCellFilter
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS

from jaxepi import potentials, sampling
from jaxepi.errors import InputError
from jaxepi.potentials import Potential
from jaxepi.potentials.calculators import PotentialCalculator
from jaxepi.structure import Structure


def narrow(skin):
    """Stillinger-Weber silicon whose graphs hold for small changes only."""
    potential = potentials.load("silicon-sw1985")
    return Potential(potential.params, dataclasses.replace(potential.module, skin=skin))


@pytest.fixture
def silicon():
    """Eight rattled atoms with a calculator."""
    atoms = bulk("Si", a=5.431, cubic=True)
    atoms.rattle(0.05, seed=0)
    atoms.calc = potentials.calculator(potentials.load("silicon-sw1985"))
    return atoms


def fresh(atoms):
    """The same atoms with a calculator that has seen nothing."""
    again = atoms.copy()
    again.calc = potentials.calculator(potentials.load("silicon-sw1985"))
    return again


@pytest.mark.slow
def test_forces_and_stress_equal_numerical_ones(silicon):
    numerical = calculate_numerical_forces(silicon, eps=1e-4, iatoms=[3])
    np.testing.assert_allclose(silicon.get_forces()[3], numerical[0], atol=1e-6)
    stress, e = silicon.get_stress(voigt=False), 1e-5
    for a, b in ((0, 0), (0, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * e / 2
            strain[b, a] += sign * e / 2
            moved = silicon.copy()
            moved.set_cell(silicon.cell @ strain, scale_atoms=True)
            moved.calc = silicon.calc
            energies.append(moved.get_potential_energy())
        slope = (energies[0] - energies[1]) / (2 * e) / silicon.get_volume()
        np.testing.assert_allclose(stress[a, b], slope, atol=1e-7)


def test_energies_of_the_atoms(silicon):
    np.testing.assert_allclose(silicon.get_potential_energies().sum(), silicon.get_potential_energy(), rtol=1e-12)
    assert silicon.get_potential_energy(force_consistent=True) == silicon.get_potential_energy()
    # Atoms of the perfect crystal are alike; a potential that cannot tell says so.
    silicon.positions = bulk("Si", a=5.431, cubic=True).positions
    np.testing.assert_allclose(silicon.get_potential_energies(), -4.3363, atol=5e-4)
    silicon.calc = potentials.calculator(potentials.load("silicon-mvff"))
    assert "energies" not in silicon.calc.implemented_properties
    np.testing.assert_allclose(silicon.get_potential_energy(), 0, atol=1e-9)


@pytest.mark.slow
def test_the_graph_is_kept_as_long_as_it_holds(silicon):
    silicon.calc = potentials.calculator(narrow(0.5))
    silicon.get_potential_energy()
    graph = silicon.calc.graph
    silicon.rattle(0.03, seed=1)
    silicon.set_cell(silicon.cell * 1.01, scale_atoms=True)
    silicon.get_stress()
    assert silicon.calc.graph is graph
    changes = (
        lambda a: a.positions[0].__iadd__(0.6),
        lambda a: a.set_cell(a.cell * 0.85, scale_atoms=True),
        lambda a: a.rattle(0.4),
    )
    for change in changes:
        change(silicon)
        energy, forces, stress = silicon.get_potential_energy(), silicon.get_forces(), silicon.get_stress()
        assert silicon.calc.graph is not graph
        graph = silicon.calc.graph
        other = fresh(silicon)
        np.testing.assert_allclose(energy, other.get_potential_energy(), rtol=1e-12)
        np.testing.assert_allclose(forces, other.get_forces(), atol=1e-10)
        np.testing.assert_allclose(stress, other.get_stress(), atol=1e-12)


@pytest.mark.slow
def test_a_graph_that_is_called_valid_has_all_pairs():
    """Random moves and strains up to where `valid` says no: the energy is that of a graph built on the spot."""
    potential = narrow(1.0)
    structure = Structure.from_ase(bulk("Si", a=5.431, cubic=True))
    graph = potential.graph(structure)
    rng = np.random.default_rng(4)
    verdicts = []
    for _ in range(40):
        strain = jnp.asarray(rng.normal(scale=0.05, size=(3, 3)))
        moved = structure.strained(0.5 * (strain + strain.T))
        moved = moved.with_positions(moved.positions + jnp.asarray(rng.normal(scale=0.15, size=(8, 3))))
        verdicts.append(bool(graph.holds(moved)))
        if verdicts[-1]:
            expected = potential.energy(moved, potential.graph(moved))
            np.testing.assert_allclose(potential.energy(moved, graph), expected, rtol=1e-12)
    assert 5 < sum(verdicts) < 35


def test_optimisers_find_the_crystal(silicon):
    silicon.set_cell(silicon.cell * 0.98, scale_atoms=True)
    BFGS(FrechetCellFilter(silicon), logfile=None).run(fmax=1e-4, steps=100)
    np.testing.assert_allclose(silicon.cell.lengths(), 5.431, atol=2e-3)
    np.testing.assert_allclose(silicon.get_potential_energy() / 8, -4.3366, atol=1e-5)
    np.testing.assert_allclose(silicon.get_all_distances(mic=True)[0, 1], 5.431 * 3**0.5 / 4, atol=2e-3)


@pytest.mark.slow
def test_finite_displacements_give_the_force_constants():
    """What phonon codes do, forces at +-0.01 angstrom through ASE, against derivatives of the forces."""
    potential = potentials.load("silicon-sw1985")
    base = bulk("Si", a=5.431)
    supercell = Structure.from_ase(base).supercell(2)
    expected = np.asarray(sampling.force_constants(potential, supercell).matrix).reshape(6, -1)
    for dtype, tolerance in (("float64", 2e-3), ("float32", 1e-2)):
        atoms = supercell.to_ase()
        atoms.calc = potentials.calculator(potential, dtype)
        rows = []
        for a in range(6):
            forces = []
            for sign in (1, -1):
                moved = atoms.copy()
                moved.calc = atoms.calc
                moved.positions[a // 3, a % 3] += sign * 0.01
                forces.append(moved.get_forces())
            rows.append((forces[1] - forces[0]).ravel() / 0.02)
        np.testing.assert_allclose(rows, expected, atol=tolerance)


def test_dynamics_of_ase_conserve_energy(silicon):
    energies = []
    dynamics = VelocityVerlet(silicon, timestep=0.5 * units.fs)
    dynamics.attach(lambda: energies.append(silicon.get_total_energy()))
    dynamics.run(100)
    assert np.ptp(energies) / 8 < 5e-5


def test_precision_is_the_callers(silicon):
    """Double precision in a session that JAX keeps in single precision, and the other way round."""
    expected = silicon.get_potential_energy(), silicon.get_forces()
    assert silicon.get_forces().dtype == np.float64
    with jax.enable_x64(False):
        single = fresh(silicon)
        np.testing.assert_allclose(single.get_potential_energy(), expected[0], rtol=1e-6)
        assert single.get_forces().dtype == np.float64
        # Parameters were read in single precision; the arithmetic is not.
        np.testing.assert_allclose(
            calculate_numerical_forces(single, eps=1e-4, iatoms=[1])[0], single.get_forces()[1], atol=1e-6
        )
        assert not jax.config.read("jax_enable_x64")
    silicon.calc = potentials.calculator(potentials.load("silicon-sw1985"), "float32")
    assert silicon.get_forces().dtype == np.float32
    np.testing.assert_allclose(silicon.get_forces(), expected[1], atol=1e-5)
    with pytest.raises(InputError, match="dtype 'float16': choose 'float64' or 'float32'"):
        PotentialCalculator(potentials.load("silicon-sw1985"), "float16")
