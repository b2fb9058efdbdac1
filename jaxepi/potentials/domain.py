"""What a learned potential does not know: atoms closer than, or unlike, all those it was trained on."""

import warnings
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.graph import Graph
from jaxepi.potentials.base import EnergyModule, Potential
from jaxepi.structure import Structure


def extrapolations(module: EnergyModule, closest: float, novelty: float) -> Iterator[tuple[str, str]]:
    """A word and a phrase for every way in which atoms lie outside the training data of an energy module.

    Args:
        closest: shortest distance of two atoms, angstrom. novelty: of `NetworkEnergy.novelty`, 1 at the edge.
    """
    least = module.minimum_distance
    if closest < least:
        yield (
            "distance",
            f"two atoms {closest:.3f} angstrom apart, closer than in any training structure ({least:.3f})",
        )
    if novelty > 1:
        yield (
            "novelty",
            f"an atom outside the training data of the potential (distance {novelty:.2f}, where 1 is the edge)",
        )


def warn_at_rest(potential: Potential, structure: Structure, graph: Graph) -> None:
    """Warn where atoms at rest are unlike all that a potential was trained on; of distances its graph has warned already."""
    if not potential.module.measures_novelty:
        return
    novelty = float(potential.novelty(structure, graph))
    for _, what in extrapolations(potential.module, np.inf, novelty):
        warnings.warn(
            f"the crystal at rest has {what}: it does not know such atoms, and nothing that follows from its "
            "forces (phonons, snapshots, gaps and spectra at temperatures) can be trusted",
            stacklevel=3,
        )


def warn_of_snapshots(
    potential: Potential, structure: Structure, positions: Float[Array, "s n 3"], temperature: float
) -> None:
    """Warn where snapshots of a crystal hold what a potential was not trained on, once each for distances and surroundings.

    Args:
        structure: at rest. positions: of the snapshots, angstrom. temperature: kelvin, for the message.
    """
    module = potential.module
    if not (module.measures_novelty or module.minimum_distance):
        return
    graph = potential.graph(structure)
    closest, novelty = _largest(potential, structure, graph, positions)
    if float(potential.novelty(structure, graph)) > 1:
        novelty = 0 * novelty  # the crystal at rest is outside already, of which `warn_at_rest` tells
    for _, what in extrapolations(module, float(closest), float(novelty)):
        warnings.warn(f"snapshots at {temperature:g} K have {what}; its forces there are extrapolated", stacklevel=3)


@jax.jit
def _largest(
    potential: Potential, structure: Structure, graph: Graph, positions: Float[Array, "s n 3"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Shortest distance and largest novelty of all snapshots."""

    def one(x: Array) -> tuple[Array, Array]:
        moved = structure.with_positions(x)
        lengths = jnp.linalg.norm(graph.vectors(moved), axis=1)
        return jnp.min(lengths, initial=jnp.inf), potential.novelty(moved, graph)

    closest, novelty = jax.lax.map(one, positions)
    return closest.min(), novelty.max()
