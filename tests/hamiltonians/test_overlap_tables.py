"""S(R) in JAX against the host's, its derivatives, and what follows from it in random cells of the labels' basis."""

from pathlib import Path

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi.datasets.hdf5 import read_functions
from jaxepi.datasets.overlap import OverlapFunctions, entries
from jaxepi.errors import InputError
from jaxepi.graph import build_graph
from jaxepi.hamiltonians import Basis, Blocks, bloch_matrices
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.structure import Structure

LABELS = Path(__file__).parents[2] / "experiments/bilayer_graphene/data/lcao.h5"
SHELLS, PROJECTORS = ("s", "p"), ("s",)


def functions() -> OverlapFunctions:
    rng, r = np.random.default_rng(0), np.linspace(0.0, 6.0, 60)
    tables = [
        np.array([rng.normal() * np.exp(-rng.uniform(0.5, 1.5) * r**2) for _ in entries(rows, SHELLS, symmetric)])
        for rows, symmetric in ((SHELLS, True), (PROJECTORS, False))
    ]
    return OverlapFunctions(*tables, np.array([[0.7]]), SHELLS, PROJECTORS, 6.0, (6.0, 5.0), 1e-12)


def test_a_file_with_other_tables_is_refused():
    form, params = Overlap.of(functions())
    config = form.to_config()
    assert Overlap.from_config(config, params, "m.npz") == form
    with pytest.raises(InputError, match=r"m\.npz: overlap: shell .*f"):
        Overlap.from_config({**config, "shells": ["s", "f"]}, params, "m.npz")
    with pytest.raises(InputError, match="overlap/orbital has shape"):
        Overlap.from_config({**config, "shells": ["s"]}, params, "m.npz")


@pytest.mark.slow
def test_overlap_of_the_labels_basis_is_the_hosts_with_its_derivatives_and_positive():
    """GPAW's carbon, two layers of two atoms each, displaced at random as by vibrations: within 1e-10 of the host's S(R) and
    1e-7 of its slopes; no eigenvalue of S(k) below zero."""
    with h5py.File(LABELS) as file:
        tables = read_functions(file, next(iter(file["overlap_functions"])), str(LABELS))
        x, cell = file["groups/00/positions"][0], file["groups/00/cell"][0]
    form, params = Overlap.of(tables)
    structure = Structure.create(x, cell, [6] * 4, (True, True, False))
    graph = build_graph(structure, form.cutoff, 0.5, (form.relation,))
    basis = Basis(((6, ("s", "p", "2s", "2p", "d")),), ((6, 4.0),))
    rng = np.random.default_rng(0)

    def overlaps(x):
        return form.apply(params, structure.with_positions(x), graph, graph.tables[0])

    @jax.jit
    def at(x, direction, k):
        (own, edges), slope = jax.jvp(overlaps, (x,), (direction,))
        blocks = Blocks(own, edges, edges, basis, structure.species, onsite_overlap=own)
        s = bloch_matrices(blocks, graph, graph.vectors(structure.with_positions(x)), k)[1]
        return jnp.concatenate([own, edges]), jnp.concatenate(slope), jnp.linalg.eigvalsh(s)

    smallest = np.inf
    for _ in range(20):
        moved, direction = (jnp.asarray(x + rng.normal(scale=0.07, size=x.shape)) for x in (x, 0 * x))
        value, slope, s = at(moved, direction, jnp.asarray(rng.uniform(-2, 2, 3) * [1.0, 1.0, 0.0]))
        smallest = min(smallest, float(s[0]))
    assert 1e-6 < smallest < 1e-2

    def host(x):
        own = np.column_stack([np.arange(4), np.arange(4), np.zeros((4, 3), int)])
        pairs = np.concatenate([own, np.column_stack([graph.senders, graph.receivers, graph.shifts])]).astype(int)
        return tables.blocks(np.asarray(x), cell, (True, True, False), pairs)

    np.testing.assert_allclose(value, host(moved), atol=1e-10)
    step = 2e-4
    differences = (host(moved + step * direction) - host(moved - step * direction)) / (2 * step)
    assert np.abs(slope).max() > 0.01
    np.testing.assert_allclose(slope, differences, atol=1e-7)
