"""Stars, primitive cells and irreducible points: counts from group theory, and invariance of the crystal's description."""

import jax
import numpy as np
import pytest
from ase.build import bulk, graphene
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxepi import electrons, hamiltonians
from jaxepi.errors import InputError
from jaxepi.kpoints import KPoints, mesh
from jaxepi.structure import Structure
from jaxepi.symmetry import allows_charges, irreducible, operations, primitive, same, star

SILICON = Structure.from_ase(bulk("Si", a=5.431))
CUBIC = Structure.from_ase(bulk("Si", a=5.431, cubic=True))
GAAS = Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532))
# Unimodular matrices: other primitive vectors of the same lattice, right-handed.
SHEARS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 2), st.sampled_from([-1, 1])), max_size=3)


def layer(cell=None, shift=0.0) -> Structure:
    atoms = graphene(a=2.46, vacuum=6.0)
    atoms.pbc = (True, True, False)
    x = np.asarray(atoms.positions) + np.array([0, 0, shift])
    return Structure.create(x, atoms.cell.array if cell is None else cell, [6, 6], atoms.pbc)


def described_otherwise(structure, seed, shears, planes=3):
    """The same crystal turned at random, in other lattice vectors."""
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    q = q * np.linalg.det(q)
    basis = np.eye(3, dtype=int)
    for i, step, sign in shears:
        i, j = i % planes, (i + step) % planes
        if i != j:
            basis[i] += sign * basis[j]
    cell = basis @ np.asarray(structure.cell) @ q
    return Structure.create(np.asarray(structure.positions) @ q, cell, structure.species, structure.pbc), q


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), SHEARS, st.sampled_from(["delta", "L", "Gamma", "W", "anywhere"]))
def test_stars_of_a_cubic_crystal_in_any_description(seed, shears, name):
    """|G| over the little group, for Oh with time reversal; Cartesian k in 2 pi / a."""
    k, count = {
        "delta": ([0.846, 0, 0], 6),
        "L": ([0.5, 0.5, 0.5], 4),
        "Gamma": ([0, 0, 0], 1),
        "W": ([1, 0.5, 0], 6),
        "anywhere": ([0.31, 0.17, 0.07], 48),
    }[name]
    for straight in (SILICON, GAAS):  # GaAs has no inversion: time reversal stands in for it
        structure, q = described_otherwise(straight, seed, shears)
        a = float(straight.cell[0].max()) * 2
        wave = 2 * np.pi / a * np.array(k) @ q
        found = star(wave @ np.asarray(structure.cell).T / (2 * np.pi), operations(structure))
        assert len(found) == count
        lengths = np.linalg.norm(shortest(found, structure), axis=1)
        np.testing.assert_allclose(lengths, lengths[0], atol=1e-8)


def shortest(fractional, structure):
    """Shortest Cartesian images of k points, 1/angstrom."""
    steps = np.array(list(np.ndindex(5, 5, 5))) - 2
    images = (fractional - np.round(fractional))[:, None] + steps
    waves = images @ np.asarray(structure.reciprocal)
    return waves[np.arange(len(waves)), np.linalg.norm(waves, axis=2).argmin(axis=1)]


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10**6), SHEARS, st.floats(-3, 3))
def test_stars_of_a_layer(seed, shears, shift):
    """K has two members, M three; the box around the layer has no say, and no k stands across it."""
    tilted = np.asarray(layer().cell) + np.array([[0, 0, 0], [0, 0, 0], [0.9, 0.4, 0]])
    for straight in (layer(shift=shift), layer(tilted, shift), layer(np.diag([1.0, 1.0, 2.46 / 12]) @ layer().cell)):
        structure, q = described_otherwise(straight, seed, shears, planes=2)
        group = operations(structure)
        inverse = np.asarray(structure.cell).T / (2 * np.pi)
        a1, a2 = np.asarray(layer().cell)[:2]
        plane = 2 * np.pi * np.linalg.inv(np.stack([a1, a2, [0, 0, 1]])).T
        for k, count in (([1 / 3, 1 / 3], 2), ([0.5, 0.0], 3), ([0.0, 0.0], 1), ([0.1, 0.23], 12)):
            start = np.array(k) @ plane[:2] @ q @ inverse + np.array([0, 0, 0.2])
            found = star(start, group)
            assert len(found) == count
            assert not found[:, 2].any()


