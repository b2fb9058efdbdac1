"""Before training: what depends on bond lengths alone is fitted to the smallest cells, all at once.

Integrals of a crystal depend on each other strongly: descent by batches takes thousands of steps where a quasi-Newton method
with all configurations at hand takes hundreds. Flows in: a problem and its first parameters. Flows out: parameters.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

from jaxepi import signals
from jaxepi.errors import InputError
from jaxepi.progress import progress_bar
from jaxepi.training.bands.spectra import BandProblem

FITTED = ("base", "radial")


def presolved(problem: BandProblem, steps: int, progress: bool = False) -> Any:
    """The initial parameters with `base` and `radial` fitted by L-BFGS to the training configurations of the fewest atoms.

    Args:
        steps: at most.

    Raises:
        InputError: a model without `radial`, or one configuration alone: functions of the distance would be known at its own
            distances only, and be anything between them.
    """
    params = problem.initial()
    if "radial" not in params:
        raise InputError(
            "presolve fits the terms that depend on bond lengths alone: give [model] radial, for example 10"
        )
    smallest = min(len(g.held.species) for g in problem.groups if len(problem.rows(g, "train")))
    if sum(len(problem.rows(g, "train")) for g in problem.groups if len(g.held.species) == smallest) < 2:
        raise InputError(
            f"presolve fits functions of the distance, which one training configuration of {smallest} atoms does not "
            "determine: give strained or displaced ones, or presolve = 0"
        )
    plans = [p for p in problem.plans("train") if len(problem.groups[p.group].held.species) == smallest]
    whole = sum(problem.groups[p.group].repeat * float((p.members >= 0).sum()) for p in plans)
    start, unravel = ravel_pytree({name: params[name] for name in FITTED})

    def loss(x: jax.Array, arrays: Any, plan: Any) -> jax.Array:
        return problem.loss({**params, **unravel(x)}, arrays, plan)[0]

    value = jax.jit(jax.value_and_grad(loss))

    def total(x: np.ndarray) -> tuple[float, np.ndarray]:
        energy, slope, point = 0.0, np.zeros(len(x)), jnp.asarray(x, start.dtype)
        for plan in plans:
            signals.check()
            share = problem.groups[plan.group].repeat * len(plan.members) / whole
            one, gradient = value(point, problem.arrays, plan)
            energy, slope = energy + share * float(one), slope + share * np.asarray(gradient, np.float64)
        return energy, slope

    options: Any = {"maxiter": steps, "maxcor": 30, "maxfun": 2 * steps}
    with progress_bar(total=steps, desc="terms of distance", unit="step", leave=False, shown=progress) as bar:
        found = minimize(
            total,
            np.asarray(start, np.float64),
            jac=True,
            method="L-BFGS-B",
            options=options,
            callback=lambda _: bar.update(),
        )
    return {**params, **jax.tree.map(np.asarray, unravel(jnp.asarray(found.x, start.dtype)))}
