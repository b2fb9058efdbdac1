"""The layout of DeePTB: both ways, its orbital order, the shared silicon sample, and what is refused."""

import dataclasses
import json
import shutil
from pathlib import Path

import h5py
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.io import Trajectory
from silicon_labels import LEVELS, labelled, pair_blocks, silicon

from jaxepi import datasets, hamiltonians
from jaxepi.datasets import dataset, deeptb, deeptb_blocks, extxyz
from jaxepi.datasets.blocks import fold, pairs_within
from jaxepi.errors import InputError
from jaxepi.hamiltonians import two_centre
from jaxepi.kpoints import mesh
from jaxepi.structure import Structure

SAMPLE = Path(__file__).parents[2].parent / "shared" / "peer-data" / "silicon"


@pytest.fixture(scope="module")
def data():
    return labelled(silicon())


@pytest.fixture
def folder(tmp_path, data):
    return deeptb.write(data, tmp_path, "model")[0]


def assert_equal(a, b, names=("temperature", "seconds", "strain")):
    for name in ("positions", "cell", "kpoints", "weights", *names):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-12)
    for name in ("species", "pbc", "mesh", "occupied", "kind", "around", "source", "split", "fingerprint"):
        assert getattr(a, name) == getattr(b, name), name
    for name, value in a.labels["model"].items():
        np.testing.assert_allclose(value, b.labels["model"][name], atol=1e-12)


@pytest.mark.slow
def test_round_trip(data, folder):
    back = deeptb.read(folder)
    assert back.levels == LEVELS
    assert_equal(*data.groups, *back.groups)


@pytest.mark.slow
def test_round_trip_of_a_folder_of_folders_and_hdf5(data, tmp_path):
    frames = silicon(2, bulk("Si", a=5.43, cubic=True))
    both = data.merged(labelled(frames, blocks=False))
    paths = deeptb.write(both, tmp_path / "x", "model", prefix="si")
    assert [p.name for p in paths] == ["si.0", "si.1"]
    back = deeptb.read(tmp_path / "x", name="bands")
    assert [len(g) for g in back.groups] == [3, 2]
    datasets.write(back, tmp_path / "a.h5")
    again = datasets.read(tmp_path / "a.h5")
    for a, b in zip(back.groups, again.groups, strict=True):
        np.testing.assert_allclose(a.labels["model"]["eigenvalues"], b.labels["model"]["eigenvalues"], atol=1e-7)
    with pytest.raises(InputError, match=r"si\.0 exists"):
        deeptb.write(both, tmp_path / "x", "model", prefix="si")
    assert not list((tmp_path / "x").glob(".*"))


def test_blocks_keep_their_bands_in_the_orbitals_of_the_other_code(data, folder):
    """Shells s p d s* go out as s s p d; the spectrum of what comes back is that of what went out."""
    (group,), (back,) = data.groups, deeptb.read(folder).groups
    assert group.blocks.shells == ("s", "p", "d", "s")
    assert back.blocks.shells == ("s", "s", "p", "d")
    assert (folder / "basis.dat").read_text().split() == ["2s1p1d"] * 2
    points, n = group.kpoints, len(group.species)
    for row, k in ((0, 5), (2, 11)):
        h, s = back.blocks.bloch(row, points[k], n)
        np.testing.assert_allclose(s, np.eye(len(s)), atol=1e-12)
        expected = group.labels["model"]["eigenvalues"][row, k]
        np.testing.assert_allclose(np.linalg.eigvalsh(h), expected, atol=1e-9)


