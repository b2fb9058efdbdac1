"""CIF files: the setting that a file means, occupancies, and what is refused by name."""

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write

from jaxepi import symmetry
from jaxepi.datasets.structure_files import read_structure
from jaxepi.errors import InputError

CASES = Path(__file__).parents[2].parent / "shared" / "cases"
DIAMOND = ((5.431,) * 3, (90.0,) * 3)
QUARTZ = ((4.913, 4.913, 5.405), (90.0, 90.0, 120.0))


def text(name, cell, sites, number=None, more=()):
    """A CIF file. Sites: label, symbol, fractional coordinates, and perhaps an occupancy."""
    lengths, angles = cell
    lines = ["data_crystal", *(f"_cell_length_{n} {v}" for n, v in zip("abc", lengths, strict=True))]
    lines += [f"_cell_angle_{n} {v}" for n, v in zip(("alpha", "beta", "gamma"), angles, strict=True)]
    lines += [f"_symmetry_space_group_name_H-M '{name}'"] if name else []
    lines += [f"_symmetry_Int_Tables_number {number}"] if number else []
    lines += [*more, "loop_", "_atom_site_label", "_atom_site_type_symbol"]
    lines += [f"_atom_site_fract_{x}" for x in "xyz"] + ["_atom_site_occupancy"] * (len(sites[0]) > 5)
    return "\n".join([*lines, *(" ".join(map(str, site)) for site in sites), ""])


@pytest.fixture
def read(tmp_path):
    def reading(*args, **options):
        (tmp_path / "crystal.cif").write_text(text(*args, **options))
        return read_structure(tmp_path / "crystal.cif")

    return reading


SITE_1, SITE_2 = [("Si1", "Si", 0, 0, 0)], [("Si1", "Si", 0.125, 0.125, 0.125)]


@pytest.mark.parametrize(
    ("name", "sites"),
    [
        ("F d -3 m :1", SITE_1),
        ("F d -3 m :2", SITE_2),
        ("Fd-3m:2", SITE_2),
        ("F d -3 m S", SITE_1),
        ("F d -3 m Z", SITE_2),
        ("F d 3 m :2", SITE_2),
        ("F 41/d -3 2/m : 2", SITE_2),
    ],
)
@pytest.mark.parametrize("number", [None, 227])
def test_diamond_in_either_origin_is_one_crystal(read, name, sites, number):
    """Eight atoms, 2.33 g/cm^3: read with the other origin there would be sixteen."""
    structure = read(name, DIAMOND, sites, number)
    assert len(structure) == 8
    np.testing.assert_allclose(np.sum(structure.masses) / structure.volume * 1.66053907, 2.33, atol=0.01)
    assert len(symmetry.operations(structure).rotations) == 192


@pytest.mark.parametrize(
    ("name", "number"), [("F d -3 m", None), ("F d -3 m", 227), (None, 227), ("P n n n", 48)], ids=str
)
def test_a_group_with_two_origins_has_to_say_which(read, name, number):
    cell = DIAMOND if number != 48 else ((4.0, 5.0, 6.0), (90.0,) * 3)
    with pytest.raises(InputError, match=r"has two origins.*append ':1' or ':2'"):
        read(name, cell, SITE_2, number)


def test_operations_in_the_file_say_all(read):
    """ASE writes and reads them; the name of the group then has no say."""
    listed = ["loop_", "_symmetry_equiv_pos_as_xyz", "'x, y, z'", "'x+1/2, y+1/2, z'"]
    structure = read("F d -3 m", DIAMOND, SITE_2, 227, [*listed, "'x+1/2, y, z+1/2'", "'x, y+1/2, z+1/2'"])
    assert len(structure) == 4
    assert symmetry.primitive(structure).species == (14,)


@pytest.mark.parametrize(
    ("name", "number", "images"),
    [
        ("P 1 21/n 1", 14, [[0.1, 0.2, 0.3], [0.4, 0.7, 0.2], [0.9, 0.8, 0.7], [0.6, 0.3, 0.8]]),
        ("P 21/n", 14, [[0.1, 0.2, 0.3], [0.4, 0.7, 0.2], [0.9, 0.8, 0.7], [0.6, 0.3, 0.8]]),
        ("P 1 21/c 1", 14, [[0.1, 0.2, 0.3], [0.9, 0.7, 0.2], [0.9, 0.8, 0.7], [0.1, 0.3, 0.8]]),
        ("P 21/c", None, [[0.1, 0.2, 0.3], [0.9, 0.7, 0.2], [0.9, 0.8, 0.7], [0.1, 0.3, 0.8]]),
        (None, 14, [[0.1, 0.2, 0.3], [0.9, 0.7, 0.2], [0.9, 0.8, 0.7], [0.1, 0.3, 0.8]]),
    ],
)
def test_other_cells_of_a_monoclinic_group(read, name, number, images):
    """P21/n and P21/c are one group (14) with other axes: International Tables A, (x+1/2, -y+1/2, z+1/2) in the first."""
    structure = read(name, ((5.0, 6.0, 7.0), (90.0, 100.0, 90.0)), [("C1", "C", 0.1, 0.2, 0.3)], number)
    found = np.asarray(structure.positions) @ np.linalg.inv(np.asarray(structure.cell))
    assert {tuple(np.round(k % 1, 6)) for k in found} == {tuple(np.round(np.array(k) % 1, 6)) for k in images}


