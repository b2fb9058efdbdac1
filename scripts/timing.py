"""Wall times of calls on a device, and on what they were taken."""

import os
import platform
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


def machine() -> str:
    """Date, processor, cores that this process may use, device and version of JAX, for the head of a table."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = f"{usable} core" + "s" * (usable > 1)
    return f"{date.today()}, {platform.machine()}, {cores}, {jax.default_backend()}, jax {jax.__version__}"
