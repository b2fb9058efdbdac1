"""Excitons: electrons and holes that attract each other (Bethe-Salpeter equation in the tight-binding basis)."""

from jaxepi.optics.excitons.interaction import Keldysh, Screening, thomas_fermi_length
from jaxepi.optics.excitons.setup import screening_of
from jaxepi.optics.excitons.spectrum import Excitons, excitons

__all__ = ["Excitons", "Keldysh", "Screening", "excitons", "screening_of", "thomas_fermi_length"]
