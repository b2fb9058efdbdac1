"""H(R) of Wannier90: the documented format, both gauges, velocities with centres, supercells, spinors, and what is refused.

The files are made here, as the Wannier90 user guide describes them, from a published set folded onto a k mesh.
"""

import itertools

import ase.io
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk
from wannier_files import Case

from jaxepi import cli, electrons, hamiltonians, optics
from jaxepi.datasets import wannier as files
from jaxepi.errors import InputError
from jaxepi.hamiltonians import hamiltonian_gradient, hamiltonian_k, wannier
from jaxepi.hamiltonians.bloch import cartesian, phases
from jaxepi.optics.momentum import momentum_operator
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure

POINTS = jnp.asarray(np.random.default_rng(3).uniform(-0.5, 0.5, (4, 3)))
AT = jax.jit(lambda *arguments: hamiltonian_k(*arguments)[0])
GRADIENT = jax.jit(lambda *arguments: hamiltonian_gradient(*arguments)[0])

EXAMPLE = """ Created on 24May2007 at 23:32:09
        20
        17
    4   1   2    1    4    1    1    2    1    4    6    1    1   1   2
    1   2
    0   0  -2    1    1   -0.001013    0.000000
    0   0  -2    2    1    0.000270    0.000000
    0   0  -2    3    1   -0.000055    0.000000
    0   0  -2    4    1    0.000093    0.000000
    0   0  -2    5    1   -0.000055    0.000000
"""
"""As it stands in the user guide, which leaves out the other 6795 lines."""


@pytest.fixture(scope="module")
def case():
    return Case()


@pytest.fixture(scope="module")
def path(case, tmp_path_factory):
    return case.write(tmp_path_factory.mktemp("wannier"))


@pytest.fixture(scope="module")
def fixed(path):
    return wannier.read(path, electrons=8)


def test_the_example_of_the_user_guide_is_read(tmp_path):
    shown = {tuple(line.split()[:5]) for line in EXAMPLE.splitlines()[5:]}
    lines = []
    for r, n, m in itertools.product(range(17), range(20), range(20)):
        ends = (0, 0, r - 2, m + 1, n + 1)
        if tuple(map(str, ends)) not in shown:
            lines.append("".join(f"{i:5d}" for i in ends) + f"{0.001 * r:12.6f}{-0.002 * n:12.6f}")
    (tmp_path / "x_hr.dat").write_text(EXAMPLE + "\n".join(lines) + "\n")
    found = files.read_hr(tmp_path / "x_hr.dat")
    assert found.comment == "Created on 24May2007 at 23:32:09"
    assert found.degeneracies.tolist() == [4, 1, 2, 1, 4, 1, 1, 2, 1, 4, 6, 1, 1, 1, 2, 1, 2]
    assert found.vectors.tolist() == [[0, 0, r - 2] for r in range(17)]
    assert found.matrices[0, :5, 0].tolist() == [-0.001013, 0.000270, -0.000055, 0.000093, -0.000055]
    assert found.matrices[7, 3, 11] == 0.007 - 0.022j


def test_the_sum_rule_of_the_made_file(case):
    """Every place of the supercell is counted once."""
    assert (1 / case.degeneracies).sum() == pytest.approx(case.divisions**3)
    assert case.degeneracies.max() > 1


@pytest.mark.slow
def test_bands_are_those_of_the_folded_model(case, fixed):
    mine = electrons.eigenvalues(fixed, fixed.module.structure, POINTS)
    np.testing.assert_allclose(mine, electrons.eigenvalues(case.model, case.crystal, POINTS), atol=1e-5)
    assert fixed.basis.occupied(case.crystal.species) == 4


