"""What excitons cost: silicon's primitive cell on k meshes, and a snapshot of 64 atoms; of a CPU, processor time.

    python scripts/benchmark_excitons.py [--primitive N ...] [--snapshot N ...] [--steps N] [--coupled]

Single precision, one direction of light: 4 x 5 bands of the primitive cell, all filled and 160 empty ones of the snapshot.
Steps of the snapshot are few and their time is printed for one, beside that of its states, which are found once. --coupled: the
same beyond Tamm-Dancoff. Compilation is included.
"""

import argparse

import jax
from timing import clock, machine, peak

jax.config.update("jax_enable_x64", True)

import jaxepi as je  # noqa: E402


def timed(
    silicon: je.materials.Material,
    structure: je.Structure,
    mesh: int,
    bands: tuple,
    steps: int,
    shift: float,
    coupled: bool,
) -> list:
    """Processor time at the start, after each report, and at the end, seconds."""
    times = [clock()]
    je.optics.excitons(
        silicon.hamiltonian,
        structure,
        mesh,
        silicon.screening,
        *bands,
        steps,
        [[1, 0, 0]],
        shift=(shift,) * 3,
        precision="float32",
        progress=lambda done, of: times.append(clock()),
        tamm_dancoff=not coupled,
    )
    return [*times, clock()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--primitive", type=int, nargs="*", default=[8, 12, 16], help="points a direction")
    parser.add_argument("--snapshot", type=int, nargs="*", default=[2, 3, 4], help="points a direction")
    parser.add_argument("--steps", type=int, default=200, help="of the primitive cell")
    parser.add_argument("--coupled", action="store_true", help="beyond Tamm-Dancoff")
    options = parser.parse_args()
    print(machine())
    silicon = je.materials.load("silicon", hamiltonian="silicon-hse06")
    for n in options.primitive:
        times = timed(silicon, silicon.primitive, n, (4, 5), options.steps, 0.0, options.coupled)
        step = (times[-2] - times[1]) / (options.steps - 20)
        print(
            f"primitive cell, {n}^3 points: {times[-1] - times[0]:.0f} s, {1e3 * step:.2f} ms a step; {_memory()}",
            flush=True,
        )
    supercell = silicon.structure.supercell(2)
    moved = supercell.with_positions(
        je.sampling.harmonic(silicon.potential, supercell, temperature=300.0, count=1, key=jax.random.key(0)).positions[
            0
        ]
    )
    for n in options.snapshot:
        times = timed(silicon, moved, n, (128, 160), 60, 0.5, options.coupled)
        step = (times[3] - times[1]) / 40
        first = times[1] - times[0] - 20 * step
        print(f"64 atoms, {n}^3 points: states {first:.0f} s, {step:.3f} s a step; {_memory()}", flush=True)


def _memory() -> str:
    return f"at most {peak():.1f} GB so far"


if __name__ == "__main__":
    main()
