"""Phonopy's files: every form of them, against phonopy itself where it is installed, and files that cannot be."""

import sys
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from spring_crystals import springs

from jaxepi import sampling
from jaxepi.errors import InputError
from jaxepi.sampling import ForceConstants, phonopy_files
from jaxepi.structure import Structure

SKEWED = [[2, 1, 0], [0, 2, 1], [1, 0, 2]]
"""Nine cells that are no repeats along their vectors."""

CORNERS = np.array([[0.5, 0, 0.5], [0.13, 0.02, 0.4], [0.5, 0.5, 0.5], [0.01, 0, 0.01]])
Z = 2.16


def full_springs(positions, cell, stiffness=6.0, bending=1.0, reach=2.6):
    """Springs between neighbours as force constants of all pairs, shape (n, n, 3, 3)."""
    steps = np.array(list(np.ndindex(5, 5, 5))) - 2
    matrix = np.zeros((len(positions), len(positions), 3, 3))
    for i, x in enumerate(positions):
        for j, y in enumerate(positions):
            bonds = y - x + steps @ cell
            for bond in bonds[(np.linalg.norm(bonds, axis=1) < reach) & (np.linalg.norm(bonds, axis=1) > 0)]:
                along = np.outer(bond, bond) / (bond @ bond)
                block = stiffness * along + bending * (np.eye(3) - along)
                matrix[i, j] -= block
                matrix[i, i] += block
    return matrix


def made(matrix=SKEWED, turned=False):
    """Gallium arsenide as phonopy's own object, its atoms in another order where turned."""
    phonopy = pytest.importorskip("phonopy", reason="needs phonopy: pip install 'jaxepi[phonopy]'")
    atoms = bulk("GaAs", "zincblende", a=5.6532)
    atoms = atoms[[1, 0]] if turned else atoms
    cell = phonopy.structure.atoms.PhonopyAtoms(
        symbols=atoms.get_chemical_symbols(), cell=atoms.cell.array, positions=atoms.positions + 0.3 * turned
    )
    return phonopy.Phonopy(cell, matrix, primitive_matrix="P", log_level=0)


def write(own, form: str, folder: Path, displacement: float = 0.01) -> Path:
    """The files of one form, charges beside them; the one to read."""
    from phonopy import file_IO

    constants = full_springs(own.supercell.positions, own.supercell.cell)
    settings = {"force_sets": False, "displacements": False, "force_constants": False}
    own.save(folder / "phonopy.yaml", settings=settings)
    charges = np.array([Z if z == 31 else -Z for z in own.primitive.numbers])[:, None, None] * np.eye(3)
    file_IO.write_BORN(own.primitive, charges, 10.88 * np.eye(3), folder / "BORN")
    own.force_constants = constants
    rows = constants[own.primitive.p2s_map]
    if form in ("FORCE_SETS", "params"):
        own.generate_displacements(distance=displacement)
        rest = own.supercell.positions
        moved = [cell.positions - rest for cell in own.supercells_with_displacements]
        own.forces = [-np.einsum("ijab,jb->ia", constants, u) for u in moved]
        own.force_constants = constants
    if form == "params":
        own.save(folder / "phonopy_params.yaml")
        return folder / "phonopy_params.yaml"
    if form == "FORCE_SETS":
        file_IO.write_FORCE_SETS(own.dataset, folder / "FORCE_SETS")
    elif form == "hdf5":
        target = folder / "force_constants.hdf5"
        file_IO.write_force_constants_to_hdf5(rows, filename=target, p2s_map=own.primitive.p2s_map)
    else:
        kept = constants if form == "full" else rows
        file_IO.write_FORCE_CONSTANTS(kept, folder / "FORCE_CONSTANTS", p2s_map=own.primitive.p2s_map)
        return folder / "FORCE_CONSTANTS"
    return folder / "phonopy.yaml"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("form", ["params", "FORCE_SETS", "full", "compact", "hdf5"])
def test_every_form_gives_what_phonopy_computes(form, tmp_path):
    """Frequencies to 1e-5 THz, polar, of a supercell that is not diagonal; displacements at 300 K to 1e-4."""
    own = made(turned=form == "compact")
    path = write(own, form, tmp_path)
    charges = np.array([Z if z == 31 else -Z for z in own.primitive.numbers])[:, None, None] * np.eye(3)
    own.nac_params = {"born": charges, "dielectric": 10.88 * np.eye(3), "factor": 14.39965}
    own.run_qpoints(CORNERS)
    expected = np.sort(own.qpoints.frequencies, axis=1)
    own.init_random_displacements()
    own.random_displacements.run_correlation_matrix(300.0)
    squares = [np.diag(own.random_displacements.uu[n, n]) for n in own.primitive.p2s_map]
    fc = ForceConstants.from_phonopy(path)
    cell = phonopy_files.read(path).primitive
    found = sampling.frequencies_thz(fc, sampling.in_base(fc, cell, CORNERS))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    moved = np.einsum("naa->na", sampling.mean_square_displacements(fc, 300.0))
    np.testing.assert_allclose(moved, squares, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")
def test_a_foreign_order_of_atoms_is_laid_out_in_the_crystals_own(tmp_path):
    """Phonopy's atoms are the other way round and shifted: the supercell of the crystal gets each its own neighbours."""
    given = ForceConstants.from_phonopy(write(made(2 * np.eye(3, dtype=int), turned=True), "full", tmp_path))
    supercell = Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532)).supercell(2)
    found = sampling.resampled(given, supercell)
    x, cell = np.asarray(supercell.positions), np.asarray(supercell.cell)
    expected = full_springs(x, cell)[:2].transpose(0, 2, 1, 3).reshape(2, 3, 8, 2, 3)
    np.testing.assert_allclose(found.matrix, expected, atol=1e-9)
    np.testing.assert_allclose(np.asarray(found.polar.charges)[:, 0, 0], [Z, -Z])
    cubic = sampling.resampled(given, Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532, cubic=True)))
    assert cubic.matrix.shape == (8, 3, 1, 8, 3)
    folded = np.asarray(sampling.frequencies_thz(cubic, [[0, 0, 0]]))[0]
    at_x = np.asarray(sampling.frequencies_thz(given, [[0.5, 0, 0.5]]))[0]
    for frequency in at_x:
        assert np.abs(folded - frequency).min() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 1, 1)])
