"""Solvers of large cells against the dense one: spectra, derivatives, error bars; what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import materials, optics
from jaxepi.errors import InputError
from jaxepi.kpoints import KPoints
from jaxepi.optics import Dense, EnergyGrid, Filtered, Gaussian, Lorentzian, Stochastic
from jaxepi.optics.solvers import spectral
from jaxepi.optics.solvers.bonds import Bonds
from jaxepi.optics.solvers.case import Case, operators_of
from jaxepi.optics.solvers.estimators import Lines, Sides
from jaxepi.optics.solvers.spectral import Density, Levels
from jaxepi.optics.solvers.stochastic import left_out
from jaxepi.optics.solvers.windows import choose
from jaxepi.sampling.snapshots import Snapshots
from jaxepi.tree import replace

GRID = EnergyGrid.covering(60.0, 0.02)
LINE = Gaussian(0.08)
ENERGIES = jnp.linspace(1.4, 2.4, 11)
GAMMA = KPoints(np.zeros((1, 3)), np.ones(1))
ANYWHERE = KPoints(np.array([[0.21, 0.13, 0.37]]), np.ones(1))
NARROW = Filtered(joint=2.4, rest=None, width=0.04)


@pytest.fixture(scope="module")
def crystal():
    """Silicon's Hamiltonian, its graph, and sixteen atoms out of their places."""
    silicon = materials.load("silicon")
    supercell = silicon.primitive.supercell(2)
    moved = supercell.positions + 0.05 * np.random.default_rng(0).normal(size=(16, 3))
    snapshots = Snapshots(supercell, jnp.asarray(moved)[None], jnp.asarray(0.0))
    return silicon.hamiltonian, silicon.hamiltonian.graph(supercell), snapshots


@pytest.fixture(scope="module")
def planned(crystal):
    """The filtered solver with its window."""
    h, graph, snapshots = crystal
    return optics.planned(NARROW, h, snapshots, GAMMA, graph)


def case_of(crystal, points=GAMMA):
    h, graph, snapshots = crystal
    k, weights = jnp.asarray(points.points), jnp.asarray(points.weights)
    return Case(h, snapshots.structure, snapshots.check(graph), snapshots.positions, k, weights, points.is_real)


@pytest.mark.slow
def test_filtered_states_give_the_dense_spectrum(crystal):
    """At a general k point, by a first filter in single precision; up to the joint, whatever is beyond."""
    h, graph, snapshots = crystal
    solver, energies = Filtered(joint=2.1, width=0.08, precision="single"), ENERGIES[ENERGIES <= 2.1]
    dense, *others = (
        optics.transitions(h, snapshots, ANYWHERE, GRID, True, graph, solver=one).spectrum(energies, LINE).eps2[0]
        for one in (Dense(), *(replace(solver, rest=rest) for rest in (Stochastic(above=0), Stochastic())))
    )
    size = jnp.abs(dense).max(axis=(1, 2), keepdims=True)
    for found in others:
        np.testing.assert_allclose(found / size, dense / size, atol=1e-6)


@pytest.mark.slow
def test_filtered_spectra_and_their_derivatives_are_those_of_the_dense_solver(crystal, planned):
    h, graph, snapshots = crystal
    direction = np.random.default_rng(1).normal(size=(16, 3))

    def eps2(t, solver):
        moved = Snapshots(snapshots.structure, snapshots.positions + t * direction[None], snapshots.temperature)
        found = optics.transitions(h, moved, GAMMA, GRID, False, graph, solver=solver)
        return found.spectrum(ENERGIES, LINE).eps2[0, :, 0, 0] @ jnp.cos(3 * ENERGIES)

    slopes = [jax.jit(jax.value_and_grad(eps2), static_argnums=1)(jnp.asarray(0.0), one) for one in (planned, Dense())]
    np.testing.assert_allclose(*slopes, rtol=1e-5)


