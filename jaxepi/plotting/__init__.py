"""Figures. The only room that imports matplotlib, and only when a figure is drawn; no window is ever opened.

Flows in: spectra, fits, bands, phonons. Flows out: `matplotlib.figure.Figure`, to be saved or shown in a notebook.
Temperatures run from dark blue (cold) to orange (hot) in a map that colour-blind readers can order.
"""

from jaxepi.plotting.bands import bands
from jaxepi.plotting.common import DPI, check_suffix, png, save
from jaxepi.plotting.epi import renormalisation, renormalised_bands, spectral_function
from jaxepi.plotting.excitons import exciton_weights
from jaxepi.plotting.expansion import expansion
from jaxepi.plotting.optics import absorption, tauc
from jaxepi.plotting.phonons import density_of_states, phonons
from jaxepi.plotting.sweep import sweep
from jaxepi.plotting.training import cost, learning_curve, parity

__all__ = [
    "DPI",
    "absorption",
    "bands",
    "check_suffix",
    "cost",
    "density_of_states",
    "exciton_weights",
    "expansion",
    "learning_curve",
    "parity",
    "phonons",
    "png",
    "renormalisation",
    "renormalised_bands",
    "save",
    "spectral_function",
    "sweep",
    "tauc",
]
