"""What the tests of samplers share."""

import pytest
from spring_crystals import gallium_arsenide

from jaxepi.sampling import ForceConstants


@pytest.fixture(scope="session")
def spring_gaas() -> ForceConstants:
    """Gallium arsenide of springs, 2 x 2 x 2 primitive cells."""
    return gallium_arsenide()