@pytest.mark.slow
def test_random_vectors_give_the_dense_spectrum_within_their_error(crystal):
    h, graph, snapshots = crystal
    solver = Stochastic(vectors=32, above=4, ceiling=2.6, width=0.08)
    found = optics.transitions(h, snapshots, GAMMA, GRID, False, graph, solver=solver)
    dense = optics.transitions(h, snapshots, GAMMA, GRID, False, graph)
    a, b = (t.spectrum(ENERGIES, LINE) for t in (found, dense))
    eps2, exact = (x.eps2[0, :, 0, 0] for x in (a, b))
    error = found.noise(ENERGIES, LINE)[0]
    assert np.asarray(error / exact).max() < 0.25
    assert np.asarray(jnp.abs(eps2 - exact) / error).max() < 4
    assert np.asarray(eps2).min() > 0
    np.testing.assert_allclose(found.f_sum(), dense.f_sum(), rtol=0.1)


@pytest.mark.slow
def test_a_plan_that_no_longer_holds_is_seen_under_tracing(crystal, planned):
    operator = operators_of(case_of(crystal), 0, 0)[0]

    @jax.jit
    def holds(scale):
        return planned.states(replace(operator, blocks=scale * operator.blocks), planned.window)[3]

    assert holds(jnp.asarray(1.0))
    assert not holds(jnp.asarray(0.5))
    assert not holds(jnp.asarray(1.2))
    with pytest.raises(InputError, match="are beyond those that were planned for"):
        planned.states(replace(operator, blocks=1.2 * operator.blocks), planned.window)


def density(gap=(0.0, 1.0), occupied=40, size=160):
    """A smooth density of states with a gap, as random vectors would give it."""
    e = np.linspace(-10.0, 15.0, 2501)
    below, above = e < gap[0], e > gap[1]
    values = np.where(below, occupied / (gap[0] + 10), np.where(above, (size - occupied) / (15 - gap[1]), 0.0))
    counts = np.cumsum(values) * (e[1] - e[0])
    return Density(e, counts[None] * np.array([[0.999], [1.001]]), values)


def test_the_gap_is_found_by_its_filling_or_refused():
    found = spectral.gap(density(), 40)
    np.testing.assert_allclose(found, (0.0, 1.0), atol=0.02)
    with pytest.raises(InputError, match="no gap above the 43 filled states"):
        spectral.gap(density(), 43)
    with pytest.raises(InputError, match="no gap above the 40 filled states"):
        spectral.gap(density(gap=(0.5, 0.495)), 40)


def test_gaps_that_random_vectors_cannot_tell_apart_are_refused_and_given_ones_are_counted():
    one = density()
    hole = np.where((one.energies > -0.9) & (one.energies < -0.4), 0.0, one.density)
    with pytest.raises(InputError, match=r"gaps at -0\.89 to -0\.4\d, .* eV may lie above the 38 filled"):
        spectral.gap(replace_counts(one, hole, 0.02), 38)

    def levels(filled):
        e = np.repeat([-3.0, -0.2, 3.0], [38, filled, 122 - filled])
        return Bonds(jnp.asarray(np.diag(e))[None], jnp.zeros((1, 1), int), jnp.ones((1, 160), bool))

    with pytest.raises(InputError, match="no gap above the 40 filled"):
        spectral.gap(replace_counts(one, hole, 0.02), 40, levels(1))
    np.testing.assert_allclose(spectral.gap(replace_counts(one, hole, 0.02), 39, levels(1))[0], 0.0, atol=0.02)
    assert spectral.edges_of(one, 40, (0.1, 0.8)) == (0.1, 0.8)
    with pytest.raises(InputError, match=r"gap -5 to -4 eV: 22 \+- 0 states are below, and 40 are filled"):
        spectral.edges_of(one, 40, (-5.0, -4.0))


