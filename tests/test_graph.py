"""Graphs: all periodic images, one topology for many configurations, and the guard of the skin."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk, graphene
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxepi.edge_lists import order
from jaxepi.errors import InputError
from jaxepi.graph import FAR, Relation, build_graph, padded, shape_of
from jaxepi.layers import layers
from jaxepi.structure import Structure

SILICON = Structure.from_ase(bulk("Si", a=5.431))


def brute_force(structure, cutoff, reach=4):
    """Pairs (i, j, shift) by trying every translation."""
    x, cell = np.asarray(structure.positions), np.asarray(structure.cell)
    pairs = set()
    axes = [range(-reach, reach + 1) if p else (0,) for p in structure.pbc]
    for shift in itertools.product(*axes):
        d = np.linalg.norm(x[None] + np.array(shift) @ cell - x[:, None], axis=2)
        pairs |= {(int(i), int(j), *shift) for i, j in np.argwhere((d < cutoff) & (d > 1e-9))}
    return pairs


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31), st.floats(2.0, 6.0))
def test_edges_equal_brute_force_in_skewed_cells(seed, cutoff):
    rng = np.random.default_rng(seed)
    cell = 3.5 * np.eye(3) + rng.uniform(-0.7, 0.7, (3, 3))
    pbc = tuple(bool(b) for b in rng.integers(0, 2, 3))
    structure = Structure(jnp.asarray(rng.uniform(0, 1, (3, 3)) @ cell), jnp.asarray(cell), (14, 14, 14), pbc)
    graph = build_graph(structure, cutoff)
    found = {tuple(row) for row in np.column_stack([graph.senders, graph.receivers, graph.shifts]).tolist()}
    assert found == brute_force(structure, cutoff)
    assert len(found) == graph.n_edges
    d = np.linalg.norm(graph.vectors(structure), axis=1)
    assert (d < cutoff).all()


def test_every_edge_has_its_reverse_and_the_table_of_neighbours_holds_all():
    graph = build_graph(SILICON.supercell(2), 4.0)
    vectors = np.asarray(graph.vectors(SILICON.supercell(2)))
    forward = {(i, j, *s) for i, j, *s in np.column_stack([graph.senders, graph.receivers, graph.shifts]).tolist()}
    assert all((j, i, -a, -b, -c) in forward for i, j, a, b, c in forward)
    np.testing.assert_allclose(vectors.sum(axis=0), 0, atol=1e-10)
    assert graph.neighbours.shape == (16, 16)
    assert (np.asarray(graph.senders)[np.asarray(graph.neighbours)] == np.arange(16)[:, None]).all()
    assert np.all(np.diff(graph.senders) >= 0)


def test_one_atom_sees_its_own_images():
    graph = build_graph(Structure.create([[0.0, 0, 0]], 2.0 * np.eye(3), [14]), 4.1)
    # Shells of the simple cubic lattice up to distance 2: 6 + 12 + 8 + 6.
    assert graph.n_edges == 32


def test_an_atom_without_neighbours_is_allowed():
    structure = Structure.create([[0.0, 0, 0], [10.0, 0, 0], [12, 0, 0]], np.diag([30.0, 9, 9]), [14] * 3)
    graph = build_graph(structure, 3.0)
    assert graph.n_edges == 2
    assert graph.neighbours.shape == (3, 1)
    assert int(graph.neighbours[0, 0]) == graph.n_edges


def test_vectors_follow_positions_and_cell():
    graph = build_graph(SILICON, 4.0)
    np.testing.assert_allclose(graph.vectors(SILICON), graph.reference, atol=1e-12)
    strain = jnp.asarray(0.02 * np.random.default_rng(0).normal(size=(3, 3)))
    np.testing.assert_allclose(
        graph.vectors(SILICON.strained(strain)), graph.reference @ (np.eye(3) + strain), atol=1e-12
    )

    def length(x):
        return jnp.sum(graph.vectors(SILICON.with_positions(x)) ** 2)

    x = SILICON.positions + 0.1 * np.random.default_rng(1).normal(size=(2, 3))
    direction = np.random.default_rng(2).normal(size=(2, 3))
    slope = (length(x + 1e-4 * direction) - length(x - 1e-4 * direction)) / 2e-4
    np.testing.assert_allclose(jnp.sum(jax.jit(jax.grad(length))(x) * direction), slope, rtol=1e-7)


def test_displacement_ignores_translation_and_homogeneous_strain():
    graph = build_graph(SILICON.supercell(2), 3.0, skin=0.6)
    big = SILICON.supercell(2)
    moved = big.with_positions(big.positions + 3.0).strained(0.05 * jnp.ones((3, 3)))
    assert graph.displacement(moved) < 1e-10
    x = big.positions.at[3, 1].add(0.2)
    np.testing.assert_allclose(graph.displacement(big.with_positions(x)), 0.2 * (1 - 1 / 16), rtol=1e-10)


def test_the_skin_is_guarded():
    graph = build_graph(SILICON, 3.0, skin=0.4)
    graph.check(SILICON.with_positions(SILICON.positions.at[0, 0].add(0.3)))
    with pytest.raises(InputError, match=r"moved by 0\.300.*half the graph's skin \(0\.200\).*rebuild"):
        graph.check(SILICON.with_positions(SILICON.positions.at[0, 0].add(0.6)))
    with pytest.raises(InputError, match="moved by nan"):
        graph.check(SILICON.with_positions(SILICON.positions.at[0, 0].set(jnp.nan)))


@pytest.mark.parametrize("cutoff", [0.0, -1.0, float("nan"), float("inf")])
def test_bad_cutoffs_are_refused(cutoff):
    with pytest.raises(InputError, match=f"cutoff {cutoff}"):
        build_graph(SILICON, cutoff)


def test_a_negative_skin_is_refused():
    with pytest.raises(InputError, match=r"skin -0\.1"):
        build_graph(SILICON, 3.0, skin=-0.1)


@pytest.mark.slow
def test_tables_hold_each_edge_of_their_relation_once():
    atoms = graphene(size=(2, 2, 1), vacuum=None)
    upper = atoms.copy()
    upper.positions += [0.3, 0.2, 3.3]
    both = atoms + upper
    both.cell[2] = [0.0, 0.0, 20.0]
    both.pbc = (True, True, False)
    structure = Structure.from_ase(both)
    relations = (Relation(4.0, "intra"), Relation(5.0, "inter"), Relation(5.0))
    graph = build_graph(structure, 5.0, 0.3, relations)
    intra, inter, whole = graph.tables
    layer = layers(structure)
    assert sorted(np.bincount(layer)) == [8, 8]
    assert (layer[np.asarray(intra.receivers)] == layer[:, None]).all()
    assert (layer[np.asarray(inter.receivers)] != layer[:, None])[np.asarray(inter.mask)].all()
    assert int(whole.mask.sum()) == graph.n_edges
    for table, relation in zip(graph.tables, relations, strict=True):
        lengths = np.linalg.norm(table.vectors(structure.positions, structure.cell), axis=-1)
        mask = np.asarray(table.mask)
        assert (lengths[mask] < relation.cutoff + 0.3).all()
        assert (lengths[~mask] == FAR).all()
    expected = np.linalg.norm(graph.vectors(structure), axis=1)
    lengths = np.linalg.norm(whole.vectors(structure.positions, structure.cell), axis=-1)
    assert np.allclose(np.sort(lengths[np.asarray(whole.mask)]), np.sort(expected))
    with pytest.raises(InputError, match="does not fit"):
        build_graph(structure, 5.0, 0.3, (Relation(6.0),))


def test_strain_may_use_up_the_skin():
    """A pair at cutoff + skin is missing from the graph: compression by more than skin/(cutoff + skin) brings it inside."""
    graph = build_graph(SILICON, 3.0, skin=0.6)
    squeezed, stretched = (SILICON.strained(e * jnp.eye(3)) for e in (-0.16, 0.3))
    assert graph.holds(squeezed)
    assert graph.holds(stretched)
    with pytest.raises(InputError, match=r"strain brings atoms 17\.0% closer.*skin \(0\.600\).*rebuild"):
        graph.check(SILICON.strained(-0.17 * jnp.eye(3)))
    shear = jnp.zeros((3, 3)).at[0, 1].set(0.3)
    narrowest = np.linalg.svd(np.eye(3) + shear, compute_uv=False).min()
    found = graph._changes(SILICON.strained(shear))[1]
    np.testing.assert_allclose(found, narrowest, rtol=1e-12)
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    turned = SILICON.strained(jnp.asarray(turn * np.linalg.det(turn)) - jnp.eye(3))
    np.testing.assert_allclose(graph._changes(turned), (0, 1), atol=1e-7)
    assert graph.holds(turned)


@pytest.mark.slow
def test_what_holds_is_known_under_jit_and_vmap():
    graph = build_graph(SILICON, 3.0, skin=0.4)
    moved = SILICON.positions[None] + jnp.array([0.0, 0.3, 0.6, jnp.nan])[:, None, None] * jnp.eye(2, 3)[None]
    holds = jax.jit(jax.vmap(lambda x: graph.holds(SILICON.with_positions(x))))(moved)
    assert holds.tolist() == [True, False, False, False]
    one_atom = SILICON.positions[None] + jnp.array([0.3, 0.6])[:, None, None] * jnp.eye(2, 3).at[1].set(0)[None]
    assert jax.vmap(lambda x: graph.holds(SILICON.with_positions(x)))(one_atom).tolist() == [True, False]


def test_graphs_of_other_atoms_are_refused_under_jit_too():
    graph = build_graph(SILICON, 3.0, skin=0.4, relations=(Relation(3.0),))
    germanium = Structure(SILICON.positions, SILICON.cell, (14, 32), SILICON.pbc)
    slab = Structure(SILICON.positions, SILICON.cell, (14, 14), (True, True, False))
    for other, match in (
        (germanium, "atom 1 is of another element"),
        (SILICON.supercell(2), "built for 2 other atoms"),
        (slab, "built with pbc"),
    ):
        with pytest.raises(InputError, match=match):
            jax.jit(lambda s: graph.fits(s))(other)
    graph.fits(SILICON, 2.9, (Relation(2.5),))
    with pytest.raises(InputError, match=r"ends at 3 angstrom, but the model reaches 3\.5"):
        graph.fits(SILICON, 3.5)
    with pytest.raises(InputError, match=r"tables for \[\('any', 3.0\)\], but the model needs \[\('intra', 2.0\)\]"):
        graph.fits(SILICON, 3.0, (Relation(2.0, "intra"),))


def test_a_graph_can_be_built_inside_jit_of_what_is_known():
    @jax.jit
    def total(x):
        graph = build_graph(SILICON, 3.0, 0.4)
        graph.check(SILICON)
        return jnp.sum(graph.vectors(SILICON.with_positions(x)) ** 2)

    np.testing.assert_allclose(total(SILICON.positions), jnp.sum(build_graph(SILICON, 3.0, 0.4).reference ** 2))
    with pytest.raises(InputError, match="build it outside"):
        jax.jit(lambda x: build_graph(SILICON.with_positions(x), 3.0).n_edges)(SILICON.positions)


@pytest.mark.parametrize(("cutoff", "skin"), [(1e6, 0.0), (3.0, 1e6)])
def test_searches_without_end_are_refused(cutoff, skin):
    with pytest.raises(InputError, match=r"more than 1e\+08 pairs"):
        build_graph(SILICON, cutoff, skin)


@pytest.mark.slow
def test_slots_and_edges_know_each_other_and_their_reverse():
    structure = SILICON.supercell(2).strained(0.05 * jnp.asarray([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]]))
    graph = build_graph(structure, 5.0, 0.3, (Relation(2.6), Relation(5.0)))
    longer = padded(graph, tuple(n + 3 for n in shape_of(graph)))
    for one in (graph, longer, padded(longer, tuple(n + 2 for n in shape_of(longer)))):
        assert int(one.mask.sum()) == graph.n_edges
        vectors = np.asarray(one.vectors(structure))
        reverse, mask = np.asarray(one.reverse), np.asarray(one.mask)
        np.testing.assert_allclose(vectors[reverse][mask], -vectors[mask], atol=1e-12)
        np.testing.assert_array_equal(reverse[reverse], np.arange(one.n_edges))
        np.testing.assert_array_equal(one.receivers[reverse][mask], np.asarray(one.senders)[mask])
        for table in one.tables:
            held, edges = np.asarray(table.mask), np.asarray(table.edges)
            assert (edges[~held] == one.n_edges).all()
            expected = np.asarray(table.vectors(structure.positions, structure.cell))[held]
            np.testing.assert_allclose(vectors[edges[held]], expected, atol=1e-12)
            assert mask[edges[held]].all()


def test_far_too_many_pairs_are_refused_before_the_search_and_large_cells_are_not():
    silicon = Structure.from_ase(bulk("Si", a=5.43))
    for cutoff, skin in ((1e6, 0.0), (2.0, 1e6), (1000.0, 0.0)):
        with pytest.raises(InputError, match=r"more than 1e\+08 pairs of 2 atoms and their images"):
            build_graph(silicon, cutoff, skin)
    large = silicon.supercell(24)  # 27648 atoms: their number squared is beyond the bound, their pairs are not
    assert build_graph(large, 2.5).n_edges == 4 * len(large)


@pytest.mark.parametrize("spread", [10, 2**30])
def test_edges_are_sorted_by_all_columns_whether_one_number_holds_them_or_not(spread):
    random = np.random.default_rng(0)
    columns = [random.integers(-2, 3, 200), *random.integers(-spread, spread, (3, 200))]
    columns = [np.unique(np.array(columns), axis=1)[k] for k in range(4)]
    place = random.permutation(columns[0].size)
    np.testing.assert_array_equal(place[order(*(c[place] for c in columns))], np.arange(place.size))
