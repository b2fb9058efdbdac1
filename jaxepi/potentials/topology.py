"""Graphs that replace one another while atoms move: in arrays of few shapes, so that compiled functions are used again.

Flows in: a potential and positions. Flows out: a `Graph` for one configuration, or one whose arrays have a row a run.
"""

import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.graph import Graph, Shape, padded, shape_of
from jaxepi.potentials.base import Potential
from jaxepi.structure import Structure

_ROOM = 1.15  # what is asked for beyond the present need
_STEP = 8  # columns come in multiples of this many


def graph(potential: Potential, structure: Structure, shape: Shape = ()) -> tuple[Graph, Shape]:
    """The graph of a structure, and its shape, which is `shape` wherever that suffices."""
    found = built(potential, structure)
    shape = _fitting([found], shape)
    return padded(found, shape), shape


def graphs(
    potential: Potential, structure: Structure, positions: Float[Array, "r n 3"], shape: Shape = ()
) -> tuple[Graph, Shape]:
    """One graph a run, built from its positions, angstrom; and their shape, which is `shape` wherever that suffices."""
    found = [built(potential, structure.with_positions(x)) for x in positions]
    shape = _fitting(found, shape)
    return jax.tree.map(lambda *x: jnp.stack(x), *(padded(one, shape) for one in found)), shape


def built(potential: Potential, structure: Structure) -> Graph:
    """A new graph, without warnings: whoever moves atoms looks after them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return potential.graph(structure)


def _fitting(found: Sequence[Graph], shape: Shape) -> Shape:
    """A shape that holds all graphs: no shorter than `shape`, and with room wherever that does not suffice."""
    needed = [max(lengths) for lengths in zip(*(shape_of(one) for one in found), strict=True)]
    have = shape or (0,) * len(needed)
    return tuple(h if n <= h else _roomy(n) for n, h in zip(needed, have, strict=True))


def _roomy(needed: int) -> int:
    return -(-int(np.ceil(_ROOM * needed)) // _STEP) * _STEP