def replace_counts(found, values, noise):
    """A density of states of other values, with counts that differ by vector."""
    counts = np.cumsum(values) * (found.energies[1] - found.energies[0])
    return Density(found.energies, counts[None] * np.array([[1 - noise], [1 + noise]]), values)


def test_windows_hold_what_is_asked_for_or_are_refused():
    levels = Levels(-10.5, 15.5, 0.0, 1.0)
    chosen = choose(density(), levels, 2.0, 1e-8, 160)
    assert chosen.outer[0] < chosen.low == -1.0
    assert chosen.outer[1] > chosen.high == 2.0
    assert 12 < chosen.block < 160
    held = chosen.holding(np.array([-1.5, -0.8, -0.2, -0.1, 1.2, 1.9, 2.5, np.inf]))
    assert (held.filled, held.empty) == (4, 3)
    with pytest.raises(InputError, match=r"5 filled and 1 empty states take part .* the plan keeps 4 and 3"):
        held.holding(np.array([-0.9, -0.8, -0.2, -0.1, -0.05, 1.2, 2.4, 2.5]))
    planned = replace(chosen, filled=2, empty=2)
    energies = jnp.array([-1.5, -0.8, -0.2, 1.2, 1.9, 2.5])
    assert planned.holds(energies)
    assert not planned.holds(energies.at[0].set(-0.9))
    assert not planned.holds(energies.at[3:].set(jnp.inf))
    with pytest.raises(InputError, match=r"no filled state is among those.*raise joint"):
        choose(density(), levels, 1.05, 1e-8, 160)
    with pytest.raises(InputError, match="a filter gains nothing"):
        choose(density(), levels, 9.0, 1e-8, 160)


def test_polynomials_suppress_as_much_as_they_are_asked_to():
    chosen = choose(density(), Levels(-10.5, 15.5, 0.0, 1.0), 2.0, 1e-8, 160)
    centre, half = chosen.levels.scale

    def over_the_outside(one):
        coefficients = np.asarray(one.coefficients(float))[0]
        at = np.concatenate([np.linspace(-10.5, chosen.outer[0], 999), np.linspace(chosen.outer[1], 15.5, 999)])
        outside, edges = (
            np.abs(np.polynomial.chebyshev.chebval((e - centre) / half, coefficients))
            for e in (at, np.array([chosen.low, chosen.high]))
        )
        return edges.min() / outside.max()

    short = chosen.reducing(1e-3)
    assert short.order < chosen.order
    assert 1e3 < over_the_outside(short) < over_the_outside(chosen)
    assert chosen.reducing(1e-30).order == chosen.order
    rough, left = chosen.in_single(160)
    assert rough.order <= chosen.order
    assert 160**0.5 * 10 / over_the_outside(rough) < left < 1e-2


def test_lines_wider_than_the_gap_are_refused():
    assert Sides.of(Levels(-10.0, 10.0, 0.0, 1.0), Lines.of(0.03, GRID), 2.0).first > 0
    with pytest.raises(
        InputError, match=r"a gap of 0\.100 eV is blurred by lines of 0\.03 eV: give a width below 0\.0"
    ):
        Sides.of(Levels(-10.0, 10.0, 0.0, 0.1), Lines.of(0.03, GRID), 2.0)


