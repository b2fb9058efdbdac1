"""Every public function that can be traced as a smooth function of one number: see `test_transforms`."""

import functools

import honeycomb
import jax
import jax.numpy as jnp
import numpy as np
from spring_crystals import springs

from jaxepi import electrons, epi, graph, hamiltonians, linalg, optics, potentials, sampling
from jaxepi.kpoints import KPoints
from jaxepi.optics.transitions import DenseOperator
from jaxepi.structure import Structure
from jaxepi.tree import replace

ROOMS = (
    "optics",
    "electrons",
    "epi",
    "sampling",
    "hamiltonians",
    "potentials",
    "graph",
    "kpoints",
    "structure",
    "linalg",
)
STEP = 1e-2
OFFSETS = STEP * jnp.array([-2.0, -1.0, 0.0, 1.0, 2.0])

A = 5.431
CELL = Structure.create([[0.0, 0, 0], [A / 4, A / 4, A / 4]], A / 2 * (1 - np.eye(3)), [14, 14])
POTENTIAL = potentials.load("silicon-sw1985")
VALENCE = potentials.load("silicon-mvff")
HAMILTONIAN = hamiltonians.load("si-vogl1983")
GRAPH, BONDS = POTENTIAL.graph(CELL), HAMILTONIAN.graph(CELL)
TABLE = graph.build_graph(CELL, 3.0, 0.6, (graph.Relation(3.0),)).tables[0]
GRID = optics.EnergyGrid.covering(20.0, 0.1)
WIDE = optics.Gaussian(0.5)
ENERGIES = jnp.array([3.0, 4.5])
GENERIC = jnp.array([0.11, 0.23, -0.31])
POINT = KPoints(np.array([[0.11, 0.23, -0.31]]), np.ones(1))
PROBE = electrons.EdgeProbe(jnp.asarray(POINT.points), jnp.asarray(0.0), jnp.asarray(1.0), (1,), (1,), (1,), 4)

rng = np.random.default_rng(0)
DIRECTION = jnp.asarray(rng.normal(size=(2, 3)))
FIXED = sampling.ForceConstants(CELL, sampling.force_constants(POTENTIAL, CELL).matrix)
NOISE = jnp.asarray(rng.normal(size=(4, 2, 3)))
IMAGES = sampling.shortest_images(CELL)
DOUBLED, LONG = CELL.supercell((2, 1, 1)), CELL.supercell((1, 1, 5))
PAIR_BONDS = HAMILTONIAN.graph(DOUBLED)


@functools.cache
def prepared_level():
    with jax.ensure_compile_time_eval():
        springy = springs(honeycomb.cell().supercell((2, 2, 1)), 30.0, 8.0, 1.7)
        model = honeycomb.hamiltonian(general=True)
        return epi.problem(model, springy, epi.Level(GENERIC, 0, 1), epi.topology(model, springy))


LEVELS = jnp.asarray(rng.normal(size=(2, 1, 8)))
WEIGHTS = jnp.asarray(rng.normal(size=(8, 8)))
EPS1, EPS2 = jnp.array([10.0, 12.0]), jnp.array([2.0, 1.0])
HISTOGRAM = jnp.zeros((2, 1, GRID.count)).at[:, :, 30:60].set(jnp.asarray(rng.uniform(0.5, 1.0, (2, 1, 30))))


def hermitian(t, seed=1):
    a, b = np.random.default_rng(seed).normal(size=(2, 5, 5))
    return jnp.asarray(a + a.T) + t * jnp.asarray(b + b.T)


def projected(t):
    """On the space of the two lowest of five."""
    _, u = linalg.invariant_subspaces(((0, 2),), hermitian(t))
    return u @ u.T


def positive(t):
    return jnp.eye(5) + 0.05 * hermitian(t, 2) @ hermitian(t, 2)


def moved(t):
    return CELL.with_positions(CELL.positions + 0.1 * t * DIRECTION)


def drawn(t):
    return sampling.Snapshots(CELL, moved(t).positions[None], 300.0)


def stiffer(t):
    return replace(VALENCE, params=jax.tree.map(lambda x: x * (1 + t), VALENCE.params))


def constants(t):
    return replace(FIXED, matrix=FIXED.matrix * (1 + t))


