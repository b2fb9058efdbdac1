"""H(k), S(k) and dH/dk of every kind of set: Hermiticity, derivatives, gauge, symmetry, permutation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk, graphene

from jaxepi import electrons, hamiltonians
from jaxepi.errors import InputError
from jaxepi.hamiltonians import hamiltonian_gradient, hamiltonian_k
from jaxepi.hamiltonians.bloch import scatter, signs
from jaxepi.structure import Structure

K = jnp.array([0.13, -0.27, 0.36])


def crystal(name):
    if name.startswith("graphene"):
        atoms = graphene("C2", a=2.456, vacuum=6.0)
        atoms.pbc = (True, True, False)
        return Structure.from_ase(atoms)
    species = {"si": "Si", "gaas": "GaAs", "ge": "Ge", "c": "C"}[name.split("-")[0]]
    kind = "zincblende" if species == "GaAs" else "diamond"
    return Structure.from_ase(bulk(species, kind, a=hamiltonians.parameter_files.read(name)["lattice_constant"]))


class Case:
    """A Hamiltonian, its perfect crystal, the graph, and a configuration away from the sites."""

    def __init__(self, name, spin_orbit=False, seed=0):
        self.hamiltonian = hamiltonians.load(name, spin_orbit)
        self.ideal = crystal(name)
        self.graph = self.hamiltonian.graph(self.ideal)
        noise = 0.08 * np.random.default_rng(seed).normal(size=(len(self.ideal), 3))
        self.moved = self.ideal.with_positions(self.ideal.positions + noise)

    def at(self, k, structure=None):
        structure = self.moved if structure is None else structure
        return hamiltonian_k(self.hamiltonian, structure, self.graph, k)


CASES = {
    "niquet": ("si-niquet2009", False),
    "niquet-spinor": ("si-niquet2009", True),
    "boykin-spinor": ("gaas-boykin2002", True),
    "jancu": ("gaas-jancu1998", False),
    "vogl": ("c-vogl1983", False),
    "overlap": ("si-nrl1999", False),
    "graphene": ("graphene-trambly2010", False),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return Case(*CASES[request.param])


@pytest.mark.slow
def test_matrices_are_hermitian_and_overlap_is_positive(case):
    h, s = case.at(K)
    np.testing.assert_allclose(h, h.conj().T, atol=1e-12)
    assert h.shape == (case.hamiltonian.basis.size(case.moved.species),) * 2
    assert (s is not None) == ("overlap" in case.hamiltonian.params)
    if s is not None:
        np.testing.assert_allclose(s, s.conj().T, atol=1e-13)
        assert np.linalg.eigvalsh(s).min() > 0.05
        np.testing.assert_allclose(np.diag(np.asarray(s)).real.mean(), 1, atol=0.1)


@pytest.mark.slow
def test_gradient_equals_finite_differences(case):
    got = hamiltonian_gradient(case.hamiltonian, case.moved, case.graph, K)
    to_fractional = jnp.linalg.inv(case.moved.reciprocal)
    step = 1e-3

    def along(axis, n):
        return case.at(K + n * step * to_fractional[axis])

    for axis in range(3):
        terms = {n: along(axis, n) for n in (-2, -1, 1, 2)}
        for which in (0, 1):
            if got[which] is None:
                continue
            f = {n: t[which] for n, t in terms.items()}
            finite = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * step)
            scale = float(jnp.abs(finite).max()) or 1.0
            np.testing.assert_allclose(got[which][axis] / scale, finite / scale, atol=1e-7)


@pytest.mark.slow
def test_time_reversal(case):
    e = electrons.eigenvalues(case.hamiltonian, case.moved, np.array([K, -K]), case.graph)
    np.testing.assert_allclose(e[0], e[1], atol=1e-10)
    if case.hamiltonian.basis.spinor:
        invariant = electrons.eigenvalues(case.hamiltonian, case.moved, np.array([[0.5, 0.0, 0.5]]), case.graph)[0]
        np.testing.assert_allclose(invariant[::2], invariant[1::2], atol=1e-10)
    else:
        np.testing.assert_allclose(case.at(-K)[0], case.at(K)[0].conj(), atol=1e-12)


def test_translation_and_a_change_of_cell_leave_the_matrix_alone(case):
    """In the atomic gauge H(k) knows bond vectors only: not the origin, nor which image of an atom is listed."""
    here, _ = case.at(K)
    shifted = case.moved.with_positions(case.moved.positions + jnp.array([[0.3, -1.1, 0.7]]))
    np.testing.assert_allclose(case.at(K, shifted)[0], here, atol=1e-10)
    image = case.ideal.with_positions(case.ideal.positions.at[1].add(case.ideal.cell[0] - case.ideal.cell[1]))
    graph = case.hamiltonian.graph(image)
    moved = image.with_positions(image.positions + (case.moved.positions - case.ideal.positions))
    np.testing.assert_allclose(hamiltonian_k(case.hamiltonian, moved, graph, K)[0], here, atol=1e-10)


@pytest.mark.slow
def test_permutation_of_atoms(case):
    order = [1, 0]
    swapped = Structure(case.ideal.positions[::-1], case.ideal.cell, case.ideal.species[::-1], case.ideal.pbc)
    graph = case.hamiltonian.graph(swapped)
    moved = swapped.with_positions(case.moved.positions[jnp.array(order)])
    e = electrons.eigenvalues(case.hamiltonian, case.moved, K[None], case.graph)
    np.testing.assert_allclose(electrons.eigenvalues(case.hamiltonian, moved, K[None], graph), e, atol=1e-10)


def test_periodicity_in_reciprocal_space(case):
    shift = jnp.array([1.0, -2.0, 0.0])
    e = electrons.eigenvalues(case.hamiltonian, case.moved, np.array([K, K + shift]), case.graph)
    np.testing.assert_allclose(e[0], e[1], atol=1e-9)


@pytest.mark.slow
def test_at_invariant_k_the_real_matrix_has_the_same_spectrum(case):
    if case.hamiltonian.basis.spinor or "overlap" in case.hamiltonian.params:
        pytest.skip("real arithmetic is for orthogonal spinless bases")
    k = jnp.array([0.5, 0.0, 0.5 if case.ideal.pbc[2] else 0.0])
    blocks = case.hamiltonian.blocks(case.moved, case.graph)
    sign = signs(case.graph, k, jnp.float64)[:, None, None]
    real = scatter(blocks.onsite, sign * blocks.hopping, blocks, case.graph)
    assert real.dtype == jnp.float64
    np.testing.assert_allclose(real, real.T, atol=1e-12)
    np.testing.assert_allclose(np.linalg.eigvalsh(real), np.linalg.eigvalsh(case.at(k)[0]), atol=1e-10)


@pytest.mark.slow
def test_supercell_bands_are_the_folded_bands(case):
    counts = (2, 1, 1)
    big = case.ideal.supercell(counts)
    graph = case.hamiltonian.graph(big)
    k = np.asarray(K)
    folded = electrons.eigenvalues(case.hamiltonian, big, (k * counts)[None], graph)[0]
    both = electrons.eigenvalues(case.hamiltonian, case.ideal, np.array([k, k + np.array([0.5, 0, 0])]), case.graph)
    np.testing.assert_allclose(folded, np.sort(np.ravel(both)), atol=1e-9)


def has_the_same_energies_turned(case, matrix):
    ideal = Structure(case.ideal.positions @ matrix, case.ideal.cell @ matrix, case.ideal.species)
    moved = ideal.with_positions(case.moved.positions @ matrix)
    e = electrons.eigenvalues(case.hamiltonian, case.moved, K[None], case.graph)
    turned = electrons.eigenvalues(case.hamiltonian, moved, K[None], case.hamiltonian.graph(ideal))
    np.testing.assert_allclose(turned, e, atol=1e-9)


@pytest.mark.parametrize("name", ["si-niquet2009", "gaas-jancu1998", "si-nrl1999"])
def test_rotated_crystals_have_the_same_energies(name):
    case = Case(name)
    rotation, _ = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))
    rotation = jnp.asarray(rotation * np.linalg.det(rotation))
    has_the_same_energies_turned(case, rotation)


@pytest.mark.slow
def test_mirrors_of_the_cube_leave_displaced_boykin_bands_alone():
    """Boykin's shifts refer to the cubic axes, so only the symmetry of the cube is left; that must be exact."""
    case = Case("gaas-boykin2002")
    swap = jnp.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]])
    has_the_same_energies_turned(case, swap)