def test_a_base_cell_that_is_not_primitive_is_reduced(repeats):
    """The conventional cell's modes, folded, are those of the primitive cell at the wave vectors that fit the supercell."""
    cubic = springs(Structure.from_ase(bulk("GaAs", "zincblende", a=5.6532, cubic=True)).supercell(repeats))
    found = sampling.in_primitive_cells(cubic)
    assert found.matrix.shape == (2, 3, 4 * np.prod(repeats), 2, 3)

    def all_modes(fc):
        return np.sort(np.asarray(sampling.frequencies_thz(fc, fc.commensurate())).ravel())

    np.testing.assert_allclose(all_modes(found)[3:], all_modes(cubic)[3:], atol=1e-6)
    assert sampling.in_primitive_cells(found) is found


@pytest.mark.slow
def test_what_is_written_is_read_again(tmp_path, spring_gaas):
    import dataclasses

    import jax.numpy as jnp

    pytest.importorskip("phonopy", reason="needs phonopy: pip install 'jaxepi[phonopy]'")
    polar = sampling.Polar(Z * jnp.array([1.0, -1.0])[:, None, None] * jnp.eye(3)[None], 10.88 * jnp.eye(3))
    isotopes = dataclasses.replace(spring_gaas, polar=polar, weights=jnp.array([71.0, 74.92]))
    isotopes.write_phonopy(tmp_path / "phonopy_params.yaml", "jaxepi phonons 0123")
    assert (tmp_path / "phonopy_params.yaml").read_text().startswith("# jaxepi phonons 0123\n")
    found = ForceConstants.from_phonopy(tmp_path / "phonopy_params.yaml")
    np.testing.assert_allclose(found.matrix, isotopes.matrix, atol=1e-9)
    np.testing.assert_allclose(found.weights, isotopes.weights, atol=1e-6)
    np.testing.assert_allclose(found.polar.charges, polar.charges, atol=1e-9)
    assert found.supercell.species == isotopes.supercell.species


def test_numbers_without_a_crystal_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "FORCE_CONSTANTS"
    path.write_text("2 2\n")
    with pytest.raises(
        InputError, match=r"FORCE_CONSTANTS holds numbers, and not of which crystal: put one of phonopy_p"
    ):
        ForceConstants.from_phonopy(path)
    with pytest.raises(FileNotFoundError):
        ForceConstants.from_phonopy(tmp_path / "absent.yaml")
    (tmp_path / "phonopy.yaml").write_text("a: 1\n")
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(InputError, match=r"pip install 'jaxepi\[phonopy\]'"):
        ForceConstants.from_phonopy(path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Warning. Point group:UserWarning", "ignore::DeprecationWarning")
def test_damaged_and_foreign_files_are_named(tmp_path):
    def refused(path, match):
        with pytest.raises(InputError, match=match):
            ForceConstants.from_phonopy(path)

    path = write(made(), "full", tmp_path)
    yaml = tmp_path / "phonopy.yaml"
    text = path.read_text()
    path.write_text("\n".join(text.splitlines()[:40]))
    refused(path, r"FORCE_CONSTANTS does not fit .*phonopy.yaml")
    path.write_text(text.replace(text.split()[5], "nan", 1))
    refused(path, r"(FORCE_CONSTANTS: NaN or infinity|FORCE_CONSTANTS does not fit)")
    path.write_text(text)
    write(made(np.eye(3, dtype=int) * 2), "hdf5", tmp_path)
    refused(path, r"FORCE_CONSTANTS does not fit .*phonopy.yaml")
    path.unlink()
    (tmp_path / "force_constants.hdf5").unlink()
    refused(yaml, r"phonopy.yaml has neither force constants nor forces, and none of FORCE_CONSTANTS, .* beside it")
    yaml.write_text("phonopy: [")
    refused(yaml, r"phonopy.yaml cannot be read as a phonopy file")
    yaml.write_text("a: 1\n")
    refused(yaml, r"phonopy.yaml (holds no crystal|cannot be read)")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Warning. Point group:UserWarning", "ignore::DeprecationWarning")
def test_large_displacements_are_told_of(tmp_path):
    path = write(made(), "FORCE_SETS", tmp_path, displacement=0.2)
    with pytest.warns(UserWarning, match=r"FORCE_SETS: atoms were displaced by up to 0.200 angstrom; beyond 0.05"):
        ForceConstants.from_phonopy(path)