def test_the_documented_orbital_order_is_that_of_the_real_harmonics():
    """p = (y, z, x) and d = (xy, yz, z^2, xz, x^2-y^2) of a direction become those of `hamiltonians.basis`."""
    x, y, z = n = np.array([0.48, -0.6, 0.64])
    np.testing.assert_allclose(deeptb_blocks.TO_E3NN["p"] @ np.array([y, z, x]), n)
    h = 3**0.5
    theirs = np.array([h * x * y, h * y * z, (3 * z**2 - 1) / 2, h * x * z, h * (x**2 - y**2) / 2])
    ours = np.array([h * x * z, h * x * y, y**2 - (x**2 + z**2) / 2, h * y * z, h * (z**2 - x**2) / 2])
    np.testing.assert_allclose(deeptb_blocks.TO_E3NN["d"] @ theirs, ours, atol=1e-14)
    sigma = two_centre.two_centre(0, 2, jnp.asarray(n)[None])[0][0, 0]
    np.testing.assert_allclose(ours, sigma, atol=1e-14)
    turn = deeptb_blocks.rotation(("s", "p", "d"))
    np.testing.assert_allclose(turn @ turn.T, np.eye(9), atol=1e-14)


def test_a_bond_along_z_is_diagonal_in_the_orbitals_of_the_other_code(tmp_path):
    """Two-centre blocks along z couple equal m alone, which only the right order shows."""
    atoms = Atoms("Si2", positions=[[0, 0, 0], [0, 0, 2.35]], cell=[20, 20, 20], pbc=True)
    model = hamiltonians.load("si-niquet2009")
    structure = Structure.from_ase(atoms)
    model = hamiltonians.Hamiltonian(model.params, dataclasses.replace(model.module, onsite="constant"))
    held = pair_blocks(model, structure)
    deeptb_blocks.write(held, tmp_path, structure.species)
    with h5py.File(tmp_path / "hamiltonians.h5") as file:
        block = file["0"]["0_1_0_0_0"][...]
    m = np.array([0, 0, -1, 0, 1, -2, -1, 0, 1, 2])  # s s, p = (y, z, x), d = (xy, yz, z^2, xz, x^2-y^2)
    np.testing.assert_allclose(block[m[:, None] != m[None]], 0, atol=1e-12)
    assert np.abs(block[m[:, None] == m[None]]).min() > 0.05
    assert block[2, 2] == pytest.approx(block[4, 4])  # pp pi
    assert block[6, 6] == pytest.approx(block[8, 8])  # dd pi


def test_keys_may_count_from_one_and_name_either_partner(data, folder):
    for name in ("hamiltonians.h5", "overlaps.h5"):
        with h5py.File(folder / name) as old, h5py.File(folder / "new.h5", "w") as new:
            for frame in old:
                for key, block in old[frame].items():
                    i, j, *r = (int(x) for x in key.split("_"))
                    there = "_".join(map(str, (j + 1, i + 1, *(-x for x in r))))
                    new[f"{int(frame) + 1}/{there}"] = block[...].T
        (folder / "new.h5").rename(folder / name)
    (back,) = deeptb.read(folder).groups
    h = back.blocks.bloch(1, data.groups[0].kpoints[7], 2)[0]
    np.testing.assert_allclose(np.linalg.eigvalsh(h), data.groups[0].labels["model"]["eigenvalues"][1, 7], atol=1e-9)


def test_blocks_alone_are_a_data_set_and_without_overlap_the_basis_is_orthogonal(data, folder, tmp_path):
    for name in ("eigenvalues.npy", "kpoints.npy", "jaxepi.json", "overlaps.h5"):
        (folder / name).unlink()
    found = deeptb.read(folder, level="dft", electrons={"Si": 4}, basis={"Si": ["3s", "s*", "3p", "3d"]})
    (group,) = found.groups
    assert group.labels == {"dft": {}}
    assert group.occupied == 4
    assert found.levels["dft"]["code"] == "unknown"
    datasets.write(found, tmp_path / "a.h5")
    (back,) = datasets.read(tmp_path / "a.h5").groups
    np.testing.assert_allclose(back.blocks.bloch(0, np.zeros(3), 2)[1], np.eye(20), atol=1e-8)


