"""Data sets that several tests read."""

import pytest
from small_world import labelled

from jaxepi import io


@pytest.fixture(scope="session")
def dataset():
    return labelled()


@pytest.fixture(scope="session")
def path(dataset, tmp_path_factory):
    """The same in a file."""
    target = tmp_path_factory.mktemp("sets") / "silicon.h5"
    io.write(dataset, target)
    return target
