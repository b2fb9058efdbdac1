"""Whole studies: each joins the stages, and is what the command line and a notebook both call.

One module a study (`absorption`, `bands`, `phonons`, `samples`, `training`); settings need nothing heavy.

Names are imported when first used; `__init__.pyi` says where each stands.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
