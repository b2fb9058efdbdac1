"""What every potential must obey."""

import jax
import jax.numpy as jnp
import numpy as np


def forces_and_stress_equal_finite_differences(potential, structure, graph):
    """Along a random direction of the atoms and a general strain."""
    energy = jax.jit(lambda s: potential.energy(s, graph))
    direction, step, x = np.random.default_rng(2).normal(size=(len(structure), 3)), 1e-4, structure.positions
    slope = (
        energy(structure.with_positions(x + step * direction)) - energy(structure.with_positions(x - step * direction))
    ) / (2 * step)
    np.testing.assert_allclose(-jnp.sum(potential.forces(structure, graph) * direction), slope, rtol=1e-6)
    strain = jnp.array([[0.3, 0.1, -0.2], [0.1, -0.4, 0.5], [-0.2, 0.5, 0.2]])
    slope = (energy(structure.strained(step * strain)) - energy(structure.strained(-step * strain))) / (2 * step)
    expected = jnp.sum(potential.stress(structure, graph) * strain) * structure.volume
    np.testing.assert_allclose(expected, slope, rtol=1e-6)
