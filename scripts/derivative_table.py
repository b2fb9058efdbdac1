"""Derivatives of gaps, edges, spectral functions and absorption by temperature, masses, strain and parameters, and their cost.

    python scripts/derivative_table.py
    python scripts/derivative_table.py --only A eps2 --step 1e-4

Silicon, 16 atoms, force constants of Stillinger and Weber's potential, electrons of Vogl, Hjalmarson and Dow, one quantum
snapshot at 300 K with its partner (fixed random numbers), and second order on the same wave vectors. All stages are functions
of five numbers: temperature, masses and strain (uniaxial) go through the force constants, displacements and electrons; so do
the depth of the potential and a factor of all hoppings. Printed: relative difference of exact derivatives from central finite
differences with the same random numbers, and what all five derivatives of an output cost, in times of computing the output
(reverse mode, or forward mode for second order; compiled, shortest of some calls).
"""

import argparse
import dataclasses
from collections.abc import Callable

import jax
import numpy as np
from timing import machine, shortest

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp  # noqa: E402

from jaxepi import electrons, epi, materials, optics, sampling, tree  # noqa: E402

INPUTS = ("temperature", "masses", "strain", "potential", "hopping")
ENERGIES = (-1.0, 0.2, 2.5)
"""Of A(k, E), eV from the valence top."""
POINT = (0.125, 0.25, 0.375)
PHOTONS = (3.2, 4.1)


class Chain:
    """The crystal and all that is found on the host, so that what follows is a pure function of five numbers."""

    def __init__(self) -> None:
        self.material = materials.load("silicon", hamiltonian="si-vogl1983", potential="silicon-sw1985")
        self.cell = self.material.primitive
        self.rest = self.cell.supercell(2)
        hamiltonian, potential = self.material.hamiltonian, self.material.potential
        self.bonds, self.graph = potential.graph(self.rest), hamiltonian.graph(self.rest)
        constants = sampling.force_constants(potential, self.rest, self.bonds)
        self.known = epi.topology(hamiltonian, constants)
        self.edges = electrons.band_edges(hamiltonian, self.cell)
        self.levels = epi.edge_levels(hamiltonian, self.cell, self.edges)
        self.probe = electrons.edge_probe(self.edges, self.rest, hamiltonian.basis.occupied(self.rest.species))
        self.noise = sampling.white_noise(jax.random.key(0), 2, len(self.rest), antithetic=True)
        self.points = epi.wave_vectors(self.cell, 2)

    def at(self, x: jax.Array) -> tuple:
        """Hamiltonian, force constants, temperature of five relative changes."""
        potential, hamiltonian = self.material.potential, self.material.hamiltonian
        softened = tree.replace(
            potential, params={**potential.params, "epsilon": potential.params["epsilon"] * (1 + x[3])}
        )
        stretched = self.rest.strained(x[2] * jnp.diag(jnp.array([1.0, 0.0, 0.0])))
        constants = sampling.force_constants(softened, stretched, self.bonds)
        constants = dataclasses.replace(constants, weights=jnp.asarray(self.cell.masses) * (1 + x[1]))
        hopping = {k: {**v, "value": v["value"] * (1 + x[4])} for k, v in hamiltonian.params["hopping"].items()}
        moved = tree.replace(hamiltonian, params={**hamiltonian.params, "hopping": hopping})
        return moved, constants, 300.0 * (1 + x[0])

    def snapshots(self, constants, kelvin) -> sampling.Snapshots:
        """One pair."""
        u = sampling.displacements(constants, kelvin, self.noise)
        return sampling.Snapshots(constants.supercell, constants.supercell.positions[None] + u, kelvin)

    def second_order(self, x: jax.Array) -> jax.Array:
        hamiltonian, constants, kelvin = self.at(x)
        found = epi.Electrons.of(hamiltonian, constants.base, self.known.graph, self.known.stencil)
        shifts = []
        for level in self.levels:
            prepared = epi.problem(hamiltonian, constants, level, self.known, electrons=found)
            shifts.append(epi.shift(prepared, self.points, kelvin, epi.Treatment(0.1)).total)
        return jnp.stack([shifts[1] - shifts[0], *shifts])

    def snapshot_edges(self, x: jax.Array) -> jax.Array:
        hamiltonian, constants, kelvin = self.at(x)
        drawn = self.snapshots(constants, kelvin)
        top, bottom = electrons.thermal_edges(hamiltonian, drawn, self.probe, self.graph, "dense")
        return jnp.stack([(bottom - top).mean(), top.mean(), bottom.mean()])

    def spectral(self, x: jax.Array) -> jax.Array:
        hamiltonian, constants, kelvin = self.at(x)
        energies = float(self.edges.valence) + np.array(ENERGIES)
        drawn = self.snapshots(constants, kelvin)
        return epi.spectral_functions(hamiltonian, drawn, np.array([POINT]), energies, 0.1, self.graph).mean(
            axis=(0, 1)
        )

    def absorption(self, x: jax.Array) -> jax.Array:
        hamiltonian, constants, kelvin = self.at(x)
        drawn = self.snapshots(constants, kelvin)
        found = optics.dielectric(
            hamiltonian, drawn, jnp.array(PHOTONS), 1, optics.Gaussian(0.2), graph=self.graph, tensor=False
        )
        return found.eps2.mean(axis=0).ravel()

    def attracted(self, x: jax.Array) -> jax.Array:
        """With the attraction of electron and hole."""
        hamiltonian, constants, kelvin = self.at(x)
        drawn = self.snapshots(constants, kelvin)
        found = optics.exciton_spectrum(
            hamiltonian,
            drawn,
            jnp.array(PHOTONS),
            1,
            optics.Screening(11.7),
            optics.Gaussian(0.2),
            graph=self.graph,
            polarisations=[[1, 0, 0]],
        )
        return found.eps2.mean(axis=0).ravel()


