"""Files of Wannier90 as it and other programs write them: comments, ends of blocks, and the public cases with their bands."""

from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr

from jaxepi import electrons
from jaxepi.datasets import wannier as files
from jaxepi.hamiltonians import wannier

CASES = Path(__file__).parents[2].parent / "shared" / "cases"
NO_CASES = pytest.mark.skipif(not CASES.is_dir(), reason="the public files are not beside this repository")

WIN = """num_wann = 2 ! two
{begin}unit_cell_cart
{unit}
10.0 0.0 0.0 the first vector
0, 1d1, 0
0 0 10 # the third
{end}unit_cell_cart
begin kpoint_path
G 0 0 0 X 0.5 0 0
end kpoint_path
{begin}Atoms_Cart
{unit}
C1 5.0 5.0 5.0 1
{end}Atoms_Cart
"""

CHAIN = """ two-band chain
2 !num_wann
3 number of vectors
    1    1    1  ! degeneracies
    0    0    0    1    1   -1.000000    0.000000
    0    0    0    2    1    0.0D0    0.000000
    0    0    0    1    2    0.000000    0.000000 ! comment
    0    0    0    2    2    1.000000    0.000000

    1    0    0    1    1    0.200000    0.000000 comment
    1    0    0    2    1    5.0d-1    0.000000 7
    1    0    0    1    2    0.500000    0.000000
    1    0    0    2    2   -0.200000    0.000000
   -1    0    0    1    1    0.200000    0.000000
   -1    0    0    2    1    0.500000    0.000000
   -1    0    0    1    2    0.500000    0.000000
   -1    0    0    2    2   -0.200000    0.000000
! the end
"""


@pytest.mark.parametrize("begin", ["begin ", "Begin", "BEGIN : ", "begin_"])
@pytest.mark.parametrize("end", ["end ", "End", "end_", "END: "])
@pytest.mark.parametrize(("unit", "length"), [("bohr", Bohr), ("Angstrom", 1.0), ("", 1.0)])
def test_blocks_open_and_close_as_in_wannier90(tmp_path, begin, end, unit, length):
    (tmp_path / "x.win").write_text(WIN.format(begin=begin, end=end, unit=unit))
    found = files.read_win(tmp_path / "x.win")
    np.testing.assert_allclose(found.structure.cell, 10 * length * np.eye(3), rtol=1e-12)
    np.testing.assert_allclose(found.structure.positions, [[5 * length] * 3], rtol=1e-12)
    assert found.structure.species == (6,)
    assert found.wholes("num_wann") == [2]


@pytest.mark.parametrize(("value", "expected"), [("T", True), (".true.", True), ("F", False), (".FALSE.", False)])
def test_logical_keywords_are_read_as_in_wannier90(tmp_path, value, expected):
    (tmp_path / "x.win").write_text(WIN.format(begin="begin ", end="end ", unit="ang") + f"spinors : {value}\n")
    assert files.read_win(tmp_path / "x.win").flag("spinors") is expected
    assert files.read_win(tmp_path / "x.win").flag("use_ws_distance") is None


def test_text_behind_the_numbers_is_a_comment(tmp_path):
    (tmp_path / "x_hr.dat").write_text(CHAIN)
    found = files.read_hr(tmp_path / "x_hr.dat")
    assert found.vectors.tolist() == [[0, 0, 0], [1, 0, 0], [-1, 0, 0]]
    assert found.degeneracies.tolist() == [1, 1, 1]
    k = 0.25  # -1 + 0.4 cos(2 pi k) and cos(2 pi k) off the diagonal
    h = np.einsum("r,rmn->mn", np.exp(2j * np.pi * k * found.vectors[:, 0]), found.matrices)
    np.testing.assert_allclose(np.linalg.eigvalsh(h), [-1, 1], atol=1e-12)


@NO_CASES
def test_a_block_closed_by_an_underscore():
    cell = files.read_win(CASES / "01-win-end-underscore" / "x.win").structure.cell
    np.testing.assert_allclose(cell, 15.8753163 * np.eye(3), atol=1e-6)


@NO_CASES
def test_counts_with_comments():
    found = wannier.read(CASES / "03-hr-trailing-comment" / "x_hr.dat")
    energies = electrons.eigenvalues(found, found.module.structure, np.array([[0.0, 0, 0], [0.25, 0, 0]]))
    np.testing.assert_allclose(energies, [[-np.sqrt(1.36), np.sqrt(1.36)], [-1, 1]], atol=1e-6)


def lines():
    """L - G - X of the face-centred lattice, fractional."""
    l, x = np.array([0.5, 0.5, 0.5]), np.array([0.5, 0.0, 0.5])
    return np.concatenate([np.linspace(l, 0 * l, 21), np.linspace(0 * x, x, 31)])


@NO_CASES
def test_silicon_with_its_vectors_and_without(tmp_path):
    """Without them H(R) as it stands gives 0.5468 eV, and bands up to 0.39 eV off."""
    folder = CASES / "wannier-silicon"
    found = wannier.read(folder / "silicon_hr.dat")
    energies = np.asarray(electrons.eigenvalues(found, found.module.structure, lines()))
    assert energies[:, 4].min() - energies[:, 3].max() == pytest.approx(0.6315, abs=1e-4)
    np.testing.assert_allclose(energies[20, :4], [-5.8218, 6.2285, 6.2285, 6.2285], atol=1e-4)
    for name in ("silicon_hr.dat", "silicon.win", "silicon_centres.xyz"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.warns(UserWarning, match=r"silicon_wsvec\.dat is not beside"):
        again = wannier.read(tmp_path / "silicon_hr.dat")
    without = np.asarray(electrons.eigenvalues(again, again.module.structure, lines()))
    assert without[:, 4].min() - without[:, 3].max() == pytest.approx(0.6315, abs=1e-4)
    assert np.abs(without - energies).max() < 0.03  # images at one distance, which a run's last digits tell apart


@NO_CASES
@pytest.mark.filterwarnings("ignore:.*no use_ws_distance")
def test_bands_of_a_complex_hamiltonian_are_those_of_wannier90():
    folder = CASES / "17-imaginary-parts-dropped"
    found = wannier.read(folder / "silicon_hr.dat")
    points = np.loadtxt(folder / "silicon_band.kpt", skiprows=1)[:, :3]
    expected = np.loadtxt(folder / "silicon_band.dat")[:, 1].reshape(-1, len(points)).T
    np.testing.assert_allclose(electrons.eigenvalues(found, found.module.structure, points), expected, atol=1.5e-5)