def test_fold_and_pairs_of_the_store_agree_with_what_is_read(data, folder):
    """Blocks folded from H(k) on a mesh by `datasets.blocks` are those of the files."""
    (back,) = deeptb.read(folder).groups
    points = mesh((3, 3, 3))
    matrices = np.array([back.blocks.bloch(0, k, 2)[0] for k in np.asarray(points.points)])
    pairs = pairs_within(back.positions[0], back.cell[0], back.pbc, 2.9)
    folded = fold(matrices, np.asarray(points.points), np.asarray(points.weights), (3, 3, 3), pairs, 10)
    part = back.blocks.take(np.array([0]))
    assert part.pairs.tolist() == pairs.tolist()
    np.testing.assert_allclose(folded, part.hamiltonian, atol=1e-12)


@pytest.mark.parametrize("kind", ["cart", "frac"])
def test_structures_as_text(folder, kind):
    with Trajectory(folder / "xdat.traj") as found:
        frames = [*found]
    rows = [a.positions if kind == "cart" else a.get_scaled_positions(wrap=False) for a in frames]
    np.savetxt(folder / "positions.dat", np.concatenate(rows), fmt="%.12f")
    np.savetxt(folder / "cell.dat", frames[0].cell.array, fmt="%.12f")
    np.savetxt(folder / "atomic_numbers.dat", frames[0].numbers, fmt="%d")
    (folder / "xdat.traj").unlink()
    info = json.loads((folder / "info.json").read_text()) | {"pos_type": kind, "natoms": -1}
    (folder / "info.json").unlink()
    (folder.parent / "info.json").write_text(json.dumps(info))  # one for all
    (group,) = deeptb.read(folder.parent).groups
    np.testing.assert_allclose(group.positions, [a.positions for a in frames], atol=1e-8)
    for name in ("cell", "atomic_numbers", "positions"):
        table = np.loadtxt(folder / f"{name}.dat")
        repeated = table if name == "positions" else np.concatenate([table] * 3)
        np.savetxt(folder / f"{name}.dat".replace("s.dat", ".dat"), repeated, fmt="%.12f")
        if name != "cell":
            (folder / f"{name}.dat").unlink()
    (again,) = deeptb.read(folder).groups
    np.testing.assert_allclose(again.cell, group.cell)
    (folder / "info.json").write_text(json.dumps(info | {"nframes": 4}))
    with pytest.raises(InputError, match=r"positions\.dat has 6 rows, which 4 frames"):
        deeptb.read(folder)


def test_bands_and_k_points(folder):
    """Bands beyond band_max are left out; k points may differ from frame to frame; weights are equal on a path."""
    (folder / "jaxepi.json").unlink()
    info = json.loads((folder / "info.json").read_text())
    info["bandinfo"] = {"band_min": 1, "band_max": 6, "emin": 0.0, "emax": 20.0}
    (folder / "info.json").write_text(json.dumps(info))
    energies = np.load(folder / "eigenvalues.npy")
    found = deeptb.read(folder, electrons={"Si": 4}, temperature=100.0)
    (group,) = found.groups
    assert group.labels["dft"]["eigenvalues"].shape == (3, 14, 6)
    assert deeptb.read(folder, occupied=4, whole=True).groups[0].labels["dft"]["eigenvalues"].shape == energies.shape
    assert (group.temperature == 100).all()
    np.testing.assert_allclose(group.weights, 1 / 14)
    assert json.loads(found.provenance["DeePTB folder set.0"])["bandinfo"]["emax"] == 20.0
    points = np.load(folder / "kpoints.npy")
    np.save(folder / "kpoints.npy", np.stack([points, points, points + np.array([0.1, 0, 0])]))
    assert sorted(len(g) for g in deeptb.read(folder).groups) == [1, 2]


def test_energies_and_forces_travel_with_what_we_write(tmp_path):
    rng = np.random.default_rng(0)
    stress = rng.normal(size=(3, 3))
    labels = {"energy": -3.5, "forces": rng.normal(size=(2, 3)), "stress": stress + stress.T}
    atoms = silicon(1)[0]
    one = datasets.single(atoms.positions, atoms.cell.array, [14, 14], {"model": labels})
    (path,) = deeptb.write(datasets.gather("e", LEVELS, [one]), tmp_path, "model")
    assert_equal(one, *deeptb.read(path).groups, names=())


