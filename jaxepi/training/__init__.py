"""Training: one loop for all models, and what potentials learn from.

`fit` trains any `Problem`; `EnergyProblem` is that of potentials. Settings need nothing heavy.

Names are imported when first used; `__init__.pyi` says where each stands.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
