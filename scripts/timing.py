"""Times and memory of calls on a device, and on what they were taken."""

import os
import platform
import resource
import time
from collections.abc import Callable
from datetime import date
from typing import Any

import jax


def shortest(call: Callable[[], Any], repeats: int) -> float:
    """Shortest wall time of some calls, seconds, each until its results are there; the first may have to compile."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - start)
    return min(times)


def clock() -> float:
    """Seconds of this process on the processor, which other work does not lengthen; on the wall where a GPU does the work."""
    return time.process_time() if jax.default_backend() == "cpu" else time.perf_counter()


def peak() -> float:
    """Largest memory so far, GB: of this process, or of the GPU that it works on."""
    if jax.default_backend() == "cpu":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return (jax.local_devices()[0].memory_stats() or {}).get("peak_bytes_in_use", float("nan")) / 1e9


def machine() -> str:
    """Date, processor, cores that this process may use, device and version of JAX, for the head of a table."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = f"{usable} core" + "s" * (usable > 1)
    return f"{date.today()}, {platform.machine()}, {cores}, {jax.local_devices()[0].device_kind}, jax {jax.__version__}"
