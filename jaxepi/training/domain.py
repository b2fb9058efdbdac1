"""The domain of a trained potential: second moments of its invariant features over the training atoms.

Flows in: a module whose network gives invariant features, its parameters and the training set. Flows out: for every species
the root of the inverse moments, scaled so that the farthest training atom lies at a distance of 1.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxepi.training.energies import EnergyProblem, gather

FLOOR = 1e-6
"""Of the mean eigenvalue of the moments: directions that training never moved along count at least so much."""


def domain(problem: EnergyProblem, params: Mapping[str, Any]) -> dict[str, Float[np.ndarray, "s f f"]] | None:
    """The parameter `domain` of the module (see `NetworkEnergy.novelty`); None where it has no features.

    Args:
        params: of the model.
    """
    network = getattr(problem.module, "network", None)
    if network is None:
        return None

    def features(arrays: Any, plan: Any) -> Any:
        batch = gather(arrays, plan)
        cell = batch.cell[batch.slots]
        vectors = tuple(table.vectors(batch.positions, cell) for table in batch.tables)
        return network.apply({"params": params["network"]}, batch.species, vectors, batch.tables)[1]

    compiled, found = jax.jit(features), []
    for plan in problem.plans("train"):
        real = plan.atoms >= 0
        species = np.asarray(problem.arrays["species"])[plan.atoms[real]]
        found.append((species, np.asarray(compiled(problem.arrays, plan), np.float64)[real]))
    species, values = (np.concatenate(part) for part in zip(*found, strict=True))
    roots = [_root(values[species == s]) for s in range(len(problem.module.species))]
    return {"root": np.stack(roots)}


def _root(features: Float[np.ndarray, "a f"]) -> Float[np.ndarray, "f f"]:
    """A matrix R with |R f| = 1 for the farthest of the features and R.R the inverse of their moments otherwise."""
    if not len(features):
        return np.eye(features.shape[1])
    values, vectors = np.linalg.eigh(features.T @ features / len(features))
    values = np.maximum(values, FLOOR * max(values.mean(), 1e-30))
    root = (vectors / np.sqrt(values)) @ vectors.T
    return root / np.sqrt(((features @ root) ** 2).sum(axis=1).max())


def as_parameters(found: Mapping[str, np.ndarray] | None, dtype: Any) -> dict[str, Any]:
    """The domain as parameters of the module."""
    return {} if found is None else {"domain": {n: jnp.asarray(x, dtype) for n, x in found.items()}}