def without_symmetry(t):
    """No mode is degenerate, so that velocities have derivatives."""
    stretched = jnp.diag(jnp.array([1.0, 1.1, 1.3])) + 0.1 * t
    return replace(FIXED, matrix=jnp.einsum("ab,ibrjc,cd->iarjd", stretched, FIXED.matrix, stretched))


def einstein(t):
    """A crystal at five lattice constants, whose frequencies fall as it grows."""
    factors = jnp.linspace(0.97, 1.04, 5)
    levels = jnp.broadcast_to((1.0 + t) * factors[:, None, None] ** -9, (5, 1, 6))
    return sampling.QuasiHarmonic(CELL, factors, 30.0 * (factors - 1) ** 2, GENERIC[None], jnp.ones(1), levels)


def vibrating(t):
    return sampling.normal_modes(constants(t), POINT, IMAGES)


def binned(t):
    return optics.Transitions(HISTOGRAM * (1 + t) ** 2, LEVELS, jnp.ones(1), jnp.asarray(4.0), GRID, 4)


def spectrum(t):
    eps = (1 + t) * jnp.ones((3, 2, 1, 1)) * jnp.array([1.0, 2.0, 4.0])[:, None, None, None]
    return optics.Spectrum(ENERGIES, 8 + eps, eps**2, weights=jnp.array([1.0, 2.0, 1.0]), groups=(0, 1, 1))


def blocks(t):
    return HAMILTONIAN.blocks(moved(t), BONDS)


def bloch(t):
    h, _ = hamiltonians.bloch_matrices(blocks(t), BONDS, BONDS.vectors(moved(t)), GENERIC)
    return jnp.abs(h).sum()


def histogram(t):
    w = DenseOperator(
        jnp.stack([jnp.triu(hermitian(t, s), 1) - jnp.triu(hermitian(t, s), 1).T for s in (3, 4, 5)])[None]
    )
    bins, e = optics.transition_histogram(hermitian(t)[None], w, jnp.ones(1), 2, GRID)
    return (bins * jnp.linspace(0.0, 1.0, GRID.count)[None] ** 2).sum() + e[:, :2].sum()


def fermi(x, temperature):
    return 1 / (1 + jnp.exp(x / temperature))


def probe_edges(t):
    top, bottom = electrons.thermal_edges(HAMILTONIAN, drawn(t), PROBE, BONDS)
    return (bottom - top).sum()


def by_snapshot(t):
    values = jnp.array([1.0, 3.0, 2.0, 7.0]) ** (1 + t)
    snapshots = sampling.Snapshots(CELL, jnp.zeros((4, 2, 3)), 300.0, jnp.array([1.0, 2.0, 1.0, 1.0]), (0, 0, 1, 1))
    return snapshots.mean(values) + snapshots.standard_error(values)


def elastic(t):
    scaled = replace(POTENTIAL, params={**POTENTIAL.params, "epsilon": POTENTIAL.params["epsilon"] * (1 + t)})
    return potentials.elastic_constants(scaled, CELL).sum()


def trajectory(t):
    positions = moved(t).positions[None, None, None] * jnp.ones((1, 2, 3, 1, 1))
    run = sampling.Trajectory(CELL, jnp.ones(2), positions, jnp.ones(1), *[jnp.ones((1, 2, 3))] * 3)
    snapshots = run.snapshots()[0]
    return snapshots.mean((snapshots.displacements**2).sum(axis=(1, 2)))


def pair(t):
    return sampling.Snapshots(DOUBLED, moved(t).supercell((2, 1, 1)).positions[None], 300.0)


def shifted(t):
    known = prepared_level()
    stiffer = replace(known.constants, matrix=known.constants.matrix * (1 + t))
    return epi.shift(replace(known, constants=stiffer, short=stiffer.matrix), POINT, 300.0 * (1 + t)).total


