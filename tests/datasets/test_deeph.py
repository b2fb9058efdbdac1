"""DeepH's layouts: round trips, orbitals by formulae of their own, and what is refused."""

import dataclasses
import json
import shutil

import h5py
import numpy as np
import pytest

from jaxepi import datasets
from jaxepi.datasets import deeph
from jaxepi.datasets.blocks import PairBlocks, pairs_within
from jaxepi.datasets.overlap import pair_vectors, shell_functions
from jaxepi.errors import InputError

CELL = np.array([[3.0, 0.1, 0.0], [0.2, 3.2, 0.1], [0.0, 0.3, 3.4]])
POSITIONS = np.array([[0.1, 0.2, 0.3], [1.5, 1.3, 1.9], [2.2, 0.4, 1.1]])
SPECIES, SHELLS, REACH = (6, 5, 6), ("s", "p", "d"), 2.9


def along(vector):
    """All orbitals of an atom in one direction."""
    unit = vector[None] / np.linalg.norm(vector)
    return np.concatenate([shell_functions(unit, shell)[0] for shell in SHELLS])


def configurations(seed=0):
    """Sigma bonds alone, whose blocks are products of the orbitals' values along the bond."""
    positions = POSITIONS + 0.05 * np.random.default_rng(seed).normal(size=(3, 3))
    pairs = pairs_within(positions, CELL, (True,) * 3, REACH)
    vectors = pair_vectors(positions, CELL, pairs)
    blocks = np.array([np.eye(9) if not v.any() else np.outer(along(v), along(-v)) for v in vectors])
    scale = np.where(np.linalg.norm(vectors, axis=1) > 0, 0.02, 1.0)[:, None, None]
    held = PairBlocks(np.array([0, len(pairs)]), pairs, -3 * blocks, scale * blocks, SHELLS, REACH, "dft")
    return datasets.single(positions, CELL, SPECIES, {"dft": {}}, blocks=held)


@pytest.fixture(scope="module")
def data():
    return datasets.gather("three", {"dft": {}}, [configurations(0), configurations(1)])


