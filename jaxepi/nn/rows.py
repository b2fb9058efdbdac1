"""Arrays in parts of so many rows, for what is made part by part so that memory stays bounded (of derivatives too, where parts
are made again)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

CHUNK = 2048
"""Edges that are made at a time, more than batches of training have: eight times as many take three times the memory."""


def split(arrays: Any, rows: int) -> Any:
    """Every array of a pytree in parts of so many rows, shape (parts, rows, ...).

    The last part is filled up with the last row of all, so that it holds nothing that the others do not (no distance of zero).
    """

    def one(x: Any) -> Any:
        missing = -len(x) % rows
        filled = jnp.concatenate([x, jnp.broadcast_to(x[-1:], (missing, *x.shape[1:]))]) if missing else x
        return filled.reshape(-1, rows, *x.shape[1:])

    return jax.tree.map(one, arrays)


def joined(parts: Any, count: int) -> Any:
    """The first so many rows of what was made of the parts of `split`."""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], parts)


def in_chunks(function: Callable[..., Array], *arrays: Array) -> Array:
    """function(*arrays) of the rows of arrays, `CHUNK` at a time."""
    count = len(arrays[0])
    if count <= CHUNK:
        return function(*arrays)
    return joined(jax.lax.map(lambda part: function(*part), split(arrays, CHUNK)), count)