CASES = {
    "optics.Keldysh": lambda t: optics.Keldysh(5.0 + t, 1.5 + t).potential(jnp.array([2.0, 30.0])).sum(),
    "optics.ModelDielectric": lambda t: (
        optics.ModelDielectric(10.0 + t, 0.2 + 0.1 * t, 9.0 + t).potential(jnp.array([2.0, 3.0])).sum()
        + optics.ModelDielectric(10.0 + t, 0.2 + 0.1 * t, 9.0 + t).onsite
    ),
    "optics.Screening": lambda t: optics.Screening(10.0 + t, 2.0, 1.0 + t).potential(jnp.array([2.0, 30.0])).sum(),
    "optics.screening_of": lambda t: optics.screening_of(HAMILTONIAN, CELL.scaled(1 + t), 10 * (1 + t)).potential(
        jnp.array([2.0])
    )[0],
    "optics.model_dielectric_of": lambda t: (
        optics.model_dielectric_of(HAMILTONIAN, CELL.scaled(1 + t), 10 * (1 + t)).onsite
    ),
    "optics.thomas_fermi_length": lambda t: optics.thomas_fermi_length(8.0, 40.0 * (1 + t)),
    "optics.ModeSpectra": lambda t: (
        optics.ModeSpectra(
            jnp.linspace(1.0, 2.0, 11), jnp.linspace(0.0, 1.0, 11)[None] ** (2 + t), jnp.array([0.06]), 300.0
        )
        .shifted()
        .sum()
    ),
    "optics.Tail": lambda t: optics.Tail(EPS1 * t**2, t).eps2.sum(),
    "optics.elliott_factor": lambda t: optics.elliott_factor(jnp.array([0.6, 1.5]) + t, 0.02 * (1 + t)).sum(),
    "optics.join_tail": lambda t: optics.join_tail(ENERGIES, EPS2 + t, EPS2, 2.5, 0.02 * (1 + t)).eps2.sum(),
    "optics.EnergyGrid": lambda t: (GRID.weights(3.0 + t)[1] * jnp.arange(4.0)).sum(),
    "optics.Gaussian": lambda t: optics.Gaussian(0.3 + t).profile(jnp.asarray(0.2), 0.1),
    "optics.Lorentzian": lambda t: optics.Lorentzian(0.3 + t).profile(jnp.asarray(0.2), 0.1),
    "optics.Spectrum": lambda t: (spectrum(t).standard_error() + spectrum(t).spread()).sum(),
    "optics.TaucFit": lambda t: optics.tauc_fit(ENERGIES, EPS2 * (1 + t), window=(2.0, 5.0)).slope,
    "optics.Transitions": lambda t: binned(t).spectrum(ENERGIES, WIDE, 0.1 * t).eps1.sum(),
    "optics.absorption": lambda t: optics.absorption(ENERGIES, EPS1, EPS2 + t).sum(),
    "optics.dielectric": lambda t: optics.dielectric(
        HAMILTONIAN, drawn(t), ENERGIES, POINT, WIDE, graph=BONDS, grid=GRID
    ).eps2.sum(),
    "optics.energy_loss": lambda t: optics.energy_loss(ENERGIES, EPS1, EPS2 + t).sum(),
    "optics.extinction": lambda t: optics.extinction(ENERGIES, EPS1 - 20, EPS2 + t).sum(),
    "optics.joint_density_of_states": lambda t: optics.joint_density_of_states(
        LEVELS[0] * (1 + t), jnp.ones(1), 4, ENERGIES, WIDE
    ).sum(),
    "optics.kramers_kronig": lambda t: optics.kramers_kronig(ENERGIES, EPS2 * (1 + t) ** 2, jnp.array([3.3]) + t)[0],
    "optics.reflectivity": lambda t: optics.reflectivity(ENERGIES, EPS1, EPS2 + t).sum(),
    "optics.refractive_index": lambda t: optics.refractive_index(ENERGIES, EPS1, EPS2 + t).sum(),
    "optics.SpectrumSlope": lambda t: (
        optics.SpectrumSlope(*(getattr(spectrum(t), n) for n in ("energies", "eps1", "eps2"))).mean()[1].sum()
    ),
    "optics.spectrum_slope": lambda t: (
        optics.spectrum_slope(binned(0.0), HISTOGRAM * (1 + t) ** 2, ENERGIES, WIDE).mean()[0].sum()
    ),
    "optics.tauc_fit": lambda t: optics.tauc_fit(ENERGIES, jnp.array([1.0, 5.0]) + t, window=(2.0, 5.0)).gap,
    "optics.transition_histogram": histogram,
    "optics.transitions": lambda t: optics.transitions(
        HAMILTONIAN, drawn(t), 1, graph=BONDS, grid=GRID, tensor=False
    ).static_eps1()[0],
    "electrons.BandEdges": lambda t: (
        electrons.BandEdges(jnp.zeros((1, 3)), jnp.zeros((1, 3)), t**2, 1 + t**3, 1 + t, (1, 1)).gap
    ),
    "electrons.EdgeProbe": probe_edges,
    "electrons.eigenvalues": lambda t: electrons.eigenvalues(HAMILTONIAN, moved(t), POINT, BONDS)[:, :4].sum(),
    "electrons.eigvalsh": lambda t: electrons.eigvalsh(hermitian(t))[:2].sum(),
    "electrons.generalized_eigvalsh": lambda t: electrons.generalized_eigvalsh(hermitian(t), positive(t))[:2].sum(),
    "electrons.thermal_edges": probe_edges,
    "sampling.ForceConstants": lambda t: (jnp.abs(constants(t).dynamical_matrices) ** 2).sum(),
    "sampling.Snapshots": by_snapshot,
    "sampling.Trajectory": trajectory,
    "sampling.covariance": lambda t: (sampling.covariance(constants(t), 300.0 * (1 + t)) ** 2).sum(),
    "sampling.density_of_states": lambda t: (
        sampling.density_of_states(constants(t), 8.0 + ENERGIES, POINT, 0.8 + t, IMAGES).projected ** 2
    ).sum(),
    "sampling.displacements": lambda t: (sampling.displacements(constants(t), 300.0 * (1 + t), NOISE) ** 2).sum(),
    "sampling.dynamical_matrix": lambda t: (
        (jnp.abs(sampling.dynamical_matrix(constants(t), GENERIC + t, IMAGES)) * WEIGHTS[:6, :6]) ** 2
    ).sum(),
    "sampling.expanded": lambda t: sampling.expanded(einstein(t), 300.0 * (1 + t)).factor,
    "sampling.force_constants": lambda t: (
        sampling.force_constants(POTENTIAL, moved(t), GRAPH, force_tolerance=1e9).matrix ** 2
    ).sum(),
    "sampling.large_force_constants": lambda t: (
        sampling.large_force_constants(stiffer(t), LONG, extent=3.0).matrix ** 2
    ).sum(),
    "sampling.frequencies_thz": lambda t: sampling.frequencies_thz(constants(t), GENERIC[None], IMAGES).sum(),
    "sampling.group_velocities": lambda t: (
        1e3 * (sampling.group_velocities(without_symmetry(t), GENERIC[None] + t, images=IMAGES) ** 2).sum()
    ),
    "sampling.harmonic": lambda t: (
        sampling.harmonic(FIXED, temperature=300.0 * (1 + t), count=2, key=0, antithetic=True).displacements ** 2
    ).sum(),
    "sampling.mean_square_displacements": lambda t: sampling.mean_square_displacements(
        FIXED, 300.0 * (1 + t), "classical"
    ).sum(),
    "sampling.mean_squares": lambda t: sampling.mean_squares(
        constants(t), 300.0 * (1 + t), POINT, "classical", IMAGES
    ).sum(),
    "sampling.normal_modes": lambda t: vibrating(t).eigenvalues.sum(),
    "sampling.free_energy": lambda t: sampling.free_energy(vibrating(t), 300.0 * (1 + t)),
    "sampling.vibrational_energy": lambda t: sampling.vibrational_energy(vibrating(t), 300.0 * (1 + t)),
    "sampling.entropy": lambda t: 1e3 * sampling.entropy(vibrating(t), 300.0 * (1 + t)),
    "sampling.heat_capacity": lambda t: 1e3 * sampling.heat_capacity(vibrating(t), 300.0 * (1 + t)),
    "sampling.resampled": lambda t: (sampling.resampled(constants(t), DOUBLED, IMAGES).matrix ** 2).sum(),
    "sampling.sum_rules": lambda t: sum(sampling.sum_rules(constants(t), IMAGES)[:1]) + t,
    "sampling.with_sum_rules": lambda t: (
        sampling.with_sum_rules(without_symmetry(t), images=IMAGES).matrix ** 2
    ).sum(),
    "sampling.white_noise": lambda t: (t * sampling.white_noise(jax.random.key(1), 2, 2)).sum(),
    "hamiltonians.Basis": lambda t: (HAMILTONIAN.basis.by_orbital(1 + t * jnp.arange(3.0)) ** 2).sum(),
    "hamiltonians.Blocks": lambda t: (jnp.abs(blocks(t).as_spinor().hopping) ** 2).sum(),
    "hamiltonians.Hamiltonian": lambda t: (blocks(t).hopping ** 2).sum(),
    "hamiltonians.bloch_matrices": bloch,
    "hamiltonians.hamiltonian_gradient": lambda t: (
        jnp.abs(hamiltonians.hamiltonian_gradient(HAMILTONIAN, moved(t), BONDS, GENERIC)[0]) ** 2
    ).sum(),
    "hamiltonians.hamiltonian_k": lambda t: (
        jnp.abs(hamiltonians.hamiltonian_k(HAMILTONIAN, moved(t), BONDS, GENERIC + t)[0]) ** 2
    ).sum(),
    "potentials.Potential": lambda t: (
        POTENTIAL.energy(moved(t), GRAPH)
        + (POTENTIAL.forces(moved(t), GRAPH) * DIRECTION).sum()
        + POTENTIAL.stress(moved(t), GRAPH)[0, 1]
    ),
    "potentials.StillingerWeber": lambda t: POTENTIAL.energy(moved(t), GRAPH),
    "potentials.ValenceForceField": lambda t: VALENCE.energy(moved(t), VALENCE.graph(CELL)),
    "potentials.elastic_constants": elastic,
    "potentials.stretched": lambda t: (
        potentials.stretched(replace(CELL, pbc=(True, True, False)), 1 + t).cell ** 2
    ).sum(),
    "graph.Graph": lambda t: (GRAPH.vectors(moved(t)) ** 3).sum() + GRAPH.displacement(moved(1 + t)),
    "graph.Table": lambda t: (TABLE.vectors(moved(t).positions, CELL.cell) ** 2).sum(),
    "graph.guarded": lambda t: POTENTIAL.energy(moved(t), GRAPH),
    "structure.Structure": lambda t: (
        CELL.strained(t * jnp.eye(3, k=1) + t * jnp.eye(3)).volume
        + CELL.scaled(1 + t).reciprocal.sum()
        + (CELL.scaled(1 + t).supercell(2).positions ** 2).sum()
    ),
    "epi.shift": shifted,
    "epi.velocity": lambda t: epi.velocity([0.1, 0.2, 0.4], jnp.array([0.1, 0.3, 0.2]) * (1 + t), (0.0, 0.3)),
    "epi.spectral_functions": lambda t: (
        epi.spectral_functions(HAMILTONIAN, pair(t), POINT, ENERGIES, 0.5, PAIR_BONDS) ** 2
    ).sum(),
    "linalg.in_eigenvectors": lambda t: (
        linalg.in_eigenvectors(WEIGHTS[:5, :5] * (1 + t), [WEIGHTS[3:, 3:], WEIGHTS[:5, 3:]]) ** 2
    ).sum(),
    "linalg.hermitian": lambda t: (linalg.hermitian(WEIGHTS * (1 + t)) * WEIGHTS).sum(),
    "linalg.invariant_subspaces": lambda t: (projected(t) * WEIGHTS[:5, :5]).sum(),
    "linalg.spectral_sum": lambda t: linalg.spectral_sum(fermi, (hermitian(t),), WEIGHTS[0, :5] * (1 + t), (1.0 + t,)),
    "linalg.alike": lambda t: jnp.multiply(
        *linalg.alike(hermitian(t), jax.lax.complex(hermitian(t, 2), t * jnp.ones((5, 5))))
    ).real.sum(),
    "linalg.call_lapack": lambda t: linalg.call_lapack(5, jnp.linalg.eigvalsh, hermitian(t))[0],
    "linalg.degeneracy_tolerance": lambda t: linalg.degeneracy_tolerance(jnp.array([1.0, 2.0]) + t),
    "linalg.divided_differences": lambda t: linalg.divided_differences(
        *(jnp.array([1.0, 2.0]) ** p * (1 + t) for p in (1, 2, 3))
    ).sum(),
    "linalg.inverse_3x3": lambda t: (linalg.inverse_3x3(hermitian(t)[:3, :3]) * WEIGHTS[:3, :3]).sum(),
    "linalg.inverse_cholesky": lambda t: (linalg.inverse_cholesky(positive(t)) * WEIGHTS[:5, :5]).sum(),
    "linalg.matrix_function": lambda t: (linalg.matrix_function(fermi, hermitian(t), 1.0 + t) * WEIGHTS[:5, :5]).sum(),
    "linalg.spectral_norm_3x3": lambda t: linalg.spectral_norm_3x3(hermitian(t)[:3, :3]),
}
