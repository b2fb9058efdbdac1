"""Arrays in parts of so many rows, for what is made part by part so that memory stays bounded: of derivatives too, since parts
are made again on the way back."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

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


def in_parts(function: Callable[..., Any], rows: int, *arrays: Any) -> Any:
    """What a function makes of so many rows of pytrees of arrays at a time: arrays of shape (parts, rows, ...), which `joined`
    joins. Of no more rows than that, one part."""
    if len(jax.tree.leaves(arrays)[0]) <= rows:
        return jax.tree.map(lambda x: x[None], function(*arrays))
    again = jax.checkpoint(lambda part: function(*part), prevent_cse=False)
    return jax.lax.map(again, split(arrays, rows))


def in_chunks(function: Callable[..., Any], *arrays: Any) -> Any:
    """function(*arrays) of the rows of arrays, `CHUNK` at a time."""
    return joined(in_parts(function, CHUNK, *arrays), len(jax.tree.leaves(arrays)[0]))


def of_module(module: nn.Module, part: Callable[[Any, Any], Any], arrays: Any, rows: int) -> Any:
    """part(module, some) of the rows of a pytree of arrays, so many at a time, where `part` calls parts of a module."""

    def step(module: nn.Module, carry: tuple[()], some: Any) -> tuple[tuple[()], Any]:
        return carry, part(module, some)

    scanned = nn.scan(nn.remat(step, prevent_cse=False), variable_broadcast="params", split_rngs={"params": False})
    return joined(scanned(module, (), split(arrays, rows))[1], len(jax.tree.leaves(arrays)[0]))
