"""Stillinger-Weber files of LAMMPS: published numbers of silicon, several elements against loops, and what is refused."""

import itertools

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from jaxepi import potentials
from jaxepi.errors import InputError
from jaxepi.structure import Structure

SILICON = """# DATE: 2026-11-29 UNITS: metal CONTRIBUTOR: this test CITATION: Stillinger and Weber, PRB 31, 5262 (1985)
# the numbers of the paper
Si Si Si 2.1683  2.0951  1.80  21.0  1.20  -0.333333333333333
         7.049556277  0.6022245584  4.0  0.0 0.0   # p, q, tol
"""

NUMBERS = {
    ("Ga", "Ga", "Ga"): (1.2, 2.1, 1.8, 32.5, 1.2, -1 / 3, 7.92, 0.72, 4, 0),
    ("As", "As", "As"): (1.1, 2.0, 1.7, 20.5, 1.1, -0.3, 7.5, 0.65, 4.2, 0.1),
    ("Ga", "As", "As"): (2.17, 1.9, 1.8, 32.5, 1.25, -1 / 3, 7.65, 0.61, 4, 0),
    ("As", "Ga", "Ga"): (2.17, 1.9, 1.8, 26.0, 1.15, -0.28, 7.65, 0.61, 4, 0),
    ("Ga", "Ga", "As"): (1.5, 0, 0, 12.0, 0, -0.2, 0, 0, 0, 0),
    ("Ga", "As", "Ga"): (1.5, 0, 0, 12.0, 0, -0.2, 0, 0, 0, 0),
    ("As", "As", "Ga"): (1.4, 0, 0, 15.0, 0, -0.4, 0, 0, 0, 0),
    ("As", "Ga", "As"): (1.4, 0, 0, 15.0, 0, -0.4, 0, 0, 0, 0),
}


def text(numbers, head=""):
    return head + "\n".join(" ".join([*names, *map(repr, values), "0.0"]) for names, values in numbers.items()) + "\n"


@pytest.fixture
def silicon(tmp_path):
    path = tmp_path / "Si.sw"
    path.write_text(SILICON)
    return path


def energy(potential, atoms):
    structure = Structure.from_ase(atoms)
    return float(potential.energy(structure, potential.graph(structure)))


def loops(numbers, atoms):
    """Energy by loops over all atoms and near images, from the formula in the manual of LAMMPS."""
    images = np.array(list(np.ndindex(5, 5, 5))) - 2
    total, symbols = 0.0, atoms.get_chemical_symbols()
    for a, x in zip(symbols, atoms.positions, strict=True):
        bonds = []
        for b, y in zip(symbols, atoms.positions, strict=True):
            eps, sigma, reach, _, gamma, _, strength, ratio, p, q = numbers[a, b, b]
            for v in y + images @ atoms.cell.array - x:
                r = np.linalg.norm(v)
                if 1e-6 < r < reach * sigma:
                    tail = np.exp(sigma / (r - reach * sigma))
                    total += 0.5 * eps * strength * (ratio * (sigma / r) ** p - (sigma / r) ** q) * tail
                    bonds.append((b, v / r, np.exp(gamma * sigma / (r - reach * sigma))))
        for (b, v, one), (c, w, other) in itertools.combinations(bonds, 2):
            total += numbers[a, b, c][0] * numbers[a, b, c][3] * (v @ w - numbers[a, b, c][5]) ** 2 * one * other
    return total


def test_silicon_has_its_published_cohesive_energy(silicon):
    potential = potentials.load(silicon)
    assert abs(energy(potential, bulk("Si", a=5.431)) / 2 + 4.3363) < 5e-4
    shipped = potentials.load("silicon-sw1985")
    assert potential.module == shipped.module
    assert all(np.isclose(potential.params[name], shipped.params[name]) for name in shipped.params)
    assert "PRB 31, 5262" in potentials.citation(str(silicon))


def test_several_elements_are_those_of_the_loops(tmp_path):
    path = tmp_path / "GaAs.sw"
    path.write_text(text(NUMBERS))
    atoms = bulk("GaAs", "zincblende", a=5.0, cubic=True)
    atoms.symbols[1], atoms.symbols[2] = "Ga", "As"
    atoms.rattle(0.15, seed=2)
    potential = potentials.load(str(path))
    np.testing.assert_allclose(energy(potential, atoms), loops(NUMBERS, atoms), rtol=1e-10)
    with pytest.raises(InputError, match=r"atom 0 is Si; GaAs.sw has parameters for Ga, As only"):
        energy(potential, bulk("Si"))


@pytest.mark.slow
def test_forces_are_minus_the_slope_and_one_element_agrees_with_its_own_form(tmp_path):
    path = tmp_path / "two.sw"
    names = list(itertools.product(("Si", "Ge"), repeat=3))
    path.write_text(
        text(dict.fromkeys(names, (2.1683, 2.0951, 1.8, 21.0, 1.2, -1 / 3, 7.049556277, 0.6022245584, 4, 0)))
    )
    atoms = bulk("Si", a=5.4, cubic=True)
    atoms.rattle(0.1, seed=1)
    one = energy(potentials.load("silicon-sw1985"), atoms)
    mixed = Atoms("Si4Ge4", positions=atoms.positions, cell=atoms.cell, pbc=True)
    potential = potentials.load(path)
    np.testing.assert_allclose(energy(potential, mixed), one, rtol=1e-12)
    structure = Structure.from_ase(mixed)
    graph = potential.graph(structure)
    forces = np.asarray(potential.forces(structure, graph))
    step = np.zeros((8, 3))
    step[5, 1] = 1e-4
    up, down = (potential.energy(structure.with_positions(structure.positions + s * step), graph) for s in (1, -1))
    np.testing.assert_allclose(forces[5, 1], -(up - down) / 2e-4, rtol=1e-6)


def test_real_units_are_converted(silicon):
    value = 2.1683 / (units.kcal / units.mol)
    silicon.write_text(SILICON.replace("metal", "real").replace("2.1683", repr(value)))
    np.testing.assert_allclose(potentials.load(silicon).params["epsilon"], 2.1683)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.0 0.0   # p", "# p", "holds 12 words; each entry has 14"),
        ("Si Si Si", "Si Si Xx", "'Xx' of entry 1 is no element"),
        ("Si Si Si", "Si Ge Ge", "has no entry Si Si Si; 2 elements need 8 entries"),
        ("2.1683", "two", "Si Si Si: .*'two'"),
        ("2.0951", "nan", "no number is beyond"),
        ("1.80", "-1.80", "a are positive"),
        ("metal", "lj", "UNITS: lj; metal and real are read"),
    ],
)
def test_damaged_files_are_refused_by_name(silicon, old, new, message):
    silicon.write_text(SILICON.replace(old, new))
    with pytest.raises(InputError, match=rf"Si\.sw.*{message}"):
        potentials.load(silicon)


@pytest.mark.parametrize(
    ("names", "place", "message"),
    [
        (("Ga", "As", "As"), 7, "B of Ga As As and of As Ga Ga differ"),
        (("Ga", "Ga", "As"), 3, "of Ga Ga As and Ga As Ga differ"),
    ],
)
def test_numbers_that_depend_on_the_order_of_atoms_are_refused(tmp_path, names, place, message):
    values = list(NUMBERS[names])
    values[place] += 1.0
    path = tmp_path / "GaAs.sw"
    path.write_text(text({**NUMBERS, names: tuple(values)}))
    with pytest.raises(InputError, match=message):
        potentials.load(path)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.sw cannot be read"):
        potentials.load(tmp_path / "none.sw")
