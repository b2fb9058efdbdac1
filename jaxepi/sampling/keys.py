"""Random keys: what samplers accept as one."""

import jax
import numpy as np
from jaxtyping import Array, Key

from jaxepi.errors import InputError
from jaxepi.guards import traced

RandomKey = Key[Array, ""] | int
"""`jax.random.key(seed)`, or the seed."""


def random_key(key: RandomKey) -> Key[Array, ""]:
    """The key itself, or that of a seed.

    Raises:
        InputError: neither of the two.
    """
    if isinstance(key, int) and not isinstance(key, bool):
        return jax.random.key(key)
    if isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
        return key
    raise InputError(f"key {key!r}: give jax.random.key(seed), or the seed, a whole number")


def host_generator(key: RandomKey, name: str) -> np.random.Generator:
    """NumPy's generator from a key, for what is drawn on the host.

    Args:
        name: of what is made with it, for the message.

    Raises:
        InputError: neither key nor seed, or a key that is traced.
    """
    if traced(key):
        raise InputError(
            f"{name}: made on the host; make the noise outside jit, vmap and grad, and hand it to displacements"
        )
    with jax.ensure_compile_time_eval():
        return np.random.default_rng(np.asarray(jax.random.key_data(random_key(key))).ravel().tolist())
