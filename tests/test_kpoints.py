"""k points: weights, time reversal, paths, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk, graphene
from ase.cell import Cell
from hypothesis import given
from hypothesis import strategies as st

from jaxepi import electrons, hamiltonians, optics
from jaxepi.errors import InputError
from jaxepi.kpoints import KPoints, find, fractional, keys, mesh, path, quasirandom, special_points
from jaxepi.sampling import Snapshots
from jaxepi.structure import Structure

SILICON = Structure.from_ase(bulk("Si", a=5.431))


def layer(order=(0, 1, 2)) -> Structure:
    """Graphene whose lattice vectors come in another order."""
    atoms = graphene(a=2.46, vacuum=6.0)
    pbc = np.array([True, True, False])[list(order)]
    return Structure.create(atoms.positions, atoms.cell.array[list(order)], [6, 6], pbc)


def wrapped(k):
    return np.asarray(k) - np.round(k)


@pytest.mark.slow
@given(st.tuples(*[st.integers(1, 4)] * 3), st.tuples(*[st.sampled_from([0.0, 0.5, 0.3])] * 3))
def test_merging_time_reversal_partners_keeps_every_even_sum(counts, shift):
    full, half = mesh(counts, shift, time_reversal=False), mesh(counts, shift)
    np.testing.assert_allclose([full.weights.sum(), half.weights.sum()], 1)
    assert len(full.points) == np.prod(counts)

    def even(k):
        waves = np.array([[1, 0, 0], [0, 1, 0], [1, 2, -1], [3, 1, 2]])
        return np.cos(2 * np.pi * k @ waves.T)

    np.testing.assert_allclose(half.weights @ even(half.points), full.weights @ even(full.points), atol=1e-12)


def test_partners_are_merged():
    assert len(mesh(4).points) == 36  # (64 + 8 invariant points)/2
    assert len(mesh(3).points) == 14
    assert len(mesh(2).points) == 8
    np.testing.assert_allclose(np.abs(mesh((5, 2, 3)).points).max(axis=0), [2 / 5, 1 / 2, 1 / 3])


def test_a_point_is_found_by_its_images():
    points = mesh((4, 3, 2), (0.0, 0.5, 0.0)).points
    for row, k in enumerate(points):
        assert [find(points, image) for image in (k, -k, np.add(k, [1, 0, -2]), np.subtract([0, 3, 1], k))] == [row] * 4
    assert find(points, points[3] + 1e-3) is None
    assert find(points, points[3] + 1e-3, tolerance=2e-3) == 3


def test_meshes_of_one_and_two_are_real():
    assert mesh(1).is_real
    assert mesh(2).is_real
    assert mesh(1, (0.5, 0.5, 0.5)).is_real
    assert not mesh(3).is_real
    assert not mesh(2, (0.5, 0.5, 0.5)).is_real
    assert not KPoints(np.array([[0.5 + 1e-6, 0, 0]]), np.ones(1)).is_real


@given(st.sampled_from([1, 2, 3, 4, 5, 7, 12, 64, 128]), st.integers(0, 127), st.integers(0, 127))
def test_keys_are_equal_for_points_a_reciprocal_vector_apart(n, i, j):
    k = np.array([i / n, j / n, 1 / 3])
    away = np.array([[0, 0, 0], [1, -2, 3], [-1, 0, 0]]) + np.array([3e-12, -1e-12, 1e-13])
    assert len(set(keys(k + away).tolist())) == 1
    assert len(np.unique(keys(k + np.array([[0, 0, 0], [0, 0, 1e-3]])))) == 2


def test_a_path_passes_its_corners_evenly():
    corners = [[0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.75, 0.375, 0.375]]
    found = path(SILICON, corners, 60)
    assert abs(len(found.points) - 60) <= 3
    for corner in corners:
        assert np.abs(found.points - corner).max(axis=1).min() < 1e-12
    steps = np.linalg.norm(np.diff(found.points, axis=0) @ np.asarray(SILICON.reciprocal), axis=1)
    np.testing.assert_allclose(np.diff(found.distance), steps, atol=1e-12)
    assert steps.max() / steps.min() < 1.3
    assert found.breaks == ()


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("Si", a=5.431),
        bulk("GaAs", "zincblende", a=5.65, cubic=True),
        bulk("Fe"),
        bulk("ZnO", "wurtzite", a=3.25, c=5.2),
        Cell.fromcellpar([3, 3, 7, 90, 90, 90]),
        Cell.fromcellpar([3, 4, 5, 80, 90, 90]),
        Cell.fromcellpar([4, 4, 4, 70, 70, 70]),
    ],
    ids=["fcc", "cubic", "bcc", "hexagonal", "tetragonal", "monoclinic", "rhombohedral"],
)
@pytest.mark.parametrize("named", [None, "start"])
def test_paths_are_those_of_ase(atoms, named):
    """The standard path with its breaks, and a path by name: corners and their places, and every point on a line of ASE's."""
    cell = atoms if isinstance(atoms, Cell) else atoms.cell
    structure = Structure.create([[0.0, 0, 0]], cell.array, [14])
    text = named and "".join(cell.bandpath(npoints=0).path.replace(",", "")[:3])
    theirs, ours = cell.bandpath(text, npoints=500), path(structure, text, 150)
    _, places, names = theirs.get_linear_kpoint_axis()
    np.testing.assert_allclose(places, [place for place, _ in ours.corners], atol=1e-8)
    assert [name for _, name in ours.corners] == names
    assert len(ours.breaks) == theirs.path.count(",")
    steps = np.linalg.norm(np.diff(ours.points, axis=0) @ np.asarray(structure.reciprocal), axis=1)
    steps[np.array(ours.breaks, dtype=int) - 1] = 0
    np.testing.assert_allclose(np.diff(ours.distance), steps, atol=1e-9)
    for k in ours.points:
        assert np.linalg.norm((theirs.kpts - k) @ np.asarray(structure.reciprocal), axis=1).min() < 0.05


