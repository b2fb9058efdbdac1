"""Group velocities: slopes of frequencies, through degenerate modes too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import sampling
from jaxepi.errors import InputError

GENERIC, AXIS = np.array([0.11, 0.23, -0.31]), np.array([0.2, 0.2, 0.2])
PER_FS = 2e-3 * np.pi
"""rad/fs of a THz."""


def test_velocities_are_slopes(spring_gaas):
    """At a generic point those of each frequency; on an axis with degenerate modes, of those that a direction parts."""
    step, way = 1e-5, np.array([1.0, 2.0, 3.0]) / np.sqrt(14)
    cell = np.asarray(spring_gaas.base.cell)
    ways = np.array([*np.eye(3), way])
    moved = ways @ cell.T / (2 * np.pi) * step
    points = np.concatenate([GENERIC + moved, GENERIC - moved, [AXIS, AXIS + moved[3]]])
    thz = PER_FS * np.asarray(sampling.frequencies_thz(spring_gaas, points))
    v = np.asarray(sampling.group_velocities(spring_gaas, [GENERIC, AXIS, [0, 0, 0]]))
    np.testing.assert_allclose(v[0] @ ways.T, ((thz[:4] - thz[4:8]) / (2 * step)).T, atol=1e-8)
    assert (np.diff(thz[8])[[0, 3]] < 1e-9).any()
    # One-sided, as the order of parted modes turns round on the other side; ascending either way.
    np.testing.assert_allclose(np.sort(v[1] @ way), np.sort((thz[9] - thz[8]) / step), atol=1e-5)
    assert np.isnan(v[2, :3]).all()
    np.testing.assert_allclose(v[2, 3:], 0, atol=1e-12)


@pytest.mark.slow
def test_derivatives_are_none_in_degenerate_sets(spring_gaas):
    images = sampling.images_of(spring_gaas)
    slope = jax.jit(jax.jacfwd(lambda q: sampling.group_velocities(spring_gaas, q[None], images=images)[0]))
    assert np.isfinite(slope(jnp.asarray(GENERIC))).all()
    found = np.isnan(slope(jnp.asarray(AXIS))).all(axis=(1, 2))
    f = np.asarray(sampling.frequencies_thz(spring_gaas, [AXIS]))[0]
    alone = np.array([np.sum(np.abs(f - other) < 1e-6) == 1 for other in f])
    np.testing.assert_array_equal(found, ~alone)


def test_directions_are_checked(spring_gaas):
    with pytest.raises(InputError, match="direction of no length"):
        sampling.group_velocities(spring_gaas, [GENERIC], (0, 0, 0))
    with pytest.raises(InputError, match="three a point"):
        sampling.group_velocities(spring_gaas, [GENERIC], (1.0, 0))