def test_boykin_refuses_a_rotated_reference():
    hamiltonian, ideal = hamiltonians.load("gaas-boykin2002"), crystal("gaas-boykin2002")
    angle = 0.3
    turn = jnp.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turned = Structure(ideal.positions @ turn, ideal.cell @ turn, ideal.species)
    with pytest.raises(InputError, match=r"deviates by 0\.\d+ in a direction cosine"):
        hamiltonian.graph(turned)


def test_spin_orbit_splits_p_into_quartet_and_doublet():
    case = Case("gaas-boykin2002", True)
    params = case.hamiltonian.params
    without = dataclasses.replace(case.hamiltonian, params={**params, "spin_orbit": 0 * params["spin_orbit"]})
    coupling = case.hamiltonian.blocks(case.ideal, case.graph).onsite - without.blocks(case.ideal, case.graph).onsite
    kinds = case.hamiltonian.basis.kinds(case.ideal.species)
    for block, strength in zip(coupling, params["spin_orbit"][kinds, 1], strict=True):
        np.testing.assert_allclose(block, block.conj().T, atol=1e-14)
        e = np.linalg.eigvalsh(block) / float(strength)
        np.testing.assert_allclose(e[:2], -2, atol=1e-12)
        np.testing.assert_allclose(e[-4:], 1, atol=1e-12)
        np.testing.assert_allclose(e[2:-4], 0, atol=1e-12)


