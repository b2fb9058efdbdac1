"""Transitions of single snapshots as those of all, on the host: nothing is compiled for their number."""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxepi.guards import constant
from jaxepi.optics import Spectrum, Transitions
from jaxepi.sampling import Snapshots


def joined(parts: list[Transitions], drawn: Snapshots) -> Transitions:
    """Transitions of single snapshots as one."""
    histogram, eigenvalues = (
        constant(np.concatenate([np.asarray(getattr(part, name)) for part in parts]))
        for name in ("histogram", "eigenvalues")
    )
    whole = dataclasses.replace(parts[0], histogram=histogram, eigenvalues=eigenvalues)
    return dataclasses.replace(whole, snapshot_weights=drawn.weights, groups=drawn.groups)


def as_many(one: Transitions, count: int, spectrum: Callable[[Transitions], Spectrum]) -> Spectrum:
    """The spectrum of one snapshot, computed in the shape of several: no program is compiled for it alone."""
    histogram, eigenvalues = (
        constant(np.repeat(np.asarray(x), count, axis=0)) for x in (one.histogram, one.eigenvalues)
    )
    found = spectrum(dataclasses.replace(one, histogram=histogram, eigenvalues=eigenvalues))
    eps1, eps2 = (constant(np.asarray(eps)[:1]) for eps in (found.eps1, found.eps2))
    return dataclasses.replace(found, eps1=eps1, eps2=eps2)
