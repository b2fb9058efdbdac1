"""Figures of excitons: where in the Brillouin zone they are."""

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxepi.plotting.common import colours, legend, one_panel, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def exciton_weights(found: Any, structure: Any, title: str = "") -> "Figure":
    """Weights of the lowest excitons in k against the distance from where each is largest.

    Args:
        found: `jaxepi.optics.LowestExcitons`. structure: its cell (`jaxepi.structure.Structure`).
    """
    figure, axes = one_panel()
    points, weights = np.asarray(found.points), np.asarray(found.weights)
    reciprocal = np.asarray(structure.reciprocal)
    images = np.array(list(np.ndindex(3, 3, 3))) - 1
    for i, colour in enumerate(colours(len(weights))):
        away = points - points[weights[i].argmax()]
        nearest = away[:, None] - np.round(away)[:, None] + images[None]
        distance = np.linalg.norm(nearest @ reciprocal, axis=2).min(axis=1)
        label = f"{float(found.energies[i]):.4f} eV, bound by {1e3 * float(found.binding[i]):.1f} meV"
        axes.plot(distance, weights[i] / weights[i].max(), "o", color=colour, ms=4, mew=0, alpha=0.7, label=label)
    axes.set(
        xlabel="distance in k from the largest weight (1/angstrom)", ylabel="weight over the largest", ylim=(0, 1.05)
    )
    axes.set_title(plain(title))
    legend(axes, "upper left", "")
    return figure
