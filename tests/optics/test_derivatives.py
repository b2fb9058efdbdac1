"""Derivatives of eps2 by everything it depends on, against finite differences: on perfect, exactly degenerate crystals too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxepi import hamiltonians, materials, sampling
from jaxepi.optics import EnergyGrid, Gaussian, dielectric
from jaxepi.sampling.harmonic import displacements, white_noise
from jaxepi.sampling.snapshots import Snapshots

pytestmark = pytest.mark.slow

ENERGIES = jnp.linspace(2.0, 6.0, 9)
GRID = EnergyGrid.covering(40.0, 0.02)
WEIGHTS = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1.5, (9, 3, 3)))
TOLERANCE = 1e-5


def result(hamiltonian, u, strain, width, structure, graph, points):
    """A number that depends on all components of eps2 at all energies, and on eps1."""
    moved = structure.with_positions(structure.positions + u).strained(strain)
    snapshot = Snapshots(moved, moved.positions[None], jnp.asarray(0.0))
    s = dielectric(hamiltonian, snapshot, ENERGIES, points, Gaussian(width), graph=graph, grid=GRID)
    return jnp.sum(WEIGHTS * s.eps2[0]) + 0.1 * s.eps1[0].sum()


# One compilation a case serves the values of the finite differences and the gradient.
value_and_grad = jax.jit(jax.value_and_grad(result, argnums=(0, 1, 2, 3)), static_argnames="points")


class Case:
    """Gradient of `result` at a point, and its slope along a direction by differences of fourth order."""

    def __init__(self, material, name, conventional, points, displaced):
        chosen = materials.load(material)
        hamiltonian = hamiltonians.load(name, spin_orbit=name.startswith("gaas"))
        # Strongly typed numbers, so that the moved ones fit the same compilation.
        hamiltonian = jax.tree.map(lambda p: jnp.asarray(p, float), hamiltonian)
        self.structure = chosen.structure if conventional else chosen.primitive
        shape = self.structure.positions.shape
        u = 0.05 * np.random.default_rng(1).normal(size=shape) if displaced else np.zeros(shape)
        self.point = (hamiltonian, jnp.asarray(u), jnp.zeros((3, 3)), jnp.asarray(0.15))
        self.rest = (self.structure, hamiltonian.graph(self.structure), points)
        _, self.gradient = value_and_grad(*self.point, *self.rest)

    def slopes(self, index, direction, step):
        def at(amount):
            moved = jax.tree.map(lambda p, d: p + amount * d, self.point[index], direction)
            return value_and_grad(*self.point[:index], moved, *self.point[index + 1 :], *self.rest)[0]

        finite = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
        pairs = zip(jax.tree.leaves(self.gradient[index]), jax.tree.leaves(direction), strict=True)
        return sum(jnp.sum(g * d) for g, d in pairs), finite


CASES = {
    "silicon-meshed-through-gamma": ("silicon", "si-vogl1983", False, 2, False),
    "silicon-8-atoms-at-gamma": ("silicon", "si-niquet2009", True, 1, False),
    "silicon-displaced-complex": ("silicon", "si-niquet2009", False, 3, True),
    "arsenide-with-spin-orbit": ("galliumarsenide", "gaas-boykin2002", False, 1, False),
    "silicon-with-overlap": ("silicon", "si-nrl1999", False, 2, False),
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return Case(*CASES[request.param])


def test_by_positions(case):
    direction = jnp.asarray(np.random.default_rng(2).normal(size=case.structure.positions.shape))
    got, finite = case.slopes(1, direction, 5e-5)
    np.testing.assert_allclose(got, finite, rtol=TOLERANCE)
    # Moving all atoms together changes nothing.
    np.testing.assert_allclose(case.gradient[1].sum(axis=0), 0, atol=1e-6 * float(jnp.abs(case.gradient[1]).max()))


def test_by_strain(case):
    direction = jnp.asarray(np.random.default_rng(3).normal(size=(3, 3)))
    got, finite = case.slopes(2, direction, 2e-5)
    np.testing.assert_allclose(got, finite, rtol=TOLERANCE)


def test_by_hopping_and_onsite_parameters(case):
    rng = np.random.default_rng(4)
    direction = jax.tree.map(lambda p: p * rng.normal(size=p.shape), case.point[0])
    got, finite = case.slopes(0, direction, 2e-5)
    np.testing.assert_allclose(got, finite, rtol=TOLERANCE)


def test_by_width(case):
    got, finite = case.slopes(3, jnp.asarray(1.0), 1e-3)
    np.testing.assert_allclose(got, finite, rtol=TOLERANCE)


@pytest.fixture(scope="module")
def warm():
    """Mean eps2 of snapshots drawn with fixed noise, as a function of temperature."""
    silicon = materials.load("silicon", hamiltonian="si-vogl1983")
    supercell = silicon.primitive.supercell((2, 2, 1))
    fc = sampling.force_constants(silicon.potential, supercell)
    graph = silicon.hamiltonian.graph(supercell)
    noise = white_noise(jax.random.key(0), 2, len(supercell))

    def eps2(temperature, scissor, statistics="quantum"):
        u = displacements(fc, temperature, noise, statistics)
        drawn = Snapshots(supercell, supercell.positions[None] + u, temperature)
        arguments = (silicon.hamiltonian, drawn, ENERGIES, 1, Gaussian(0.1), scissor)
        return dielectric(*arguments, graph=graph, grid=GRID, tensor=False).mean()[1].sum()

    return jax.jit(jax.value_and_grad(eps2, argnums=(0, 1)), static_argnames="statistics")


@pytest.mark.parametrize("statistics", ["quantum", "classical"])
def test_by_temperature_and_scissor(warm, statistics):
    _, (by_temperature, by_scissor) = warm(300.0, 0.3, statistics=statistics)

    def slope(index, step):
        points = [np.array([300.0, 0.3]) + n * step * np.eye(2)[index] for n in (-2, -1, 1, 2)]
        f = [warm(*p, statistics=statistics)[0] for p in points]
        return (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * step)

    np.testing.assert_allclose(by_temperature, slope(0, 1.0), rtol=TOLERANCE)
    np.testing.assert_allclose(by_scissor, slope(1, 1e-3), rtol=TOLERANCE)


def test_by_cell_alone_with_concrete_positions():
    """The guard of the skin looks at concrete values only: a traced cell with fixed positions passes through."""
    silicon = materials.load("silicon", hamiltonian="si-vogl1983")
    graph = silicon.hamiltonian.graph(silicon.primitive)
    structure = silicon.primitive

    def eps2(cell):
        moved = type(structure)(structure.positions, cell, structure.species)
        snapshot = Snapshots(moved, structure.positions[None], jnp.asarray(0.0))
        return dielectric(
            silicon.hamiltonian, snapshot, ENERGIES, 1, Gaussian(0.15), graph=graph, grid=GRID, tensor=False
        ).mean()[1].sum()  # fmt: skip

    direction = jnp.asarray(np.random.default_rng(5).normal(size=(3, 3)))
    got = jnp.sum(jax.grad(eps2)(structure.cell) * direction)
    step, value = 2e-4, jax.jit(eps2)
    ends = [value(structure.cell + n * step * direction) for n in (-2, -1, 1, 2)]
    np.testing.assert_allclose(got, (8 * (ends[2] - ends[1]) - (ends[3] - ends[0])) / (12 * step), rtol=TOLERANCE)
