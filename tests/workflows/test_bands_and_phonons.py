"""Bands, gaps and phonons of crystals from files: the cell they are of, and what they say is missing."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from jaxepi import cli, electrons, materials, symmetry, tree
from jaxepi.errors import InputError
from jaxepi.hamiltonians import wannier
from jaxepi.materials import Material
from jaxepi.structure import Structure
from jaxepi.workflows import bands, crystal, phonons
from jaxepi.workflows.reports.bands import bands_lines, gap_summary_lines
from jaxepi.workflows.reports.phonons import phonon_lines

CASES = Path(__file__).parents[2].parent / "shared" / "cases"


def simple_cubic(electron_count=None) -> Material:
    """An s band, -2 t (cos kx + cos ky + cos kz) with t = 0.5 eV, and a flat band at 4 eV."""
    structure = Structure.create([[0.0, 0, 0]], 3 * np.eye(3), [14])
    steps = np.concatenate([np.zeros((1, 3), int), np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    matrices = np.zeros((7, 2, 2))
    matrices[0, 1, 1], matrices[1:, 0, 0] = 4.0, -0.5
    model = wannier.build("cubic", structure, np.zeros((2, 3)), steps, matrices, electron_count)
    return Material(structure, structure, model, None, "cubic")


def test_bands_need_no_count_of_electrons():
    found = bands.bands(simple_cubic(), "GXM,RG", 40)
    assert found.occupied is None
    assert bands.edges_along(found) == (None, None)
    lines = bands_lines(found)
    rows = [line.split() for line in lines]
    assert rows[0] == ["band", "Gamma", "(eV)", "X", "(eV)", "M", "(eV)", "R", "(eV)"]
    assert rows[1] == ["1", "-3.0000", "-1.0000", "1.0000", "3.0000"]
    assert rows[2] == ["2", *["4.0000"] * 4]
    assert "does not say how many of its bands are filled: write num_valence_bands" in lines[-1]
    counted = bands.bands(simple_cubic(2.0), "GXM,RG", 40)
    assert counted.occupied == 1
    np.testing.assert_allclose(bands.edges_along(counted), (3.0, 4.0), atol=1e-12)


@pytest.mark.parametrize("size", [1e20, np.nan])
@pytest.mark.parametrize("study", [bands.bands, bands.gap_summary])
def test_absurd_energies_are_refused(study, size):
    """A damaged model gave bands of 9.7e29 eV, and nobody was told."""
    held = simple_cubic(2.0)
    model = held.hamiltonian
    damaged = tree.replace(model, params={**model.params, "hopping": model.params["hopping"] * size})
    with pytest.raises(
        InputError, match=r"the bands of cubic with file reach .* eV: the parameters of the Hamiltonian are damaged"
    ):
        study(tree.replace(held, electrons=damaged, hamiltonian_name="file"))
    with pytest.raises(InputError, match=r"the bands of the crystal reach .* eV"):
        electrons.band_edges(damaged, held.primitive)


@pytest.mark.skipif(not CASES.is_dir(), reason="the public files are not here")
def test_bands_of_a_public_file_without_a_count(tmp_path, capsys):
    folder = CASES / "wannier-silicon"
    words = ["bands", folder / "si.vasp", "--hamiltonian", folder / "silicon_hr.dat", "--path", "LGXWKG"]
    assert cli.main([*map(str, words), "--output", str(tmp_path / "bands.png")]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[2] for row in rows[1:5]] == ["-5.8218", "6.2285", "6.2285", "6.2285"]


def turned(atoms, seed=4):
    q, r = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    atoms.set_cell(atoms.cell.array @ (q * np.linalg.det(q)), scale_atoms=True)
    return atoms


@pytest.mark.slow
def test_a_conventional_cell_is_reduced_with_a_line(tmp_path, capsys):
    """Eight atoms, turned at random: the gap is that of two, in six valleys, and the energies of any wave are the same."""
    write(tmp_path / "si.vasp", turned(bulk("Si", a=5.431, cubic=True)))
    with pytest.warns(UserWarning, match=r"its 8 atoms are 4 primitive cells.*\(2 atoms, in the same orientation\)"):
        loaded = crystal.load(str(tmp_path / "si.vasp"), "si-vogl1983")
    assert (len(loaded.primitive), len(loaded.structure)) == (2, 8)
    summary = bands.gap_summary(loaded)
    np.testing.assert_allclose(summary.edges.gap, 1.171, atol=1e-3)
    text = "\n".join(gap_summary_lines(summary))
    assert "one of 6" in text
    wave = np.array([[0.3, 0.1, -0.2]])
    few, many = (
        np.asarray(electrons.eigenvalues(loaded.hamiltonian, cell, wave @ np.asarray(cell.cell).T / (2 * np.pi)))[0]
        for cell in (loaded.primitive, loaded.structure)
    )
    assert all(np.abs(many - e).min() < 1e-6 for e in few)
    assert cli.main(["bands", str(tmp_path / "si.vasp"), "--hamiltonian", "si-vogl1983", "--points", "20",
                     "--output", str(tmp_path / "bands.png")]) == 0  # fmt: skip
    error = capsys.readouterr().err
    assert error.startswith(f"jaxepi: {tmp_path}/si.vasp: its 8 atoms are 4 primitive cells")
    assert error.count("\n") == 1


def test_a_cell_is_kept_where_the_hamiltonian_is_of_that_cell(recwarn):
    """H(R) of a file that was computed in a doubled cell knows no smaller one."""
    structure = Structure.create([[0.0, 0, 0], [3.0, 0, 0]], np.diag([6.0, 3, 3]), [14, 14])
    assert len(symmetry.primitive(structure)) == 1
    steps, matrices = np.array([[0, 0, 0]]), np.diag([0.0, 1.0])[None]
    model = wannier.build("doubled", structure, np.asarray(structure.positions), steps, matrices, 2.0)
    assert crystal._primitive("x.vasp", structure, model) is structure
    assert not recwarn.list
    assert len(crystal._primitive("x.vasp", structure, None)) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("name", "polar"), [("silicon", False), ("galliumarsenide", True)])
def test_phonons_say_where_the_splitting_is_missing(name, polar):
    material = dataclasses.replace(materials.load(name), polar=None)
    found = phonons.phonons(material, 2, "GX", 4)
    np.testing.assert_allclose(found.points["G"][3:], 8.301 if polar else 15.65, atol=0.01)
    assert any("no LO-TO splitting" in line for line in phonon_lines(found)) == polar


@pytest.mark.slow
def test_charges_of_the_card_split_the_optical_modes_of_gallium_arsenide():
    """The potential's TO of 8.30 THz, and above it by the charges of the card: 11.6 THz^2."""
    found = phonons.phonons(materials.load("galliumarsenide"), 2, "LGX", 8)
    np.testing.assert_allclose(found.points["G"][3:], 8.301, atol=0.01)
    np.testing.assert_allclose(found.points["G-L"][3:], [8.301, 8.301, 8.974], atol=0.01)
    assert "G-X" not in found.points  # a cubic crystal has no other along another direction
    lines = phonon_lines(found)
    assert any(line.lstrip().startswith("Gamma from L") for line in lines)
    assert any("TO 8.0 and LO 8.75 THz" in line for line in lines)
    along = found.dispersion
    gamma = [i for i, q in enumerate(along.path.points) if not np.abs(q).max()]
    np.testing.assert_allclose(along.frequencies[gamma, -1], 8.974, atol=0.01)