def test_what_does_not_fit_into_memory_is_refused_with_what_it_needs(crystal):
    h, graph, snapshots = crystal
    with pytest.raises(InputError, match=r"8 random vectors at all energies need about .* GB.*fewer vectors"):
        optics.transitions(h, snapshots, GAMMA, graph=graph, memory_gb=1e-4, solver=Stochastic())
    levels = Levels(-13.0, 45.0, -1.0, 1.5)
    solver = Filtered(rest=None, window=choose(density(), levels, 3.0, 1e-8, 160))
    with pytest.raises(InputError, match=r"vectors of 160 orbitals.*need about .* GB.*lower joint"):
        solver.check_memory(
            solver.window, Bonds(jnp.zeros((16, 10, 50)), graph.neighbours, jnp.ones((16, 10), bool)), 1e-4
        )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Stochastic(vectors=2), "vectors 2: .* at least 3"),
        (lambda: Stochastic(above=-1), "above -1"),
        (lambda: Stochastic(above=1), "above 1: give 2 random vectors"),
        (lambda: Stochastic(above=9), r"above 9: .* to 8 \(vectors\)"),
        (lambda: Stochastic(ceiling=0.0), r"ceiling 0\.0 eV"),
        (lambda: Stochastic(width=-0.1), r"width -0\.1 eV"),
        (lambda: Filtered(gap=(2.0, -1.0)), r"gap \(2\.0, -1\.0\): .* lower one first"),
        (lambda: Filtered(joint=-1.0), r"joint -1\.0 eV"),
        (lambda: Filtered(tolerance=1.0), r"tolerance 1\.0"),
        (lambda: Filtered(precision="half"), "precision 'half'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_widths_below_what_lines_carry_are_refused_and_bare_bins_have_no_error(crystal):
    zeros = jnp.zeros((1, 1, GRID.count))
    levels, one = jnp.zeros((1, 1, 2)), jnp.ones(1)
    found = optics.Transitions(zeros, levels, one, jnp.asarray(1.0), GRID, 1, carried=0.09)
    with pytest.raises(InputError, match=r"broadening of 0\.09 eV: these lines are 0\.1 eV wide already"):
        found.spectrum([1.0], Gaussian(0.09))
    with pytest.raises(InputError, match="these lines are Gaussians already"):
        found.spectrum([1.0], Lorentzian(0.2))
    traced = jax.jit(lambda width: found.spectrum(jnp.ones(1), Gaussian(width)).eps2)
    assert np.isnan(traced(jnp.asarray(0.09))).all()
    assert np.isfinite(traced(jnp.asarray(0.1))).all()
    with pytest.raises(InputError, match="hold no random vectors"):
        found.noise([1.0], Gaussian(0.2))


def test_the_error_above_the_ceiling_is_that_of_its_vectors():
    each, r = jnp.asarray(np.random.default_rng(0).normal(size=(3, 1, 4))), 8
    mean, replicas = jnp.split(left_out(each, r), [1])
    np.testing.assert_allclose(mean[0], each.mean(axis=0), rtol=1e-12)
    expected = np.std(each, axis=0, ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(jnp.sqrt((r - 1) * replicas.var(axis=0)), expected, rtol=1e-12)


def test_wider_lines_than_planned_for_are_refused():
    window = choose(density(), Levels(-10.5, 15.5, 0.0, 1.0), 2.0, 1e-8, 160)
    planned = replace(NARROW, window=window)
    assert planned.resolving(0.04) == planned
    with pytest.raises(InputError, match=r"planned for lines of 0\.04 eV, and these are 0\.1"):
        planned.resolving(0.1)


def test_the_automatic_solver_goes_by_size_and_memory(crystal):
    h, primitive = crystal[0], materials.load("silicon").primitive

    def chosen(repeats, memory_gb=24.0):
        cell = primitive.supercell(repeats)
        case = Case(h, cell, h.graph(cell), cell.positions[None], jnp.zeros((1, 3)), jnp.ones(1), True)
        return type(optics.Automatic().choose(case, memory_gb))

    assert chosen(1) is Dense
    assert chosen(8) is Filtered
    assert chosen(8, 0.1) is Stochastic
    assert chosen(15) is Stochastic


def test_traced_cells_need_a_plan(crystal):
    h, graph, snapshots = crystal

    def total(x):
        moved = Snapshots(snapshots.structure, x, snapshots.temperature)
        return optics.transitions(h, moved, GAMMA, GRID, False, graph, solver=NARROW).histogram.sum()

    with pytest.raises(InputError, match=r"optics\.planned"):
        jax.eval_shape(total, snapshots.positions)
