"""Transitions of single snapshots as those of all, on the host: nothing is compiled for their number."""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxepi.errors import InputError
from jaxepi.guards import constant
from jaxepi.optics import Spectrum, Transitions
from jaxepi.sampling import Snapshots


def joined(parts: list[Transitions], drawn: Snapshots) -> Transitions:
    """Transitions of single snapshots as one; NaN fills eigenvalues that a solver found of some of them alone.

    Raises:
        InputError: solvers of different line shapes found them.
    """
    if len({(part.carried, part.replicas is None) for part in parts}) > 1:
        raise InputError(
            "snapshots of one study were solved by different solvers, of different lines: name one (--solver), and pass "
            "--overwrite"
        )
    filled = max(part.occupied for part in parts)
    empty = max(part.eigenvalues.shape[2] - part.occupied for part in parts)

    def aligned(part: Transitions) -> np.ndarray:
        missing = filled - part.occupied, empty + part.occupied - part.eigenvalues.shape[2]
        return np.pad(np.asarray(part.eigenvalues), ((0, 0), (0, 0), missing), constant_values=np.nan)

    replicas = None
    if parts[0].replicas is not None:
        replicas = constant(np.concatenate([np.asarray(part.replicas) for part in parts]))
    return dataclasses.replace(
        parts[0],
        histogram=constant(np.concatenate([np.asarray(part.histogram) for part in parts])),
        eigenvalues=constant(np.concatenate([aligned(part) for part in parts])),
        occupied=filled,
        replicas=replicas,
        snapshot_weights=drawn.weights,
        groups=drawn.groups,
    )


def as_many(one: Transitions, count: int, spectrum: Callable[[Transitions], Spectrum]) -> Spectrum:
    """The spectrum of one snapshot, computed in the shape of several: no program is compiled for it alone."""
    histogram, eigenvalues = (
        constant(np.repeat(np.asarray(x), count, axis=0)) for x in (one.histogram, one.eigenvalues)
    )
    found = spectrum(dataclasses.replace(one, histogram=histogram, eigenvalues=eigenvalues))
    eps1, eps2 = (constant(np.asarray(eps)[:1]) for eps in (found.eps1, found.eps2))
    return dataclasses.replace(found, eps1=eps1, eps2=eps2)
