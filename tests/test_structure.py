"""Structures: supercells, strain, the way to ASE and back, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxepi import tree
from jaxepi.errors import InputError
from jaxepi.structure import Structure

GAAS = bulk("GaAs", "zincblende", a=5.6532)


def test_ase_and_back():
    structure = Structure.from_ase(GAAS)
    back = structure.to_ase()
    np.testing.assert_allclose(back.positions, GAAS.positions)
    np.testing.assert_allclose(back.cell.array, GAAS.cell.array)
    assert list(back.numbers) == [31, 33]
    assert back.pbc.all()
    np.testing.assert_allclose(structure.masses, GAAS.get_masses())


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(st.tuples(*[st.integers(1, 3)] * 3))
def test_a_supercell_is_the_same_crystal(counts):
    base = Structure.from_ase(GAAS)
    big = base.supercell(counts)
    assert len(big) == 2 * np.prod(counts)
    assert big.repeats == counts
    np.testing.assert_allclose(big.volume, float(np.prod(counts)) * base.volume)
    # Every atom stands on a lattice site of its species.
    fraction = np.asarray(big.positions - jnp.tile(base.positions, (len(big) // 2, 1))) @ np.linalg.inv(base.cell)
    np.testing.assert_allclose(fraction, np.round(fraction), atol=1e-12)
    assert len(np.unique(np.round(fraction[::2]), axis=0)) == np.prod(counts)
    assert big.species == base.species * int(np.prod(counts))


def test_an_integer_repeats_periodic_directions_only():
    slab = Structure.create([[0.0, 0, 5]], np.diag([3.0, 3, 10]), [6], pbc=(True, True, False))
    assert slab.supercell(2).repeats == (2, 2, 1)
    with pytest.raises(InputError, match="non-periodic"):
        slab.supercell((1, 1, 2))


def test_reciprocal_vectors_are_dual():
    structure = Structure.from_ase(GAAS)
    np.testing.assert_allclose(structure.cell @ structure.reciprocal.T, 2 * np.pi * np.eye(3), atol=1e-12)


def test_strain_moves_atoms_and_cell_alike():
    structure, strain = Structure.from_ase(GAAS), jnp.asarray(0.02 * np.random.default_rng(0).normal(size=(3, 3)))
    fraction = structure.positions @ np.linalg.inv(structure.cell)
    strained = structure.strained(strain)
    np.testing.assert_allclose(strained.positions @ np.linalg.inv(strained.cell), fraction, atol=1e-12)
    np.testing.assert_allclose(strained.volume / structure.volume, np.linalg.det(np.eye(3) + strain))
    slope = jax.grad(lambda e: structure.strained(e * jnp.eye(3)).volume)(0.0)
    np.testing.assert_allclose(slope, 3 * structure.volume)
    np.testing.assert_allclose(structure.scaled(1.1).volume, 1.1**3 * structure.volume)


def test_structures_are_pytrees_with_static_species():
    structure = Structure.from_ase(GAAS)
    leaves, definition = jax.tree.flatten(structure)
    assert len(leaves) == 2
    assert jax.tree.unflatten(definition, leaves).species == (31, 33)
    volumes = jax.jit(jax.vmap(lambda f: structure.scaled(f).volume))(jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(volumes[1] / volumes[0], 8.0)
    with pytest.raises(TypeError, match="colour"):
        tree.replace(structure, colour="red")


def test_precision_can_be_chosen():
    single = Structure.from_ase(GAAS).astype(jnp.float32)
    assert single.positions.dtype == single.cell.dtype == single.volume.dtype == jnp.float32
    assert single.supercell(2).positions.dtype == jnp.float32
    assert single.strained(jnp.zeros((3, 3), jnp.float32)).positions.dtype == jnp.float32


@pytest.mark.parametrize(
    ("positions", "cell", "species", "message"),
    [
        ([[0.0, 0, 0], [0.1, 0, 0]], 4 * np.eye(3), [14, 14], r"atoms 0 and 1 are 0\.100 angstrom apart"),
        ([[0.0, 0, 0], [0, 0, 3.95]], 4 * np.eye(3), [14, 14], r"0\.050 angstrom apart"),
        ([[0.0, 0, 0]], np.diag([0.3, 4, 4]), [14], r"atoms 0 and 0 are 0\.300"),
        ([[0.0, 0, 0]], np.diag([4.0, 4, 0]), [14], r"volume 0 .*linearly dependent"),
        ([[0.0, 0, 0]], np.diag([4.0, 4, -4]), [14], r"left-handed \(volume -64"),
        ([[0.0, 0, 0], [1, np.nan, 0]], 4 * np.eye(3), [14, 14], "positions hold NaN.*row 1"),
        ([[0.0, 0, 0]], np.diag([4.0, np.inf, 4]), [14], "cell hold NaN or infinity.*row 1"),
        ([[0.0, 0]], 4 * np.eye(3), [14], r"shape \(1, 2\)"),
        (np.zeros((0, 3)), 4 * np.eye(3), [], r"shape \(0, 3\)"),
        ([[0.0, 0, 0]], np.eye(2), [14], r"cell has shape \(2, 2\)"),
        ([[0.0, 0, 0]], 4 * np.eye(3), [500], "species 500: there is no such element"),
        ([[0.0, 0, 0]], 4 * np.eye(3), [14.7], "give atomic numbers: 14.7 is not a whole number"),
        ([[0.0, 0, 0]], 4 * np.eye(3), [0], "give atomic numbers: 0 is less than 1"),
        ([[0.0, 0, 0]], 4 * np.eye(3), ["Si"], r"species 'Si': give atomic numbers \(Si is 14\)"),
        ([[0.0, 0, 0]], 4 * np.eye(3), 14, "species 14 for 1 positions"),
        ([[0.0, 0, 0]], 4 * np.eye(3), [14, 14], "species .* for 1 positions; give one atomic number an atom"),
        ([["a", 0, 0]], 4 * np.eye(3), [14], "positions are not an array of numbers"),
        ([[0.0, 0, 0], [1.0, 0]], 4 * np.eye(3), [14], "positions are not an array of numbers"),
    ],
)
def test_bad_structures_are_refused(positions, cell, species, message):
    with pytest.raises(InputError, match=message):
        Structure.create(positions, cell, species)


def test_bad_supercells_are_refused():
    structure = Structure.from_ase(GAAS)
    for repeats in (0, (2, 0, 1), (1, 1), (2.7, 1, 1), 1.5, "2", True, None, float("inf"), [1, 1, np.nan]):
        with pytest.raises(InputError, match="positive integer"):
            structure.supercell(repeats)
    for repeats in (10**20, 1e20, (1000, 1000, 1000)):
        with pytest.raises(InputError, match=r"atoms are more than 1e\+07; repeat less often"):
            structure.supercell(repeats)
    with pytest.raises(InputError, match=r"already a \(2, 2, 2\) supercell"):
        structure.supercell(2).supercell(2)


def test_lists_single_values_and_numbers_of_numpy_are_taken():
    one = Structure.create([[0, 0, 0]], [[3, 0, 0], [0, 3, 0], [0, 0, 3]], np.array([14]), pbc=True)
    assert one.pbc == (True, True, True)
    assert one.species == (14,)
    assert one.positions.dtype == jnp.float64
    assert Structure.create([[0, 0, 0]], 3 * np.eye(3), [14.0], pbc=np.array([1, 0, 1])).pbc == (True, False, True)
    for repeats in (np.int64(2), np.array([2, 2, 2]), [2, 2, 2], (2.0, np.int32(2), 2)):
        assert one.supercell(repeats).repeats == (2, 2, 2)
    moved = one.with_positions([[0.1, 0.2, 0.3]]).strained([[0.1, 0, 0], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(moved.positions, [[0.11, 0.2, 0.3]])
    np.testing.assert_allclose(one.with_positions([[0, 0, 1]]).scaled(2).positions, [[0, 0, 2]])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda s: s.with_positions([[0.0, 0, 0]]), r"positions have shape \(1, 3\); this structure has \(2, 3\)"),
        (lambda s: s.strained(0.1), r"strain has shape \(\); give a tensor"),
        (lambda s: s.strained([0.1, 0, 0]), r"strain has shape \(3,\)"),
        (lambda s: Structure.create(s.positions, s.cell, s.species, pbc=(True, False)), "pbc .*three of these"),
        (lambda s: Structure.create(s.positions, s.cell, s.species, pbc="yes"), "pbc 'yes'"),
        (lambda s: Structure.create(s.positions, s.cell, s.species, repeats=(3, 1, 1)), "do not give 2 atoms"),
    ],
)
def test_values_of_another_shape_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(Structure.from_ase(GAAS))
