"""Force constants of another code in place of a potential, from the command line, and what refuses them."""

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write
from spring_crystals import gallium_arsenide

from jaxepi import cli, materials, sampling
from jaxepi.errors import InputError
from jaxepi.structure import Structure
from jaxepi.workflows.settings import PhononsSettings, SamplingSettings


@pytest.fixture(scope="module")
def phonopy_file(tmp_path_factory):
    """Gallium arsenide of springs as a phonopy file."""
    pytest.importorskip("phonopy", reason="needs phonopy: pip install 'jaxepi[phonopy]'")
    path = tmp_path_factory.mktemp("phonopy") / "phonopy_params.yaml"
    gallium_arsenide().write_phonopy(path)
    return path


def run(line, capsys):
    code = cli.main(line)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.slow
def test_a_phonopy_file_is_a_crystal_with_phonons(phonopy_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    copy = tmp_path / "copy.yaml"
    code, out, _ = run(["phonons", str(phonopy_file), "--points", "20", "--write-phonopy", str(copy)], capsys)
    assert code == 0
    assert f"force constants of {phonopy_file}: 16 atoms, 2x2x2 cells" in out
    assert "no LO-TO splitting" in out
    again = sampling.ForceConstants.from_phonopy(copy)
    np.testing.assert_allclose(again.matrix, sampling.ForceConstants.from_phonopy(phonopy_file).matrix, atol=1e-9)
    code, out, _ = run(["phonons", "galliumarsenide", "--phonons", str(copy), "--points", "20"], capsys)
    assert code == 0
    assert "Gamma from X" in out  # the charges of the material's card
    code, _, err = run(
        ["phonons", "galliumarsenide", "--phonons", str(copy), "--supercell", "2", "--overwrite"], capsys
    )
    assert code == 2
    assert "have their own; leave it out" in err


@pytest.mark.slow
def test_snapshots_of_given_phonons_are_those_of_the_crystals_own_supercell(
    phonopy_file, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    line = ["sample", "galliumarsenide", "--phonons", str(phonopy_file), "--supercell", "1", "--snapshots", "200"]
    code, out, _ = run([*line, "--no-progress"], capsys)
    assert code == 0
    assert "no macroscopic field" in out
    frames = read(tmp_path / "galliumarsenide-snapshots.xyz", ":")
    rest = np.asarray(materials.load("galliumarsenide").structure.positions)
    moved = np.array([frame.positions - rest for frame in frames])
    constants = sampling.ForceConstants.from_phonopy(phonopy_file)
    cubic = sampling.resampled(constants, Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532, cubic=True)))
    expected = np.einsum("naa->n", sampling.mean_square_displacements(cubic, 300.0)).mean()
    assert (moved**2).sum(axis=2).mean() == pytest.approx(expected, rel=0.1)


@pytest.mark.slow
def test_phonons_of_another_crystal_or_an_unstable_one_are_named(phonopy_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, _, err = run(["sample", "silicon", "--phonons", str(phonopy_file)], capsys)
    assert code == 2
    assert f"{phonopy_file}: of" in err
    assert "and the structure is Si" in err
    write("gaas.vasp", bulk("GaAs", "zincblende", a=5.6532).repeat((1, 1, 2)))
    weak = gallium_arsenide(bending=-0.5)
    weak.write_phonopy(tmp_path / "weak.yaml")
    code, _, err = run(["sample", "gaas.vasp", "--phonons", "weak.yaml", "--supercell", "1"], capsys)
    assert code == 2
    assert "not stable in weak.yaml" in err
    code, out, _ = run(["phonons", "weak.yaml", "--points", "20"], capsys)
    assert code == 0
    assert "imaginary frequencies" in out


def test_what_does_not_go_together_is_refused():
    with pytest.raises(InputError, match=r"potential silicon-sw1985 and phonons a.yaml: both hold the atoms in place"):
        PhononsSettings(potential="silicon-sw1985", phonons="a.yaml")
    with pytest.raises(InputError, match=r"phonons a.yaml: molecular dynamics needs a potential"):
        SamplingSettings(phonons="a.yaml", sampling="molecular-dynamics", statistics="classical")
