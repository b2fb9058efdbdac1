"""Shared fixtures. The package is imported under jaxtyping's hook, so every annotated shape is checked at run time."""

import os
from pathlib import Path

import jax
import pytest
import scipy.linalg  # noqa: F401  (loads the OpenBLAS that JAX calls, so that the limit below reaches it)
from jaxtyping import install_import_hook
from threadpoolctl import threadpool_limits

jax.config.update("jax_enable_x64", True)
# The package says where types and ranks change: nothing is promoted on the way.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Most of the time goes into compiling: code that runs for milliseconds is not worth LLVM's optimization.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
install_import_hook("jaxepi", "beartype.beartype")
threadpool_limits(1, user_api="blas")  # tests run side by side on few cores


@pytest.fixture(scope="module", autouse=True)
def room_for_programs():
    """Every compiled program takes some six memory maps of a process, and the kernel allows 65530: XLA crashes beyond."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 20_000:
        jax.clear_caches()
