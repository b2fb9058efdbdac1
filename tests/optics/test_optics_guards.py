"""What a spectrum cannot be computed of: refused where it is known, NaN under jit, and never a spectrum without absorption."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import electrons, hamiltonians, materials
from jaxepi.errors import InputError
from jaxepi.kpoints import KPoints
from jaxepi.machines import Devices
from jaxepi.optics import (
    EnergyGrid,
    Gaussian,
    Screening,
    Transitions,
    dielectric,
    joint_density_of_states,
    kramers_kronig,
    lowest_excitons,
    spread_transitions,
    tauc_fit,
    transitions,
)
from jaxepi.sampling import Snapshots
from jaxepi.tree import replace

GRID = EnergyGrid.covering(40.0, 0.02)
WIDE = Gaussian(0.1)
SILICON = materials.load("silicon")
CELL, HAMILTONIAN = SILICON.primitive, SILICON.hamiltonian
GRAPH = HAMILTONIAN.graph(CELL)


def moved(*amounts):
    """One atom moved along x by some lengths, angstrom."""
    u = jnp.asarray(amounts)[:, None, None] * jnp.zeros((1, 2, 3)).at[0, 0, 0].set(1.0)
    return Snapshots(CELL, CELL.positions[None] + u, 300.0)


def eps2(x, energy=3.5):
    snapshots = replace(moved(0.0), positions=x)
    return dielectric(
        HAMILTONIAN, snapshots, [energy], broadening=WIDE, graph=GRAPH, grid=GRID, tensor=False
    ).eps2.sum()


@pytest.mark.slow
def test_an_atom_beyond_the_skin_does_not_give_a_transparent_crystal():
    beyond = GRAPH.skin + 0.2  # of two atoms, each is half of it away from the mean
    both = jax.jit(jax.vmap(lambda x: jnp.stack([eps2(x[None]), jax.grad(eps2)(x[None])[0, 0, 0]])))
    values = both(moved(0.05, beyond).positions)
    assert np.isfinite(values[0]).all()
    assert np.isnan(values[1]).all()
    with pytest.raises(InputError, match="snapshot 1: an atom moved"):
        transitions(HAMILTONIAN, moved(0.0, beyond), graph=GRAPH, grid=GRID)
    with pytest.raises(InputError, match="an atom moved"):
        electrons.eigenvalues(HAMILTONIAN, moved(beyond)[0], np.zeros((1, 3)), GRAPH)
    levels = jax.jit(lambda s: electrons.eigenvalues(HAMILTONIAN, s, np.zeros((1, 3)), GRAPH))(moved(beyond)[0])
    assert np.isnan(levels).all()


@pytest.mark.slow
def test_snapshots_known_before_tracing_work_inside_it():
    """A loss over parameters, with the snapshots closed over: the graph is built and checked while it is traced."""
    snapshots = moved(0.05)

    @jax.jit
    def loss(hamiltonian):
        return dielectric(hamiltonian, snapshots, [3.5], broadening=WIDE, grid=GRID, tensor=False).eps2.sum()

    np.testing.assert_allclose(loss(HAMILTONIAN), eps2(snapshots.positions), rtol=1e-9)
    beyond = moved(GRAPH.skin + 0.2)
    with pytest.raises(InputError, match="an atom moved"):
        jax.jit(lambda h: transitions(h, beyond, graph=GRAPH, grid=GRID))(HAMILTONIAN)


@pytest.fixture(scope="module")
def binned():
    histogram = jnp.zeros((1, 1, GRID.count)).at[0, 0, 150:200].set(1.0)
    return Transitions(histogram, jnp.zeros((1, 1, 8)), jnp.ones(1), jnp.asarray(4.0), GRID, 4)


@pytest.mark.slow
def test_energies_widths_and_scissors_that_are_none(binned):
    exact = binned.spectrum(jnp.array([1.0, 3.0]), WIDE).eps2
    np.testing.assert_array_equal(binned.spectrum([1, 3], WIDE).eps2 > 0, exact > 0)
    for energies, match in (
        ([-0.5, 1.0], r"photon energy -0\.5 eV: give positive"),
        ([1.0, np.nan], "photon energy nan eV"),
        ([[1.0]], "photon energies have shape"),
        ([], "no photon energies"),
    ):
        with pytest.raises(InputError, match=match):
            binned.spectrum(np.asarray(energies), WIDE)
    for width, match in (
        (0.0, "give a positive width"),
        (np.nan, "give a positive width"),
        (0.01, "finer than two energy bins"),
    ):
        with pytest.raises(InputError, match=match):
            binned.spectrum([1.0], Gaussian(width))
    with pytest.raises(InputError, match="scissor nan eV"):
        binned.spectrum([1.0], WIDE, np.nan)

    def traced(energy, width, scissor):
        return binned.spectrum(energy[None], Gaussian(width), scissor).eps2.sum()

    well, slope = (jnp.array([3.0, 0.1, 0.0]), jax.jit(jax.grad(lambda p: traced(*p))))
    assert np.isfinite(slope(well)).all()
    for i, value in ((0, -3.0), (0, jnp.nan), (1, 0.01), (1, -0.1), (1, jnp.nan), (2, jnp.nan)):
        ill = well.at[i].set(value)
        assert np.isnan(jax.jit(traced)(*ill))
        assert np.isnan(slope(ill)[1:]).any()


def test_points_that_are_no_shares_of_the_zone():
    points = KPoints(np.zeros((1, 3)), np.full(1, 5.0))
    with pytest.raises(InputError, match="sum to 5"):
        transitions(HAMILTONIAN, moved(0.0), points, graph=GRAPH, grid=GRID)
    for points, match in ((np.zeros(3), r"shape \(3,\)"), (np.full((1, 3), np.nan), "NaN"), (["a"], "not numbers")):
        with pytest.raises(InputError, match=match):
            electrons.eigenvalues(HAMILTONIAN, CELL, points, GRAPH)
    with pytest.raises(InputError, match="memory_gb nan"):
        transitions(HAMILTONIAN, moved(0.0), graph=GRAPH, grid=GRID, memory_gb=np.nan)
    with pytest.raises(InputError, match="no snapshots"):
        transitions(HAMILTONIAN, replace(moved(0.0), positions=jnp.zeros((0, 2, 3))), graph=GRAPH, grid=GRID)


@pytest.mark.slow
def test_fits_and_transforms_of_too_little():
    energies, values = jnp.linspace(1.0, 3.0, 21), jnp.linspace(0.0, 1.0, 21)
    assert np.isfinite(tauc_fit(energies.tolist(), values.tolist()).gap)
    with pytest.raises(InputError, match=r"from 3\.5 to 4 eV holds 0 photon energies"):
        tauc_fit(energies, values, window=(3.5, 4.0))
    assert np.isnan(jax.jit(lambda low: tauc_fit(energies, values, window=(low, 4.0)))(3.5).gap)
    with pytest.raises(InputError, match="positive and increase"):
        kramers_kronig(energies[::-1], values)
    assert np.isnan(jax.jit(kramers_kronig)(energies[::-1], values)).all()
    with pytest.raises(InputError, match="0 filled of 4 states"):
        joint_density_of_states(jnp.zeros((1, 4)), jnp.ones(1), 0, [1.0], WIDE)


def test_overlaps_of_no_functions_are_refused_where_positions_are_needed():
    whole, structure = hamiltonians.load("graphene-pbe-lcao"), materials.load("graphene").primitive
    stretched = whole.params["overlap"]["orbital"].at[0].multiply(1.001)
    h = replace(whole, params={**whole.params, "overlap": {**whole.params["overlap"], "orbital": stretched}})
    graph, rest = h.graph(structure), Snapshots(structure, structure.positions[None], 300.0)
    one = KPoints(np.zeros((1, 3)), np.ones(1))
    for asked in (
        lambda: transitions(h, rest, graph=graph),
        lambda: jax.jit(lambda x: transitions(h, replace(rest, positions=x), graph=graph).histogram)(rest.positions),
        lambda: spread_transitions(h, rest, (one,), Devices(1).mesh(), graph=graph),
        lambda: lowest_excitons(h, structure, (2, 2, 1), Screening(10.0), graph=graph),
        lambda: h.blocks_with_dipoles(structure, graph),
    ):
        with pytest.raises(InputError, match=r"not of one function a shell \(off by 1\.5e-04"):
            asked()
    for dtype in (np.float32, np.float64):
        whole.astype(dtype).check_positions()