def test_a_break_adds_nothing_to_the_length():
    found = path(SILICON, "GXU,KGL", 100)
    assert [name for _, name in found.corners] == ["G", "X", "U", "K", "G", "L"]
    (row,) = found.breaks
    np.testing.assert_array_equal(found.distance[list(found.rows)], [place for place, _ in found.corners])
    known = special_points(SILICON)
    np.testing.assert_allclose(found.points[row - 1 : row + 1], [known["U"], known["K"]])
    np.testing.assert_allclose(found.points[list(found.rows)], [known[name] for _, name in found.corners])
    assert found.distance[row] == found.distance[row - 1] == found.corners[2][0] == found.corners[3][0]
    pieces = [path(SILICON, part, 100).distance[-1] for part in ("GXU", "KGL")]
    np.testing.assert_allclose(found.distance[-1], sum(pieces))
    spaced = path(SILICON, " G X U , K \N{GREEK CAPITAL LETTER GAMMA} L", 100)
    np.testing.assert_array_equal(spaced.points, found.points)


def test_names_may_have_a_number():
    """The monoclinic cells of Setyawan and Curtarolo name their points with one; ASE's path of this cell starts at Gamma."""
    structure = Structure.create([[0.0, 0, 0]], Cell.fromcellpar([3, 4, 5, 80, 90, 90]).array, [14])
    assert {"G", "H1", "M1", "M2"} <= set(special_points(structure))
    assert [name for _, name in path(structure, "GH1M2,M1G", 30).corners] == ["G", "H1", "M2", "M1", "G"]


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_layers_have_the_path_of_their_plane(order):
    structure = layer(order)
    found = path(structure, None, 40)
    assert [name for _, name in found.corners] == ["G", "M", "K", "G"]
    assert not found.points[:, order.index(2)].any()
    lengths = np.diff([place for place, _ in found.corners])
    np.testing.assert_allclose(lengths, 2 * np.pi / 2.46 * np.array([1 / np.sqrt(3), 1 / 3, 2 / 3]), rtol=1e-9)
    if order == (0, 1, 2):
        assert mesh(4, periodic=structure.pbc).points[:, 2].any() == np.False_
        assert len(mesh(4, periodic=structure.pbc, time_reversal=False).points) == 16


