"""Very many temperatures against one: seconds, and programs compiled; the same study, noise and supercell.

    python scripts/benchmark_sweep.py --supercell 2 --count 200

Prints seconds of two temperatures (the first call, which compiles, and again), of four, and of all, with slopes.
"""

import argparse
import sys
import time

import jax
import numpy as np

from jaxepi.workflows.sweeps import sweep

COMPILED: list[str] = []


def listen(event: str, seconds: float, **details: object) -> None:
    """Note every program that XLA compiles."""
    if "backend_compile" in event:
        COMPILED.append(str(details.get("fun_name", "")))


def timed(temperatures: list[float], supercell: int) -> tuple[float, float, int]:
    """Processor seconds and seconds of a sweep, and how many programs it compiled."""
    COMPILED.clear()
    started, busy = time.perf_counter(), time.process_time()
    options = {"supercell": supercell, "snapshots": 2, "kmesh": 1, "equilibrium_points": 2, "energies": (1.2, 4.5, 100)}
    sweep("silicon", temperatures, **options)
    return time.process_time() - busy, time.perf_counter() - started, len(COMPILED)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--supercell", type=int, default=2)
    parser.add_argument("--count", type=int, default=200)
    asked = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    jax.monitoring.register_event_duration_secs_listener(listen)
    kelvin = [float(t) for t in np.linspace(0.0, 600.0, asked.count)]
    print(f"{8 * asked.supercell**3} atoms of silicon, 2 snapshots a temperature, Gamma, with slopes", flush=True)
    print("temperatures  processor seconds  seconds  programs compiled", flush=True)
    each = {}
    # Two temperatures are the least of a sweep; the difference to four is that of two temperatures.
    for name, chosen in (("2, first", kelvin[:2]), ("2", kelvin[:2]), ("4", kelvin[:4]), (str(asked.count), kelvin)):
        each[name] = timed(chosen, asked.supercell)
        busy, seconds, programs = each[name]
        print(f"{name:>12}  {busy:17.1f}  {seconds:7.1f}  {programs:17d}", flush=True)
    one = (each["4"][0] - each["2"][0]) / 2
    many, first = each[str(asked.count)][0], each["2, first"][0]
    print(f"one temperature more: {one:.2f} processor seconds; {asked.count}: {many:.1f}, {many / one:.0f} times that")
    print(f"{many / first:.1f} times the first call")
    return 0


if __name__ == "__main__":
    sys.exit(main())
