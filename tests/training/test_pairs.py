"""Means of levels over opposite displacements: what is odd drops out, halves of pairs and pairs without their crystal too."""

import dataclasses

import numpy as np
import pytest

from jaxepi import datasets, kpoints
from jaxepi.training.bands import edges, pairs

MESH = kpoints.mesh(2)
CELL = 2.7155 * (np.ones((3, 3)) - np.eye(3))
STILL = np.array([[-5.0, 0.0, 0.0, 0.0, 3.0, 3.0, 3.0, 4.0], *[[-4.0, -3.0, -1.0, -1.0, 1.0, 1.0, 6.0, 7.0]] * 7])
"""Eigenvalues at rest: the valence top at Gamma, the lowest level, of two states, at all other points."""
DRAWN = ((0, 1, 0.0), (0, -1, 0.0), (1, -1, 300.0), (1, 1, 300.0), (2, 1, 300.0))
"""Pair, sign and temperature, of which the last is a half."""


@pytest.fixture(scope="module")
def data():
    """Each pair moves all eigenvalues by numbers of its own, some with the sign and some without."""
    more = {"kpoints": MESH.points, "weights": MESH.weights, "occupied": 4, "mesh": (2, 2, 2, 0, 0, 0)}
    odd, even = 0.03 * np.random.default_rng(0).normal(size=(2, 3, 8, 8))
    x = np.array([[0.0, 0.0, 0.0], 3 * [1.35775]])
    drawn = [(0.0 * x, STILL, {"kind": "unstrained"})]
    for pair, sign, kelvin in DRAWN:
        about = {"kind": "thermal-quantum", "temperature": kelvin, "extra": {"pair": pair, "sign": sign}}
        drawn.append((0.01 * sign * (1 + pair) * x, STILL + sign * odd[pair] + even[pair], about))
    made = []
    for moved, e, about in drawn:
        labels = {"pbe": {"energy": 0.0, "eigenvalues": e}}
        made.append(datasets.single(x + moved, CELL, [14, 14], labels, **about, **more))
    return datasets.gather("test", {"pbe": {"code": "jaxepi", "version": "1", "settings": {}}}, made)


def wrong(group, rows):
    """Empty bands 50 meV high everywhere, 4 meV more in displaced cells, and 10 meV by the sign of the displacement."""
    found = group.labels["pbe"]["eigenvalues"][rows].copy()
    found[:, :, 4:] += 0.05
    if "sign" in group.extra:
        found[:, :, 4:] += 0.004 + 0.01 * group.extra["sign"][rows][:, None, None]
    return found


def test_what_is_odd_drops_out_of_the_mean_of_a_pair(data):
    rest, moved = sorted(data.groups, key=len)
    top, (lowest, *_) = edges.levels(rest.labels["pbe"]["eigenvalues"][0], 4)
    found = pairs.shifts(data, "pbe", wrong)
    e, e0 = (g.labels["pbe"]["eigenvalues"] for g in (moved, rest))
    own = [r for r in found if r.level == found[3].level]
    assert [(r.atoms, r.pairs, r.temperature) for r in own[1:]] == [(2, 1, 0.0), (2, 1, 300.0)]
    assert np.isnan(own[0].temperature)
    each = (lowest.of(e) - top.of(e)) - (lowest.of(e0) - top.of(e0))[0]
    rows = {(int(p), int(s)): x for p, s, x in zip(moved.extra["pair"], moved.extra["sign"], each, strict=True)}
    means = [(rows[p, 1] + rows[p, -1]) / 2 for p in (0, 1)]
    assert abs(rows[0, 1] - rows[0, -1]) > 2e-3
    assert [r.label for r in own] == pytest.approx([np.mean(means), *means])
    assert own[0].scatter == pytest.approx(abs(means[0] - means[1]) / 2)
    assert [r.difference for r in own] == pytest.approx([0.004] * 3)
    assert [r.odd for r in own] == pytest.approx([0.01] * 3)
    assert own[0].uncertainty == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(own[1].uncertainty)


def test_the_valence_top_is_measured_from_the_filled_bands(data):
    def deep(group, rows):
        """The valence top 8 meV high in displaced cells: all filled bands but the lowest."""
        found = group.labels["pbe"]["eigenvalues"][rows].copy()
        found[:, :, 1:] += 0.008 * ("sign" in group.extra)
        return found

    tops = [r for r in pairs.shifts(data, "pbe", deep) if r.level == "valence top"]
    assert len(tops) == 3
    assert [r.difference for r in tops] == pytest.approx([0.002] * 3)  # three of four filled bands move along


def test_pairs_need_their_crystal_at_rest_and_both_halves(data):
    _, moved = sorted(data.groups, key=len)
    assert len(pairs.opposite(moved)) == 2
    assert pairs.shifts(dataclasses.replace(data, groups=(moved,)), "pbe", wrong) == []
    assert pairs.shifts(data, "hse06", wrong) == []


def test_all_cells_of_a_group_are_those_of_its_crystal_at_rest(data):
    rest, moved = sorted(data.groups, key=len)
    asked = ((rest, moved), moved, "pbe")
    first, other = moved.cell.copy(), moved.cell.copy()
    first[0] *= 1.02
    other[-1, 2] += other[-1, 0]
    strained, mixed = (dataclasses.replace(moved, cell=cell) for cell in (first, other))
    assert edges.crystal_of((rest, strained), strained, "pbe") == (rest, 0), "whatever configuration comes first"
    alone = dataclasses.replace(data, groups=(rest, strained))
    assert {r.pairs for r in pairs.shifts(alone, "pbe", wrong)} == {1}, "a pair of which one cell is strained is none"
    assert edges.crystal_of((rest, mixed), mixed, "pbe") is None
    every = dataclasses.replace(moved, cell=1.02 * moved.cell)
    assert edges.crystal_of((rest, every), every, "pbe") is None
    assert edges.crystal_of(*asked, "train") == (rest, 0)
    assert edges.crystal_of((dataclasses.replace(rest, split=("test",)), moved), moved, "pbe", "train") is None
