"""Band edges, deformation potentials and thermal edges against published numbers, folding and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import electrons, hamiltonians, materials
from jaxepi.errors import InputError
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.structure import Structure

GAMMA, L = [0.0, 0.0, 0.0], [0.5, 0.5, 0.5]


def cell(name):
    symbol = {"si": "Si", "gaas": "GaAs", "ge": "Ge"}[name.split("-")[0]]
    kind = "zincblende" if symbol == "GaAs" else "diamond"
    return Structure.from_ase(bulk(symbol, kind, a=hamiltonians.parameter_files.read(name)["lattice_constant"]))


def levels(name, spin_orbit, points):
    """Energies relative to the valence top at Gamma, and the number of filled bands."""
    hamiltonian = hamiltonians.load(name, spin_orbit)
    structure = cell(name)
    e = np.asarray(electrons.eigenvalues(hamiltonian, structure, np.array([GAMMA, *points])))
    n = hamiltonian.basis.occupied(structure.species)
    return e - e[0, n - 1], n


def delta(fraction):
    """Fractional k on the line from Gamma to X."""
    return [0.5 * fraction, 0.0, 0.5 * fraction]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "spin_orbit", "gap", "where"),
    [
        ("si-niquet2009", False, 1.188, 0.85),
        ("si-niquet2009", True, 1.173, 0.85),
        ("si-vogl1983", False, 1.171, 0.73),
    ],
)
def test_indirect_gaps_along_delta(name, spin_orbit, gap, where):
    fractions = np.linspace(0.6, 1.0, 401)
    e, n = levels(name, spin_orbit, [delta(f) for f in fractions])
    band = e[1:, n]
    np.testing.assert_allclose(band.min(), gap, atol=1e-3)
    np.testing.assert_allclose(fractions[band.argmin()], where, atol=0.01)


@pytest.mark.slow
def test_direct_gaps_and_splittings():
    e, n = levels("si-niquet2009", False, [])
    np.testing.assert_allclose(e[0, n], 3.316, atol=1e-3)
    e, n = levels("si-niquet2009", True, [])
    np.testing.assert_allclose(-e[0, n - 5], 0.044, atol=1e-3)
    e, n = levels("gaas-boykin2002", True, [])
    np.testing.assert_allclose([e[0, n], -e[0, n - 5]], [1.416, 0.326], atol=1e-3)
    e, n = levels("ge-jancu1998", True, [L])
    np.testing.assert_allclose(e[1, n], 0.745, atol=1e-3)


@pytest.fixture(scope="module")
def silicon():
    return materials.load("silicon")


@pytest.fixture(scope="module")
def edges(silicon):
    return electrons.band_edges(silicon.hamiltonian, silicon.primitive)


@pytest.mark.slow
def test_the_search_finds_the_valleys(edges):
    np.testing.assert_allclose(edges.gap, 1.188, atol=1e-3)
    np.testing.assert_allclose(edges.direct, 3.316, atol=1e-3)
    np.testing.assert_allclose(edges.valence_k, 0, atol=1e-6)
    assert not edges.is_direct
    k = np.sort(np.abs(np.asarray(edges.conduction_k)), axis=1) * 5.431 / (2 * np.pi)
    np.testing.assert_allclose(k[:, 2], 0.846, atol=1e-3)
    np.testing.assert_allclose(k[:, :2], 0, atol=1e-4)
    assert edges.conduction_k.shape == (6, 3)
    np.testing.assert_allclose(edges.conduction_k.sum(axis=0), 0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "valleys"), [("si-niquet2009", 6), ("ge-jancu1998", 4), ("gaas-boykin2002", 1)], ids=["Si", "Ge", "GaAs"]
)
def test_valleys_do_not_depend_on_the_orientation_of_the_cell(name, valleys):
    """Delta, L and Gamma, of a cell turned at random and with other lattice vectors."""
    hamiltonian, structure = hamiltonians.load(name), cell(name)
    straight = electrons.band_edges(hamiltonian, structure)
    q, r = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    q = q * np.sign(np.diag(r)) * np.linalg.det(q * np.sign(np.diag(r)))
    q = np.eye(3) if name.startswith("gaas") else q  # its on-site shifts refer to the cubic axes
    other = np.array([[1, 1, 0], [0, 1, 0], [0, -1, 1]]) @ np.asarray(structure.cell) @ q
    crooked = electrons.band_edges(hamiltonian, Structure.create(structure.positions @ q, other, structure.species))
    assert len(straight.conduction_k) == len(crooked.conduction_k) == valleys
    assert len(straight.valence_k) == len(crooked.valence_k) == 1
    assert straight.degeneracies == crooked.degeneracies
    np.testing.assert_allclose(crooked.gap, straight.gap, atol=1e-5)


@pytest.mark.slow
def test_a_layer_that_conducts_at_a_point_is_refused():
    """Filled and empty bands of graphene meet at K; a direction without periods carries no k that could hide it."""
    graphene = materials.load("graphene")
    with pytest.raises(InputError, match="touch"):
        electrons.band_edges(graphene.hamiltonian, graphene.primitive)


@pytest.mark.slow
def test_every_valley_counts_alike_in_a_cell_that_folds_them_unevenly(silicon, edges):
    """In 1x1x2 conventional cells the valleys fold in sets of other sizes; each has its weight in the mean."""
    probe = electrons.edge_probe(edges, silicon.structure.supercell((1, 1, 2)), 32)
    assert sum(n * p for n, p in zip(probe.conduction, probe.partners, strict=True)) == 6 * edges.degeneracies[1]
    levels = jnp.zeros((len(probe.points), 40)).at[:, 32:].set(jnp.arange(len(probe.points), dtype=float)[:, None])
    weights = np.array(probe.conduction) * np.array(probe.partners)
    expected = np.average(np.arange(len(weights)), weights=weights)
    np.testing.assert_allclose(probe.edges(levels)[1], expected, rtol=1e-12)


@pytest.fixture(scope="module")
def strained(silicon):
    """Energies of strained silicon at Cartesian k of the unstrained crystal, with an internal displacement of atom 1."""
    graph, cell = silicon.hamiltonian.graph(silicon.primitive), silicon.primitive

    @jax.jit
    def energies(hamiltonian, structure, graph, strain, u, k):
        moved = structure.strained(strain)
        moved = moved.with_positions(moved.positions.at[1].add(u))
        # k moves with the lattice: its fractional part stays.
        return electrons.eigenvalues(hamiltonian, moved, (k @ jnp.linalg.inv(structure.reciprocal))[None], graph)[0]

    return lambda strain, u, k: np.asarray(energies(silicon.hamiltonian, cell, graph, strain, u, k))


@pytest.mark.slow
def test_hydrostatic_and_valley_deformation_potentials(strained):
    """a_gap = dEg/d(ln V); Xi_u (e_zz - e_xx) splits the valleys, taken at 0.85 X as in the paper's tables."""
    still, step, unit = jnp.zeros(3), 1e-4, 2 * np.pi / 5.431

    def slope(f):
        return (f(step) - f(-step)) / (2 * step)

    z, x = jnp.array([0, 0, 0.85 * unit]), jnp.array([0.85 * unit, 0, 0])

    def gap(e):
        return strained(e * jnp.eye(3), still, z)[4] - strained(e * jnp.eye(3), still, 0 * z)[3]

    np.testing.assert_allclose(slope(gap) / 3, 1.44, atol=0.01)

    def valleys(e):
        strain = jnp.diag(jnp.array([-e / 2, -e / 2, e]))
        return strained(strain, still, z)[4] - strained(strain, still, x)[4]

    np.testing.assert_allclose(slope(valleys) / 1.5, 8.66, atol=0.01)


