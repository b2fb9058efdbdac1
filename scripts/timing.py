"""Wall times of calls on a device."""

import time
from collections.abc import Callable
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