def table(name: str, rows: list[str], f: Callable, step: float, reverse: bool) -> None:
    """Rows of one family of outputs."""
    value = jax.jit(f)
    derivative = jax.jit(jax.jacrev(f) if reverse else jax.jacfwd(f))
    one = jax.jit(jax.grad(lambda x: f(x)[0])) if reverse else derivative
    zero = jnp.zeros(len(INPUTS))
    rest, exact = np.asarray(value(zero)), np.asarray(derivative(zero))
    found = []
    for n in range(len(INPUTS)):
        # Fourth order: what the step leaves out is then far below the bar.
        near, far = (
            (np.asarray(value(zero.at[n].set(h))) - np.asarray(value(zero.at[n].set(-h)))) / (2 * h)
            for h in (step, 2 * step)
        )
        found.append((4 * near - far) / 3)
    numeric = np.array(found).T
    forward, all_five = shortest(lambda: value(zero), 3), shortest(lambda: one(zero), 3)
    # Of a vector in forward mode all outputs come at once.
    cost = all_five / forward
    for row, label in enumerate(rows):
        off = np.abs(exact[row] - numeric[row]) / np.maximum(np.abs(numeric[row]), 1e-9 * np.abs(rest[row]))
        shown = " ".join(f"{d:+.4e} {o:.0e}" for d, o in zip(exact[row], off, strict=True))
        print(f"{label:26} {rest[row]:+.6f} {shown}  {cost:5.1f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--step", type=float, default=1e-3, help="of finite differences, relative")
    parser.add_argument("--only", nargs="+", default=["second", "snapshots", "A", "eps2", "excitons"])
    options = parser.parse_args()
    chain = Chain()
    print(machine())
    print(f"{'output':26} {'value':>9} " + " ".join(f"{'d/d ' + name:>17}" for name in INPUTS) + "   cost")
    edges = ["gap", "valence edge", "conduction edge"]
    families = {
        "second": ([f"{e}, second order" for e in edges], chain.second_order, False),
        "snapshots": ([f"{e}, snapshots" for e in edges], chain.snapshot_edges, True),
        "A": ([f"A(k, top {e:+.1f} eV)" for e in ENERGIES], chain.spectral, True),
        "eps2": ([f"eps2({e:g} eV)" for e in PHOTONS], chain.absorption, True),
        "excitons": ([f"eps2({e:g} eV), excitons" for e in PHOTONS], chain.attracted, True),
    }
    for name in options.only:
        table(name, *families[name][:2], options.step, families[name][2])


if __name__ == "__main__":
    main()
