"""jaxepi: what lattice vibrations do to the electrons and the light of crystals, in JAX.

Stages are modules, imported when first used: `jaxepi.materials`, `jaxepi.sampling`, `jaxepi.hamiltonians`,
`jaxepi.electrons`, `jaxepi.optics`, `jaxepi.workflows`. Nothing here changes JAX's configuration; `keep_compiled()` does
when it is called.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