@pytest.mark.parametrize("k", POINTS[:2])
def test_both_gauges_have_the_same_spectrum(case, fixed, k):
    graph = fixed.graph(case.crystal)
    h = np.asarray(AT(fixed, case.crystal, graph, k))
    np.testing.assert_allclose(h, h.conj().T, atol=1e-12)
    for where in (None, case.centres):
        np.testing.assert_allclose(np.linalg.eigvalsh(h), np.linalg.eigvalsh(case.direct(k, where)), atol=2e-5)
    np.testing.assert_allclose(np.sort(h.diagonal()), np.sort(case.direct(k, case.atoms).diagonal()), atol=2e-5)


def test_gradient_equals_finite_differences(case, fixed):
    graph, k, step = fixed.graph(case.crystal), POINTS[0], 1e-4
    found = GRADIENT(fixed, case.crystal, graph, k)
    for axis in range(3):
        shift = step * jnp.linalg.inv(case.crystal.reciprocal)[axis]
        up, down = (AT(fixed, case.crystal, graph, k + s * shift) for s in (1, -1))
        np.testing.assert_allclose(found[axis], (up - down) / (2 * step), atol=1e-6)


def test_velocity_is_the_gradient_in_the_gauge_of_the_centres(case, fixed):
    """W = -i dH/dk of the direct sum over R + r_n - r_m, between eigenstates of each; |W|^2 of the transitions agree."""
    graph, k, step = fixed.graph(case.crystal), POINTS[1], 1e-4
    blocks, vectors = fixed.blocks(case.crystal, graph), graph.vectors(case.crystal)
    phase = phases(vectors, cartesian(k, case.crystal))
    w = jax.jit(lambda *about: momentum_operator(*about).apply(jnp.eye(10, dtype=complex)))(
        blocks, graph, vectors, phase
    )
    w = np.asarray(w)
    u = np.linalg.eigh(np.asarray(AT(fixed, case.crystal, graph, k)))[1]
    direct = np.linalg.eigh(case.direct(k, case.centres))[1]
    shifts = step * np.linalg.inv(np.asarray(case.crystal.reciprocal))
    for axis in range(3):
        up, down = (case.direct(k + s * shifts[axis], case.centres) for s in (1, -1))
        expected = direct.conj().T @ ((up - down) / (2 * step)) @ direct
        np.testing.assert_allclose(np.abs(u.conj().T @ w[axis] @ u), np.abs(expected), atol=2e-4)


def spectrum(hamiltonian, structure, kmesh=2):
    energies = jnp.linspace(3.0, 6.0, 7)
    still = Snapshots(structure, structure.positions[None], jnp.zeros(()))
    return np.asarray(optics.dielectric(hamiltonian, still, energies, kmesh, optics.Gaussian(0.1)).eps2)


@pytest.mark.slow
def test_optics_with_centres_on_the_atoms_is_that_of_the_model(case, path):
    """Mixing the orbitals of an atom changes nothing, nor does a shift of all centres; moving them apart does."""
    expected = spectrum(case.model, case.crystal)
    on_atoms = wannier.read(path, centres=case.atoms, electrons=8)
    np.testing.assert_allclose(spectrum(on_atoms, case.crystal), expected, rtol=1e-3, atol=2e-3)
    shifted = wannier.read(path, centres=case.atoms + np.array([0.3, -0.1, 0.2]), electrons=8)
    np.testing.assert_allclose(spectrum(shifted, case.crystal), expected, rtol=1e-3, atol=2e-3)
    apart = wannier.read(path, electrons=8)
    assert np.abs(spectrum(apart, case.crystal) - expected).max() > 0.5


