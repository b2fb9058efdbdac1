"""Wall times of calls on a device, on what they were taken, and reports that are printed and kept."""

import os
import platform
import time
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import jax

from jaxepi.files import whole


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
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{date.today()}, {platform.machine()}, {usable} cores, {jax.default_backend()}, jax {jax.__version__}"


def report(lines: Iterable[str], output: Path | None) -> None:
    """Print lines as they are found and, where there is a file to write, keep there what is printed so far."""
    said: list[str] = []
    for line in lines:
        print(line, flush=True)
        said.append(line)
        if output:
            with whole(output) as temporary:
                temporary.write_text("```\n" + "\n".join(said) + "\n```\n")
