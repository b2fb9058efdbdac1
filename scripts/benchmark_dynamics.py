"""What molecular dynamics holds and how fast it is: drift of the energy, canonical temperatures, steps a second.

    python scripts/benchmark_dynamics.py [silicon] [--potential silicon-sw1985] [--sizes 64 512 4096] [--picoseconds 10]
    python scripts/benchmark_dynamics.py --potential silicon-pbe --only drift --timesteps 1 2
    python scripts/benchmark_dynamics.py --potential silicon-pbe --steps 6000 --replicas 1 --output dynamics.md

Prints, and writes to OUTPUT: the drift of the total energy over runs in the NVE ensemble (the smallest size, 300 K); mean
and variance of the kinetic temperature at four temperatures in one call against the canonical values, with standard
errors, by Langevin and Nose-Hoover; steps a second for every size, and, where Stillinger-Weber silicon is asked for,
jax-md's own with its own neighbour list and the same thermostat on the same machine (--no-peer leaves that out).
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from reports import report
from timing import machine

jax.config.update("jax_enable_x64", True)

from jaxepi import sampling, units  # noqa: E402
from jaxepi.materials import Material  # noqa: E402
from jaxepi.sampling.integrators import FS_PER_TIME_UNIT  # noqa: E402
from jaxepi.structure import Structure  # noqa: E402
from jaxepi.workflows import crystal as crystals  # noqa: E402

TARGETS = [150.0, 300.0, 450.0, 600.0]
STILLINGER_WEBER = "silicon-sw1985"


def supercell(crystal: Material, atoms: int) -> Structure:
    """The crystal's cell, repeated alike along its periodic directions to about so many atoms."""
    base = crystal.structure
    counts = round((atoms / len(base)) ** (1 / sum(base.pbc)))
    return base.supercell(crystal.periodic(max(1, counts)))


def drift(crystal: Material, structure: Structure, picoseconds: float, timestep: float) -> str:
    """Total energy over a run in the NVE ensemble."""
    steps = round(1000 * picoseconds / timestep)
    run = sampling.trajectories(
        crystal.potential,
        structure,
        temperatures=[300.0],
        count=steps // 20,
        key=jax.random.key(1),
        ensemble="nve",
        timestep=timestep,
        equilibration=0,
        interval=20,
    )
    per_atom = np.asarray(run.energies[0, :, 0]) / len(structure)
    slope = np.polyfit(np.asarray(run.times) / 1000, per_atom, 1)[0]
    kelvin = float(run.kinetic_temperatures.mean())
    return (
        f"NVE, {len(structure)} atoms, {timestep:g} fs, {picoseconds:g} ps at {kelvin:.0f} K: fitted drift "
        f"{slope * picoseconds:+.2e} eV/atom over the run, largest departure {np.abs(per_atom - per_atom[0]).max():.2e}, "
        f"standard deviation {per_atom.std():.2e} eV/atom"
    )


def temperatures(crystal: Material, structure: Structure, ensemble: str, steps: int, replicas: int) -> Iterator[str]:
    """Mean and variance of the kinetic temperature, four targets and their replicas in one call."""
    begin = time.perf_counter()
    run = sampling.trajectories(
        crystal.potential,
        structure,
        temperatures=TARGETS,
        count=steps // 20 * replicas,
        replicas=replicas,
        key=jax.random.key(2),
        ensemble=ensemble,
        equilibration=3000,
        interval=20,
    )
    seconds = time.perf_counter() - begin
    yield (
        f"{ensemble}, {len(structure)} atoms, {steps} steps of 1 fs after 3000, {len(TARGETS)} temperatures x {replicas} "
        f"replicas in one call ({seconds:.0f} s)"
    )
    yield "  target K   mean K              variance K^2              canonical"
    for t, target in enumerate(TARGETS):
        found = sampling.average(np.asarray(run.kinetic_temperatures[t]))
        _, variance = sampling.canonical(target, len(structure))
        yield (
            f"  {target:8g} {found.mean:8.2f} +- {found.mean_error:5.2f} {found.variance:12.1f} +- "
            f"{found.variance_error:7.1f} {variance:12.1f}"
        )


