"""Excitons: electrons and holes that attract each other (Bethe-Salpeter equation in the tight-binding basis)."""

from jaxepi.optics.excitons.chebyshev import exciton_spectrum
from jaxepi.optics.excitons.edge import Tail, elliott_factor, join_tail
from jaxepi.optics.excitons.interaction import Keldysh, Screening, thomas_fermi_length
from jaxepi.optics.excitons.lowest import LowestExcitons, lowest_excitons
from jaxepi.optics.excitons.quanta import ModeSpectra, mode_spectra, with_quanta
from jaxepi.optics.excitons.setup import screening_of
from jaxepi.optics.excitons.spectrum import Excitons, excitons

__all__ = [
    "Excitons",
    "Keldysh",
    "LowestExcitons",
    "ModeSpectra",
    "Screening",
    "Tail",
    "elliott_factor",
    "exciton_spectrum",
    "excitons",
    "join_tail",
    "lowest_excitons",
    "mode_spectra",
    "screening_of",
    "thomas_fermi_length",
    "with_quanta",
]