def test_shear_deformation_potentials_of_the_valence_band(strained):
    """Without spin-orbit coupling Bir and Pikus give the singlet away from the doublet by 3b (e_zz - e_xx) for [001], by
    3 sqrt(3) d e_xy for [111]. Shear moves the sublattices: atom 1 by -zeta (a/2) e_xy along [111], Kleinman's zeta = 0.54;
    without this internal strain |d| would be 1.12."""
    e, still, gamma = 1e-4, jnp.zeros(3), jnp.zeros(3)

    def splitting(strain, u=still):
        top = strained(strain, u, gamma)[1:4]
        return max(top[1] - top[0], top[2] - top[1])

    tetragonal = splitting(e * jnp.diag(jnp.array([-0.5, -0.5, 1.0])))
    np.testing.assert_allclose(tetragonal / (3 * 1.5 * e), 2.13, atol=0.01)
    shear = e * (jnp.ones((3, 3)) - jnp.eye(3))
    relaxed = splitting(shear, -0.54 * 5.431 / 2 * e * jnp.ones(3))
    np.testing.assert_allclose(relaxed / (3 * np.sqrt(3) * e), 4.81, rtol=5e-3)
    np.testing.assert_allclose(splitting(shear) / (3 * np.sqrt(3) * e), 1.12, atol=0.02)


def snapshots(structure, *displacements):
    positions = jnp.stack([structure.positions + u for u in displacements])
    return Snapshots(structure, positions, jnp.asarray(0.0))


@pytest.mark.slow
def test_the_thermal_gap_at_rest_is_the_gap_of_64_atoms(silicon, edges):
    supercell = silicon.structure.supercell(2)
    assert len(supercell) == 64
    occupied = silicon.hamiltonian.basis.occupied(supercell.species)
    probe = electrons.edge_probe(edges, supercell, occupied)
    top, bottom = electrons.thermal_edges(silicon.hamiltonian, snapshots(supercell, 0.0), probe, solver="dense")
    np.testing.assert_allclose(bottom[0] - top[0], edges.gap, atol=1e-6)
    np.testing.assert_allclose(top[0], edges.valence, atol=1e-6)
    u = 0.03 * np.random.default_rng(0).normal(size=(64, 3))
    pair = snapshots(supercell, u, -u)
    dense = electrons.thermal_edges(silicon.hamiltonian, pair, probe, solver="dense")
    sparse = electrons.thermal_edges(silicon.hamiltonian, pair, probe, solver="sparse")
    np.testing.assert_allclose(sparse, dense, atol=1e-7)
    # The mean of a pair is even in the displacement: a gap shift of second order.
    half = snapshots(supercell, u / 2, -u / 2)
    quarter = electrons.thermal_edges(silicon.hamiltonian, half, probe, solver="sparse")
    shift, less = ((b - a).mean() - edges.gap for a, b in (dense, quarter))
    np.testing.assert_allclose(shift / less, 4.0, rtol=0.1)


@pytest.mark.slow
def test_a_metal_is_refused():
    """Silicon with its s orbitals pulled up through the valence band."""
    hamiltonian = hamiltonians.load("si-vogl1983")
    where = hamiltonian.basis.all_shells.index("s*")
    onsite = hamiltonian.params["onsite"].at[:, where].add(-9.0)
    metal = type(hamiltonian)({**hamiltonian.params, "onsite": onsite}, hamiltonian.module)
    with pytest.raises(InputError, match=r"bands overlap by \d+\.\d+ eV"):
        electrons.band_edges(metal, cell("si-vogl1983"), divisions=4)
