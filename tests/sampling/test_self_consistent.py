"""Self-consistent force constants: a crystal of double wells whose solution is known, the harmonic limit, silicon, refusals."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

from jaxepi import potentials, sampling
from jaxepi.errors import InputError
from jaxepi.potentials import Potential
from jaxepi.potentials.base import EnergyModule
from jaxepi.structure import Structure
from jaxepi.units import AMU_ANGSTROM2_PER_FS2, HBAR, KB

KELVIN, SPRING = 400.0, 1.0


@dataclasses.dataclass(frozen=True)
class Wells(EnergyModule):
    """Two atoms a cell, V = -a d^2/2 + b d^4/4 of their displacement d from each other, springs between like atoms."""

    cutoff: float = 3.0
    skin: float = 4.0
    species: tuple[int, ...] = ()

    def apply(self, variables: Any, structure, graph):
        p, repeats = variables["params"], structure.repeats
        grid = np.indices(repeats).reshape(3, -1).T / np.asarray(repeats)
        sites = np.stack([grid, grid + 0.3 / np.asarray(repeats)], axis=1).reshape(-1, 3)
        u = structure.positions - jnp.asarray(sites, structure.cell.dtype) @ structure.cell
        u = u.reshape(*repeats, 2, 3)
        square = ((u[..., 1, :] - u[..., 0, :]) ** 2).sum(axis=-1)
        wells = (-0.5 * p["a"] * square + 0.25 * p["b"] * square**2).sum()
        return wells + sum(0.5 * SPRING * ((u - jnp.roll(u, 1, axis=n)) ** 2).sum() for n in range(3))


@pytest.fixture(scope="module")
def cells():
    a = 3.0
    return Structure.create([[0.0] * 3, [0.3 * a] * 3], a * np.eye(3), [14, 32]).supercell(2)


def wells(a, b):
    return Potential({"a": jnp.asarray(a), "b": jnp.asarray(b)}, Wells())


def variance_and_energy(cells, spring, kelvin):
    """Of harmonic wells: variance of one component of d, and free energy of the vibrations a cell, by dense algebra."""
    size = 8
    grid = np.indices((2, 2, 2)).reshape(3, -1).T
    lattice = np.zeros((size, size))
    for i, cell in enumerate(grid):
        for n in range(3):
            j = np.ravel_multi_index((cell + np.eye(3, dtype=int)[n]) % 2, (2, 2, 2))
            lattice[[i, j], [i, j]] += SPRING
            lattice[[i, j], [j, i]] -= SPRING
    matrix = np.kron(lattice, np.eye(2)) + spring * np.kron(np.eye(size), [[1.0, -1.0], [-1.0, 1.0]])
    weight = 1 / np.sqrt(cells.masses)
    values, vectors = np.linalg.eigh(matrix * np.outer(weight, weight))
    quantum = HBAR * np.sqrt(values[1:] / AMU_ANGSTROM2_PER_FS2)
    squares = quantum / (2 * values[1:]) / np.tanh(quantum / (2 * KB * kelvin))
    moved = (vectors[:, 1:] * weight[:, None])[1] - (vectors[:, 1:] * weight[:, None])[0]
    energy = quantum / 2 + KB * kelvin * np.log(1 - np.exp(-quantum / (KB * kelvin)))
    return (moved**2 * squares).sum(), 3 * energy.sum() / size


def exact(cells, a, b):
    """Spring and free energy of the self-consistent crystal: spring = -a + 5 b <d_x^2>, <d^4> = 15 <d_x^2>^2."""
    low, high = 1e-3, 10.0
    for _ in range(60):
        spring = 0.5 * (low + high)
        square, harmonic = variance_and_energy(cells, spring, KELVIN)
        low, high = (spring, high) if -a + 5 * b * square > spring else (low, spring)
    return spring, harmonic - 1.5 * a * square + 3.75 * b * square**2 - 1.5 * spring * square


@pytest.mark.slow
def test_double_wells_that_are_unstable_at_rest(cells):
    """The harmonic crystal has imaginary modes; the self-consistent one is known."""
    a, b = 2.0, 20.0
    potential = wells(a, b)
    with pytest.raises(InputError, match=r"not stable in this potential.*--self-consistent"):
        sampling.harmonic(potential, cells, temperature=KELVIN, count=1, key=0)
    found = sampling.self_consistent(potential, cells, temperature=KELVIN, count=64, tolerance=1e-3)
    spring, energy = exact(cells, a, b)
    assert found.converged
    assert found.force < 1e-10
    # Of 512 displacements the product of two components is known to 2 b <d_x^2>/sqrt(3 x 512) = 0.024: two of these.
    np.testing.assert_allclose(found.constants.matrix[0, :, 0, 1, :], -spring * np.eye(3), atol=0.048)
    assert abs(found.free_energy - energy) < max(4 * found.error, 2e-4)
    # The free energy is the lowest: springs that are off to either side have more.
    for other in (0.7, 1.4):
        square, harmonic = variance_and_energy(cells, other * spring, KELVIN)
        assert harmonic - 1.5 * a * square + 3.75 * b * square**2 - 1.5 * other * spring * square > energy
    drawn = sampling.harmonic(found.constants, temperature=KELVIN, count=2, key=0)
    assert np.isfinite(drawn.positions).all()
    # Without the quartic term the crystal is harmonic, and its own force constants are the answer.
    still = sampling.self_consistent(wells(-2.0, 0.0), cells, temperature=KELVIN, count=64, tolerance=1e-3)
    assert len(still.history) == 1
    _, energy = variance_and_energy(cells, 2.0, KELVIN)
    np.testing.assert_allclose([still.free_energy, still.error], [energy, 0.0], atol=1e-9)


@pytest.mark.slow
def test_silicon_is_nearly_harmonic():
    """At 0 K the optical mode is within two per cent of that at rest."""
    potential = potentials.load("silicon-mvff")
    supercell = Structure.from_ase(bulk("Si", a=5.431)).supercell(2)
    found = sampling.self_consistent(potential, supercell, temperature=0.0, count=8, tolerance=3e-3, iterations=5)
    rest = sampling.force_constants(potential, supercell)
    optical = [float(sampling.frequencies_thz(fc, np.zeros((1, 3)))[0, -1]) for fc in (found.constants, rest)]
    assert 0.0 < abs(optical[0] / optical[1] - 1) < 0.02
    np.testing.assert_allclose(np.asarray(found.constants.matrix).sum(axis=(2, 3)), 0, atol=1e-9)


def test_what_is_refused(cells):
    potential = wells(2.0, 20.0)
    other = sampling.ForceConstants(cells.base, jnp.zeros((2, 3, 1, 2, 3)))
    with pytest.raises(InputError, match=r"start has \(1, 1, 1\) cells of 2 atoms, the supercell \(2, 2, 2\)"):
        sampling.self_consistent(potential, cells, temperature=1.0, start=other)
    with pytest.raises(InputError, match="found on the host"):
        jax.eval_shape(
            lambda t: sampling.self_consistent(potential, cells, temperature=t).free_energy, jnp.asarray(1.0)
        )
