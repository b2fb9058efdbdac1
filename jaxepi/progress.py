"""How far a long computation is: a bar in a terminal or notebook; elsewhere (a log, a batch job) a line every tenth.

Flows in: a number of items, or an iterable. Flows out: a `tqdm` bar on stderr.
"""

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from tqdm import tqdm

TENTHS = 10
"""Lines that a finished computation has left in a log."""


class Lines(tqdm):
    """A bar for what is no terminal: a line whenever another tenth is done, nothing in between, and no control characters."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.tenths = 0
        super().__init__(*args, **{**options, "mininterval": 0, "miniters": 1, "dynamic_ncols": False, "ascii": True})
        self.tenths = self._tenth()

    def _tenth(self) -> int:
        return int(TENTHS * self.n / self.total + 1e-9) if self.total else 0

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Print the line where another tenth is done."""
        if self._tenth() <= self.tenths:
            return False
        self.tenths = self._tenth()
        held, done = self.format_dict, self.n - self.initial
        left = "" if done <= 0 else f", {self.format_interval(held['elapsed'] * (self.total - self.n) / done)} left"
        name = f"{self.desc.rstrip(': ')}: " if self.desc else ""
        note = f"; {held['postfix']}" if held["postfix"] else ""
        counts = f"{self.n:g} of {self.total:g} {self.unit}s"
        line = f"{name}{counts}, {self.format_interval(held['elapsed'])} passed{left}{note}"
        with suppress(
            OSError, ValueError
        ):  # nobody reads any more; tqdm holds a lock here, which an error would leave held
            print(line, file=self.fp, flush=True)
        return True

    def close(self) -> None:
        """Leave no trace: what is done has been printed."""
        if not self.disable:  # type: ignore[has-type]
            self.display()
            self.disable = True
            self._decr_instances(self)


def progress_bar(iterable: Iterable[Any] | None = None, *, shown: bool = True, **options: Any) -> tqdm:
    """A bar of `tqdm`, with its options (total, unit, desc, leave, initial, bar_format).

    Args:
        shown: False shows nothing.
    """
    if not shown:
        return tqdm(iterable, **{**options, "disable": True})
    from tqdm.auto import tqdm as best

    if best is not _asynchronous() or sys.stderr.isatty():
        return best(iterable, **options)
    return Lines(iterable, **options)


def _asynchronous() -> type:
    """What `tqdm.auto` is where there is no notebook."""
    from tqdm.asyncio import tqdm_asyncio

    return tqdm_asyncio
