"""Data sets: the file format, what is refused, the split, extended XYZ."""

from pathlib import Path

import ase.io
import h5py
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxepi import datasets
from jaxepi.datasets import dataset, extxyz
from jaxepi.datasets.blocks import PairBlocks
from jaxepi.errors import InputError

LEVELS = {"pbe": {"code": "test", "version": "1", "settings": {"ecutwfc_ry": 25.0}}}


def configuration(seed: int, n: int = 3, bands: int = 4, **changes) -> datasets.Configurations:
    rng = np.random.default_rng(seed)
    stress = rng.normal(size=(3, 3))
    labels = {
        "energy": rng.normal(),
        "forces": rng.normal(size=(n, 3)),
        "stress": stress + stress.T,
        "eigenvalues": rng.normal(size=(2, bands)),
    }
    arguments = {
        "kpoints": np.array([[0.0, 0, 0], [0.5, 0, 0]]),
        "weights": np.array([0.25, 0.75]),
        "mesh": [2, 1, 1, 0, 0, 0],
        "temperature": 300.0,
        "strain": np.diag([0.01, 0.0, 0.0]),
        "extra": {"distance": 3.3},
        "kind": "thermal",
        "occupied": 2,
        "seconds": 12.5,
    } | changes
    positions = rng.uniform(0, 5, (n, 3))
    return datasets.single(positions, 5.0 * np.eye(3), [14] * n, {"pbe": labels}, **arguments)


@pytest.fixture
def small() -> datasets.DataSet:
    parts = [configuration(i, temperature=t) for i, t in enumerate((100.0, 200.0, 300.0, 600.0))]
    return datasets.gather("small", LEVELS, [*parts, configuration(9, n=5)], who="a test")


def assert_equal(a: datasets.Configurations, b: datasets.Configurations, tolerance: float) -> None:
    for name in ("positions", "cell", "strain", "temperature", "kpoints", "weights"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=tolerance)
    for level, quantities in a.labels.items():
        assert quantities.keys() == b.labels[level].keys()
        for name, value in quantities.items():
            np.testing.assert_allclose(value, b.labels[level][name], atol=tolerance)
    for name in ("species", "pbc", "mesh", "occupied", "kind", "around", "source", "split", "fingerprint"):
        assert getattr(a, name) == getattr(b, name), name


def test_round_trip_hdf5(small, tmp_path):
    datasets.write(small, tmp_path / "a.h5")
    back = datasets.read(tmp_path / "a.h5")
    assert back.name == "small"
    assert back.levels == LEVELS
    assert back.provenance == {"who": "a test"}
    for a, b in zip(small.groups, back.groups, strict=True):
        assert_equal(a, b, 1e-7)
        np.testing.assert_allclose(a.seconds, b.seconds)
        np.testing.assert_allclose(a.extra["distance"], b.extra["distance"])


def test_extending_a_set_again_and_again_changes_nothing(small, tmp_path):
    datasets.write(small, tmp_path / "a.h5")
    first = datasets.read(tmp_path / "a.h5")
    for seed in range(40, 60):
        more = datasets.DataSet("more", LEVELS, (configuration(seed),))
        datasets.write(datasets.read(tmp_path / "a.h5").merged(more), tmp_path / "a.h5")
    last = datasets.read(tmp_path / "a.h5")
    for a, b in zip(first.groups, last.groups, strict=True):
        assert_equal(a, b.take(range(len(a))), 1e-12)


def test_round_trip_extended_xyz(small, tmp_path):
    extxyz.write(small, "pbe", tmp_path / "a.xyz")
    back = extxyz.read(tmp_path / "a.xyz")
    assert back.levels == LEVELS
    for a, b in zip(small.groups, back.groups, strict=True):
        assert_equal(a, b, 1e-7)


