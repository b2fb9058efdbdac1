"""Levels of the crystal at rest: found by degeneracy, compared by their means, against displacement and strain."""

import dataclasses

import numpy as np
import pytest
from ase.build import bulk

from jaxepi import datasets, hamiltonians, kpoints
from jaxepi.electrons import eigenvalues
from jaxepi.errors import InputError
from jaxepi.hamiltonians import learned
from jaxepi.structure import Structure
from jaxepi.training.bands import edges
from jaxepi.training.settings import BandLossSettings

MESH = kpoints.mesh(2)
MODEL = hamiltonians.load("si-vogl1983")


def bands(structure):
    return np.asarray(eigenvalues(MODEL, structure, MESH))[:, :8]


def group(parts):
    """Configurations (positions, cell, strain, temperature) with the bands of a model on another zero."""
    made = []
    more = {
        "kpoints": MESH.points,
        "weights": MESH.weights,
        "occupied": 4,
        "mesh": (2, 2, 2, 0, 0, 0),
        "around": "measured",
    }
    for kind, structure, strain, kelvin in parts:
        labels = {"pbe": {"energy": 0.0, "eigenvalues": bands(structure) + 0.7}}
        x, cell = np.asarray(structure.positions), np.asarray(structure.cell)
        own = {"strain": strain, "kind": kind, "temperature": kelvin}
        made.append(datasets.single(x, cell, [14, 14], labels, **own, **more))
    (found,) = datasets.gather("test", {"pbe": {"code": "jaxepi", "version": "1", "settings": {}}}, made).groups
    return found


REST = Structure.from_ase(bulk("Si", a=5.431))
NONE = np.zeros((3, 3))


@pytest.fixture(scope="module")
def thermal():
    rng = np.random.default_rng(0)
    moved = [REST.with_positions(REST.positions + s * rng.normal(size=(2, 3))) for s in (0.01, 0.03, 0.03, 0.05)]
    return group([("unstrained", REST, NONE, np.nan), *(("thermal-quantum", m, NONE, 100.0) for m in moved)])


@pytest.fixture(scope="module")
def strained():
    parts = [("unstrained", REST, NONE, np.nan)]
    for kind, strain in (("isotropic", 0.01 * np.eye(3)), ("uniaxial-100", np.diag([0.01, 0, 0]))):
        parts += [(kind, REST.strained(s * strain), s * strain, np.nan) for s in (1, -1)]
    return group(parts)


def test_levels_are_degenerate_sets():
    top, empty = edges.levels(bands(REST), 4, 5.0)
    energies = bands(REST)
    assert top.states == 3
    assert np.allclose(MESH.points[list(top.points)], 0)
    assert sum(len(level.points) for level in empty) == len(MESH.points)
    for level in empty:
        states = energies[list(level.points), slice(*level.bands)]
        assert np.ptp(states) < 1e-6
    lowest = [float(level.of(energies)) for level in empty]
    assert lowest == sorted(lowest)
    assert len(empty[0].points) == 3  # X
    assert empty[0].states == 2


def test_thermal_means_are_shifts_from_rest_on_the_same_cells(thermal):
    """A model whose empty bands rise by 10 meV as the atoms move, and lie 50 meV high everywhere, is 10 meV off."""
    e = thermal.labels["pbe"]["eigenvalues"]

    def wrong(rows):
        found = e[rows].copy()
        found[:, :, 4:] += 0.05
        found[1:, :, 4:] += 0.01
        return found

    rows = edges.thermal_means(thermal, "pbe", wrong)
    top, empty = edges.levels(e[0], 4)
    assert len(rows) == len(empty)
    for row, level in zip(rows, empty, strict=True):
        above = level.of(e) - top.of(e)
        assert (row.temperature, row.cells) == (100.0, 4)
        assert row.label == pytest.approx(above[1:].mean() - above[0])
        assert row.difference == pytest.approx(0.01)
        assert row.uncertainty == pytest.approx(0.0, abs=1e-9)
        assert row.scatter > 1e-4
    assert edges.thermal_means(thermal, "hse06", wrong) == []


def test_functionals_are_the_levels_above_the_top(thermal):
    e = thermal.labels["pbe"]["eigenvalues"]
    top, empty = edges.levels(e[0], 4, 2.0)
    sums = np.einsum("lkb,skb->sl", edges.functionals(e[0], 4, 2.0), e)
    np.testing.assert_allclose(sums, np.stack([level.of(e) - top.of(e) for level in empty], axis=1), atol=1e-12)
    np.testing.assert_allclose(edges.functionals(e[0], 4, 2.0).sum(axis=(1, 2)), 0, atol=1e-12)


