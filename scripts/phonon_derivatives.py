"""Derivatives of phonons against finite differences, and what they cost: outputs by inputs.

    python scripts/phonon_derivatives.py

Silicon with Stillinger and Weber's potential, 16 atoms, a mesh of 4x4x4 wave vectors at 300 K, on which modes are degenerate.
Inputs: temperature, masses and strain (uniaxial), and the depth of the potential. Printed: relative difference of forward
derivatives from central finite differences, and the time of all derivatives in times of one evaluation.
"""

import dataclasses
import time

import jax
import numpy as np

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402

from jaxepi import kpoints, materials, potentials, sampling, tree  # noqa: E402

INPUTS = {"temperature": 1e-4, "masses": 1e-4, "strain": 1e-4, "depth": 1e-4}
"""By name, with the relative step of finite differences."""


def main() -> None:
    """Print the table."""
    potential = potentials.load("silicon-sw1985")
    cell = materials.load("silicon").primitive
    rest = potentials.relaxed(potential, cell).supercell(2)
    graph, mesh = potential.graph(rest), kpoints.mesh(4)
    images = sampling.images_of(sampling.force_constants(potential, rest, graph))
    along = jnp.diag(jnp.array([1.0, 0.0, 0.0]))

    def outputs(x: jax.Array) -> jax.Array:
        kelvin = 300.0 * (1 + x[0])
        softened = {**potential.params, "epsilon": potential.params["epsilon"] * (1 + x[3])}
        model = tree.replace(potential, params=softened)
        fc = sampling.force_constants(model, rest.strained(x[2] * along), graph)
        fc = dataclasses.replace(fc, weights=jnp.asarray(cell.masses) * (1 + x[1]))
        modes = sampling.normal_modes(fc, mesh, images)
        squares = sampling.mean_squares(fc, kelvin, mesh, images=images)
        functions = (sampling.free_energy, sampling.entropy, sampling.heat_capacity)
        return jnp.stack([*(f(modes, kelvin) for f in functions), squares[0, 0, 0], squares[1, 1, 1]])

    names = ("free energy", "entropy", "heat capacity", "<u_x^2>", "<u_y^2>")
    value, derivative = jax.jit(outputs), jax.jit(jax.jacfwd(outputs))
    zero = jnp.zeros(len(INPUTS))
    exact = np.asarray(derivative(zero))
    found = []
    for n, step in enumerate(INPUTS.values()):
        moved = zero.at[n].set(step)
        found.append((np.asarray(value(moved)) - np.asarray(value(-moved))) / (2 * step))
    numeric = np.array(found).T
    scale = np.abs(np.asarray(value(zero)))[:, None]
    print(f"{'':14} " + " ".join(f"{name:>12}" for name in INPUTS))
    for name, row, other, size in zip(names, exact, numeric, scale, strict=True):
        off = np.abs(row - other) / np.maximum(np.abs(other), 1e-6 * max(float(size[0]), 1e-9))
        print(f"{name:14} " + " ".join(f"{value:12.1e}" for value in off))

    def seconds(function) -> float:
        times = []
        for _ in range(3):
            start = time.perf_counter()
            jax.block_until_ready(function(zero))
            times.append(time.perf_counter() - start)
        return min(times)

    print(f"all derivatives take {seconds(derivative) / seconds(value):.1f} evaluations")


if __name__ == "__main__":
    main()
