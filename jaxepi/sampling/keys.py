"""Random keys: what samplers accept as one."""

import jax
from jaxtyping import Array, Key

from jaxepi.errors import InputError

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
