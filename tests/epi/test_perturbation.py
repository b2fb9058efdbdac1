"""Second order against exact differences of energies, in supercells that fit the wave vectors; sum rules; derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import sampling
from jaxepi.electrons import generalized_eigvalsh
from jaxepi.epi import Level, Treatment, by_mode, problem, shift, topology
from jaxepi.epi.levels import Electrons
from jaxepi.errors import InputError
from jaxepi.hamiltonians import bloch_matrices
from jaxepi.kpoints import KPoints
from jaxepi.sampling.phonons import interpolated
from jaxepi.tree import replace

pytestmark = pytest.mark.slow


def meshed(constants) -> KPoints:
    q = constants.commensurate()
    return KPoints(q, np.full(len(q), 1 / len(q)))


def energies(hamiltonian, supercell, graph, k):
    @jax.jit
    def at(u):
        moved = supercell.with_positions(supercell.positions + u)
        blocks = hamiltonian.blocks(moved, graph)
        return generalized_eigvalsh(*bloch_matrices(blocks, graph, graph.vectors(supercell), k))

    return at


def test_second_order_is_the_curvature_of_exact_energies(crystal, constants, k):
    """Displacements whose outer products sum to the covariance; both terms, with an overlap and energies of surroundings."""
    hamiltonian, known = crystal
    supercell = constants.supercell
    at = energies(hamiltonian, supercell, hamiltonian.graph(supercell), k @ constants.base.reciprocal)
    count = 3 * len(supercell)
    u = 0.02 * sampling.displacements(constants, 300.0, jnp.eye(count).reshape(count, -1, 3))
    rest = at(jnp.zeros_like(u[0]))
    curvature = sum(0.5 * (at(one) + at(-one)) - rest for one in u) / 0.02**2
    for band in range(2):
        prepared = problem(hamiltonian, constants, Level.at(hamiltonian, constants.base, k, band), known)
        found = shift(prepared, meshed(constants), 300.0)
        place = int(jnp.argmin(jnp.abs(rest - prepared.states.energy[0, 0].real)))
        np.testing.assert_allclose(found.total, curvature[place], rtol=2e-3, atol=1e-5)
        modes = by_mode(prepared, meshed(constants), [300.0])
        np.testing.assert_allclose(modes.shift.fan[0], found.fan, rtol=1e-9)
        np.testing.assert_allclose(modes.shift.debye_waller[0], found.debye_waller, rtol=1e-9)
        assert abs(found.fan) > 1e-3
        assert abs(found.debye_waller) > 1e-4


def test_a_crystal_that_moves_as_a_whole_shifts_nothing(crystal, constants, k):
    """The acoustic sum rule, Fan and Debye-Waller each, against the size of single atoms' terms."""
    hamiltonian, known = crystal
    prepared = problem(hamiltonian, constants, Level.at(hamiltonian, constants.base, k, 0), known)
    matrix = prepared.hessian.matrix
    assert float(jnp.abs(matrix.sum(axis=(2, 3))).max()) < 1e-10 * float(jnp.abs(matrix).max())
    dh, ds = prepared.electrons.couplings.between(prepared.states.k, jnp.zeros(3))
    for matrices in (dh, ds):
        if matrices is not None:
            whole = matrices.reshape(2, 3, *matrices.shape[1:]).sum(axis=0)
            assert float(jnp.abs(whole).max()) < 1e-10 * float(jnp.abs(matrices).max())


def test_a_smaller_container_of_second_derivatives_is_exact_at_its_own_wave_vectors(crystal, constants, k):
    """Of 2 x 2 cells in place of the stencil's own, on the mesh of 2 divisions."""
    hamiltonian, known = crystal
    level = Level.at(hamiltonian, constants.base, k, 0)
    small = topology(hamiltonian, constants, known.stencil.repeats, (2, 2, 1))
    assert small.repeats == (2, 2, 1) != known.repeats
    whole, folded = (problem(hamiltonian, constants, level, t).hessian for t in (known, small))
    for q in meshed(constants).points:
        both = (interpolated(h, h.matrix, jnp.asarray(q), t.container) for h, t in ((whole, known), (folded, small)))
        np.testing.assert_allclose(*both, atol=1e-9)
    with pytest.raises(InputError, match="second 0"):
        topology(hamiltonian, constants, known.stencil.repeats, (2, 2, 0))


