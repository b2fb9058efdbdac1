"""The domain of a trained potential: mean and covariance of its invariant features over the training atoms.

Flows in: a module whose network gives invariant features, its parameters and the training set. Flows out: for every species
the mean and the root of the inverse covariance, scaled so that the farthest training atom lies at a distance of 1. Batches
of the training shape are used, so nothing is compiled for single structures.
"""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxepi.potentials import learned
from jaxepi.training.energies.problem import EnergyProblem, gather


def domain(problem: EnergyProblem, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameter `domain` of the module (see `NetworkEnergy.novelty`), in the problem's precision; empty where the
    module has no features.

    Args:
        params: of the model.
    """
    if not problem.module.has_features:
        return {}

    def features(params: Any, arrays: Any, plan: Any) -> Any:
        batch = gather(arrays, plan)
        cell = batch.cell[batch.slots]
        vectors = tuple(table.vectors(batch.positions, cell) for table in batch.tables)
        return problem.module.site_features({"params": params}, batch.species, vectors, batch.tables)

    compiled, found = jax.jit(features), []
    for plan in problem.plans("train"):
        real = plan.atoms >= 0
        species = np.asarray(problem.arrays["species"])[plan.atoms[real]]
        found.append((species, np.asarray(compiled(params, problem.arrays, plan), np.float64)[real]))
    species, values = (np.concatenate(part) for part in zip(*found, strict=True))
    found_domain = learned.domain(values, species, len(problem.module.species))
    return {"domain": {name: x.astype(problem.dtype) for name, x in found_domain.items()}}