@pytest.mark.slow
def test_a_function_may_live_in_another_cell(case, fixed, tmp_path):
    """Move a function by a lattice vector, its centre with it: H(R) is listed at other R, and nothing else changes."""
    home = np.zeros((10, 3), int)
    home[2], home[7] = (1, 0, -1), (0, 2, 0)
    moved: dict[tuple, np.ndarray] = {}
    for r, h, d in zip(case.vectors, case.matrices, case.degeneracies, strict=True):
        for m, n in itertools.product(range(10), repeat=2):
            there = tuple(r - home[n] + home[m])  # <m home_m| H |n home_n + R'>
            moved.setdefault(there, np.zeros((10, 10), complex))[m, n] += h[m, n] / d
    vectors, matrices = np.array(list(moved)), np.array(list(moved.values()))
    centres = case.centres + home @ case.cell
    other = wannier.build("moved", case.crystal, centres, vectors, matrices, electrons=8)
    np.testing.assert_allclose(spectrum(other, case.crystal), spectrum(fixed, case.crystal), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_supercells_fold_the_bands(case, fixed):
    supercell = fixed.module.structure.supercell((2, 1, 3))
    folded = [[(i + 0.2) / 2, 0.1, (j - 0.4) / 3] for i in range(2) for j in range(3)]
    expected = np.sort(np.asarray(electrons.eigenvalues(fixed, case.crystal, np.array(folded))).ravel())
    found = electrons.eigenvalues(fixed, supercell, np.array([[0.2, 0.1, -0.4]]))[0]
    np.testing.assert_allclose(found, expected, atol=1e-9)
    assert fixed.basis.occupied(supercell.species) == 24


@pytest.mark.slow
def test_a_supercell_at_gamma_absorbs_like_the_crystal_on_the_mesh(case, fixed):
    supercell = fixed.module.structure.supercell(2)
    np.testing.assert_allclose(spectrum(fixed, supercell, 1), spectrum(fixed, case.crystal, 2), rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_wigner_seitz_distances_complete_a_coarse_mesh(tmp_path):
    """On 2 x 2 x 2 points H(R) and H(-R) coincide; shared by distance they give the bands everywhere, else on the mesh."""
    coarse = Case(divisions=2)
    path = coarse.write(tmp_path)
    expected = electrons.eigenvalues(coarse.model, coarse.crystal, POINTS)
    mesh = np.array(list(itertools.product((0.0, 0.5), repeat=3)))
    for header, off in (("with use_ws_distance=.false.", 0.1), ("with use_ws_distance=.true.", 0.0)):
        coarse.write_ws(tmp_path, header)
        found = wannier.read(path, centres=coarse.atoms)
        there = electrons.eigenvalues(coarse.model, coarse.crystal, mesh)
        np.testing.assert_allclose(electrons.eigenvalues(found, coarse.crystal, mesh), there, atol=1e-5)
        worst = np.abs(np.asarray(electrons.eigenvalues(found, coarse.crystal, POINTS) - expected)).max()
        assert worst > off if off else worst < 1e-5
    given = coarse.write(tmp_path, win="use_ws_distance = .true.")
    rows = files.read_ws_vectors(tmp_path / "si_wsvec.dat")
    again = files.minimal_images(coarse.cell, (2, 2, 2), coarse.vectors, coarse.atoms)
    assert sorted(map(tuple, rows.tolist())) == sorted(map(tuple, again.tolist()))
    (tmp_path / "si_wsvec.dat").unlink()
    with pytest.warns(UserWarning, match=r"si_wsvec\.dat is not beside .*made again from mp_grid"):
        found = wannier.read(given, centres=coarse.atoms)
    np.testing.assert_allclose(electrons.eigenvalues(found, coarse.crystal, POINTS), expected, atol=1e-5)
    edit(tmp_path / "si.win", "mp_grid 2 2 2", "")
    with pytest.raises(InputError, match=r"neither mp_grid nor a file si_wsvec\.dat"):
        wannier.read(given)
    edit(tmp_path / "si.win", "use_ws_distance = .true.", "mp_grid = 2,2,2")
    with pytest.warns(UserWarning, match=r"no si_wsvec\.dat and no use_ws_distance"):
        wannier.read(given)
    (tmp_path / "si_wsvec.dat").write_text("## with use_ws_distance=.true.\n 0 0 0 1 1\n 1\n 0 0 0\n")
    with pytest.raises(InputError, match="other lattice vectors or functions"):
        wannier.read(path)
    (tmp_path / "si_wsvec.dat").write_text("## with use_ws_distance=.true.\n 0 0 0 1 1\n 2\n 0 0 0\n")
    with pytest.raises(InputError, match="cut short"):
        wannier.read(path)


@pytest.mark.slow
def test_spinors_are_complex_and_hold_one_electron_each(case, tmp_path):
    """A Hermitian, complex H(R) of functions of which the two atoms carry different numbers."""
    phase = np.exp(1j * np.random.default_rng(1).uniform(0, 2 * np.pi, 10))
    centres = case.centres.copy()
    centres[4] = case.atoms[5] + 0.1
    complex_ = phase[:, None].conj() * case.matrices * phase
    path = case.write(tmp_path, win="spinors = .true.\nnum_valence_bands 4", matrices=complex_, centres=centres)
    found = hamiltonians.load(path)
    assert found.basis.orbitals == (4, 6)
    assert found.basis.spin_degeneracy == 1
    assert found.basis.occupied(case.crystal.species) == 4
    mine = electrons.eigenvalues(found, found.module.structure, POINTS)
    np.testing.assert_allclose(mine, electrons.eigenvalues(case.model, case.crystal, POINTS), atol=1e-5)
    edit(tmp_path / "si.win", "spinors = .true.", "")
    with pytest.warns(UserWarning, match=r"imaginary parts up to .* eV, which are kept"):
        spinless = wannier.read(path)
    assert spinless.basis.occupied(case.crystal.species) == 4
    found = electrons.eigenvalues(spinless, case.crystal, POINTS)
    np.testing.assert_allclose(found, electrons.eigenvalues(case.model, case.crystal, POINTS), atol=1e-5)


@pytest.mark.parametrize("size", [2e-4, 2e-7])
def test_imaginary_parts_are_kept_beyond_rounding(case, tmp_path, size):
    """Functions with small phases: H(R) is complex by about `size`, the bands are the same."""
    phase = np.exp(1j * size * np.random.default_rng(2).uniform(-1, 1, 10))
    path = case.write(tmp_path, matrices=phase[:, None].conj() * case.matrices * phase)
    found = wannier.read(path)
    assert found.module.real == (size < 1e-5)
    assert np.iscomplexobj(found.params["hopping"]) == (size > 1e-5)
    h = np.asarray(AT(found, case.crystal, found.graph(case.crystal), POINTS[2]))
    written = wannier.files.read_hr(path)
    fourier = np.exp(2j * np.pi * written.vectors @ np.asarray(POINTS[2])) / written.degeneracies
    expected = np.linalg.eigvalsh(np.einsum("r,rmn->mn", fourier, written.matrices))
    np.testing.assert_allclose(np.linalg.eigvalsh(h), expected, atol=1e-7 if size > 1e-5 else 2e-6)


def test_weak_elements_can_be_left_out(case, tmp_path):
    noise = 1e-4 * np.random.default_rng(5).normal(size=case.matrices.shape)
    back = [np.flatnonzero((case.vectors == -v).all(axis=1))[0] for v in case.vectors]
    path = case.write(tmp_path, matrices=case.matrices + noise + noise[back].swapaxes(1, 2))
    long, short = wannier.read(path), wannier.read(path, smallest=2e-3)
    assert short.module.cutoff < 2.5 < 7 < long.module.cutoff
    expected = electrons.eigenvalues(case.model, case.crystal, POINTS)
    np.testing.assert_allclose(electrons.eigenvalues(long, case.crystal, POINTS), expected, atol=0.02)
    np.testing.assert_allclose(electrons.eigenvalues(short, case.crystal, POINTS), expected, atol=0.003)


def test_transformations_compose(case, fixed):
    graph = fixed.graph(case.crystal)

    def energies(params, k):
        hamiltonian = hamiltonians.Hamiltonian(params, fixed.module)
        return electrons.eigenvalues(hamiltonian, case.crystal, k[None], graph)[0, :4].sum()

    slope = jax.jit(jax.grad(energies))(fixed.params, POINTS[0])["hopping"]
    own = [i for i, row in enumerate(fixed.module.rows) if row[0] == row[1] and not row[2:].any()]
    assert np.trace(np.asarray(slope)[own].sum(axis=0)) == pytest.approx(4)  # a shift of all energies
    together = jax.vmap(lambda k: AT(fixed, case.crystal, graph, k))(POINTS)
    np.testing.assert_allclose(together[1], AT(fixed, case.crystal, graph, POINTS[1]), atol=1e-12)


def test_equal_files_share_compiled_functions(path, fixed):
    again = wannier.read(path, electrons=8)
    assert again.module == fixed.module
    assert hash(again.module) == hash(fixed.module)


def test_other_structures_are_refused_by_name(case, fixed):
    crystal = fixed.module.structure
    with pytest.raises(InputError, match=r"atom 0 is 0\.0250 angstrom off"):
        fixed.graph(crystal.with_positions(crystal.positions.at[1, 0].add(0.05)))
    with pytest.raises(InputError, match="lattice vector 0 is"):
        fixed.graph(crystal.scaled(1.01))
    with pytest.raises(InputError, match=r"one crystal, Si2.*the structure is Ge2"):
        fixed.graph(Structure.from_ase(bulk("Ge", a=5.43)))
    with pytest.raises(InputError, match="build a supercell"):
        fixed.graph(Structure.from_ase(bulk("Si", a=5.43).repeat(2)))
    thermal = Snapshots(crystal, crystal.positions[None].at[0, 0, 0].add(0.1), jnp.asarray(300.0))
    with pytest.raises(InputError, match="an atom moved"):
        optics.dielectric(fixed, thermal, jnp.array([3.0]), 2)


def edit(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "si_hr.dat").unlink(), "cannot be read"),
        (lambda f: (f / "si_hr.dat").write_text("hello\nworld\n"), "is not an _hr.dat file"),
        (lambda f: (f / "si_hr.dat").write_text((f / "si_hr.dat").read_text()[:-300]), "cut short"),
        (lambda f: edit(f / "si_hr.dat", "          10\n", "          11\n"), "cut short or damaged"),
        (
            lambda f: edit(f / "si_hr.dat", "    0    0    0    1    2", "    0    0    0    1    1"),
            "every element of H once",
        ),
        (
            lambda f: edit(f / "si_hr.dat", "    0    0    0    1    2", "    0    0    0    1   12"),
            "every element of H once",
        ),
        (lambda f: edit(f / "si.win", "num_wann = 10", "num_wann = 8"), "num_wann 8"),
        (lambda f: edit(f / "si.win", "num_wann = 10", "num_wann = ten"), "num_wann = 'ten'; give a whole number"),
        (lambda f: edit(f / "si.win", "write_hr", "num_valence_bands -4\nwrite_hr"), "num_valence_bands = '-4'"),
        (
            lambda f: edit(f / "si.win", "write_hr", "num_valence_bands 11\nwrite_hr"),
            "22 electrons do not fit into the 10",
        ),
        (lambda f: edit(f / "si.win", "write_hr", "spinors = no\nwrite_hr"), "spinors = 'no'; give true or false"),
        (lambda f: edit(f / "si.win", "End Unit_Cell_Cart", "End"), "unit_cell_cart has no end before"),
        (lambda f: edit(f / "si.win", "end atoms_frac", ""), "atoms_frac has no end; close it"),
        (lambda f: edit(f / "si.win", "write_hr", "num_wann = 9\nwrite_hr"), "keyword num_wann twice"),
        (lambda f: edit(f / "si.win", "Si2 0.25", "Si2 nan"), r"si\.win: positions hold NaN"),
        (
            lambda f: edit(f / "si.win", "Si2 0.25 2.5d-1 0.25", "Si2 0.25 0.25"),
            "atoms_frac does not hold three numbers",
        ),
        (
            lambda f: edit(f / "si_hr.dat", "    0    0    0    1    2", "    0    0    0  1.5    2"),
            "line .* five whole",
        ),
        (
            lambda f: edit(f / "si_hr.dat", "    0    0    0    1    2", "    0    0    0    1  nan"),
            "line .* five whole",
        ),
        (
            lambda f: edit(f / "si_hr.dat", "    0    0    0    1    2", "    0    0    0    1  ***"),
            "7 numbers on every",
        ),
        (lambda f: edit(f / "si_hr.dat", "          10\n", "  9999999999\n"), "cut short or damaged"),
        (lambda f: edit(f / "si_hr.dat", "          10\n", "          ten\n"), "is not an _hr.dat file"),
        (lambda f: edit(f / "si_centres.xyz", "X      ", "X  nan  "), "centres hold NaN"),
        (lambda f: edit(f / "si.win", "write_hr", "translate_home_cell = T\nwrite_hr"), "translate_home_cell"),
        (lambda f: edit(f / "si.win", "bohr", "furlong"), "unit 'furlong'"),
        (lambda f: edit(f / "si.win", "Si1", "Qq1"), "'Qq1' is not a chemical symbol"),
        (lambda f: edit(f / "si.win", "Unit_Cell_Cart", "unit_cell", 2), "has no block unit_cell_cart"),
        (lambda f: edit(f / "si.win", "atoms_frac", "atoms", 2), "neither atoms_frac nor atoms_cart"),
        (lambda f: (f / "si.win").unlink(), r"no \.win file"),
        (lambda f: (f / "si_centres.xyz").unlink(), r"no _centres\.xyz"),
        (lambda f: edit(f / "si_centres.xyz", "X ", "Y "), "holds 9 centres"),
    ],
)
def test_damaged_files_are_refused_by_name(case, tmp_path, damage, message):
    path = case.write(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        wannier.read(path)


def test_what_cannot_be_meant_is_refused(case, path, tmp_path):
    with pytest.raises(InputError, match="another lattice than"):
        wannier.read(path, structure=case.crystal.scaled(1.01))
    with pytest.raises(InputError, match="centres have shape"):
        wannier.read(path, centres=np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"write num_valence_bands = \(their number\) into si\.win"):
        spectrum(wannier.read(path), case.crystal)
    with pytest.raises(InputError, match="do not fill whole bands"):
        spectrum(wannier.read(path, electrons=7), case.crystal)
    with pytest.raises(InputError, match="without spin_orbit"):
        hamiltonians.load(path, spin_orbit=True)
    matrices = case.matrices.copy()
    matrices[3, 1, 2] += 0.1
    broken = case.write(tmp_path, matrices=matrices)
    with pytest.raises(InputError, match="should be Hermitian"):
        wannier.read(broken)


def test_names_lead_to_files(path):
    assert hamiltonians.load(str(path)).basis.sites == (14, 14)
    assert "si_hr.dat" in hamiltonians.citation(path)


@pytest.mark.parametrize("command", ["gap", "absorb"])
def test_temperatures_of_a_fixed_hamiltonian_are_refused_before_any_work(case, tmp_path, capsys, monkeypatch, command):
    path = case.write(tmp_path, win="num_valence_bands = 4")
    ase.io.write(tmp_path / "si.vasp", case.crystal.to_ase())
    monkeypatch.setattr(electrons, "eigenvalues", None)
    monkeypatch.chdir(tmp_path)
    words = [command, "si.vasp", "--hamiltonian", path.name, "--potential", "silicon-mvff", "--temperatures", "300"]
    assert cli.main(words) == 2
    found = capsys.readouterr()
    assert found.err.strip().endswith(", ".join(hamiltonians.available()))
    assert "si_hr.dat is the Hamiltonian of one crystal at rest and follows no displacements" in found.err
    assert len(found.err.strip().splitlines()) == 1
