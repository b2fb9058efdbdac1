"""SIGINT and SIGTERM, heard in one way everywhere: what is finished is kept, and one line says so.

`listen`, the first thing a program does, starts a thread that hears them even while the main thread imports, compiles or
searches neighbours outside Python. A signal then ends the process at once, with a line, unless it comes in a `postponed`
block: there the first one is only noted, loops ask `pending` or `check` between their items, and the block ends with
`Interrupted`. A second signal always ends at once. Without `listen` (in a notebook, say) a `postponed` block of the main
thread hears for itself, and a second signal does what it did before. Imports nothing heavy.
"""

import os
import select
import signal
import sys
from _thread import allocate_lock, get_ident, start_new_thread
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)

PATIENCE = 2.0
"""Seconds after which a person is told that what runs is still being finished."""


class Interrupted(KeyboardInterrupt):
    """The work was interrupted; the message says what is kept. `number` is the signal's."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__("; ".join(["interrupted" if number == signal.SIGINT else "terminated", *_notes[-1:]]))
        self.number = number


_caught: list[int] = []
_notes: list[str] = []
_before: dict[int, Any] = {}
_lock = allocate_lock()
_depth = 0
_listening = False
_main = get_ident()


def listen() -> None:
    """Hear signals from now on, until the process ends. For programs; call it first, in the main thread."""
    global _listening
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in SIGNALS:
        signal.signal(number, _nothing)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    _listening = True
    start_new_thread(_watch, (reader,))


def pending() -> bool:
    """Whether a signal has been noted in a `postponed` block."""
    return bool(_caught)


def check() -> None:
    """Stop here if a signal has been noted.

    Raises:
        Interrupted: one has.
    """
    if _caught:
        raise Interrupted(_caught[0])


@contextmanager
def noted(kept: str) -> Iterator[None]:
    """While the block runs, what an interrupt leaves behind and how to go on, for the line that says so."""
    _notes.append(kept)
    try:
        yield
    finally:
        _notes.remove(kept)


@contextmanager
def postponed() -> Iterator[None]:
    """A block in which the first signal is only noted.

    Raises:
        Interrupted: at the end of the outermost block, when one was.
    """
    global _depth
    with _lock:
        _depth += 1
        if _depth == 1 and not _listening and get_ident() == _main:
            _before.update({number: signal.getsignal(number) for number in SIGNALS})
            for number in SIGNALS:
                signal.signal(number, _note)
    first: list[int] = []
    try:
        yield
    finally:
        with _lock:
            _depth -= 1
            if _depth == 0:
                first = _caught[:1]
                _restore()
                if not _listening:
                    _caught.clear()
    if first:
        raise Interrupted(first[0])


def end(number: int) -> NoReturn:
    """End the process at once, with the line that says what is kept."""
    _say(str(Interrupted(number)))
    os._exit(128 + number)


def _say(text: str) -> None:
    with suppress(OSError):  # nobody may read
        os.write(2, f"\njaxepi: {text}\n".encode())


def _nothing(number: int, frame: Any) -> None:
    """The thread hears."""


def _note(number: int, frame: Any) -> None:
    """Outside a program: remember the first signal, and leave the second to whoever heard before."""
    _caught.append(number)
    _restore()


def _restore() -> None:
    for number, handler in _before.items():
        signal.signal(number, handler)
    _before.clear()


def _watch(reader: int) -> None:
    first = _next(reader)
    _caught.append(first)
    if not _depth:
        end(first)
    if not select.select([reader], [], [], PATIENCE)[0] and not sys.is_finalizing():
        _say("stopping as soon as what runs is finished and kept; another signal ends at once")
    end(_next(reader))


def _next(reader: int) -> int:
    """The next signal that is one of ours; the interpreter writes the number of every one it hears."""
    while (number := os.read(reader, 1)[0]) not in SIGNALS:
        pass
    return number
