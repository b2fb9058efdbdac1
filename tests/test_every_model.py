"""Every kind of model through every stage, by the laws that hold for all of them; nothing here knows what is inside a model."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from ase.build import bulk

from jaxepi import electrons, hamiltonians, optics, potentials
from jaxepi.electrons.eigen import generalized_eigvalsh
from jaxepi.errors import InputError
from jaxepi.hamiltonians import dipoles, hamiltonian_gradient, hamiltonian_k, learned
from jaxepi.hamiltonians.base import BlockModule, Hamiltonian
from jaxepi.hamiltonians.bloch import Images, bloch_many, signs
from jaxepi.kpoints import KPoints
from jaxepi.model import Module
from jaxepi.potentials import Potential
from jaxepi.potentials import learned as learned_potentials
from jaxepi.sampling import Snapshots
from jaxepi.structure import Structure

CELL = Structure.from_ase(bulk("Si", a=5.43))
POINTS = np.array([[0, 0, 0], [0.5, 0, 0], [0.13, 0.21, -0.37]])
REAL = np.array([[0, 0, 0], [0.5, 0, 0], [0.5, 0, 0.5]])
K = jnp.asarray(POINTS[2])
SMALL = {"channels": 1, "features": 2, "hidden": [4], "correlation": 1, "lmax": 1, "skin": 0.6}
LEARNED = {**SMALL, "base": "si-vogl1983", "cutoff": 3.6, "switch": [2.9, 3.4]}
LEARNED_WITH_OVERLAP = {**SMALL, "base": "si-nrl1999", "cutoff": 5.2, "switch": [4.4, 5.0]}


def trained(config):
    """A learned model with corrections that are small and not zero."""
    h = learned.build(config, jax.random.key(0))
    random = np.random.default_rng(1)
    network = jax.tree.map(lambda x: x + 0.1 * random.normal(size=np.shape(x)), h.params["network"])
    return dataclasses.replace(h, params={**h.params, "network": network})


def wannier_file(folder):
    """H(R) of a published set in the files of Wannier90, with centres off the atoms."""
    model = hamiltonians.load("si-vogl1983")
    graph = model.graph(CELL)
    blocks = model.blocks(CELL, graph)
    shifts = np.unique(np.concatenate([np.zeros((1, 3), int), graph.shifts]), axis=0)
    matrices = np.zeros((len(shifts), 2, 5, 2, 5))
    matrices[(shifts == 0).all(axis=1).argmax(), [0, 1], :, [0, 1]] = blocks.onsite
    for i, j, shift, block in zip(
        graph.senders, graph.receivers, np.asarray(graph.shifts), blocks.hopping, strict=True
    ):
        matrices[(shifts == shift).all(axis=1).argmax(), int(i), :, int(j)] += block
    lines = ["made by a test", "10", str(len(shifts)), " ".join("1" * len(shifts))]
    for shift, matrix in zip(shifts, matrices.reshape(-1, 10, 10), strict=True):
        lines += [
            f"{' '.join(map(str, shift))} {m + 1} {n + 1} {matrix[m, n]:.8f} 0" for n in range(10) for m in range(10)
        ]
    (folder / "si_hr.dat").write_text("\n".join(lines) + "\n")
    centres = np.repeat(np.asarray(CELL.positions), 5, axis=0) + np.random.default_rng(0).uniform(-0.3, 0.3, (10, 3))
    rows = [f"X {x} {y} {z}" for x, y, z in centres] + [f"Si {x} {y} {z}" for x, y, z in np.asarray(CELL.positions)]
    (folder / "si_centres.xyz").write_text("\n".join(["12", "centres", *rows]) + "\n")
    cell = "\n".join(" ".join(map(str, row)) for row in np.asarray(CELL.cell))
    (folder / "si.win").write_text(
        "num_wann = 10\nnum_valence_bands = 4\nuse_ws_distance = false\nmp_grid = 4 4 4\n"
        f"begin unit_cell_cart\n{cell}\nend unit_cell_cart\n"
        "begin atoms_frac\nSi 0 0 0\nSi 0.25 0.25 0.25\nend atoms_frac\n"
    )
    return folder / "si_hr.dat"


MAKERS = {
    "published": lambda _: hamiltonians.load("si-vogl1983"),
    "with overlap": lambda _: hamiltonians.load("si-nrl1999"),
    "spinor": lambda _: hamiltonians.load("si-jancu1998", spin_orbit=True),
    "learned": lambda _: trained(LEARNED),
    "learned with overlap": lambda _: trained(LEARNED_WITH_OVERLAP),
    "with dipoles": lambda _: dipoles.with_dipoles(hamiltonians.load("si-vogl1983"), jnp.array([0.7, -0.2])),
    "Wannier": lambda folder: hamiltonians.load(wannier_file(folder)),
}
ORTHOGONAL = {"published", "spinor", "learned", "with dipoles", "Wannier"}
FIXED = {"Wannier"}


def lane(*fast):
    """All kinds of models, where only some are tried in the fast lane: compiling takes seconds a kind."""
    marked = [pytest.param(k, marks=() if k in fast else pytest.mark.slow) for k in MAKERS]
    return pytest.mark.parametrize("kind", marked, scope="module")


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    return functools.cache(lambda kind: MAKERS[kind](tmp_path_factory.mktemp("model")))


@pytest.fixture(params=MAKERS, scope="module")
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def case(make, kind):
    """A model with the graph of the crystal at rest, and snapshots; H(R) of a file is of the crystal at rest alone."""
    h = make(kind)
    moves = np.random.default_rng(2).normal(scale=0.0 if kind in FIXED else 0.04, size=(2, 2, 3))
    return h, h.graph(CELL), Snapshots(CELL, CELL.positions[None] + moves, 300.0)


@pytest.mark.slow
def test_matrices_are_hermitian_and_their_gradient_is_the_slope(case, kind):
    h, graph, snapshots = case
    for k in (K, jnp.zeros(3)):
        matrix, overlap = hamiltonian_k(h, snapshots[0], graph, k)
        assert (overlap is None) == h.orthogonal == (kind in ORTHOGONAL)
        slopes = hamiltonian_gradient(h, snapshots[0], graph, k)
        step = 1e-5 * np.linalg.inv(np.asarray(CELL.reciprocal))[0]  # along x, 1/angstrom
        there, back = (hamiltonian_k(h, snapshots[0], graph, k + sign * step) for sign in (1, -1))
        for m, slope, a, b in zip((matrix, overlap), slopes, there, back, strict=True):
            if m is None:
                continue
            np.testing.assert_allclose(m, m.conj().T, atol=1e-12)
            np.testing.assert_allclose(slope[0], (a - b) / 2e-5, atol=1e-7)
        right = scipy.linalg.eigh(matrix, overlap, eigvals_only=True)
        row = 2 if k is K else 0
        np.testing.assert_allclose(electrons.eigenvalues(h, snapshots[0], POINTS, graph)[row], right, atol=1e-9)


@pytest.mark.slow
def test_a_supercell_holds_the_folded_mesh(case):
    h, graph, _ = case
    folded = electrons.eigenvalues(h, CELL, POINTS, graph)[:2]
    large = electrons.eigenvalues(h, CELL.supercell((2, 1, 1)), np.zeros((1, 3)))
    np.testing.assert_allclose(large[0], np.sort(np.ravel(folded)), atol=1e-8)


@pytest.mark.slow
def test_real_arithmetic_gives_the_bands_of_complex_arithmetic(case, kind):
    h, graph, snapshots = case
    blocks = h.blocks(snapshots[0], graph)
    assert h.real == (kind != "spinor")
    assert h.real == all(np.isrealobj(x) for x in (blocks.onsite, blocks.hopping))
    if not h.real:
        return
    factors = jnp.stack([signs(graph, jnp.asarray(k), jnp.float64) for k in REAL])
    matrices = bloch_many(blocks, Images.of(graph), factors)
    assert all(x is None or np.isrealobj(x) for x in matrices)
    real = [generalized_eigvalsh(*(x if x is None else x[i] for x in matrices)) for i in range(3)]
    np.testing.assert_allclose(real, electrons.eigenvalues(h, snapshots[0], REAL, graph), atol=1e-9)


@pytest.mark.slow
@lane("published", "learned with overlap", "Wannier")
def test_edges_of_snapshots_are_states_of_their_matrices_with_either_solver(case):
    h, graph, snapshots = case
    n = h.basis.occupied(CELL.species)
    rest = np.asarray(electrons.eigenvalues(h, CELL, REAL, graph))
    top, bottom = rest[0, n - 1], rest[1, n]
    both = 3 - h.basis.spin_degeneracy  # of a spinor model the states come in pairs
    edge = {"valence": (both, 0, 0), "conduction": (0, both, 0), "partners": (1, 1, 1), "occupied": n}
    # At Gamma arithmetic is real where the model is, at the second point it is complex.
    probe = electrons.EdgeProbe(jnp.asarray(REAL), jnp.asarray(top), jnp.asarray(bottom - top), **edge)
    dense, sparse = (electrons.thermal_edges(h, snapshots, probe, graph, solver) for solver in ("dense", "sparse"))
    np.testing.assert_allclose(dense, sparse, atol=1e-7)
    energies = [np.asarray(electrons.eigenvalues(h, snapshots[i], REAL, graph)) for i in range(2)]
    np.testing.assert_allclose(dense, [[e[0, n - 1] for e in energies], [e[1, n] for e in energies]], atol=1e-8)


@pytest.mark.slow
@lane("published")
def test_thermal_edges_at_rest_are_the_edges_of_the_bands(case):
    h, graph, _ = case
    edges = electrons.band_edges(h, CELL, 4)
    probe = electrons.edge_probe(edges, CELL, h.basis.occupied(CELL.species))
    assert not np.asarray(probe.points).any(axis=1).all()
    assert np.asarray(probe.points).any()
    rest = Snapshots(CELL, CELL.positions[None], 0.0)
    found = electrons.thermal_edges(h, rest, probe, graph)
    np.testing.assert_allclose(found, [[edges.valence], [edges.conduction]], atol=1e-6)


@pytest.mark.slow
def test_a_learned_set_with_an_overlap_keeps_it_at_gamma(make):
    """Ignoring S there took the valence edge of a crystal to another energy (issue 23)."""
    h = make("learned with overlap")
    matrix, overlap = hamiltonian_k(h, CELL, h.graph(CELL), jnp.zeros(3))
    n = h.basis.occupied(CELL.species)
    right = scipy.linalg.eigh(matrix, overlap, eigvals_only=True)[n - 1]
    wrong = scipy.linalg.eigh(matrix, eigvals_only=True)[n - 1]
    one = {"valence": (1,), "conduction": (1,), "partners": (1,), "occupied": n}
    probe = electrons.EdgeProbe(jnp.zeros((1, 3)), jnp.asarray(right), jnp.array(1.0), **one)
    found = electrons.thermal_edges(h, Snapshots(CELL, CELL.positions[None], 0.0), probe)[0]
    assert abs(right - wrong) > 0.05
    np.testing.assert_allclose(found, right, atol=1e-9)


GRID = optics.EnergyGrid(0.1, 120)
ENERGIES = jnp.array([3.0, 4.5])


def spectrum(h, snapshots, graph, kmesh=1):
    found = optics.dielectric(h, snapshots, ENERGIES, kmesh, optics.Gaussian(0.4), tensor=False, graph=graph, grid=GRID)
    return found.eps2


@pytest.mark.slow
@lane("published")
def test_spectra_can_be_compiled_mapped_and_differentiated(case):
    h, graph, snapshots = case
    eager = spectrum(h, snapshots, graph)
    assert (np.asarray(eager) > 0.01).all()

    def one(scale, positions):
        scaled = dataclasses.replace(h, params=jax.tree.map(lambda x: x * scale, h.params))
        return spectrum(scaled, Snapshots(CELL, positions[None], 300.0), graph)[0].sum()

    mapped = jax.jit(jax.vmap(jax.value_and_grad(one), in_axes=(None, 0)))
    values, slopes = mapped(1.0, snapshots.positions)
    np.testing.assert_allclose(values, np.asarray(eager).reshape(2, -1).sum(axis=1), rtol=1e-9)
    step = 1e-5
    difference = (mapped(1 + step, snapshots.positions)[0] - mapped(1 - step, snapshots.positions)[0]) / (2 * step)
    np.testing.assert_allclose(slopes, difference, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@lane("with dipoles")
def test_spectra_at_gamma_do_not_depend_on_the_arithmetic(case):
    """A k point so near to Gamma that nothing else differs is reached by complex arithmetic."""
    h, graph, snapshots = case
    near = KPoints(np.full((1, 3), 1e-7), np.ones(1))
    np.testing.assert_allclose(spectrum(h, snapshots, graph, near), spectrum(h, snapshots, graph), rtol=1e-4)


def test_a_model_says_by_name_what_a_stage_asks(make):
    for kind in MAKERS:
        h = make(kind)
        assert isinstance(h.module, BlockModule)
        assert h.module.species == (14,)
        assert h.module.reach == h.module.cutoff > 0
        assert h.name
        assert h.module.minimum_distance == 0.0
        assert float(h.novelty(CELL, h.graph(CELL))) == 0.0
        with pytest.raises(InputError, match=r"no Hamiltonian parameters for Ge|of one crystal, Si2"):
            h.graph(Structure.from_ase(bulk("Ge")))
        single = h.astype("float32")
        assert type(single) is Hamiltonian
        assert {x.dtype.itemsize for x in jax.tree.leaves(single) if not jnp.iscomplexobj(x)} == {4}


def test_what_a_module_leaves_unsaid_has_a_default():
    @dataclasses.dataclass(frozen=True)
    class Bare(Module):
        cutoff: float = 3.0
        skin: float = 0.5
        species: tuple[int, ...] = ()

    bare = Bare()
    assert (bare.relations, bare.reach, bare.permanent_bonds, bare.ends_at_cutoff) == ((), 3.0, False, False)
    assert (bare.name, bare.called, bare.citation, bare.minimum_distance) == ("", "Bare", "", 0.0)
    with pytest.raises(InputError, match="the bonds of si-vogl1983 are all pairs within its own"):
        hamiltonians.load("si-vogl1983").graph(CELL, skin=0.0)


def learned_potential():
    small = {"cutoff": 4.0, "channels": 2, "lmax": 1, "hidden_lmax": 0, "correlation": 1, "interactions": 1}
    module = learned_potentials.build({**small, "radial_layers": [4]}, (14,))
    return Potential(module.init(jax.random.key(1)), module)


POTENTIALS = {
    "valence": lambda: potentials.load("silicon-mvff"),
    "Stillinger-Weber": lambda: potentials.load("silicon-sw1985"),
    "learned": learned_potential,
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", POTENTIALS)
def test_energies_are_extensive_and_forces_are_their_slopes(kind):
    p = POTENTIALS[kind]()
    graph = p.graph(CELL)
    moved = CELL.with_positions(CELL.positions + np.random.default_rng(3).normal(scale=0.04, size=(2, 3)))
    energy, forces = float(p.energy(moved, graph)), np.asarray(p.forces(moved, graph))
    perfect = CELL.supercell((2, 1, 1))
    large = p.energy(moved.supercell((2, 1, 1)), p.graph(perfect))
    np.testing.assert_allclose(large, 2 * energy, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-10)
    step = np.zeros((2, 3))
    step[1, 2] = 1e-4
    there, back = (p.energy(moved.with_positions(moved.positions + s), graph) for s in (step, -step))
    np.testing.assert_allclose(forces[1, 2], -(there - back) / 2e-4, rtol=1e-6, atol=1e-7)
    if p.module.shares_energy:
        np.testing.assert_allclose(p.module.energies({"params": p.params}, moved, graph).sum(), energy, rtol=1e-12)
    single = p.astype("float32")
    found = single.energy(moved.astype("float32"), single.graph(CELL.astype("float32")))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, energy, rtol=1e-4, atol=1e-5)
    with pytest.raises(InputError, match=r"atom 0 is Ge; .* has parameters for Si only"):
        p.graph(Structure.from_ase(bulk("Ge")))
