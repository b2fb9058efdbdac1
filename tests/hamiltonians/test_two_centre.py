"""Two-centre blocks against the published table, under rotations, and for bonds along the axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxepi.hamiltonians.two_centre import two_centre

ROOT3 = np.sqrt(3)
# Where the orbitals of the textbook stand in this basis, whose polar axis is y: textbook (X, Y, Z) = (z, x, y).
P = {"X": 2, "Y": 0, "Z": 1}
D = {"XY": 0, "YZ": 1, "3Z2": 2, "ZX": 3, "X2-Y2": 4}


def harmonics(degree, n):
    """Real harmonics as plain polynomials, squares summing to one on the unit sphere."""
    x, y, z = np.moveaxis(np.asarray(n), -1, 0)
    if degree == 0:
        return np.ones((*x.shape, 1))
    if degree == 1:
        return np.stack([x, y, z], -1)
    d = [ROOT3 * x * z, ROOT3 * x * y, y**2 - (x**2 + z**2) / 2, ROOT3 * y * z, ROOT3 / 2 * (z**2 - x**2)]
    return np.stack(d, -1)


def table(n):
    """Slater and Koster, Phys. Rev. 94, 1498 (1954), table I: (sigma, pi, delta) coefficients of each pair."""
    m, n, l = n  # (the textbook's direction cosines l, m, n along X, Y, Z)
    d, s = l**2 - m**2, l**2 + m**2
    axial = n**2 - s / 2
    pp = {("X", "X"): (l * l, 1 - l * l), ("X", "Y"): (l * m, -l * m), ("X", "Z"): (l * n, -l * n)}
    sp = {("S", "X"): (l,), ("S", "Y"): (m,), ("S", "Z"): (n,)}
    sd = {("S", "XY"): (ROOT3 * l * m,), ("S", "X2-Y2"): (ROOT3 / 2 * d,), ("S", "3Z2"): (axial,)}
    pd = {
        ("X", "XY"): (ROOT3 * l * l * m, m * (1 - 2 * l * l)),
        ("X", "YZ"): (ROOT3 * l * m * n, -2 * l * m * n),
        ("X", "ZX"): (ROOT3 * l * l * n, n * (1 - 2 * l * l)),
        ("X", "X2-Y2"): (ROOT3 / 2 * l * d, l * (1 - d)),
        ("Y", "X2-Y2"): (ROOT3 / 2 * m * d, -m * (1 + d)),
        ("Z", "X2-Y2"): (ROOT3 / 2 * n * d, -n * d),
        ("X", "3Z2"): (l * axial, -ROOT3 * l * n * n),
        ("Y", "3Z2"): (m * axial, -ROOT3 * m * n * n),
        ("Z", "3Z2"): (n * axial, ROOT3 * n * s),
    }
    dd = {
        ("XY", "XY"): (3 * l * l * m * m, s - 4 * l * l * m * m, n * n + l * l * m * m),
        ("XY", "YZ"): (3 * l * m * m * n, l * n * (1 - 4 * m * m), l * n * (m * m - 1)),
        ("XY", "ZX"): (3 * l * l * m * n, m * n * (1 - 4 * l * l), m * n * (l * l - 1)),
        ("XY", "X2-Y2"): (1.5 * l * m * d, -2 * l * m * d, 0.5 * l * m * d),
        ("YZ", "X2-Y2"): (1.5 * m * n * d, -m * n * (1 + 2 * d), m * n * (1 + d / 2)),
        ("ZX", "X2-Y2"): (1.5 * n * l * d, n * l * (1 - 2 * d), -n * l * (1 - d / 2)),
        ("XY", "3Z2"): (ROOT3 * l * m * axial, -2 * ROOT3 * l * m * n * n, ROOT3 / 2 * l * m * (1 + n * n)),
        ("YZ", "3Z2"): (ROOT3 * m * n * axial, ROOT3 * m * n * (s - n * n), -ROOT3 / 2 * m * n * s),
        ("ZX", "3Z2"): (ROOT3 * l * n * axial, ROOT3 * l * n * (s - n * n), -ROOT3 / 2 * l * n * s),
        ("X2-Y2", "X2-Y2"): (0.75 * d * d, s - d * d, n * n + d * d / 4),
        ("X2-Y2", "3Z2"): (ROOT3 / 2 * d * axial, -ROOT3 * n * n * d, ROOT3 / 4 * (1 + n * n) * d),
        ("3Z2", "3Z2"): (axial**2, 3 * n * n * s, 0.75 * s * s),
    }
    return {(0, 1): sp, (0, 2): sd, (1, 1): pp, (1, 2): pd, (2, 2): dd}


def direction(seed):
    n = np.random.default_rng(seed).normal(size=3)
    return n / np.linalg.norm(n)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31))
def test_blocks_equal_the_published_table(seed):
    n = direction(seed)
    place = ({"S": 0}, P, D)
    for (l1, l2), entries in table(n).items():
        blocks = two_centre(l1, l2, jnp.asarray(n)[None])
        for (a, b), coefficients in entries.items():
            got = [float(block[0, place[l1][a], place[l2][b]]) for block in blocks]
            np.testing.assert_allclose(got, coefficients, atol=1e-12, err_msg=f"{a} {b}")


@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)])
def test_blocks_rotate_with_wigner_matrices(l1, l2):
    """The Wigner matrices come from the polynomials alone: Y(R n) = D(R) Y(n), rotations and mirrors."""
    rng = np.random.default_rng(10 * l1 + l2)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    n = np.stack([direction(i) for i in range(30)])

    def wigner(degree):
        solution, *_ = np.linalg.lstsq(harmonics(degree, n), harmonics(degree, n @ rotation.T), rcond=None)
        return solution.T

    before, after = two_centre(l1, l2, jnp.asarray(n)), two_centre(l1, l2, jnp.asarray(n @ rotation.T))
    assert len(before) == min(l1, l2) + 1
    for x, y in zip(before, after, strict=True):
        np.testing.assert_allclose(y, np.einsum("ij,ejk,lk->eil", wigner(l1), x, wigner(l2)), atol=1e-12)


@pytest.mark.parametrize(("l1", "l2"), [(0, 1), (0, 2), (1, 2), (1, 1), (2, 2)])
def test_swapping_the_ends_gives_the_transpose(l1, l2):
    n = jnp.asarray(np.stack([direction(i) for i in range(10)]))
    for x, y in zip(two_centre(l1, l2, n), two_centre(l2, l1, -n), strict=True):
        np.testing.assert_allclose(y, np.swapaxes(x, 1, 2), atol=1e-12)


@pytest.mark.parametrize("degree", [1, 2])
def test_bond_channels_are_orthogonal_projectors(degree):
    """sigma, pi and delta blocks project on |m| = 0, 1, 2 about the bond: they add up to one."""
    blocks = [np.asarray(b[0]) for b in two_centre(degree, degree, jnp.asarray(direction(5))[None])]
    np.testing.assert_allclose(sum(blocks), np.eye(2 * degree + 1), atol=1e-12)
    for m, a in enumerate(blocks):
        np.testing.assert_allclose(np.trace(a), 1 if m == 0 else 2, atol=1e-12)
        for k, b in enumerate(blocks):
            np.testing.assert_allclose(a @ b, a if k == m else 0, atol=1e-12)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_derivatives_of_bonds_along_the_axes_are_finite_and_right(axis, sign):
    bond = jnp.zeros(3).at[axis].set(2.3 * sign)

    def blocks(r):
        n = (r / jnp.sqrt(r @ r))[None]
        return jnp.concatenate([b.ravel() for l2 in range(3) for l1 in range(3) for b in two_centre(l1, l2, n)])

    blocks = jax.jit(blocks)
    got = jax.jit(jax.jacrev(blocks))(bond)
    for a in range(3):
        step = jnp.zeros(3).at[a].set(1e-4)
        np.testing.assert_allclose(got[:, a], (blocks(bond + step) - blocks(bond - step)) / 2e-4, atol=1e-7)


def test_harmonics_are_those_of_e3nn():
    e3nn = pytest.importorskip("e3nn_jax", reason="e3nn_jax is not installed")
    n = np.stack([direction(i) for i in range(10)])
    for degree, name in ((1, "1o"), (2, "2e")):
        theirs = e3nn.spherical_harmonics(name, jnp.asarray(n), normalize=True, normalization="norm").array
        np.testing.assert_allclose(theirs, harmonics(degree, n), atol=1e-12)
        np.testing.assert_allclose(two_centre(0, degree, jnp.asarray(n))[0][:, 0], theirs, atol=1e-12)
