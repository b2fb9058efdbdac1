"""Crystals at rest in a potential: lattice vectors scaled alike along periodic directions, atoms where no force is left."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.potentials.base import Potential
from jaxepi.structure import Structure

STEPS = 25
"""Newton's steps before a search for rest is given up."""


def stretched(structure: Structure, factor: Float[Array, ""] | float) -> Structure:
    """All lengths along periodic directions times a factor; directions without a period stay as they are. Pure."""
    pbc = np.asarray(structure.pbc)
    if pbc.all():
        return structure.scaled(factor)
    if not pbc.any():
        return structure
    rows = structure.cell[np.flatnonzero(pbc)]
    plane = jnp.linalg.pinv(rows) @ rows
    return structure.strained((factor - 1.0) * plane)


@partial(jax.jit, static_argnames="lengths")
def _newton(
    potential: Potential, structure: Structure, graph: Graph, x: Array, lengths: bool
) -> tuple[Array, Array, Array]:
    """Energy, its derivative by displacements (and the logarithm of the lengths), and the step to where that vanishes."""

    def energy(y: Array) -> Array:
        moved = structure.with_positions(structure.positions + y[1:].reshape(-1, 3))
        return potential.energy(stretched(moved, jnp.exp(y[0])), graph)

    value, slope = jax.value_and_grad(energy)(x)
    curvature = jax.hessian(energy)(x)
    fixed = jnp.zeros_like(x).at[0].set(0.0 if lengths else 1.0)
    free = 1 - fixed
    slope = slope * free
    curvature = curvature * free[:, None] * free[None, :]
    # Translations and what is fixed cost nothing; the pseudo-inverse leaves them alone.
    return value, slope, -jnp.linalg.pinv(curvature, rtol=1e-7, hermitian=True) @ slope


def relaxed(potential: Potential, structure: Structure, *, lengths: bool = True, tolerance: float = 1e-6) -> Structure:
    """The structure with its atoms at rest, and with all lengths scaled to where the energy is lowest.

    By Newton's method on the host; the shape of the cell is kept.

    Args:
        structure: a cell (a primitive one: the Hessian of all its atoms is computed). lengths: scale them too.
        tolerance: largest derivative that is left, eV/angstrom (and eV by the logarithm of the lengths).

    Raises:
        InputError: no rest is found near the structure.
    """
    x = jnp.zeros(1 + 3 * len(structure), structure.positions.dtype)
    enough = max(tolerance, 50 * float(jnp.finfo(x.dtype).eps))
    graph = potential.graph(structure)
    for _ in range(STEPS):
        _, slope, step = _newton(potential, structure, graph, x, lengths)
        largest = float(jnp.abs(slope).max())
        if largest < enough:
            moved = structure.with_positions(structure.positions + x[1:].reshape(-1, 3))
            return stretched(moved, jnp.exp(x[0]))
        if not np.isfinite(largest):
            break
        x = x + step / jnp.maximum(1.0, jnp.abs(step).max() / 0.05)
        moved = stretched(structure.with_positions(structure.positions + x[1:].reshape(-1, 3)), jnp.exp(x[0]))
        if not graph.holds(moved):  # another topology from here on
            structure, x = moved, jnp.zeros_like(x)
            graph = potential.graph(structure)
    raise InputError(
        f"no structure at rest within {STEPS} steps of Newton's method: {largest:.3g} eV/angstrom are left; give one that is "
        "nearer to rest in this potential"
    )