def test_a_point_beside_an_axis_stands_on_it():
    """A search ends some 1e-5 beside the axis: its star is that of the axis, with no member twice."""
    group, beside = operations(SILICON), np.array([0.42312, 3e-5, 0.42309])
    found = star(beside, group)
    assert len(found) == 6
    np.testing.assert_allclose(found[0], [0.423105, 0, 0.423105], atol=2e-5)
    assert same(found[0], found[0] + [1, -2, 0])
    assert not any(same(found[0], other) for other in found[1:])


def test_groups_know_the_number_of_their_operations():
    orders = {"Si": (SILICON, 48), "GaAs": (GAAS, 24), "cubic": (CUBIC, 192), "layer": (layer(), 24)}
    for structure, order in orders.values():
        group = operations(structure)
        assert len(group.rotations) == order
        np.testing.assert_allclose(group.cartesian @ np.swapaxes(group.cartesian, 1, 2), [np.eye(3)] * order, atol=1e-9)
    rattled = GAAS.with_positions(GAAS.positions + 0.05 * np.random.default_rng(0).normal(size=(2, 3)))
    assert len(operations(rattled).rotations) < 24


@pytest.mark.parametrize(
    ("structure", "counts", "shift", "points"),
    [
        (SILICON, 4, (0.0, 0.0, 0.0), 8),
        (SILICON, 6, (0.0, 0.0, 0.0), 16),
        (GAAS, 4, (0.5, 0.5, 0.5), 10),
        (layer(), (6, 6, 1), (0.0, 0.0, 0.0), 7),
        (CUBIC, (3, 4, 5), (0.3, 0.0, 0.0), None),
    ],
    ids=["silicon 4", "silicon 6", "shifted", "layer", "uneven"],
)
def test_irreducible_points_give_the_sums_of_all(structure, counts, shift, points):
    """The Monkhorst-Pack counts; and sums of a function with the symmetry, made by summing waves over a star of R."""
    full, group = mesh(counts, shift, time_reversal=False), operations(structure)
    few = irreducible(full, group)
    assert points is None or len(few.points) == points
    np.testing.assert_allclose(few.weights.sum(), 1, atol=1e-12)
    rotated = np.array([[1, 0, 0], [1, 2, 0], [2, -1, 0]]) @ np.swapaxes(group.rotations, 1, 2)

    def symmetric(k):
        return np.cos(2 * np.pi * np.einsum("ka,gra->kgr", k, rotated)).sum(axis=1) ** 2

    np.testing.assert_allclose(few.weights @ symmetric(few.points), full.weights @ symmetric(full.points), rtol=1e-10)


def test_irreducible_points_keep_the_weights_they_stand_for():
    points = np.array([[0.25, 0, 0], [0, 0.25, 0], [0.25, 0.25, 0.25], [0.75, 1.0, 0]])
    few = irreducible(KPoints(points, np.array([0.1, 0.2, 0.3, 0.4])), operations(GAAS))
    np.testing.assert_allclose(few.points, points[[0]])  # all four lie on the axes Gamma to L
    np.testing.assert_allclose(few.weights, [1.0])


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), SHEARS, st.sampled_from([(1, 1, 1), (1, 2, 1), (3, 1, 1)]))
def test_the_primitive_cell_is_found_in_the_orientation_that_was_given(seed, shears, repeats):
    structure, _ = described_otherwise(CUBIC.supercell(repeats), seed, shears)
    small = primitive(structure)
    assert len(small) == 2
    assert small.repeats == (1, 1, 1)
    np.testing.assert_allclose(small.volume, SILICON.volume)
    # Its lattice vectors are translations of the crystal, its first atom is the first of the cell.
    np.testing.assert_array_equal(small.positions[0], structure.positions[0])
    moved = np.asarray(structure.positions) + np.asarray(small.cell)[:, None]
    away = (moved[:, :, None] - np.asarray(structure.positions)) @ np.linalg.inv(np.asarray(structure.cell))
    assert (np.abs(away - np.round(away)).max(axis=3).min(axis=2) < 1e-8).all()


