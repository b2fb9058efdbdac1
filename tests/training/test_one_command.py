"""Data of others are trained by one command after `jaxepi train --example`, without any Python."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from jaxepi import cli
from jaxepi.datasets import deeptb


def frames():
    """Thirty crystals with labels of no physics, half of them under MACE's names and half under ASE's."""
    random, out = np.random.default_rng(0), []
    for i in range(30):
        atoms = bulk("Ge", a=5.66)
        atoms.rattle(0.05, seed=i)
        energy, forces, stress = random.normal(), random.normal(size=(2, 3)), np.eye(3)
        if i % 2:
            atoms.info |= {"REF_energy": energy, "REF_stress": stress.ravel()}
            atoms.arrays["REF_forces"] = forces
        else:
            atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces, stress=stress)
        out.append(atoms)
    return out


@pytest.mark.slow
def test_thirty_frames_of_extended_xyz(tmp_path, monkeypatch, train):
    write(tmp_path / "labels.xyz", frames(), format="extxyz")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--example", "potential", "--data", "labels.xyz"]) == 0
    text = (tmp_path / "potential.toml").read_text().replace("channels = 16", "channels = 1\nlmax = 1\ncorrelation = 1")
    status, out, _ = train("potential", tmp_path, "--epochs", 2, config="potential.toml", text=text)
    assert status == 0
    rows = [line.split()[:2] for line in out.splitlines() if line.startswith(("train", "validation"))]
    assert rows == [["train", "27"], ["validation", "3"]]
    assert (tmp_path / "potential-training" / "potential.npz").is_file()


@pytest.mark.slow
def test_a_folder_of_deeptb(spectra_set, tmp_path, monkeypatch, train):
    (path,) = deeptb.write(spectra_set, tmp_path / "bands", "pbe")
    (path / "jaxepi.json").unlink()  # as others write it
    monkeypatch.chdir(tmp_path)
    assert cli.main(["train", "--example", "hamiltonian", "--data", "bands"]) == 0
    text = (tmp_path / "hamiltonian.toml").read_text()
    assert 'base = "si-niquet2009"' in text
    small = "channels = 1\nfeatures = 1\nhidden = [4]\nlmax = 1\ncorrelation = 1\ncutoff = 3.5"
    text = (
        text.replace("cutoff = 5.9", small).replace("points = 16", "points = 2").replace("si-niquet2009", "si-vogl1983")
    )
    status, out, _ = train("hamiltonian", tmp_path, "--epochs", 2, config="hamiltonian.toml", text=text)
    assert status == 0
    assert "validation" in out
    assert (tmp_path / "hamiltonian-training" / "hamiltonian.npz").is_file()