def test_an_error_that_grows_with_displacement_is_a_drift(thermal):
    size = edges.displacement(thermal, 0)

    def wrong(rows):
        off = thermal.labels["pbe"]["eigenvalues"][rows].copy()
        off[:, :, 4:] += 0.01 + size[rows, None, None] ** 2
        return off

    found = edges.drift(thermal, "pbe", wrong)
    for name in {r.level for r in found}:
        own = [r for r in found if r.level == name]
        assert sum(r.cells for r in own) == 1 + (size[1:] < edges.BINS[-1]).sum()
        assert own[0].error == pytest.approx(0.01, abs=1e-9)
        for r in own:
            inside = size[(size >= r.above) & (size < r.below)] ** 2
            assert r.error == pytest.approx(0.01 + inside.mean(), abs=1e-9)
    right = edges.drift(thermal, "pbe", lambda rows: edges.predicted(MODEL, thermal, rows))
    assert max(abs(r.error) for r in right) < 1e-4  # single precision of labels is none; the graph has a skin


def test_second_differences_by_mode_are_those_that_were_put_in(thermal):
    """Relative motion along x and y is one frequency, along z another; translations are left out."""
    relative = np.zeros((6, 2, 3))
    relative[[0, 1, 2], :, [0, 1, 2]] = np.array([1.0, -1.0]) / 2**0.5
    relative[[3, 4, 5], :, [0, 1, 2]] = np.array([1.0, 1.0]) / 2**0.5
    variances, thz = np.array([0.02, 0.02, 0.05, 0, 0, 0]), np.array([15.0, 15.0, 9.0, 0, 0, 0])
    many = thermal.take([0, 1, 2, 3, 4, 1, 2])  # enough rows for two frequencies
    moved = (many.positions - many.positions[0]) * 28.085**0.5
    squares = np.einsum("mia,sia->sm", relative, moved) ** 2

    def wrong(rows):
        off = many.labels["pbe"]["eigenvalues"][rows].copy()
        shift = 0.010 * squares[rows, :2].sum(axis=1) / 0.04 - 0.004 * squares[rows, 2] / 0.05
        off[:, :, 4:] += shift[:, None, None]
        return off

    found = edges.by_mode(many, "pbe", wrong, relative, variances, thz)
    assert {(r.thz, r.states) for r in found} == {(9.0, 1), (15.0, 2)}
    for r in found:
        assert r.model - r.label == pytest.approx(0.010 if r.states == 2 else -0.004, abs=1e-6)
    assert edges.by_mode(many.take([0, 1]), "pbe", wrong, relative, variances, thz) == []


def test_slopes_and_splittings_of_pairs(strained):
    found = edges.slopes(strained, "pbe", lambda rows: 2.0 * strained.labels["pbe"]["eigenvalues"][rows])
    isotropic = [r for r in found if r.unit == "eV a unit of ln V"]
    split = [r for r in found if r.unit == "meV"]
    assert isotropic
    assert split
    assert all(r.model == pytest.approx(2 * r.label) for r in found)
    volume = np.log(1.01**3 / 0.99**3)
    e = strained.labels["pbe"]["eigenvalues"]
    top, (x, *_) = edges.levels(e[0], 4, 1.5)
    plus, minus = (
        next(i for i, s in enumerate(strained.strain) if np.allclose(s, 0.01 * sign * np.eye(3))) for sign in (1, -1)
    )
    above = x.of(e) - top.of(e)
    assert isotropic[0].label == pytest.approx((above[plus] - above[minus]) / volume)


def test_a_group_without_the_crystal_at_rest_has_no_levels(thermal):
    assert edges.drift(thermal.take([1, 2]), "pbe", lambda rows: None) == []
    assert edges.at_rest(thermal, "hse06") is None


def test_levels_need_all_points():
    with pytest.raises(InputError, match="levels \\(or shifts\\) and points"):
        BandLossSettings(levels=1.0, points=4)


SMALL = {
    "base": "si-niquet2009",
    "channels": 2,
    "features": 2,
    "hidden": [4],
    "cutoff": 4.2,
    "switch": [2.9, 3.4],
    "skin": 0.2,
}


@pytest.mark.slow
def test_functions_of_the_length_begin_at_nothing_and_turn_with_the_crystal():
    import jax

    plain = learned.build(SMALL, jax.random.key(0))
    more = learned.build({**SMALL, "radial": 3}, jax.random.key(0))
    moved = Structure.from_ase(bulk("Si", a=5.431)).strained(0.02 * np.diag([1.0, 0, -1]))
    np.testing.assert_allclose(eigenvalues(more, moved, MESH), eigenvalues(plain, moved, MESH), atol=1e-12)
    rng = np.random.default_rng(1)
    radial = jax.tree.map(lambda x: 0.3 * rng.normal(size=x.shape), more.params["radial"])
    more = dataclasses.replace(more, params={**more.params, "radial": radial})
    e = np.asarray(eigenvalues(more, moved, MESH))
    assert np.abs(e - np.asarray(eigenvalues(plain, moved, MESH))).max() > 0.1
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turned = Structure(moved.positions @ q, moved.cell @ q, moved.species)
    np.testing.assert_allclose(eigenvalues(more, turned, MESH), e, atol=1e-9)