@pytest.mark.slow
def test_bands_of_a_conventional_cell_fold_onto_those_of_the_primitive():
    """At every Cartesian k the conventional cell has the states of the primitive one, and those that fold there."""
    model = hamiltonians.load("si-vogl1983")
    structure, _ = described_otherwise(CUBIC, 3, [])
    small = primitive(structure)
    points = np.array([[0.0, 0.0, 0.0], [0.1, 0.27, 0.4], [0.5, 0.0, 0.2]])
    waves = points @ np.asarray(structure.reciprocal)
    inverse = np.linalg.inv(np.asarray(small.reciprocal))
    steps = np.array(list(np.ndindex(3, 3, 3))) - 1
    folded = []
    for wave in waves:
        inside = (wave + steps @ np.asarray(structure.reciprocal)) @ inverse
        distinct = np.unique(np.round((inside + 1e-7) % 1.0, 6), axis=0, return_index=True)[1]
        assert len(distinct) == 4
        folded.append(np.sort(np.asarray(electrons.eigenvalues(model, small, inside[distinct])).ravel()))
    np.testing.assert_allclose(electrons.eigenvalues(model, structure, points), folded, atol=1e-8)


def test_primitive_cells_of_layers_and_wires():
    sheet = layer().supercell((3, 2, 1))
    small = primitive(sheet)
    assert small.species == (6, 6)
    np.testing.assert_allclose(small.volume, sheet.volume / 6)
    np.testing.assert_array_equal(small.cell[2], sheet.cell[2])
    assert sorted(np.round(np.linalg.norm(np.asarray(small.cell)[:2], axis=1), 6)) == [2.46, 2.46]
    chain = Structure.create([[1.0, 0, 0], [1.0, 0, 1.3], [1.0, 0, 2.6]], np.diag([9.0, 8, 3.9]), [6] * 3, (0, 0, 1))
    np.testing.assert_allclose(primitive(chain).cell, np.diag([9.0, 8, 1.3]), atol=1e-12)


def test_a_primitive_cell_comes_back_as_it_is():
    for structure in (SILICON, GAAS, layer()):
        assert primitive(structure) is structure
    rattled = CUBIC.with_positions(CUBIC.positions + 0.02 * np.random.default_rng(0).normal(size=(8, 3)))
    assert primitive(rattled) is rattled


def test_which_crystals_can_split_their_optical_modes():
    """By group theory: two kinds of atoms (GaAs, ZnO), or one kind on sites that differ in their surroundings (trigonal
    tellurium splits its modes); never where inversion exchanges the atoms, or where each cell holds one."""
    zno, sodium_chloride = bulk("ZnO", "wurtzite", a=3.25, c=5.2), bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    boron_nitride = Structure.create(layer().positions, layer().cell, [5, 7], (True, True, False))
    u, c = 0.263 * 4.456, 5.921
    turns = np.array([[np.cos(t), np.sin(t), 0] for t in (0, 2 * np.pi / 3, 4 * np.pi / 3)]) * u
    hexagonal = np.array([[4.456, 0, 0], [-2.228, 2.228 * np.sqrt(3), 0], [0, 0, c]])
    tellurium = Structure.create(turns + np.outer([0, 1, 2], [0, 0, c / 3]), hexagonal, [52] * 3)
    polar = [GAAS, Structure.from_ase(zno), Structure.from_ase(sodium_chloride), boron_nitride, tellurium]
    assert all(allows_charges(structure) for structure in polar)
    none = [SILICON, CUBIC, layer(), Structure.from_ase(bulk("Cu")), Structure.from_ase(bulk("Mg"))]
    assert not any(allows_charges(structure) for structure in none)


def test_symmetry_of_a_tracer_is_refused():
    with pytest.raises(InputError, match="outside jit"):
        jax.jit(lambda x: operations(SILICON.with_positions(x)).translations)(SILICON.positions)