def test_a_chain_has_a_path_and_a_molecule_none():
    chain = Structure.create([[0.0, 0, 0]], np.diag([9.0, 8.0, 2.0]), [6], (False, False, True))
    found = path(chain, None, 11)
    np.testing.assert_allclose(found.points[-1], [0, 0, 0.5])
    with pytest.raises(InputError, match="no direction of this structure is periodic"):
        path(Structure.create([[0.0, 0, 0]], 9 * np.eye(3), [6], False))


@pytest.mark.parametrize("counts", [0, -2, (2, 0, 2), (2, 2), [2.9, 2, 2], 2.5, "2", True, float("nan"), None])
def test_bad_meshes_are_refused(counts):
    with pytest.raises(InputError, match=r"k mesh .*positive integer"):
        mesh(counts)


def test_meshes_that_fill_the_memory_are_refused():
    with pytest.raises(InputError, match=r"1e\+18 points are more than"):
        mesh(10**6)
    with pytest.raises(InputError, match="not periodic"):
        mesh((2, 2, 2), periodic=(True, True, False))
    with pytest.raises(InputError, match=r"quasirandom k points: 2\.5"):
        quasirandom(2.5)


def test_numbers_of_numpy_divide_a_mesh():
    for counts in (np.int64(3), np.array([3, 3, 3]), [3.0, np.float64(3), np.int32(3)]):
        np.testing.assert_array_equal(mesh(counts, (0, 0, 0)).points, mesh(3).points)


@pytest.mark.parametrize(
    ("points", "weights", "message"),
    [
        (np.zeros((2, 3)), [2.5, 2.5], "sum to 5; divide"),
        (np.zeros((2, 3)), [1.0], r"2 k points have weights of shape \(1,\)"),
        (np.zeros((2, 3)), [1.5, -0.5], "not negative"),
        (np.zeros((2, 3)), [np.nan, 1.0], "must be numbers"),
        ([0.0, 0.0, 0.0], [1.0], r"shape \(3,\); .*one point is \[\[kx, ky, kz\]\]"),
        ([[0.0, np.inf, 0.0]], [1.0], "NaN or infinity"),
        ([["a", 0, 0]], [1.0], "not numbers"),
        (np.zeros((0, 3)), [], r"shape \(0, 3\)"),
    ],
)
def test_points_put_together_by_hand_are_checked_where_they_enter(points, weights, message):
    by_hand = KPoints(np.array(points), np.array(weights))
    with pytest.raises(InputError, match=message):
        by_hand.checked()
    model = hamiltonians.load("si-vogl1983")
    rest = Snapshots(SILICON, SILICON.positions[None], jnp.zeros(()))
    with pytest.raises(InputError, match=message):
        optics.transitions(model, rest, by_hand)


def test_energies_take_lists_points_and_sets_of_points():
    model, k = hamiltonians.load("si-vogl1983"), mesh(2)
    expected = electrons.eigenvalues(model, SILICON, k.points)
    np.testing.assert_array_equal(electrons.eigenvalues(model, SILICON, k), expected)
    np.testing.assert_array_equal(electrons.eigenvalues(model, SILICON, k.points.tolist()), expected)
    np.testing.assert_array_equal(fractional(k), k.points)
    with pytest.raises(InputError, match=r"one point is \[\[kx, ky, kz\]\]"):
        electrons.eigenvalues(model, SILICON, [0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("along", "count", "message"),
    [
        ([[0.0, 0.0, 0.0]], 10, "two corners"),
        ([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], 1, "path of 1 points"),
        ([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], 9, "without length"),
        ("GQ", 9, "path 'GQ': this cell has no special point 'Q'; it has G, K, L, U, W, X"),
        ("GX1", 9, "no special point 'X1'"),
        ("GX,", 9, "at least two special points between commas"),
        ("", 9, "at least two special points"),
        ("GX" * 1000, 200, "2000 corners needs at least as many points, not 200"),
        ("Q" * 2000, 200, r"path 'Q{80}\.\.\.'"),
        ("GX", 9.5, "points on a k path: 9.5 is not a whole number"),
    ],
)
def test_bad_paths_are_refused(along, count, message):
    with pytest.raises(InputError, match=message):
        path(SILICON, along, count)
