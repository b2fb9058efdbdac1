"""What the tests of both training studies ask: the rows of a table, and a signal in the middle of a run."""

import csv
import os
import signal
from contextlib import contextmanager

import pytest

from jaxepi.training import loop


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