def steps_a_second(crystal: Material, structure: Structure, seconds: float = 5.0) -> float:
    """Nose-Hoover at 300 K: the best of three, for the first graph that is built anew may be compiled for."""
    run = sampling.Dynamics(
        crystal.potential, structure, [300.0], jax.random.key(0), sampling.Integration("nose-hoover")
    )
    run.advance(2)
    steps = 1
    while True:
        steps *= 2
        best = min(timed(run, steps) for _ in range(3))
        if best >= seconds / 2:
            return steps / best


def timed(run: sampling.Dynamics, steps: int) -> float:
    """Seconds of so many steps."""
    begin = time.perf_counter()
    run.advance(steps)
    return time.perf_counter() - begin


def peer_steps_a_second(structure: Structure, seconds: float = 5.0) -> float:
    """jax-md's Stillinger-Weber silicon, dense neighbour list updated every step, Nose-Hoover at 300 K."""
    from jax_md import energy, simulate, space

    side = float(structure.cell[0, 0])
    displacement, shift = space.periodic(side)
    find, potential = energy.stillinger_weber_neighbor_list(displacement, side, dr_threshold=0.5)
    neighbours = find.allocate(structure.positions)
    kt = units.KB * 300.0
    init, step = simulate.nvt_nose_hoover(
        potential, shift, 1.0 / FS_PER_TIME_UNIT, kt, chain_length=3, tau=100.0 / FS_PER_TIME_UNIT
    )
    state = init(jax.random.key(0), structure.positions, mass=28.085, neighbor=neighbours)

    @jax.jit
    def advance(state, neighbours, steps):
        def once(_, both):
            state, neighbours = both
            neighbours = neighbours.update(state.position)
            return step(state, neighbor=neighbours), neighbours

        return jax.lax.fori_loop(0, steps, once, (state, neighbours))

    jax.block_until_ready(advance(state, neighbours, 1))
    steps, elapsed = 2, 0.0
    while elapsed < seconds / 2:
        steps *= 2
        begin = time.perf_counter()
        jax.block_until_ready(advance(state, neighbours, steps))
        elapsed = time.perf_counter() - begin
    return steps / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("crystal", nargs="?", default="silicon", help="a material, or a structure file")
    parser.add_argument("--potential", default=STILLINGER_WEBER, help="by name or file")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 512, 4096], help="numbers of atoms")
    parser.add_argument("--picoseconds", type=float, default=10.0, help="of the run that measures the drift")
    parser.add_argument("--timesteps", type=float, nargs="+", default=[1.0], help="of such runs, fs")
    parser.add_argument("--steps", type=int, default=20000, help="of the runs at constant temperature")
    parser.add_argument("--replicas", type=int, default=2)
    parts = ["drift", "temperatures", "speed"]
    parser.add_argument("--only", choices=parts, nargs="+", default=parts)
    parser.add_argument(
        "--peer", action=argparse.BooleanOptionalAction, default=True, help="time jax-md's potential too"
    )
    parser.add_argument("--output", type=Path, help="file that is given what is printed, so far as it is")
    options = parser.parse_args()
    report(lines(options), options.output)


def lines(options: argparse.Namespace) -> Iterator[str]:
    """All that was asked for, as it is found."""
    loaded = crystals.load(options.crystal, potential=options.potential)
    crystal = crystals.prepared(loaded, "conventional", "float64")
    yield f"{machine()}, load {os.getloadavg()[0]:.1f}; {options.crystal}, {Path(options.potential).name}"
    small = supercell(crystal, options.sizes[0])
    if "drift" in options.only:
        for timestep in options.timesteps:
            yield drift(crystal, small, options.picoseconds, timestep)
    if "temperatures" in options.only:
        for ensemble in ("langevin", "nose-hoover"):
            yield from temperatures(crystal, small, ensemble, options.steps, options.replicas)
    if "speed" in options.only:
        for atoms in options.sizes:
            structure = supercell(crystal, atoms)
            speeds = {d: steps_a_second(crystal.astype(d), structure.astype(d)) for d in (jnp.float64, jnp.float32)}
            said = ", ".join(f"{speed:.3g} in {d.__name__}" for d, speed in speeds.items())
            yield f"{len(structure)} atoms, Nose-Hoover: steps a second {said} (load {os.getloadavg()[0]:.1f})"
            if options.peer and options.potential == STILLINGER_WEBER and set(structure.species) == {14}:
                yield f"  jax-md's own Stillinger-Weber: {peer_steps_a_second(structure):.1f} in float64"


if __name__ == "__main__":
    main()
