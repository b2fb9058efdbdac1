"""Which configurations train: as a file says, by fraction, by rule; and folders and files of others as sets."""

import dataclasses

import ase.build
import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT

from jaxepi.datasets import deeptb, extxyz
from jaxepi.errors import InputError
from jaxepi.training import reading
from jaxepi.training.settings import DataSettings, SetSettings
from jaxepi.training.splits import divided


def counts(found):
    words = [word for group in found.groups for word in group.split]
    return {word: words.count(word) for word in sorted(set(words))}


def entry(**more):
    return SetSettings(path="here", **more)


def test_fractions_are_those_asked_for_whatever_the_order(spectra_set):
    group = spectra_set.groups[0]
    turned = dataclasses.replace(spectra_set, groups=(group.take(range(len(group))[::-1]),))
    found = divided(spectra_set, entry(split="fraction", validation=0.25, test=0.1))
    assert counts(found) == {"test": 1, "train": 8, "validation": 3}
    other = divided(turned, entry(split="fraction", validation=0.25, test=0.1))
    names = [dict(zip(x.groups[0].fingerprint, x.groups[0].split, strict=True)) for x in (found, other)]
    assert names[0] == names[1]


def test_a_few_validate_where_there_are_enough(spectra_set):
    assert counts(divided(spectra_set, entry(split="fraction", validation=0.01))) == {"train": 9, "validation": 3}
    two = dataclasses.replace(spectra_set, groups=(spectra_set.groups[0].take([0, 1]),))
    assert counts(divided(two, entry(split="fraction"))) == {"train": 1, "validation": 1}
    with pytest.raises(InputError, match="holds one geometry, which cannot be divided"):
        divided(dataclasses.replace(two, groups=(two.groups[0].take([0]),)), entry(split="fraction"))
    with pytest.raises(InputError, match="leave none for training"):
        divided(two, entry(split="fraction", validation=0.5, test=0.4))
    with pytest.raises(InputError, match=r"validation 0\.6 and test 0\.5 leave nothing"):
        entry(validation=0.6, test=0.5)


def test_the_file_decides_where_it_says_and_a_fraction_where_not(spectra_set):
    assert divided(spectra_set, entry()) is spectra_set
    silent = dataclasses.replace(spectra_set, splits_given=False)
    assert counts(divided(silent, entry())) == {"train": 9, "validation": 3}
    with pytest.raises(InputError, match="here says no splits"):
        divided(silent, entry(split="file"))
    assert counts(divided(silent, entry(split="test"))) == {"test": 12}
    by_rule = divided(spectra_set, entry(split="rule"))
    assert set(counts(by_rule)) <= {"train", "validation"}
    assert by_rule.groups[0].split != spectra_set.groups[0].split


def test_a_folder_of_deeptb_is_a_set_and_keeps_its_splits(spectra_set, tmp_path):
    deeptb.write(spectra_set, tmp_path / "bands", "pbe")
    data = DataSettings(sets=(SetSettings(path=str(tmp_path / "bands")),), level="pbe")
    (group,) = reading.with_eigenvalues(data.sets[0], data)
    assert (group.split, group.occupied) == (spectra_set.groups[0].split, 4)
    np.testing.assert_allclose(group.labels["pbe"]["eigenvalues"], spectra_set.groups[0].labels["pbe"]["eigenvalues"])


def test_a_folder_that_says_nothing_takes_the_electrons_of_the_model_or_those_given(spectra_set, tmp_path):
    (path,) = deeptb.write(spectra_set, tmp_path / "bands", "pbe")
    (path / "jaxepi.json").unlink()
    plain = SetSettings(path=str(path))
    data = DataSettings(sets=(plain,), level="mine")
    (group,) = reading.with_eigenvalues(plain, data, {"Si": 4})
    assert (group.occupied, list(group.labels), len(group)) == (4, ["mine"], 12)
    given = dataclasses.replace(plain, electrons={"Si": 2})
    assert reading.with_eigenvalues(given, data, {"Si": 4})[0].occupied == 2
    assert reading.with_eigenvalues(plain, data)[0].occupied == 0
    with pytest.raises(InputError, match=r"electrons of 'Si' 'four': give a positive number"):
        dataclasses.replace(plain, electrons={"Si": "four"})