@pytest.mark.slow
def test_without_coupling_a_spinor_doubles_every_level():
    case = Case("si-niquet2009")
    blocks = case.hamiltonian.blocks(case.moved, case.graph)
    spinor = blocks.as_spinor()
    h, _ = hamiltonians.bloch_matrices(spinor, case.graph, case.graph.vectors(case.moved), 0.3 * jnp.ones(3))
    single, _ = hamiltonians.bloch_matrices(blocks, case.graph, case.graph.vectors(case.moved), 0.3 * jnp.ones(3))
    np.testing.assert_allclose(np.linalg.eigvalsh(h), np.repeat(np.linalg.eigvalsh(single), 2), atol=1e-10)
    assert spinor.occupied == 2 * blocks.occupied
    assert spinor.as_spinor() is spinor


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CASES])
def test_precision_follows_the_structure(name):
    hamiltonian, spin_orbit = CASES[name]
    case = Case(hamiltonian, spin_orbit)
    single = case.ideal.astype(jnp.float32)
    graph = case.hamiltonian.graph(single)
    blocks = case.hamiltonian.blocks(single, graph)
    assert blocks.hopping.dtype == jnp.float32
    assert blocks.onsite.dtype in (jnp.float32, jnp.complex64)
    h, _ = hamiltonian_k(case.hamiltonian, single, graph, jnp.asarray(K, jnp.float32))
    assert h.dtype == jnp.complex64
    reference, _ = case.at(K, case.ideal)
    np.testing.assert_allclose(h, reference, atol=2e-5 * float(jnp.abs(reference).max()))


def levels(hamiltonian, structure, graph, k):
    return electrons.generalized_eigvalsh(*hamiltonian_k(hamiltonian, structure, graph, k))


@pytest.mark.slow
def test_k_points_can_be_batched():
    case = Case("si-vogl1983")
    points = jnp.stack([K, 2 * K, 0 * K])
    many = jax.jit(jax.vmap(levels, in_axes=(None, None, None, 0)))(case.hamiltonian, case.moved, case.graph, points)
    np.testing.assert_allclose(many, electrons.eigenvalues(case.hamiltonian, case.moved, points, case.graph), atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["si-vogl1983"])
def test_band_sums_of_the_perfect_crystal_differ_by_parameters(name):
    """At k = 0 levels are degenerate; the sum of the valence bands is smooth in every number of the set."""
    case = Case(name)

    @jax.jit
    def band_sum(hamiltonian, structure, graph):
        return levels(hamiltonian, structure, graph, jnp.zeros(3))[:4].sum()

    rng, step = np.random.default_rng(0), 1e-5
    direction = jax.tree.map(lambda p: p * rng.normal(size=p.shape), case.hamiltonian)

    def moved(amount):
        shifted = jax.tree.map(lambda p, d: p + amount * d, case.hamiltonian, direction)
        return band_sum(shifted, case.ideal, case.graph)

    gradient = jax.jit(jax.grad(band_sum))(case.hamiltonian, case.ideal, case.graph)
    slope = sum(jnp.sum(g * d) for g, d in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True))
    np.testing.assert_allclose(slope, (moved(step) - moved(-step)) / (2 * step), rtol=1e-6)