def test_names_with_a_glide_as_it_was_once_written(read):
    """Black phosphorus, Cmca (today Cmce): eight atoms in the mirror plane. In Bmab, its axes are y, z and x."""
    names = (
        ("C m c a", (3.31, 10.48, 4.38), (0, 0.1017, 0.0806)),
        ("C m c e", (3.31, 10.48, 4.38), (0, 0.1017, 0.0806)),
    )
    for name, lengths, x in (*names, ("B m a b", (3.31, 4.38, 10.48), (0, -0.0806, 0.1017))):
        structure = read(name, (lengths, (90.0,) * 3), [("P1", "P", *x)], 64)
        away = np.asarray(structure.positions)[1:] - np.asarray(structure.positions)[0]
        inverse = np.linalg.inv(np.asarray(structure.cell))
        shortest = np.linalg.norm((away @ inverse - np.round(away @ inverse)) @ np.asarray(structure.cell), axis=1)
        assert len(structure) == 8
        np.testing.assert_allclose(shortest.min(), 2.22, atol=0.02)


def test_axes_of_a_rhombohedral_group_follow_from_the_cell(read):
    """Bismuth in hexagonal and in rhombohedral axes; a name may say so, or leave it to the angles."""
    hexagonal, rhombohedral = ((4.546, 4.546, 11.862), (90.0, 90.0, 120.0)), ((4.746,) * 3, (57.23,) * 3)
    for name in ("R -3 m :H", "R -3 m H", "R -3 m"):
        assert len(read(name, hexagonal, [("Bi1", "Bi", 0, 0, 0.234)], 166)) == 6
    for name in ("R -3 m :R", "R -3 m"):
        assert len(read(name, rhombohedral, [("Bi1", "Bi", 0.234, 0.234, 0.234)], 166)) == 2
    with pytest.raises(InputError, match="do not fit lengths and angles"):
        read("R -3 m :H", rhombohedral, [("Bi1", "Bi", 0, 0, 0.234)])


def test_rounded_special_positions_are_one_site(read):
    """Magnesium at 1/3, 2/3, 1/4 with four digits: two atoms, not six."""
    cell = ((3.209, 3.209, 5.211), (90.0, 90.0, 120.0))
    assert len(read("P 63/m m c", cell, [("Mg1", "Mg", 0.3333, 0.6667, 0.25)], 194)) == 2


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ("F d -3 m :1", DIAMOND, [("Si1", "Si", 0, 0, 0, 0.6), ("Ge1", "Ge", 0, 0, 0, 0.4)]),
            "site Si1 has occupancy 0.6",
        ),
        (
            ("P 1", DIAMOND, [("Si1", "Si", 0, 0, 0, 1.0), ("Va", "Ge", 0.5, 0.5, 0.5, "0.25(2)")]),
            "site Va has occup.* 0.25",
        ),
        (("F d -3 q", DIAMOND, SITE_1), "space group F d -3 q is not known"),
        (("F m -3 m", DIAMOND, SITE_1, 227), "is not that of number 227"),
        (("F d -3 m :5", DIAMOND, SITE_1), "setting '5' is not known; known are 1, 2"),
        (("F m -3 m", QUARTZ, SITE_1), "do not fit lengths and angles of the cell"),
        (("P 1", DIAMOND, [*SITE_1, ("Si2", "Si", 0, 0, 0.01)]), r"0\.054 angstrom apart"),
    ],
)
def test_files_that_leave_the_crystal_open_are_refused(read, args, message):
    with pytest.raises(InputError, match=rf"crystal\.cif: .*{message}"):
        read(*args)


def test_full_occupancies_and_unknown_ones_are_taken(read):
    sites = [("Si1", "Si", 0, 0, 0, "1.000(1)"), ("Ge1", "Ge", 0.5, 0.5, 0.5, "?")]
    assert read("P 1", DIAMOND, sites).species == (14, 32)


def test_other_files_are_read_as_before(tmp_path):
    for suffix in ("vasp", "xyz", "cif", "json"):
        atoms = bulk("GaAs", "zincblende", a=5.6532, cubic=True)
        write(tmp_path / f"crystal.{suffix}", atoms, format="extxyz" if suffix == "xyz" else None)
        structure = read_structure(tmp_path / f"crystal.{suffix}")
        assert sorted(structure.species) == sorted(atoms.numbers)
        np.testing.assert_allclose(structure.cell, atoms.cell.array, atol=1e-6)
    (tmp_path / "broken.cif").write_text("data_x\n_cell_length_a 5\n")
    with pytest.raises(InputError, match=r"broken\.cif: it holds no structure"):
        read_structure(tmp_path / "broken.cif")
    (tmp_path / "broken.xyz").write_text("three\n")
    with pytest.raises(InputError, match=r"broken\.xyz cannot be read as a structure"):
        read_structure(tmp_path / "broken.xyz")
    with pytest.raises(FileNotFoundError):
        read_structure(tmp_path / "absent.cif")


@pytest.mark.skipif(not CASES.is_dir(), reason="the public files are not here")
def test_public_files():
    structure = read_structure(CASES / "10-cif-origin-choice-2" / "si2.cif")
    assert len(structure) == 8
    np.testing.assert_allclose(structure.volume, 160.19, atol=0.01)
    with pytest.raises(InputError, match=r"sige\.cif: site Si1 has occupancy 0\.6"):
        read_structure(CASES / "08-cif-partial-occupancy" / "sige.cif")
