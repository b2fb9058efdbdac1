"""Position matrix elements of a _tb.dat file: velocities that do not depend on the choice of Wannier functions."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import hamiltonians, optics
from jaxepi.datasets.wannier_tb import read_tb
from jaxepi.errors import InputError
from jaxepi.hamiltonians import wannier
from jaxepi.hamiltonians.bloch import cartesian, phases, signs
from jaxepi.optics.momentum import exact_momentum, momentum_operator
from jaxepi.optics.solvers.case import Case, check_served
from jaxepi.sampling.snapshots import Snapshots

LENGTH, COUNT = 3.0, 24
CENTRES = np.array([[0.1, 0.0, 0.2], [1.4, -0.1, 0.0]])
"""Of functions that do not couple: the second belongs to another atom."""

WIN = """num_wann = 2
num_valence_bands = 1
begin unit_cell_cart
3 0 0
0 8 0
0 0 8
end unit_cell_cart
begin atoms_cart
Si 0 0 0
Si 1.2 0 0
end atoms_cart
"""


def levels(x):
    """Two bands that do not couple, eV, and their slopes, at k = x/a."""
    energies = np.array([-1 + 0.5 * np.cos(x), 2 - 0.8 * np.cos(x)])
    return energies, LENGTH * np.array([-0.5 * np.sin(x), 0.8 * np.sin(x)])


def chain():
    """H(R) and r(R) of the two bands in functions turned by an angle that varies along k: both couple everywhere."""
    x = 2 * np.pi * np.arange(COUNT) / COUNT
    angle, slope = 0.6 * np.cos(x) + 0.2, -0.6 * np.sin(x) * LENGTH
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).transpose(2, 0, 1)
    h = np.einsum("kji,jk,kjl->kil", turn, levels(x)[0], turn)
    r = np.einsum("kji,ja,kjl->akil", turn, CENTRES, turn).astype(complex)
    r[0] += 1j * slope[:, None, None] * np.array([[0, -1], [1, 0]])
    steps = np.arange(COUNT) - COUNT // 2 + 1
    fourier = np.exp(-1j * np.outer(steps, x)) / COUNT
    vectors = np.stack([steps, 0 * steps, 0 * steps], axis=1)
    return vectors, np.einsum("rk,kij->rij", fourier, h), np.einsum("rk,akij->arij", fourier, r)


def write(folder, vectors, h, r):
    """The file in the format of the user guide, and the .win file beside it."""
    lines = [
        " written on 29Nov2026 at 02:00:00",
        "  3.0 0.0 0.0",
        "  0.0 8.0 0.0",
        "  0.0 0.0 8.0",
        "  2",
        f"  {len(vectors)}",
    ]
    lines += ["    1" * len(vectors[i : i + 15]) for i in range(0, len(vectors), 15)]
    for matrices in (h[None], r):
        for i, vector in enumerate(vectors):
            lines += ["", "".join(f"{v:5d}" for v in vector)]
            for n, m in itertools.product(range(2), repeat=2):
                numbers = "".join(f"{x.real:16.8E}{x.imag:16.8E}" for x in matrices[:, i, m, n])
                lines.append(f"{m + 1:5d}{n + 1:5d}   {numbers}")
    (folder / "chain_tb.dat").write_text("\n".join(lines) + "\n")
    (folder / "chain.win").write_text(WIN)
    return folder / "chain_tb.dat"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("chain"), *chain())


@partial(jax.jit, static_argnames=("real",))
def operators(hamiltonian, structure, graph, k, real):
    blocks, vectors = hamiltonian.blocks(structure, graph), graph.vectors(structure)
    phase = signs(graph, k, vectors.dtype) if real else phases(vectors, cartesian(k, structure))
    return exact_momentum(blocks, graph, vectors, phase)


def velocities(hamiltonian, structure, k, real=False):
    """hbar v (eV angstrom) between the eigenstates at fractional k."""
    h, w = operators(hamiltonian, structure, hamiltonian.graph(structure), jnp.asarray(k), real)
    e, u = np.linalg.eigh(np.asarray(h))
    return e, u.conj().T @ (1j * np.asarray(w.blocks)) @ u


def test_bands_that_do_not_couple_have_no_transitions_whatever_the_functions(path):
    hamiltonian = hamiltonians.load(path)
    crystal = hamiltonian.module.structure
    assert hamiltonian.real
    assert hamiltonian.basis.occupied(crystal.species) == 1
    e, v = velocities(hamiltonian, crystal, [0.15, 0.0, 0.0])
    energies, slopes = levels(2 * np.pi * 0.15)
    np.testing.assert_allclose(e, energies, atol=1e-7)
    np.testing.assert_allclose(v[0], np.diag(slopes), atol=1e-6)
    np.testing.assert_allclose(v[1:], 0.0, atol=1e-6)


@pytest.mark.slow
def test_real_matrices_have_the_same_velocities(path):
    hamiltonian = hamiltonians.load(path)
    v = velocities(hamiltonian, hamiltonian.module.structure, [0.5, 0.0, 0.0], real=True)[1]
    np.testing.assert_allclose(v, 0.0, atol=1e-6)


@pytest.mark.slow
def test_without_the_elements_between_functions_they_have(path):
    tight = read_tb(path)
    crystal = hamiltonians.load(path).module.structure
    plain = wannier.build("plain", crystal, tight.centres, tight.hoppings.vectors, tight.hoppings.matrices, 2)
    graph, k = plain.graph(crystal), jnp.array([0.15, 0.0, 0.0])

    @jax.jit
    def between(k):
        vectors = graph.vectors(crystal)
        w = momentum_operator(plain.blocks(crystal, graph), graph, vectors, phases(vectors, cartesian(k, crystal)))
        u = jnp.linalg.eigh(hamiltonians.hamiltonian_k(plain, crystal, graph, k)[0])[1]
        return u.conj().T @ w.apply(jnp.eye(2, dtype=complex))[0] @ u

    assert abs(between(k)[0, 1]) > 0.5


@pytest.mark.slow
def test_supercells_have_the_velocities_of_the_crystal(path):
    hamiltonian = hamiltonians.load(path)
    twice = hamiltonian.module.structure.supercell((2, 1, 1))
    e, v = velocities(hamiltonian, twice, [0.3, 0.0, 0.0])
    folded = [levels(np.pi * (0.3 + i)) for i in range(2)]
    energies, slopes = (np.concatenate([part[i] for part in folded]) for i in range(2))
    order = energies.argsort()
    np.testing.assert_allclose(e, energies[order], atol=1e-7)
    np.testing.assert_allclose(v[0], np.diag(slopes[order]), atol=1e-6)


def test_a_shift_of_the_origin_by_a_cell_changes_nothing(path, tmp_path):
    """Functions that live in another cell: R and the centre of one of them move together."""
    vectors, h, r = chain()
    moved = np.array([[0, 0, 0], [1, 0, 0]])  # of m, in cells: element m, n of R is that of R + t_n - t_m before
    steps = np.arange(-COUNT, COUNT + 1)
    wide = np.stack([steps, 0 * steps, 0 * steps], axis=1)
    place = {int(v[0]): i for i, v in enumerate(vectors)}
    h2, r2 = np.zeros((len(steps), 2, 2), complex), np.zeros((3, len(steps), 2, 2), complex)
    for i, step in enumerate(steps):
        for m, n in itertools.product(range(2), repeat=2):
            before = place.get(int(step + moved[n, 0] - moved[m, 0]))
            if before is not None:
                h2[i, m, n], r2[:, i, m, n] = h[before, m, n], r[:, before, m, n]
    r2[:, COUNT, 1, 1] += LENGTH * moved[1]
    other = hamiltonians.load(write(tmp_path, wide, h2, r2))
    found = velocities(other, other.module.structure, [0.15, 0.0, 0.0])
    expected = velocities(hamiltonians.load(path), other.module.structure, [0.15, 0.0, 0.0])
    np.testing.assert_allclose(found[0], expected[0], atol=1e-7)
    np.testing.assert_allclose(np.abs(found[1]), np.abs(expected[1]), atol=1e-6)


def test_solvers_of_large_cells_refuse_them(path):
    hamiltonian = hamiltonians.load(path)
    cell = hamiltonian.module.structure
    case = Case(hamiltonian, cell, hamiltonian.graph(cell), cell.positions[None], jnp.zeros((1, 3)), jnp.ones(1), True)
    with pytest.raises(InputError, match="this Hamiltonian has those between atoms"):
        check_served(case)


@pytest.mark.slow
def test_bands_that_do_not_couple_absorb_nothing(path):
    hamiltonian = hamiltonians.load(path)
    crystal = hamiltonian.module.structure
    still = Snapshots(crystal, crystal.positions[None], jnp.zeros(()))
    for mesh in ((2, 1, 1), (5, 1, 1)):
        eps2 = optics.dielectric(hamiltonian, still, jnp.linspace(1.0, 6.0, 9), mesh, optics.Gaussian(0.1)).eps2
        assert float(jnp.abs(eps2).max()) < 1e-9


def lines(change):
    def damage(path):
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lines(lambda held: held[:-5]), "it is cut short or damaged"),
        (lines(lambda held: held[:4]), "is not a _tb.dat file"),
        (lines(lambda held: [*held[:3], "  0.0 0.0 x", *held[4:]]), "is not a _tb.dat file"),
        (lines(lambda held: [line.replace("    1    2   ", "    1    1   ") for line in held]), "every element once"),
        (lines(lambda held: [*held[:1], "  3.1 0.0 0.0", *held[2:]]), "has another lattice than the crystal"),
        (lines(lambda held: [*held[:-1], held[-1][:13] + "NaN " + held[-1][29:]]), "finite numbers"),
    ],
)
def test_damaged_files_are_refused_by_name(tmp_path, damage, message):
    path = write(tmp_path, *chain())
    damage(path)
    with pytest.raises(InputError, match=f"chain_tb.dat.*{message}"):
        hamiltonians.load(path)


def test_centres_are_those_of_the_file(path):
    with pytest.raises(InputError, match="holds its centres itself"):
        wannier.read(path, centres=CENTRES)
