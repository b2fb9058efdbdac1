"""Elastic constants of a crystal by differentiation, with the atoms of the cell relaxed."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxepi.graph import Graph
from jaxepi.potentials.base import Potential
from jaxepi.structure import Structure


def elastic_constants(potential: Potential, structure: Structure) -> Float[Array, "6 6"]:
    """Elastic constants in Voigt order (xx, yy, zz, yz, xz, xy), eV/angstrom^3 (divide by `units.GPA` for GPa).

    C = (E_ee - E_eu E_uu^+ E_ue)/V: second derivatives by strain e and displacements u; the second term lets the atoms
    of the cell relax. Meant for a primitive cell at zero stress and zero forces.
    """
    return _relaxed(potential, structure, potential.graph(structure))


@jax.jit
def _relaxed(potential: Potential, structure: Structure, graph: Graph) -> Array:
    n = len(structure)

    def energy(variables: Array) -> Array:
        xx, yy, zz, yz, xz, xy = variables[:6]
        strain = jnp.stack([xx, xy / 2, xz / 2, xy / 2, yy, yz / 2, xz / 2, yz / 2, zz]).reshape(3, 3)
        moved = structure.with_positions(structure.positions + variables[6:].reshape(n, 3))
        return potential.energy(moved.strained(strain), graph)

    hessian = jax.hessian(energy)(jnp.zeros(6 + 3 * n, structure.cell.dtype))
    ee, eu, uu = hessian[:6, :6], hessian[:6, 6:], hessian[6:, 6:]
    # Translations cost nothing; the pseudo-inverse leaves them alone.
    relaxed = ee - eu @ jnp.linalg.pinv(uu, rtol=1e-6, hermitian=True) @ eu.T
    return relaxed / structure.volume
