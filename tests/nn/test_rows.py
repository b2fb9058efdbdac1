"""Arrays in parts of so many rows."""

import numpy as np
import pytest

from jaxepi.nn import joined, split


@pytest.mark.parametrize("rows", [2, 5, 7])
def test_parts_joined_are_the_whole(rows):
    arrays = {"a": np.arange(10.0).reshape(5, 2), "b": (np.arange(5), np.ones((5, 1, 3)))}
    parts = split(arrays, rows)
    assert parts["a"].shape == (-(-5 // rows), rows, 2)
    assert (np.asarray(parts["b"][0])[-1, -1]) == 4  # filled up with the last row
    back = joined(parts, 5)
    np.testing.assert_array_equal(back["a"], arrays["a"])
    np.testing.assert_array_equal(back["b"][0], arrays["b"][0])
    assert back["b"][1].shape == (5, 1, 3)
