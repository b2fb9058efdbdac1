"""S(R) from functions of distance: Gaussians whose overlap is known, rotations, and the round trip through a file."""

import dataclasses

import h5py
import numpy as np
import pytest
from ase.units import Bohr
from scipy.spatial.transform import Rotation

from jaxepi import datasets
from jaxepi.datasets.blocks import PairBlocks, pairs_within
from jaxepi.datasets.overlap import OverlapFunctions, entries, gaunt, harmonics, shell_functions
from jaxepi.errors import InputError

CELL = np.array([[2.5, 0.0, 0.0], [1.2, 2.3, 0.0], [0.0, 0.0, 12.0]])
POSITIONS = np.array([[0.0, 0.0, 6.0], [1.2, 0.8, 6.1]])
PBC, REACH = (True, True, False), 6.4
SHELLS, PROJECTORS = ("s", "p", "d"), ("s", "p")


@pytest.fixture
def functions() -> OverlapFunctions:
    rng = np.random.default_rng(0)
    r = np.linspace(0.0, 6.0, 200)
    tables = [
        np.array([rng.normal() * np.exp(-rng.uniform(0.5, 1.5) * r**2) for _ in entries(rows, SHELLS, symmetric)])
        for rows, symmetric in ((SHELLS, True), (PROJECTORS, False))
    ]
    s, p = rng.normal(), rng.normal()
    correction = np.diag([s, p, p, p])  # invariant under rotations
    return OverlapFunctions(*tables, correction, SHELLS, PROJECTORS, 6.0, (6.0, 6.0), 1e-12)


def configuration(functions: OverlapFunctions, shift: float = 0.0) -> datasets.Configurations:
    positions = POSITIONS + shift * np.array([[0.0, 0.0, 0.0], [0.1, 0.2, 0.05]])
    pairs = pairs_within(positions, CELL, PBC, REACH)
    overlap = functions.blocks(positions.round(8), CELL, PBC, pairs)
    offsets = np.array([0, len(pairs)])
    held = PairBlocks(offsets, pairs, np.zeros_like(overlap), overlap, SHELLS, REACH, "pbe", functions)
    return datasets.single(positions, CELL, [6, 6], {"pbe": {"energy": 1.0}}, pbc=PBC, blocks=held)


def test_gaunt_coefficients_rebuild_products():
    unit = np.random.default_rng(1).normal(size=(30, 3))
    unit /= np.linalg.norm(unit, axis=1)[:, None]
    product = np.einsum("va,vb->vab", shell_functions(unit, "p"), shell_functions(unit, "d"))
    parts = [np.einsum("vm,mab->vab", harmonics(unit, degree), gaunt("p", "d", degree)) for degree in (1, 3)]
    np.testing.assert_allclose(sum(parts), product, atol=1e-13)


def test_two_s_gaussians_overlap_as_they_should():
    r = np.linspace(0.0, 8.0, 400)
    table = 4 * np.pi * np.exp(-(r**2) / 2)[None]  # of exp(-x^2) at distance r, normalised
    one = OverlapFunctions(table, np.zeros((1, 400)), np.zeros((1, 1)), ("s",), ("s",), 8.0, (8.0, 4.0), 0.0)
    vectors = np.random.default_rng(2).normal(size=(10, 3))
    exact = np.exp(-((np.linalg.norm(vectors, axis=1) / Bohr) ** 2) / 2)
    np.testing.assert_allclose(one.orbitals(vectors)[:, 0, 0], exact, atol=1e-8)


def test_tables_that_differ_where_no_atoms_are_make_one_basis(functions):
    first = functions.orbital.copy()
    first[:, 0] *= 1.001
    assert functions.agrees(dataclasses.replace(functions, orbital=first))
    assert not functions.agrees(dataclasses.replace(functions, orbital=1.001 * functions.orbital))
    assert not functions.agrees(dataclasses.replace(functions, projector=1.001 * functions.projector))
    assert not functions.agrees(dataclasses.replace(functions, shells=("s", "p", "p")))


def test_blocks_are_hermitian_and_turn_with_the_structure(functions):
    pairs = pairs_within(POSITIONS, CELL, PBC, REACH)
    mirrored = np.column_stack([pairs[:, 1], pairs[:, 0], -pairs[:, 2:]])
    blocks = functions.blocks(POSITIONS, CELL, PBC, pairs)
    back = functions.blocks(POSITIONS, CELL, PBC, mirrored)
    np.testing.assert_allclose(blocks, back.swapaxes(1, 2), atol=1e-12)
    rotation = Rotation.from_rotvec([0.7, -0.4, 1.1]).as_matrix()
    points = np.random.default_rng(3).normal(size=(40, 3))
    points /= np.linalg.norm(points, axis=1)[:, None]
    before, after = (
        np.concatenate([shell_functions(x, s) for s in SHELLS], axis=1) for x in (points, points @ rotation)
    )
    turn = np.linalg.lstsq(before, after, rcond=None)[0]
    turned = functions.blocks(POSITIONS @ rotation.T, CELL @ rotation.T, PBC, pairs)
    np.testing.assert_allclose(turned, turn @ blocks @ turn.T, atol=1e-12)


def test_files_hold_the_functions_once_and_give_s_back(functions, tmp_path):
    levels = {"pbe": {"code": "test", "version": "1", "settings": {}}}
    data = datasets.gather("layers", levels, [configuration(functions), configuration(functions, 1.0)])
    datasets.write(data, tmp_path / "a.h5")
    (group,) = datasets.read(tmp_path / "a.h5").groups
    assert group.blocks is not None
    np.testing.assert_allclose(group.blocks.overlap, data.groups[0].blocks.overlap, atol=1e-12)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        assert "overlap" not in file["groups/00/blocks"]
        assert list(file["overlap_functions"]) == [functions.digest]
        del file[f"overlap_functions/{functions.digest}/projector"]
    with pytest.raises(InputError, match="damaged or incomplete"):
        datasets.read(tmp_path / "a.h5")


def test_s_of_another_source_is_refused(functions, tmp_path):
    levels = {"pbe": {"code": "test", "version": "1", "settings": {}}}
    one = configuration(functions)
    one.blocks.overlap[0, 0, 0] += 1e-3
    with pytest.raises(InputError, match=r"off by 1\.0e-03"):
        datasets.write(datasets.gather("layers", levels, [one]), tmp_path / "a.h5")


def test_changed_tables_are_refused(functions, tmp_path):
    levels = {"pbe": {"code": "test", "version": "1", "settings": {}}}
    datasets.write(datasets.gather("layers", levels, [configuration(functions)]), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file[f"overlap_functions/{functions.digest}/correction"][0, 0] += 1.0
    with pytest.raises(InputError, match=r"a\.h5.*damaged: its hash"):
        datasets.read(tmp_path / "a.h5")
