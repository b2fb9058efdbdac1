from .chebyshev import exciton_spectrum
from .edge import Tail, elliott_factor, join_tail
from .interaction import Keldysh, ModelDielectric, Screening, thomas_fermi_length
from .lowest import LowestExcitons, lowest_excitons
from .quanta import ModeSpectra, mode_spectra, with_quanta
from .setup import model_dielectric_of, screening_of
from .spectrum import Excitons, excitons

__all__ = [
    "Excitons",
    "Keldysh",
    "LowestExcitons",
    "ModeSpectra",
    "ModelDielectric",
    "Screening",
    "Tail",
    "elliott_factor",
    "exciton_spectrum",
    "excitons",
    "join_tail",
    "lowest_excitons",
    "mode_spectra",
    "model_dielectric_of",
    "screening_of",
    "thomas_fermi_length",
    "with_quanta",
]