def test_blocks_are_kept_to_1e_5_ev(tmp_path):
    rng = np.random.default_rng(0)
    parts = []
    for seed in range(3):
        pairs = np.array([[i, i, 0, 0, 0] for i in range(3)] + [[0, 1, 0, 0, 1]] * seed)
        matrices = rng.normal(size=(2, len(pairs), 4, 4))
        held = PairBlocks(np.array([0, len(pairs)]), pairs, *matrices, ("s", "p"), 6.0, "pbe")
        parts.append(configuration(seed, blocks=held))
    datasets.write(datasets.gather("blocks", LEVELS, parts), tmp_path / "a.h5")
    (group,) = datasets.read(tmp_path / "a.h5").groups
    assert group.blocks is not None
    for row, part in enumerate(parts):
        mine = group.blocks.take(np.array([row]))
        np.testing.assert_array_equal(mine.pairs, part.blocks.pairs)
        np.testing.assert_allclose(mine.hamiltonian, part.blocks.hamiltonian, atol=1e-5)
        np.testing.assert_allclose(mine.overlap, part.blocks.overlap, atol=1e-8)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        order = file["groups/00/blocks/order"][...]
        assert not np.array_equal(order, np.arange(len(order)))
        for name in ("hamiltonian", "overlap"):  # as version 1 has them
            replace(file, f"groups/00/blocks/{name}", getattr(group.blocks, name))
        del file["groups/00/blocks/order"]
        file.attrs["version"] = 1
    (old,) = datasets.read(tmp_path / "a.h5").groups
    np.testing.assert_array_equal(old.blocks.hamiltonian, group.blocks.hamiltonian)
    datasets.write(datasets.read(tmp_path / "a.h5"), tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        replace(file, "groups/00/blocks/order", np.zeros(len(order)))
    with pytest.raises(InputError, match="order does not name each of 12 blocks once"):
        datasets.read(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5", "a") as file:
        replace(file, "groups/00/blocks/order", order)
        replace(file, "groups/00/blocks/offsets", np.array([0, 3, 6, 9]))
    with pytest.raises(InputError, match="offsets do not divide"):
        datasets.read(tmp_path / "a.h5")


def test_units_stand_in_the_file(small, tmp_path):
    datasets.write(small, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        units = {n: d.attrs["unit"] for n, d in file["groups/00/labels/pbe"].items()}
    assert units == {"energy": "eV", "forces": "eV/angstrom", "stress": "eV/angstrom^3", "eigenvalues": "eV"}


def test_writing_is_whole_or_not_at_all(small, tmp_path, monkeypatch):
    datasets.write(small, tmp_path / "a.h5")
    before = (tmp_path / "a.h5").read_bytes()
    monkeypatch.setattr(datasets.hdf5, "_write_group", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        datasets.write(small, tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_truncated_file_is_refused(small, tmp_path):
    datasets.write(small, tmp_path / "a.h5")
    whole = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "b.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"b\.h5.*truncated"):
        datasets.read(tmp_path / "b.h5")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.attrs.__setitem__("format", "other"), "format 'other'"),
        (lambda f: f.attrs.__setitem__("version", 99), "version 99"),
        (lambda f: f.__delitem__("groups/00/positions"), "positions is missing"),
        (lambda f: f.__delitem__("groups/00/labels/pbe/energy"), "pbe has no energy"),
        (lambda f: f.__delitem__("groups/00/split"), "split is missing"),
        (lambda f: f.__delitem__("levels/pbe"), "level of theory 'pbe' is not defined"),
        (lambda f: f["groups/00/labels/pbe/forces"].attrs.__setitem__("unit", "Ry/bohr"), "forces is in 'Ry/bohr'"),
        (lambda f: replace(f, "groups/00/labels/pbe/forces", np.zeros((4, 7, 3))), r"forces has shape \(4, 7, 3\)"),
        (lambda f: replace(f, "groups/00/labels/pbe/energy", np.full(4, np.nan)), "energy holds NaN"),
        (lambda f: replace(f, "groups/00/weights", np.array([0.5, 0.7])), "weights sum to 1.2"),
        (lambda f: f.__delitem__("levels"), "damaged or incomplete"),
        (lambda f: f.attrs.__setitem__("format", 3), "format .*3.*; expected"),
        (lambda f: f.attrs.__setitem__("version", "two"), "version two"),
        (lambda f: f.attrs.__setitem__("provenance", "{"), "provenance is not JSON"),
        (lambda f: f.attrs.__setitem__("provenance", "[1]"), "provenance is 1; expected names"),
        (lambda f: f["levels/pbe"].attrs.__setitem__("settings", 7), "settings of level pbe is not JSON"),
        (lambda f: f["levels/pbe"].attrs.__delitem__("code"), "damaged or incomplete: .*code"),
        (
            lambda f: f["groups/00"].attrs.__setitem__("species", [14, 14.7, 14]),
            r"species = 14\.0 14\.7 14\.0; expected whole",
        ),
        (lambda f: f["groups/00"].attrs.__setitem__("species", [14, 500, 14]), "species 500 is no atomic number"),
        (lambda f: f["groups/00"].attrs.__setitem__("species", "Si"), "species = .*Si.*; expected whole numbers"),
        (lambda f: f["groups/00"].attrs.__setitem__("pbc", [1, 1]), "pbc = 1 1; expected 3 whole"),
        (lambda f: f["groups/00"].attrs.__setitem__("occupied", "two"), "occupied = .*two"),
        (lambda f: f["groups/00"].attrs.__delitem__("mesh"), "damaged or incomplete: .*mesh"),
        (lambda f: replace(f, "groups/00/positions", np.array([b"x"])), "positions is no array of numbers"),
        (lambda f: replace(f, "groups/00/cell", np.full((4, 3, 3), 1e300)), r"cell holds 1e\+300"),
        (lambda f: bomb(f, "groups/00/positions"), "needs more bytes than the file can hold"),
    ],
)
def test_damaged_files_are_refused_by_name(small, tmp_path, damage, message):
    path = tmp_path / "a.h5"
    datasets.write(small, path)
    with h5py.File(path, "a") as file:
        damage(file)
    with pytest.raises(InputError, match=message) as error:
        datasets.read(path)
    assert "a.h5" in str(error.value)


def bomb(file: h5py.File, name: str) -> None:
    """An array of terabytes that stands nowhere."""
    del file[name]
    file.create_dataset(name, (10**6, 10**6), "f8", chunks=(100, 100)).attrs["unit"] = "angstrom"


def replace(file: h5py.File, name: str, value: np.ndarray) -> None:
    unit = file[name].attrs["unit"]
    del file[name]
    file[name] = value
    file[name].attrs["unit"] = unit


def test_two_levels_of_theory_are_not_mixed(small):
    other = {"pbe": {"code": "test", "version": "1", "settings": {"ecutwfc_ry": 40.0}}}
    with pytest.raises(InputError, match=r"'pbe'.*ecutwfc_ry: 25\.0 and 40\.0"):
        small.merged(datasets.DataSet("other", other, (configuration(20),)))


def test_two_levels_in_one_xyz_are_refused(small, tmp_path):
    frames = extxyz.to_ase(small, "pbe")
    frames[1].info["theory"] = frames[1].info["theory"].replace("pbe", "hse06")
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    with pytest.raises(InputError, match=r"frame 1 is at level 'hse06'"):
        extxyz.read(tmp_path / "a.xyz")


@pytest.mark.parametrize("lost", ["theory", "energy"])
def test_incomplete_xyz_is_refused(small, tmp_path, lost):
    frames = extxyz.to_ase(small, "pbe")
    if lost == "theory":
        del frames[0].info["theory"]
    else:
        frames[0].calc = None
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    with pytest.raises(InputError, match=f"frame 0.*{lost}"):
        extxyz.read(tmp_path / "a.xyz")


@pytest.mark.parametrize("name", ["virial", "virials"])
def test_a_virial_is_minus_stress_times_volume(small, tmp_path, name):
    """The sign of QUIP, GPUMD and MACE: a crystal under tension has a positive stress and a negative virial."""
    frames = extxyz.to_ase(small, "pbe")
    stress = [frame.calc.results.pop("stress") for frame in frames]
    for frame, value in zip(frames, stress, strict=True):
        frame.info[name] = -value * frame.get_volume()
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    found = extxyz.read(tmp_path / "a.xyz")
    np.testing.assert_allclose(
        np.concatenate([group.labels["pbe"]["stress"] for group in found.groups]), stress, atol=1e-7
    )
    both = [frame.copy() for frame in frames]
    for frame, other, value in zip(both, frames, stress, strict=True):
        frame.calc = SinglePointCalculator(frame, **other.calc.results, stress=value)
    ase.io.write(tmp_path / "both.xyz", both, format="extxyz")
    assert len(extxyz.read(tmp_path / "both.xyz")) == len(small)
    both[1].info[name] = -both[1].info[name]
    ase.io.write(tmp_path / "both.xyz", both, format="extxyz")
    with pytest.raises(InputError, match=rf"both\.xyz, frame 1: stress and -{name}/volume differ"):
        extxyz.read(tmp_path / "both.xyz")


def test_the_public_file_with_virials_is_that_with_stress():
    folder = Path(__file__).parents[2].parent / "shared" / "cases" / "12-xyz-virial"
    if not folder.is_dir():
        pytest.skip("the public files are not beside this repository")
    stress, virial = (
        extxyz.read(folder / f"{name}.xyz").groups[0].labels["pbe"]["stress"] for name in ("stress", "virial")
    )
    assert np.abs(stress).max() > 0.01
    np.testing.assert_allclose(virial, stress, atol=1e-7)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"virial": np.ones(4)}, "cannot be read as extended XYZ: .*virial"),
        ({"virials": "1 2 a"}, "virials does not hold numbers"),
        ({"virials": np.ones(4)}, "virials holds 4 numbers"),
        ({"virial": np.triu(np.ones((3, 3)))}, "virial is not symmetric"),
        ({"virial": np.full((3, 3), np.nan)}, "virial holds NaN"),
        ({"kpoints": np.ones(5)}, "kpoints does not hold numbers of the expected shape"),
        ({"eigenvalues": "deep"}, "eigenvalues does not hold numbers"),
        ({"temperature": "hot"}, "temperature does not hold numbers"),
        ({"occupied": -3}, "-3 occupied bands"),
        ({"mesh": "gamma"}, "mesh does not hold numbers"),
        ({"strain": np.ones(5)}, "strain does not hold numbers"),
        ({"theory": "[1]"}, "`theory` is missing"),
        ({"theory": '{"pbe": 3}'}, "'pbe' lacks code, version, settings"),
    ],
)
def test_entries_of_another_type_are_refused_by_frame(small, tmp_path, change, message):
    frames = extxyz.to_ase(small, "pbe")
    frames[2].calc.results.pop("stress")
    frames[2].info |= change
    ase.io.write(tmp_path / "a.xyz", frames, format="extxyz")
    with pytest.raises(InputError, match=rf"a\.xyz, frame 2: .*{message}"):
        extxyz.read(tmp_path / "a.xyz")