def test_extended_xyz_may_do_without_energies_too(data, tmp_path):
    extxyz.write(data, "model", tmp_path / "a.xyz")
    (back,) = extxyz.read(tmp_path / "a.xyz").groups
    np.testing.assert_allclose(back.labels["model"]["eigenvalues"], data.groups[0].labels["model"]["eigenvalues"])


@pytest.mark.parametrize("lost", ["energy", "energy and eigenvalues"])
def test_energies_are_missed_where_forces_need_them(lost):
    labels = {"forces": np.zeros((1, 3))} | ({} if "and" in lost else {"eigenvalues": np.zeros((1, 3))})
    points = {"kpoints": np.zeros((1, 3)), "weights": np.ones(1)}
    with pytest.raises(InputError, match="has no energy"):
        dataset.single(np.zeros((1, 3)), np.eye(3), [14], {"dft": labels}, **points)
    with pytest.raises(InputError, match="has no energy"):
        dataset.single(np.zeros((1, 3)), np.eye(3), [14], {"dft": {}})


@pytest.mark.skipif(not SAMPLE.is_dir(), reason="the silicon sample of DeePTB is not beside the repository")
def test_the_silicon_sample():
    found = deeptb.read(SAMPLE, electrons={"Si": 4})
    sizes = {len(g.species): g for g in found.groups}
    assert {n: (len(g), g.occupied, g.labels["dft"]["eigenvalues"].shape) for n, g in sizes.items()} == {
        2: (1, 4, (1, 61, 6)),
        8: (10, 16, (10, 354, 28)),
    }
    cubic = sizes[8].labels["dft"]["eigenvalues"]
    gaps = cubic[:, :, 16:].min(axis=(1, 2)) - cubic[:, :, :16].max(axis=(1, 2))
    assert (gaps > 0.2).all()  # semiconductors: the count of electrons belongs to these bands
    assert (gaps < 0.7).all()
    crystal = sizes[2].labels["dft"]["eigenvalues"][0]
    gamma = int(np.abs(sizes[2].kpoints).sum(axis=1).argmin())
    assert np.ptp(crystal[gamma, 1:4]) < 1e-5  # threefold valence edge
    assert found.select("train") is not None


def change(folder, **values):
    path = folder / "info.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def save(folder, name, change_it):
    np.save(folder / name, change_it(np.load(folder / name)))


def claim(path, shape):
    """An array that says it is larger than its file."""
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
        file.write(bytes(800))


def window(folder, **values):
    change(folder, bandinfo={"band_min": 0, "band_max": 8, "emin": None, "emax": None} | values)


def edit_blocks(folder, change_it, name="hamiltonians.h5"):
    with h5py.File(folder / name, "a") as file:
        change_it(file)