def test_names_of_labels_are_configured(spectra_set, tmp_path):
    atoms = ase.Atoms("Si2", positions=[[0, 0, 0], [1.3, 1.3, 1.3]], cell=[5, 5, 5], pbc=True)
    atoms.info |= {"dft_energy": -3.0, "config_type": "liquid"}
    atoms.arrays["dft_force"] = np.full((2, 3), 0.5)
    ase.io.write(tmp_path / "a.xyz", [atoms], format="extxyz")
    keys = {"energy": "dft_energy", "forces": "dft_force"}
    data = DataSettings(sets=(SetSettings(path=str(tmp_path / "a.xyz"), split="train"),), level="pbe", keys=keys)
    (group,) = reading.read_set(data.sets[0], data).groups
    np.testing.assert_allclose(group.labels["pbe"]["energy"], [-3.0])
    np.testing.assert_allclose(group.labels["pbe"]["forces"], np.full((1, 2, 3), 0.5))
    assert (group.kind, group.extra, group.split) == (("liquid",), {}, ("train",))
    with pytest.raises(
        InputError, match=r"frame 0: no energy under energy or REF_energy; .* dft_energy, dft_force: .*keys = "
    ):
        extxyz.read(tmp_path / "a.xyz", level="pbe")
    with pytest.raises(InputError, match=r"frame 0: no E, which keys names for energy; it has .*dft_energy"):
        extxyz.read(tmp_path / "a.xyz", level="pbe", keys={"energy": "E"})
    atoms.info |= {"energy": -3.1, "REF_energy": -3.0, "split": "valid"}
    lone = ase.Atoms("Si", cell=[9, 9, 9], pbc=True, info={"config_type": "IsolatedAtom", "REF_energy": -1.0})
    ase.io.write(tmp_path / "b.xyz", [atoms, lone], format="extxyz")
    with pytest.raises(InputError, match="energy and REF_energy hold different numbers; say which: keys"):
        extxyz.read(tmp_path / "b.xyz", level="pbe")
    with pytest.warns(UserWarning, match="frame 1: an isolated atom is left out"):
        found = extxyz.read(tmp_path / "b.xyz", level="pbe", keys={"energy": "REF_energy"})
    assert (len(found), found.splits_given, found.groups[0].split) == (1, True, ("validation",))
    other = atoms.copy()
    other.info["split"] = "later"
    ase.io.write(tmp_path / "c.xyz", [other], format="extxyz")
    with pytest.raises(InputError, match="frame 0: split 'later' is not known; give one of train, validation"):
        extxyz.read(tmp_path / "c.xyz", level="pbe", keys={"energy": "REF_energy"})
    del other.info["split"]
    other.positions += 0.1
    ase.io.write(tmp_path / "d.xyz", [atoms, other], format="extxyz")
    with pytest.raises(InputError, match="frame 1: no split, and other frames have one"):
        extxyz.read(tmp_path / "d.xyz", level="pbe", keys={"energy": "REF_energy"})


def test_frames_that_share_a_calculator_have_the_labels_of_the_last(tmp_path):
    """As ASE writes them: every frame with the results of the calculator's last call."""
    shared, frames = EMT(), []
    for seed in range(3):
        atoms = ase.build.bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.calc = shared
        atoms.get_forces()
        frames.append(atoms)
    ase.io.write(tmp_path / "labels.xyz", frames, format="extxyz")
    with pytest.raises(InputError, match=r"all 3 frames have the same forces and not the same positions.*SinglePointC"):
        extxyz.read(tmp_path / "labels.xyz", level="emt")
