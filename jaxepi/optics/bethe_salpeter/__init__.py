"""Excitons: electrons and holes that attract each other (Bethe-Salpeter equation in the tight-binding basis).

Names are imported when first used; `__init__.pyi` says where each stands.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
