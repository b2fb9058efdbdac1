"""Shared fixtures. The package is imported under jaxtyping's hook, so every annotated shape is checked at run time."""

import jax
from jaxtyping import install_import_hook

jax.config.update("jax_enable_x64", True)
install_import_hook("jaxepi", "beartype.beartype")
