"""k points: weights, time reversal, paths, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxepi.errors import InputError
from jaxepi.kpoints import KPoints, find, mesh, path


def wrapped(k):
    return np.asarray(k) - np.round(k)


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


def test_a_path_passes_its_corners_evenly():
    cell = np.array([[0, 2.7, 2.7], [2.7, 0, 2.7], [2.7, 2.7, 0]])
    corners = [[0.5, 0.5, 0.5], [0.0, 0.0, 0.0], [0.5, 0.0, 0.5], [0.75, 0.375, 0.375]]
    points, distance = path(corners, 60, cell)
    assert abs(len(points) - 60) <= 3
    for corner in corners:
        assert np.abs(points - corner).max(axis=1).min() < 1e-12
    steps = np.linalg.norm(np.diff(points, axis=0) @ (2 * np.pi * np.linalg.inv(cell).T), axis=1)
    np.testing.assert_allclose(np.diff(distance), steps, atol=1e-12)
    assert steps.max() / steps.min() < 1.3


@pytest.mark.parametrize("counts", [0, -2, (2, 0, 2), (2, 2)])
def test_bad_meshes_are_refused(counts):
    with pytest.raises(InputError, match=r"k mesh .*positive integer"):
        mesh(counts)


def test_bad_paths_are_refused():
    with pytest.raises(InputError, match="two corners"):
        path([[0.0, 0.0, 0.0]], 10, np.eye(3))
    with pytest.raises(InputError, match="path of 1 points"):
        path([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], 1, np.eye(3))
