"""Shared fixtures. The package is imported under jaxtyping's hook, so every annotated shape is checked at run time.

What is compiled is kept in pytest's cache folder, for the processes side by side and for the next run; tests count what
their own process lowers, not what XLA compiles.
"""

import os

import jax
import scipy.linalg  # noqa: F401  (loads the OpenBLAS that JAX calls, so that the limit below reaches it)
from jaxtyping import install_import_hook
from threadpoolctl import threadpool_limits

jax.config.update("jax_enable_x64", True)
# Most of the time goes into compiling: code that runs for milliseconds is not worth LLVM's optimization.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_backend_optimization_level=0"
install_import_hook("jaxepi", "beartype.beartype")
threadpool_limits(1, user_api="blas")  # tests run side by side on few cores


def pytest_configure(config):
    """Where compiled programs are kept; commands that tests start find them too."""
    cache = getattr(config, "cache", None)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ or cache is None:
        return
    folder = str(cache.mkdir("compiled"))
    os.environ |= {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1"}
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
