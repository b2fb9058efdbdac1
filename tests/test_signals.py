"""Signals: at any moment a program ends in one line with the status of its signal, and never in a traceback."""

import os
import signal
import subprocess
import sys

import pytest

from jaxepi import signals

SELF = "import os, sys, time; sys.argv = ['jaxepi', *{arguments!r}]; number = {number}\n"
IMPORT = """
class Finder:
    def find_spec(self, name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), number); time.sleep(30)
sys.meta_path.insert(0, Finder())
"""
COMPILE = """
import jax
def stop(event, *_, **__):
    if "jaxpr_trace" in event:
        os.kill(os.getpid(), number); time.sleep(30)
jax.monitoring.register_event_duration_secs_listener(stop)
"""
RUN = "from jaxepi.__main__ import main; sys.exit(main())"


def ending(code: str, arguments=("gap", "silicon"), number: int = signal.SIGINT, **names) -> tuple[int, str]:
    """Exit status and errors of a program that sends itself a signal."""
    code = SELF.format(arguments=list(arguments), number=int(number)) + code.format(**names) + RUN
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
@pytest.mark.parametrize("module", ["jaxepi.cli", "jax", pytest.param("jaxepi.hamiltonians", marks=pytest.mark.slow)])
def test_a_signal_during_imports_ends_in_one_line(module, number):
    word = "interrupted" if number == signal.SIGINT else "terminated"
    assert ending(IMPORT, number=number, module=module) == (128 + number, f"\njaxepi: {word}\n")


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_signal_during_compilation_ends_in_one_line(number):
    status, errors = ending(COMPILE, number=number)
    assert status == 128 + number
    assert errors.count("\n") == 2
    assert "Traceback" not in errors


WITHIN = """
from jaxepi import signals
signals.listen()
def twice():
    with signals.noted("all of it is kept"), signals.postponed():
        os.kill(os.getpid(), number)
        while not signals.pending():
            time.sleep(0.01)
        print("heard", flush=True)
        if {again}:
            os.kill(os.getpid(), number)
            time.sleep(30)
try:
    twice()
except signals.Interrupted as stop:
    print(stop, stop.number, file=sys.stderr)
    os._exit(7)
"""


def test_a_first_signal_waits_for_the_end_of_a_block_and_a_second_does_not():
    assert ending(WITHIN, again=False) == (7, "interrupted; all of it is kept 2\n")
    assert ending(WITHIN, again=True) == (130, "\njaxepi: interrupted; all of it is kept\n")


def test_without_a_program_a_block_hears_for_itself_and_leaves_the_handlers_as_they_were():
    before = signal.getsignal(signal.SIGINT)
    reached = []

    def block():
        with signals.postponed():
            os.kill(os.getpid(), signal.SIGINT)
            reached.append(signals.pending())
            with signals.postponed():
                reached.append("inner")
            with pytest.raises(signals.Interrupted):
                signals.check()

    with pytest.raises(signals.Interrupted, match="interrupted"):
        block()
    assert reached == [True, "inner"]
    assert signal.getsignal(signal.SIGINT) is before
    assert not signals.pending()
