"""Ring polymers beside what is known: energies of two oscillators, mean squares of silicon beside the harmonic crystal.

    python scripts/path_integrals.py                     # oscillators, and 64 atoms of silicon at 100 K

Oscillators in units hbar = m = 1: the harmonic one at beta hbar w = 8 (0.5003 w), and p^2/2 + x^4/2 near its ground
state (0.5302).
Silicon with its valence force field, which is nearly harmonic: <u^2> of ring polymers over that of the quantum and of the
classical harmonic crystal. Errors are standard errors over replicas.
"""

import argparse
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from timing import machine

jax.config.update("jax_enable_x64", True)

from jaxepi import materials, sampling  # noqa: E402
from jaxepi.sampling import rings  # noqa: E402
from jaxepi.sampling.modes import modes_of  # noqa: E402
from jaxepi.units import AMU_ANGSTROM2_PER_FS2, HBAR, KB  # noqa: E402


@partial(jax.jit, static_argnames=("beads", "steps"))
def energies(harmonic, quartic, beta, key, beads: int, steps: int, timestep: float = 0.15):
    """Energy of V = a x^2/2 + b x^4/2, a number each of 96 atoms in three directions."""
    mass, kt = jnp.ones((96, 1)), 1 / beta

    def forces(x):
        return -(harmonic * x + 2 * quartic * x**3)

    def once(ring, _):
        ring = rings.step(forces, ring, mass, kt, hbar=1.0, timestep=timestep, friction=1.0)
        x = ring.position
        away = x - x.mean(axis=0)
        each = 0.5 * kt - 0.5 * away * ring.force + 0.5 * (harmonic * x**2 + quartic * x**4)
        return ring, each.mean(axis=(0, 2))

    ring = rings.start(forces, jnp.zeros((beads, 96, 3)), mass, kt, key)
    return jax.lax.scan(once, ring, length=steps)[1][steps // 10 :].mean(axis=0)


def oscillators(options) -> None:
    print(f"{'oscillator':34} {'beads':>5} {'energy':>8} {'error':>7} {'exact':>8} {'off %':>6}")
    for name, a, b, beta, exact in (
        ("harmonic, beta hbar w = 8", 1.0, 0.0, 8.0, 0.5 / np.tanh(4.0)),
        ("p^2/2 + x^4/2, beta = 6", 0.0, 1.0, 6.0, 0.5302),
    ):
        found = np.asarray(energies(a, b, beta, jax.random.key(options.seed), options.beads, options.steps))
        mean, error = found.mean(), found.std(ddof=1) / len(found) ** 0.5
        off = 100 * (mean / exact - 1)
        print(f"{name:34} {options.beads:5} {mean:8.4f} {error:7.4f} {exact:8.4f} {off:6.2f}", flush=True)


def silicon(options) -> None:
    material = materials.load("silicon")
    supercell = material.structure.supercell(2)
    begin = time.perf_counter()
    run = sampling.trajectories(
        material.potential,
        supercell,
        temperatures=[options.temperature],
        count=options.frames * options.replicas,
        key=jax.random.key(options.seed),
        timestep=2.0,
        equilibration=500,
        interval=20,
        friction=0.03,
        replicas=options.replicas,
        beads=options.silicon_beads,
        progress=False,
    )
    drawn = run.snapshots()[0]
    square = (drawn.displacements**2).sum(axis=2).mean(axis=1)
    mean, error = float(drawn.mean(square)), float(drawn.standard_error(square))
    fc = sampling.force_constants(material.potential, supercell)
    steps = 500 + 20 * options.frames
    print(
        f"\nsilicon, 64 atoms, {options.temperature:g} K, {options.silicon_beads} beads, {options.replicas} replicas of "
        f"{steps} steps of 2 fs, {time.perf_counter() - begin:.0f} s"
    )
    print(f"{'<u^2> (1e-3 angstrom^2)':28} {1e3 * mean:.3f} +- {1e3 * error:.3f}")
    ring = of_beads(fc, options.temperature, options.silicon_beads)
    print(
        f"{'harmonic, of as many beads':28} {1e3 * ring:.3f}; ring polymers over it {mean / ring:.3f} +- {error / ring:.3f}"
    )
    for statistics in ("quantum", "classical"):
        exact = float(np.einsum("naa->", sampling.mean_square_displacements(fc, options.temperature, statistics)))
        exact /= len(fc.base)
        print(
            f"{'harmonic, ' + statistics:28} {1e3 * exact:.3f}; ring polymers over it {mean / exact:.3f} +- {error / exact:.3f}"
        )


def of_beads(fc, kelvin: float, beads: int) -> float:
    """<u^2> of the harmonic crystal whose nuclei are rings of so many beads, angstrom^2: what a finite number leaves."""
    modes = modes_of(fc)
    ring = (beads * KB * kelvin / HBAR * rings.ring_frequencies(beads)) ** 2
    squared = modes.eigenvalues / AMU_ANGSTROM2_PER_FS2
    squared[0, np.argsort(np.abs(squared[0]))[:3]] = np.inf
    each = KB * kelvin * (1 / (ring + squared[..., None])).sum(axis=-1) / AMU_ANGSTROM2_PER_FS2
    mass = float(np.asarray(fc.base.masses)[0])
    return float((each * np.where(modes.paired, 2, 1)[:, None]).sum() / mass / len(fc.supercell))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--beads", type=int, default=64, help="of the oscillators")
    parser.add_argument("--steps", type=int, default=4000, help="of the oscillators")
    parser.add_argument("--silicon-beads", type=int, default=32)
    parser.add_argument("--frames", type=int, default=80, help="of silicon, 20 steps apart")
    parser.add_argument("--replicas", type=int, default=4)
    parser.add_argument("--temperature", type=float, default=100.0, help="of silicon, kelvin")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(machine())
    oscillators(options)
    silicon(options)


if __name__ == "__main__":
    main()