def test_coupling_is_hermitian(crystal, constants, k):
    """<k+q| dH_q |k> is the adjoint of <k| dH_-q |k+q>, in orthonormal bases of both."""
    hamiltonian, known = crystal
    electrons = Electrons.of(hamiltonian, constants.base, known.graph, known.stencil)
    there = k + jnp.array([0.2, -0.17, 0.0])
    both = electrons.at(k), electrons.at(there)
    forth, _ = electrons.perturbations(k, there - k, *both)
    back, _ = electrons.perturbations(there, k - there, *both[::-1])
    np.testing.assert_allclose(forth, jnp.conj(jnp.swapaxes(back, 1, 2)), atol=1e-12)


def test_dynamic_tends_to_adiabatic_as_nuclei_grow_heavy(crystal, constants, k):
    """Phonon energies in the denominators vanish with the masses, away from Gamma, where the level couples with itself."""
    hamiltonian, known = crystal
    level, points = Level.at(hamiltonian, constants.base, k, 0), KPoints(meshed(constants).points[1:], np.ones(3) / 3)
    apart = []
    for factor in (1.0, 1e4):
        heavy = replace(constants, weights=jnp.asarray(constants.base.masses) * factor)
        prepared = problem(hamiltonian, heavy, level, known)
        fan = [shift(prepared, points, 0.0, Treatment(0.0, 0.0, dynamic)).fan for dynamic in (False, True)]
        apart.append(abs(fan[1] / fan[0] - 1))
    assert apart[0] > 1e-3
    assert apart[1] < 0.02 * apart[0]


@pytest.mark.parametrize("how", [Treatment(), Treatment(0.3, 0.0, True)], ids=["adiabatic", "dynamic"])
def test_derivatives_by_temperature_masses_and_strain(crystal, constants, k, how):
    """Against central differences; at Gamma, where the honeycomb has degenerate phonons, too."""
    hamiltonian, known = crystal
    level, points = Level.at(hamiltonian, constants.base, k, 0), meshed(constants)

    def total(x):
        stretched = constants.base.strained(0.01 * x[1] * jnp.diag(jnp.array([1.0, 0.3, 0.0])))
        masses = jnp.asarray(constants.base.masses) * (1 + 0.1 * x[2])
        prepared = problem(hamiltonian, replace(constants, weights=masses), level, known, stretched)
        return shift(prepared, points, 300.0 * (1 + 0.1 * x[0]), how).total

    both = jax.jit(lambda x, along: jax.jvp(total, (x,), (along,)))
    for along in jnp.eye(3):
        (plus, _), (minus, _) = (both(sign * 1e-3 * along, along) for sign in (1, -1))
        np.testing.assert_allclose(both(jnp.zeros(3), along)[1], (plus - minus) / 2e-3, rtol=1e-4)


def test_what_cannot_be_shifted_is_refused(crystal, constants, k):
    hamiltonian, known = crystal
    with pytest.raises(InputError, match="there are 2 bands"):
        Level.at(hamiltonian, constants.base, k, 2)
    prepared = problem(hamiltonian, constants, Level.at(hamiltonian, constants.base, k, 0), known)
    with pytest.raises(InputError, match="temperature -1"):
        shift(prepared, meshed(constants), -1.0)
    points = meshed(constants)
    for wrong, message in (
        (Treatment(-0.1), "broadening"),
        (Treatment(dynamic=True, statistics="classical"), "those of quanta"),
    ):
        for shifted in (shift, by_mode):
            with pytest.raises(InputError, match=message):
                shifted(prepared, points, 1.0, wrong)
    for shifted in (shift, by_mode):
        with pytest.raises(InputError, match="weights"):
            shifted(prepared, KPoints(points.points, np.ones(4)), 1.0)
    with pytest.raises(InputError, match="temperatures"):
        by_mode(prepared, points, [1.0, np.inf])