@pytest.fixture(scope="module")
def made(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("deeph")
    for layout in ("new", "legacy"):
        deeph.write(data, root / layout, layout)
    return root


@pytest.mark.parametrize("layout", ["new", "legacy"])
def test_sets_come_back_as_they_were_written(data, made, layout):
    found = deeph.read(made / layout, electrons={"C": 4, "B": 4})
    (group,), (given,) = found.groups, data.groups
    order = [0, 2, 1] if layout == "new" else [0, 1, 2]  # a POSCAR holds one element after another
    assert group.occupied == 6
    assert group.species == tuple(SPECIES[i] for i in order)
    np.testing.assert_allclose(group.positions, given.positions[:, order], atol=2e-8)
    k = np.array([0.1, 0.2, 0.3])
    for row in range(2):
        for ours, theirs in zip(group.blocks.bloch(row, k, 3), given.blocks.bloch(row, k, 3), strict=True):
            np.testing.assert_allclose(np.linalg.eigvalsh(ours), np.linalg.eigvalsh(theirs), atol=1e-12)
    if layout == "legacy":
        np.testing.assert_array_equal(group.blocks.pairs, given.blocks.pairs)
        np.testing.assert_allclose(group.blocks.hamiltonian, given.blocks.hamiltonian, atol=1e-12)


def test_orbitals_stand_in_the_files_as_deeph_has_them(made):
    """Against the functions of each layout written out here."""

    def harmonics(p, d):
        sizes = np.repeat([1.0, 3.0, 15.0], [1, 3, 5]) / (4 * np.pi)
        return sizes**0.5 * np.array([1.0, *p, *d])

    def openmx(x, y, z):
        return harmonics((x, y, z), ((3 * z**2 - 1) / 12**0.5, (x**2 - y**2) / 2, x * y, x * z, y * z))

    def wiki(x, y, z):
        return harmonics((y, z, x), (x * y, y * z, (3 * z**2 - 1) / 12**0.5, x * z, (x**2 - y**2) / 2))

    lattice = np.loadtxt(made / "legacy/0/lat.dat").T
    x = np.loadtxt(made / "legacy/0/site_positions.dat").T
    with h5py.File(made / "legacy/0/hamiltonians.h5") as file:
        assert "[0, 0, 0, 1, 1]" in file
        for key, block in file.items():
            *shift, i, j = json.loads(key)
            bond = x[j - 1] + shift @ lattice - x[i - 1]
            if bond.any():
                bond /= np.linalg.norm(bond)
                np.testing.assert_allclose(block[...], -3 * np.outer(openmx(*bond), openmx(*-bond)), atol=1e-9)
    x = x[[0, 2, 1]]
    with h5py.File(made / "new/0/hamiltonian.h5") as file:
        values = file["entries"][...].reshape(-1, 9, 9)
        assert file["chunk_boundaries"][...].tolist() == [81 * n for n in range(len(values) + 1)]
        for (*shift, i, j), block in zip(file["atom_pairs"][...].tolist(), values, strict=True):
            bond = x[j] + shift @ lattice - x[i]
            if bond.any():
                bond /= np.linalg.norm(bond)
                np.testing.assert_allclose(block, -3 * np.outer(wiki(*bond), wiki(*-bond)), atol=1e-7)


def test_what_cannot_be_right_is_refused(data, made, tmp_path):
    def copied(name, layout="new"):
        return shutil.copytree(made / layout, tmp_path / name)

    def refused(folder, match, **options):
        with pytest.raises(InputError, match=match):
            deeph.read(folder, **options)

    def edited(folder, file, change):
        with h5py.File(folder / "0" / file, "r+") as held:
            change(held)

    def informed(folder, **changes):
        path = folder / "0/info.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    order = [0, 3, 1, 2, *range(4, 9)]

    def reordered(held):
        held["entries"][...] = held["entries"][...].reshape(-1, 9, 9)[:, order][:, :, order].ravel()

    def other_sign(held):
        sign = np.array([1, -1, *[1] * 7])
        held["entries"][...] = (held["entries"][...].reshape(-1, 9, 9) * sign[:, None] * sign).ravel()

    for name, change in (("order", reordered), ("sign", other_sign)):
        folder = copied(name)
        edited(folder, "overlap.h5", change)
        refused(folder, "another order or have other signs")
    folder = copied("small")

    def negative(held):
        held["entries"][...] = -held["entries"][...]

    edited(folder, "overlap.h5", negative)
    refused(folder, "not positive definite")
    folder = copied("bounds")

    def counted(held):
        held["chunk_boundaries"][...] = np.arange(len(held["chunk_boundaries"]))

    edited(folder, "hamiltonian.h5", counted)
    refused(folder, "do not fit each other")
    folder = copied("bases")
    informed(folder, elements_orbital_map={"C": [0, 1, 1], "B": [0, 1, 1]})
    refused(folder, "two bases")
    folder = copied("unknown")
    informed(folder, elements_orbital_map={"C": [0, 1, 3], "B": [0, 1, 3]})
    refused(folder, r"shells \[0, 1, 3\]")
    folder = copied("missing")
    informed(folder, elements_orbital_map={"C": [0, 1, 2]})
    refused(folder, "nothing says which shells B has")
    folder = copied("spin")
    informed(folder, spinful=True)
    refused(folder, "make the set without spin")
    folder = copied("legacy-keys", "legacy")
    with h5py.File(folder / "0/overlaps.h5", "r+") as held:
        held.move("[0, 0, 0, 1, 1]", "[0, 0, 0, 1]")
    refused(folder, "not of the form")
    refused(tmp_path / "spin" / "none", "holds no folder")
    refused(made / "new", "electrons of B", electrons={"C": 4})
    with pytest.raises(InputError, match="is there already"):
        deeph.write(data, made / "new")
    with pytest.raises(InputError, match="choose one of new, legacy"):
        deeph.write(data, tmp_path / "other", "older")
    bare = dataclasses.replace(data, groups=tuple(dataclasses.replace(g, blocks=None) for g in data.groups))
    with pytest.raises(InputError, match="without H"):
        deeph.write(bare, tmp_path / "bare")