def put(node, key, value):
    if key in node:
        del node[key]
    node[key] = value


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "info.json").unlink(), r"has no info\.json"),
        (lambda f: (f / "info.json").write_text("{"), r"file .*info\.json cannot be read"),
        (lambda f: (f / "xdat.traj").write_bytes(b"nothing"), "cannot be read as an ASE trajectory"),
        (lambda f: shutil.copy(f / "xdat.traj", f / "b.traj"), r"2 \.traj files"),
        (lambda f: change(f, nframes=4), "nframes 4, the structures have 3"),
        (lambda f: change(f, natoms=8), "natoms 8, the structures have 2"),
        (lambda f: change(f, pos_type="spherical"), "pos_type 'spherical'"),
        (lambda f: change(f, pos_type="frac"), r"has no cell\.dat"),
        (lambda f: (f / "kpoints.npy").unlink(), r"no kpoints\.npy"),
        (lambda f: save(f, "kpoints.npy", lambda k: k[1:]), r"3 frames on 13 k points need \(3, 13, bands\)"),
        (lambda f: save(f, "kpoints.npy", lambda k: k[:, :2]), r"kpoints\.npy has shape \(3, 14, 2\)"),
        (lambda f: save(f, "eigenvalues.npy", lambda e: e[:2]), r"eigenvalues\.npy has shape \(2, 14, 20\)"),
        (lambda f: save(f, "eigenvalues.npy", lambda e: e * np.nan), r"eigenvalues\.npy holds NaN"),
        (lambda f: (f / "eigenvalues.npy").write_text("1 2 3"), "cannot be read as an array"),
        (lambda f: window(f, band_max=21), "bands 0 to 21; the eigenvalues hold 0 to 20"),
        (lambda f: window(f, band_min=8), "bands 8 to 8"),
        (lambda f: window(f, emin=90.0), "window of bandinfo, 90 to inf eV"),
        (lambda f: window(f, band_max=3), "4 filled bands, but only 3 bands"),
        (lambda f: (f / "hamiltonians.h5").unlink(), r"overlaps\.h5 but no hamiltonians\.h5"),
        (lambda f: (f / "hamiltonians.h5").write_text("no"), "cannot be read as HDF5"),
        (lambda f: (f / "basis.dat").unlink(), r"no basis\.dat"),
        (lambda f: (f / "basis.dat").write_text("2s1p1x\n"), r"shells \['x'\]"),
        (lambda f: (f / "basis.dat").write_text("{'Ge': '2s'}"), "says nothing about Si"),
        (lambda f: (f / "basis.dat").write_text("2s1p\n"), "the basis has 5 orbitals an atom"),
        (lambda f: edit_blocks(f, lambda h: h.__delitem__("2")), "blocks of 2 frames where there are 3"),
        (lambda f: edit_blocks(f, lambda h: h["1"].__delitem__("1_1_0_0_0")), "atom 1 has no block of its own"),
        (lambda f: edit_blocks(f, lambda h: put(h["0"], "0_2_0_0_0", np.eye(10))), "beyond the 2"),
        (lambda f: edit_blocks(f, lambda h: put(h["0"], "x", np.eye(10))), "not of the form i_j_Rx_Ry_Rz"),
        (lambda f: edit_blocks(f, lambda h: put(h["0"], "0_0_0_0_0", 1j * np.eye(10))), "is complex"),
        (lambda f: edit_blocks(f, lambda h: put(h["0"], "0_0_0_0_0", np.triu(np.ones((10, 10))))), "Hermitian partner"),
        (lambda f: edit_blocks(f, lambda h: put(h["0"], "1_0_0_0_0", np.ones((10, 10)))), "Hermitian partner"),
        (lambda f: (f / "jaxepi.json").write_text('{"version": 9}'), "has version 9"),
        (lambda f: (f / "jaxepi.json").write_text('{"version": 1, "kind": 3}'), r"jaxepi\.json: kind = 3: give a list"),
        (lambda f: (f / "jaxepi.json").write_text('{"version": 1, "theory": {}}'), r"theory\.code is missing"),
        (lambda f: (f / "info.json").write_text("[3]"), "holds list; expected names and values"),
        (lambda f: change(f, nframes="three"), r"info\.json: nframes = 'three': give a whole number"),
        (lambda f: change(f, natoms=None), "natoms = None: give"),
        (lambda f: change(f, pbc="T"), "pbc = 'T': give true or false"),
        (lambda f: change(f, pbc=[True, 1, False]), r"pbc\[1\] = 1: give true or false"),
        (lambda f: change(f, bandinfo=[0, 8]), "bandinfo = 0 8: give a table"),
        (lambda f: change(f, AtomicData_options=3), "AtomicData_options = 3: give a table"),
        (lambda f: window(f, band_max="all"), r"bandinfo\.band_max = 'all': give"),
        (lambda f: window(f, emin=float("nan")), r"bandinfo\.emin = nan eV: give"),
        (lambda f: np.save(f / "eigenvalues.npy", np.array([{}])), "cannot be read as an array of numbers: shape"),
        (lambda f: claim(f / "eigenvalues.npy", (3, 14, 10**9)), r"\(3, 14, 1000000000\) of float64 in"),
        (lambda f: (f / "basis.dat").write_text("{'Si': "), r"basis\.dat cannot be read"),
        (lambda f: (f / "basis.dat").write_text("{'Zz': '2s'}"), "'Zz' is no element"),
        (lambda f: (f / "basis.dat").write_text("999s\n"), "more than 99 shells"),
        (lambda f: edit_blocks(f, lambda h: put(h["0"], "0_0_0_0_0", np.full((10, 10), b"x"))), "has shape .* of"),
        (lambda f: edit_blocks(f, lambda h: put(h, "0", np.eye(10))), "the frame has no array"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message):
        deeptb.read(folder)