@pytest.mark.parametrize("species", [0, 119, 500, -1])
def test_species_are_elements(species):
    good = configuration(0)
    with pytest.raises(InputError, match=f"species {species} is no atomic number"):
        datasets.single(good.positions[0], good.cell[0], [species] * 3, {"pbe": {"energy": 1.0}})


@pytest.mark.parametrize("quantity", ["energy", "forces", "stress", "eigenvalues"])
def test_nan_is_refused(quantity):
    good = configuration(0)
    labels = {n: v[0].copy() for n, v in good.labels["pbe"].items()}
    labels[quantity] = labels[quantity] * np.nan
    with pytest.raises(InputError, match=f"pbe/{quantity} holds NaN"):
        datasets.single(
            good.positions[0], good.cell[0], good.species, {"pbe": labels}, kpoints=good.kpoints, weights=good.weights
        )


def test_merging_keeps_each_configuration_once(small):
    again = small.merged(small)
    assert len(again) == len(small) == 5
    more = small.merged(datasets.DataSet("more", LEVELS, (configuration(0, temperature=100.0), configuration(30))))
    assert len(more) == 6
    assert len(set(sum((g.fingerprint for g in more.groups), ()))) == 6


def test_empty_set_is_not_written(tmp_path):
    with pytest.raises(InputError, match="empty"):
        datasets.write(datasets.DataSet("nothing", LEVELS, ()), tmp_path / "a.h5")


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 10**6), temperature=st.sampled_from([50.0, 200.0, 300.0, 600.0]), strain=st.floats(-0.04, 0.04)
)
def test_split_rule(seed, temperature, strain):
    one = configuration(seed, temperature=temperature, strain=strain * np.eye(3))
    held_out = temperature in dataset.TEST_TEMPERATURES or abs(strain) > dataset.TEST_STRAIN
    assert (one.split == ("test",)) == held_out
    other_mesh = configuration(seed, temperature=temperature, strain=strain * np.eye(3), mesh=[4, 4, 4, 0.5, 0.5, 0.5])
    assert other_mesh.split == one.split
    assert other_mesh.fingerprint != one.fingerprint
