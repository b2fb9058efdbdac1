"""Whether a GPU gives the numbers of a CPU, and what single precision costs: deviations, machine and devices.

    python scripts/check_accelerator.py

Both devices of one process. In double precision: forces of silicon-pbe, H(R) of graphene-pbe-e3, eps2 of silicon-hse06 by the
dense solver (with its derivative by positions) and the filtered one, excitons. In single precision: forces, as the package
makes products (`guards.full_precision`) and as JAX would (TF32 where a GPU has it), against double precision on the CPU.
"""

import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from timing import machine

jax.config.update("jax_enable_x64", True)

import jaxepi as je  # noqa: E402

ENERGIES = np.linspace(2.0, 5.0, 61)
LARGEST = 1e-5
"""Deviation in double precision that counts as failure (exit status 1): networks of H(R) are in single precision throughout."""


def deviation(found: Any, right: Any) -> float:
    """Largest difference over the largest number."""
    return float(np.abs(np.asarray(found) - np.asarray(right)).max() / np.abs(np.asarray(right)).max())


def calculations() -> dict[str, Callable[[], Any]]:
    """What is compared, each from models that are loaded on the device."""
    silicon = je.materials.load("silicon", potential="silicon-pbe", hamiltonian="silicon-hse06")
    rest = silicon.structure
    moved = rest.with_positions(rest.positions + 0.05 * np.random.default_rng(0).normal(size=rest.positions.shape))
    snapshots = je.sampling.Snapshots(rest, moved.positions[None], jnp.asarray(300.0))
    line, graph = je.optics.Gaussian(0.1), silicon.hamiltonian.graph(rest)
    bilayer = je.materials.load("bilayer-graphene-AB").structure.supercell((2, 2, 1))
    network = je.hamiltonians.load("graphene-pbe-e3")

    def eps2(solver: Any, positions: Any) -> Any:
        drawn = je.sampling.Snapshots(rest, positions[None], jnp.asarray(300.0))
        return je.optics.dielectric(
            silicon.hamiltonian, drawn, ENERGIES, kmesh=2, broadening=line, graph=graph, solver=solver
        ).eps2

    def excitons() -> Any:
        found = je.optics.excitons(
            silicon.hamiltonian,
            silicon.primitive,
            6,
            silicon.screening,
            4,
            4,
            60,
            shift=(0.5,) * 3,
            precision="float64",
        )
        return found.spectrum(ENERGIES, line).eps2

    return {
        "forces": lambda: silicon.potential.forces(moved, silicon.potential.graph(moved)),
        "H(R) of a network in single precision": lambda: network.blocks(bilayer, network.graph(bilayer)).hopping,
        "eps2, dense": lambda: eps2(None, snapshots.positions[0]),
        "its derivative by positions": lambda: jax.grad(lambda x: eps2(None, x).sum())(snapshots.positions[0]),
        "eps2, filtered": lambda: eps2(je.optics.Filtered(joint=5.0, rest=None), snapshots.positions[0]),
        "eps2 with excitons": excitons,
    }


def forces(dtype: str) -> Any:
    """Forces of 64 atoms, all in one precision."""
    potential = je.potentials.load("silicon-pbe").astype(dtype)
    rest = je.materials.load("silicon").structure.supercell(2)
    shift = 0.05 * np.random.default_rng(0).normal(size=rest.positions.shape)
    moved = rest.with_positions(rest.positions + shift).astype(dtype)
    return potential.forces(moved, potential.graph(moved))


def main() -> int:
    devices = {"cpu": jax.local_devices(backend="cpu")[0], "default": jax.local_devices()[0]}
    print(f"{machine()}; against {devices['cpu'].device_kind}")
    if devices["cpu"] == devices["default"]:
        print("there is no accelerator: both are the same device")
    worst = 0.0
    calls = {}
    for name, device in devices.items():
        with jax.default_device(device):
            calls[name] = calculations()
    for what in calls["cpu"]:
        with jax.default_device(devices["cpu"]):
            right = np.asarray(calls["cpu"][what]())
        found = np.asarray(calls["default"][what]())
        worst = max(worst, deviation(found, right))
        print(f"{what:40s} {deviation(found, right):8.1e} of the largest", flush=True)
    with jax.default_device(devices["cpu"]):
        right = forces("float64")
    single = forces("float32")
    print(f"{'forces in single precision':40s} {deviation(single, right):8.1e}", flush=True)
    with jax.default_matmul_precision("default"):
        single = forces("float32")
        print(f"{'the same, products as JAX makes them':40s} {deviation(single, right):8.1e}")
    return int(worst > LARGEST)


if __name__ == "__main__":
    sys.exit(main())