def test_what_the_caller_says_must_fit(folder, data, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no data of DeePTB's layout"):
        deeptb.read(tmp_path / "empty")
    with pytest.raises(InputError, match="not both"):
        deeptb.read(folder, occupied=4, electrons={"Si": 4})
    with pytest.raises(InputError, match="electrons of Si are not given"):
        deeptb.read(folder, electrons={"Ge": 4})
    with pytest.raises(InputError, match="9 electrons do not fill whole bands"):
        deeptb.read(folder, electrons={"Si": 4.5})
    with pytest.raises(InputError, match="no level 'pbe'"):
        deeptb.write(data, tmp_path, "pbe")
    change(folder, pbc=[True, True, False])
    with pytest.warns(UserWarning, match=r"pbc .* of info\.json is used"):
        assert deeptb.read(folder).groups[0].pbc == (True, True, False)
    change(folder, pbc=True)
    for name in ("eigenvalues.npy", "hamiltonians.h5", "overlaps.h5"):
        (folder / name).unlink()
    with pytest.raises(InputError, match="nothing to learn from"):
        deeptb.read(folder)


def test_bands_that_come_in_pairs_hold_one_electron_each(folder):
    """As with spin-orbit coupling and inversion: every band twice, up to the noise of the code."""
    energies = np.load(folder / "eigenvalues.npy")
    noise = np.random.default_rng(0).uniform(0, 1e-4, energies.shape)
    np.save(folder / "eigenvalues.npy", np.concatenate([energies, energies + noise], axis=2))
    change(folder, bandinfo=None)
    with pytest.warns(UserWarning, match=r"come in pairs within 0\.1. meV"):
        group = deeptb.read(folder, electrons={"Si": 4}).groups[0]
    assert group.occupied == 8
    level = group.labels["model"]["eigenvalues"]
    assert level.shape[2] == 40
    assert (level[:, :, 8:].min(axis=(1, 2)) - level[:, :, :8].max(axis=(1, 2)) > 0.1).all()  # the gap is where it was
    assert deeptb.read(folder, electrons={"Si": 4}, spinors=False).groups[0].occupied == 4
    np.save(folder / "eigenvalues.npy", energies)
    assert deeptb.read(folder, electrons={"Si": 4}).groups[0].occupied == 4
    assert deeptb.read(folder, electrons={"Si": 4}, spinors=True).groups[0].occupied == 8


def test_the_public_spin_orbit_set_has_eight_filled_bands():
    cases = SAMPLE.parents[1] / "cases" / "11-deeptb-spin-orbit"
    if not cases.is_dir():
        pytest.skip("the public files are not beside this repository")
    with pytest.warns(UserWarning, match="come in pairs"):
        group = deeptb.read(cases, electrons={"Sn": 4}).groups[0]
    assert group.occupied == 8
    bands = group.labels["dft"]["eigenvalues"]
    assert bands[0, :, 8:].min() - bands[0, :, :8].max() == pytest.approx(0, abs=1e-4)
