"""What every engine for crystals refuses by name, before anything runs."""

import pytest
from ase.build import bulk

from jaxepi.errors import InputError


def what_the_recipe_lacks(engine, good, lacking):
    """`good` is taken; germanium (`lacking` it), a slab and a cell without a k mesh are not."""
    engine.check(good)
    with pytest.raises(InputError, match=f"no {lacking} for Ge"):
        engine.check(bulk("Ge"))
    slab, bare = good.copy(), good.copy()
    slab.pbc = (True, True, False)
    with pytest.raises(InputError, match="periodic in three directions"):
        engine.check(slab)
    del bare.info["mesh"]
    with pytest.raises(InputError, match="no k mesh"):
        engine.check(bare)
