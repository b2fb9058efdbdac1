"""Figures of thermal expansion."""

from typing import TYPE_CHECKING

import numpy as np

from jaxepi.plotting.common import colours, panels_in_rows, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from jaxepi.sampling import QuasiHarmonic


def expansion(crystal: "QuasiHarmonic", hottest: float, title: str = "") -> "Figure":
    """Free energies over volumes with their minima, and the expansion coefficient of lengths over temperature.

    Args:
        hottest: temperature to which both are drawn, K.
    """
    import jax
    import jax.numpy as jnp

    from jaxepi import sampling
    from jaxepi.sampling.vibrations import Modes, free_energy

    figure, (left, right) = panels_in_rows(1, 2, 9.0, 4.0)
    t = jnp.linspace(0.0, max(hottest, 1.0), 101)
    states = jax.vmap(lambda kelvin: sampling.expanded(crystal, kelvin))(t)
    shown = t[::20]
    for colour, kelvin in zip(colours(len(shown)), shown, strict=True):

        def vibrating(eigenvalues, kelvin=kelvin):
            return free_energy(Modes(crystal.points, crystal.weights, eigenvalues), kelvin)

        total = crystal.energies + jax.vmap(vibrating)(crystal.eigenvalues)
        best = sampling.expanded(crystal, kelvin)
        zero = float(best.free_energy)
        left.plot(
            crystal.factors,
            1e3 * (np.asarray(total) - zero),
            "o-",
            ms=3,
            lw=0.9,
            color=colour,
            label=f"{float(kelvin):.0f} K",
        )
        left.plot(best.factor, 0.0, "v", color=colour, ms=7)
    left.set(xlabel="length, relative to rest", ylabel="free energy from its minimum (meV a cell)")
    left.legend(fontsize=8, frameon=False)
    right.plot(t, 1e6 * np.asarray(states.coefficient), color="#20407f", lw=1.4)
    right.axhline(0, color="0.6", lw=0.7)
    right.set(xlim=(0, float(t[-1])), xlabel="temperature (K)", ylabel="linear expansion (1e-6/K)")
    figure.suptitle(plain(title))
    return figure
