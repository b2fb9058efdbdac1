"""Sums over the grid for all k points at once, against the sums k point by k point that they stand for."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest

from jaxepi.errors import InputError
from jaxepi.labelling.engines.lcao_sums import Sums, _slope

ATOMS, WIDTHS, POINTS = 3, (1, 3), 60
COUNT = sum(WIDTHS)
NEEDS_GCC = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")


def fake_basis(random):
    """Functions of three atoms in a row of cells, alive on random stretches; all of them densely: (cell, orbital, point)."""
    events, values, place, cells = [], [], [], []
    dense, slopes = np.zeros((2, 3, ATOMS * COUNT, POINTS))
    kept_slopes, spheres = [], []
    for atom in range(ATOMS):
        starts = []
        for cell in (-1, 0, 1):
            for start, width in zip((0, 1), WIDTHS, strict=True):
                edges = np.sort(random.choice(POINTS + 1, 4, replace=False))
                alive = np.concatenate([np.arange(*edges[:2]), np.arange(*edges[2:])])
                a, d = random.normal(size=(2, len(alive), width))
                first = atom * COUNT + start
                dense[cell + 1, first : first + width, alive] = a
                slopes[cell + 1, first : first + width, alive] = d
                w = len(values)
                events += [(edge, w if i % 2 == 0 else -1 - w) for i, edge in enumerate(edges)]
                values.append(a)
                kept_slopes.append(d)
                place.append(first)
                cells.append(cell)
                starts.append(start)
        spheres.append(SimpleNamespace(Mmax=COUNT, M_w=starts))
    events.sort(key=lambda event: event[0])
    basis = SimpleNamespace(
        sphere_a=spheres,
        atom_indices=list(range(ATOMS)),
        M_a=[COUNT * atom for atom in range(ATOMS)],
        Mmax=ATOMS * COUNT,
        A_Wgm=values,
        M_W=np.array(place),
        x_W=np.array(cells),
        sdisp_xc=np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0]]),
        ibzk_qc=np.array([[0.0, 0, 0], [0.2, 0, 0], [0.4, 0, 0]]),
        G_B=np.array([g for g, _ in events]),
        W_B=np.array([w for _, w in events]),
        gd=SimpleNamespace(dv=0.3),
    )
    return basis, dense, kept_slopes, slopes


@NEEDS_GCC
def test_one_pass_is_the_sum_over_k_points():
    random = np.random.default_rng(0)
    basis, dense, kept_slopes, slopes = fake_basis(random)
    size = basis.Mmax
    matrices = random.normal(size=(3, size, size)) + 1j * random.normal(size=(3, size, size))
    matrices = matrices + matrices.conj().transpose(0, 2, 1)
    density, potential, orbitals = np.zeros(POINTS), random.normal(size=POINTS), np.zeros(size)
    for k, matrix in zip(basis.ibzk_qc[:, 0], matrices, strict=True):
        phases = np.exp(2j * np.pi * k * np.arange(-1, 2))
        states, steps = (np.tensordot(phases, x, 1) for x in (dense, slopes))
        density += np.einsum("mg,mn,ng->g", states, matrix, states.conj()).real
        orbitals += basis.gd.dv * np.einsum("g,mg,mn,ng->m", potential, steps, matrix, states.conj()).real
    sums = Sums(basis)
    sums._slopes = lambda axis: kept_slopes
    folded = sums.folded(enumerate(matrices))
    found = np.ones(POINTS)
    sums.add_density(folded, found)
    np.testing.assert_allclose(found - 1, density, rtol=1e-10, atol=1e-10)
    expected = np.tile(2 * orbitals.reshape(ATOMS, COUNT).sum(axis=1)[:, None], 3)
    np.testing.assert_allclose(sums.forces(folded, potential), expected, rtol=1e-10, atol=1e-10)


@NEEDS_GCC
def test_what_the_sums_cannot_do_is_refused():
    basis, *_ = fake_basis(np.random.default_rng(1))
    with pytest.raises(ValueError, match="doubles"):
        Sums(basis).add_density(np.zeros((3, basis.Mmax, basis.Mmax)), np.zeros(POINTS, np.float32))
    basis.sphere_a[0].Mmax += 1
    with pytest.raises(InputError, match="one element"):
        Sums(basis)


@pytest.mark.parametrize("l", [0, 1, 2])
def test_slopes_are_derivatives(l):
    spline = SimpleNamespace(get_angular_momentum_number=lambda: l, map=lambda r: np.exp(-(r**2)))
    points = np.random.default_rng(l).normal(size=(20, 3))

    def values(x):
        r2, radial = (x**2).sum(axis=1), np.exp(-(x**2).sum(axis=1))
        a, b, c = x.T
        shells = {
            0: [np.ones(len(x))],
            1: [3**0.5 * y for y in (b, c, a)],
            2: [15**0.5 * y for y in (a * b, b * c, (3 * c**2 - r2) / (2 * 3**0.5), a * c, (a**2 - b**2) / 2)],
        }
        return (radial * np.array(shells[l])).T / (4 * np.pi) ** 0.5

    for axis in range(3):
        step = 1e-5 * np.eye(3)[axis]
        expected = (values(points + step) - values(points - step)) / 2e-5
        np.testing.assert_allclose(_slope(spline, points, axis), expected, atol=1e-7)
    with pytest.raises(InputError, match="know s, p and d"):
        _slope(SimpleNamespace(get_angular_momentum_number=lambda: 3, map=lambda r: r), points, 0)
