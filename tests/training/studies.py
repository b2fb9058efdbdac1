"""What the tests of both training studies need: a folder to run in, the rows of a table, a signal in the middle of a run."""

import csv
import os
import signal
from contextlib import contextmanager

import pytest

from jaxepi import datasets
from jaxepi.training.core import loop


def folder_of(factory, dataset, config):
    """A folder with a data set, silicon.h5, and a configuration, config.toml."""
    folder = factory.mktemp("study")
    datasets.write(dataset, folder / "silicon.h5")
    (folder / "config.toml").write_text(config)
    return folder


def rows(path):
    """Of a CSV file, without the times."""
    with path.open() as file:
        return [{n: v for n, v in row.items() if n != "seconds"} for row in csv.DictReader(file)]


@contextmanager
def interrupted_after(epoch):
    """Whoever trains meanwhile presses Ctrl-C at the end of that epoch."""
    validate = loop._Loop.validate

    def stopping(self, *arguments):
        validate(self, *arguments)
        if self.epoch == epoch:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._Loop, "validate", stopping)
        yield
