"""H(R): folding from a k mesh and back, each pair once, aliasing refused."""

import numpy as np
import pytest

from jaxepi.datasets.blocks import PairBlocks, fold, pairs_within
from jaxepi.errors import InputError

CELL = np.array([[2.5, 0.0, 0.0], [1.2, 2.3, 0.0], [0.0, 0.0, 12.0]])
POSITIONS = np.array([[0.0, 0.0, 6.0], [1.2, 0.8, 6.1]])
REACH, PBC = 4.0, (True, True, False)


@pytest.fixture
def blocks() -> PairBlocks:
    rng = np.random.default_rng(0)
    pairs = pairs_within(POSITIONS, CELL, PBC, REACH)
    h, s = rng.normal(size=(2, len(pairs), 3, 3))
    own = (pairs[:, 0] == pairs[:, 1]) & ~pairs[:, 2:].any(axis=1)
    h[own] += h[own].swapaxes(1, 2)
    s[own] += s[own].swapaxes(1, 2)
    return PairBlocks(np.array([0, len(pairs)]), pairs, h, s, ("p",), REACH, "pbe")


def test_each_hermitian_pair_is_there_once(blocks):
    rows = {tuple(row) for row in blocks.pairs}
    assert len(rows) == len(blocks.pairs)
    for i, j, *shift in rows:
        mirror = (j, i, *(-x for x in shift))
        assert mirror == (i, j, *shift) or mirror not in rows
    total = 2 * len(rows) - len(POSITIONS)
    brute = 0
    for a in range(-4, 5):
        for b in range(-4, 5):
            d = POSITIONS[None] + np.array([a, b, 0]) @ CELL - POSITIONS[:, None]
            brute += (np.linalg.norm(d, axis=2) < REACH).sum()
    assert total == brute


@pytest.mark.parametrize("half", [False, True])
def test_folding_inverts_the_bloch_sum(blocks, half):
    n = 7
    points = np.array([[a / n, b / n, 0.0] for a in range(n) for b in range(n)])
    weights = np.full(n * n, 1 / n**2)
    if half:  # time reversal: one of k and -k, with double weight
        index = [i for i, k in enumerate(points) if tuple(k * n) <= tuple((-k * n) % n)]
        weights = np.array([weights[i] * (1 if not (2 * points[i] * n % n).any() else 2) for i in index])
        points = points[index]
    assert weights.sum() == pytest.approx(1)
    matrices = np.array([blocks.bloch(0, k, 2)[0] for k in points])
    np.testing.assert_allclose(matrices, matrices.conj().swapaxes(1, 2), atol=1e-13)
    back = fold(matrices, points, weights, (n, n, 1), blocks.pairs, 3)
    np.testing.assert_allclose(back, blocks.hamiltonian, atol=1e-12)


def test_a_coarse_mesh_is_refused(blocks):
    points = np.array([[a / 3, b / 3, 0.0] for a in range(3) for b in range(3)])
    matrices = np.array([blocks.bloch(0, k, 2)[0] for k in points])
    with pytest.raises(InputError, match="aliases"):
        fold(matrices, points, np.full(9, 1 / 9), (3, 3, 1), blocks.pairs, 3)


def test_take_and_join(blocks):
    both = blocks.joined(blocks)
    assert len(both) == 2
    again = both.take(np.array([1]))
    np.testing.assert_array_equal(again.hamiltonian, blocks.hamiltonian)
    np.testing.assert_array_equal(again.pairs, blocks.pairs)
    k = np.array([0.1, 0.2, 0.0])
    np.testing.assert_array_equal(both.bloch(1, k, 2)[1], blocks.bloch(0, k, 2)[1])
