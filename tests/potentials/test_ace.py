"""The linear expansion: its invariants are those of the formula, and none is a combination of the others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk, graphene
from ase.neighborlist import neighbor_list
from scipy.spatial.transform import Rotation

from jaxepi import potentials
from jaxepi.errors import InputError
from jaxepi.graph import build_graph
from jaxepi.nn import radial_basis
from jaxepi.potentials import learned
from jaxepi.structure import Structure

MODEL = {"cutoff": 4.5, "channels": 2, "radial_layers": [4], "repulsion": False}


def invariants(orders, relations="homogeneous", copies=1, size=0.3):
    atoms = bulk("GaAs", "zincblende", a=5.65, cubic=True).repeat((copies, 1, 1))
    atoms.rattle(size, seed=1)
    return *evaluated(Structure.from_ase(atoms), orders, relations, (31, 33)), atoms


def evaluated(s, orders, relations, species):
    """An expansion and its invariants in a structure."""
    module = learned.build({**MODEL, "expansion": orders, "relations": relations}, species)
    graph = build_graph(s, 4.5, 0.0, module.network.relations)
    vectors = tuple(table.vectors(s.positions, s.cell) for table in graph.tables)
    index = jnp.asarray([species.index(z) for z in s.species])
    return module.expansion, np.asarray(module.expansion.invariants(index, vectors, graph.tables))


def test_pairs_and_triples_are_sums_over_neighbours_and_their_angles():
    expansion, found, atoms = invariants([[3, 0], [2, 1]])
    i, j, d, v = neighbor_list("ijdD", atoms, 4.5)
    kind = (atoms.numbers == 33).astype(int)
    radial = np.asarray(radial_basis(jnp.asarray(d), 4.5, 3))
    pairs = np.zeros((len(atoms), 2, 3))
    np.add.at(pairs, (i, kind[j]), radial)
    np.testing.assert_allclose(found[:, :6], pairs.reshape(-1, 6), atol=1e-12)
    # Y_0 = 1; Y_1.Y_1' = 3 cos of the angle: the first product of l = 1 is of the first function at two gallium atoms.
    first = np.asarray(radial_basis(jnp.asarray(d), 4.5, 2))[:, 0] * (kind[j] == 0)
    for a in (0, 5):
        mine = i == a
        unit = v[mine] / d[mine, None]
        cosines = unit @ unit.T
        np.testing.assert_allclose(found[a, 6], first[mine].sum() ** 2, atol=1e-12)
        np.testing.assert_allclose(found[a, 6 + 10], 3 * first[mine] @ cosines @ first[mine], atol=1e-12)
    assert expansion.shape == (2, found.shape[1]) == (2, 26)


@pytest.mark.parametrize(("orders", "relations"), [([[3, 0], [2, 2], [2, 2]], "homogeneous"), ([[5, 0]], "layers")])
def test_no_invariant_is_a_combination_of_the_others(orders, relations):
    expansion, found, _ = invariants(orders, relations, copies=30, size=0.35)
    assert found.shape[1] == expansion.shape[1]
    used = found[:, np.abs(found).max(axis=0) > 0]  # crystals have one layer
    assert used.shape[1] == found.shape[1] // (2 if relations == "layers" else 1)
    values = np.linalg.svd(used / np.linalg.norm(used, axis=0), compute_uv=False)
    assert values[-1] > 1e-5


def test_layers_have_invariants_that_turn_and_swap_with_them():
    one = graphene(size=(2, 2, 1), vacuum=None)
    two = one.copy()
    two.positions += [0.3, 0.2, 3.3]
    atoms = one + two
    atoms.cell[2], atoms.pbc = [0.0, 0.0, 20.0], (True, True, False)
    atoms.rattle(0.1, seed=2)
    s, order = Structure.from_ase(atoms), np.roll(np.arange(16), 8)
    turn = jnp.asarray(Rotation.from_rotvec([0.7, -0.4, 1.1]).as_matrix())
    others = [
        Structure(s.positions @ turn.T, s.cell @ turn.T, s.species, s.pbc),
        Structure(-s.positions, s.cell, s.species, s.pbc),
        Structure(s.positions[order], s.cell, s.species, s.pbc),
    ]
    orders = [[4, 0], [4, 3], [2, 2]]
    expansion, found = evaluated(s, orders, "layers", (6,))
    assert found.shape[1] == expansion.shape[1]
    assert (np.abs(found).max(axis=0) > 1e-3).all()
    for other, expected in zip(others, (found, found, found[order]), strict=True):
        np.testing.assert_allclose(evaluated(other, orders, "layers", (6,))[1], expected, atol=1e-10)


@pytest.mark.parametrize("orders", [[[4, 1]], [[4, 0], [3]], [[0, 0]], [[4, 0]] * 4])
def test_orders_that_mean_nothing_are_refused(orders):
    with pytest.raises(InputError, match="radial functions and highest l"):
        learned.build({**MODEL, "expansion": orders}, (14,))


def test_without_coefficients_in_a_file_it_is_refused(tmp_path):
    module = learned.build({**MODEL, "expansion": [[4, 0]]}, (14,))
    params = module.init(jax.random.key(0))
    bare = {n: x for n, x in params.items() if n != "expansion"}
    learned.write(potentials.Potential(bare, module), {**MODEL, "expansion": [[4, 0]]}, tmp_path / "p.npz", {})
    with pytest.raises(InputError, match="expansion"):
        learned.read(tmp_path / "p.npz")
