"""The command line: parses, lets `jaxepi.commands` run what was asked for, and says in one line what went wrong.

Nothing heavy is imported before a command is named; its options follow from its classes of settings. Exit status: 0 done,
2 input that cannot be used (one line on stderr, no traceback), 130 interrupted, 143 terminated.
"""

import argparse
import os
import re
import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from jaxepi import __version__
from jaxepi.errors import InputError, shown, shown_words
from jaxepi.signals import Interrupted

if TYPE_CHECKING:
    from jaxepi.commands import Command
    from jaxepi.settings import Settings

COMMANDS = {
    "absorb": "optical absorption at temperatures: snapshots, spectra, gaps, figures",
    "bands": "electronic bands of the lattice at rest along a path, eV",
    "gap": "band gap of the lattice at rest, and with --temperatures (K) or --trajectory its change, eV",
    "phonons": "phonons: dispersion, density of states (THz), sound, free energy, heat capacity, modes at Gamma",
    "expand": "thermal expansion: lattice constant, coefficient (1/K), bulk modulus, and what it does to the gap",
    "sample": "snapshots at temperatures, to extended XYZ or HDF5",
    "train": "train a model on labelled configurations; errors in meV and angstrom",
    "md": "molecular dynamics at temperatures: trajectory and log of temperatures and energies",
    "renormalise": "shifts of band edges, gaps and bands by vibrations, at temperatures, meV: second order, Monte Carlo",
    "unfold": "spectral function of snapshots at temperatures along a path of the primitive zone, 1/eV",
    "materials": "shipped materials and models: elements, level, errors (meV, angstrom), citation; cards by name",
    "label structures": "make a set of structures, extended XYZ",
    "label run": "label structures by a recipe; goes on where an earlier call ended",
    "label pack": "pack work folders into a data set, or extend one",
    "label import": "import the silicon labels made beforehand into work folders",
    "label list": "print all sets of structures and recipes",
}
"""Commands, of one word or two, and what the help says of each."""

GROUPS = {"label": "label structures with first-principles codes: make them, run, pack the labels into data sets"}
"""What commands of two words have in common, by the first."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        warnings.showwarning = _one_line
        warnings.simplefilter("ignore", DeprecationWarning)  # of libraries among themselves: no user can help it
        return _run(arguments)


def _one_line(
    message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """A warning, without the place in the code that it comes from."""
    print(f"jaxepi: {message}", file=sys.stderr)


def _run(arguments: list[str]) -> int:
    try:
        command, settings, files = _parse(arguments)
        command(settings, files, arguments)
        sys.stdout.flush()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2 if stop.code else 0
    except InputError as error:
        print(f"jaxepi: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        _leave_stdout()
        if isinstance(error, BrokenPipeError):
            return 128 + 13  # whoever read has gone, as for any program that SIGPIPE ends
        what = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        print(
            f"jaxepi: {' '.join(what.split())}; check the path, its permissions and the space on its disk",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt as stop:
        interrupted = stop if isinstance(stop, Interrupted) else Interrupted()
        print(f"\njaxepi: {interrupted}", file=sys.stderr)
        return 128 + interrupted.number
    return 0


def _leave_stdout() -> None:
    """What cannot be printed any more (a full disk, a closed pipe) is not tried again when the interpreter ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Parser(argparse.ArgumentParser):
    """A parser that refuses in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self._negative_number_matcher = re.compile(r"-\.?\d|-inf|-nan")  # -1e-3 is a number, too

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{shown_words(message)}; `{self.prog} --help` says what there is")


def _parse(arguments: list[str]) -> "tuple[Command, Settings, Settings]":
    """A command, its settings and files: what a configuration file gives, and flags, which win."""
    parsed, unknown = _parser(arguments).parse_known_args(arguments)
    words = vars(parsed)
    name = " ".join(words[key] for key in ("subcommand", "action") if key in words)
    from jaxepi import settings as s
    from jaxepi.commands import COMMANDS

    command = COMMANDS[name]
    classes = (command.settings, command.files)
    if unknown:
        import difflib

        names = [f.option.lstrip("-") for cls in classes for f in s.fields(cls)]
        near = difflib.get_close_matches(unknown[0].lstrip("-"), names, 1)
        hint = f"did you mean --{near[0]}?" if near else f"`jaxepi {name} --help` says what there is"
        raise InputError(f"{name}: unknown argument {shown(unknown[0])}; {hint}")
    given = s.values_of(s.read_toml(words["config"]), words["config"], *classes) if "config" in words else {}
    given |= s.from_words(words, *classes)
    known = [{f.name for f in s.fields(cls)} for cls in classes]
    if "crystal" in known[0] and "crystal" not in given:
        raise InputError(f"{name}: name a material or a structure file; `jaxepi materials` lists the materials")
    settings, files = (
        cls(**{n: given[n] for n in names if n in given}) for cls, names in zip(classes, known, strict=True)
    )
    return command, settings, files


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    """The parser, with the options of the commands whose names are there. Options that are not given do not appear."""
    parser = _Parser(
        prog="jaxepi",
        description="What lattice vibrations do to the electrons and the light of crystals.",
        epilog="Units: eV, angstrom, kelvin, femtoseconds; phonons in THz. `jaxepi COMMAND --help` lists the options.",
    )
    parser.add_argument("--version", action="version", version=f"jaxepi {__version__}")
    adder = parser.add_subparsers(title="commands", dest="subcommand", metavar="COMMAND", required=True)
    adders: dict[tuple[str, ...], Any] = {(): adder}
    for name, text in COMMANDS.items():
        *group, own = name.split()
        if tuple(group) not in adders:
            parent = _add_parser(adder, group[0], GROUPS[group[0]])
            adders[tuple(group)] = parent.add_subparsers(
                title="actions", dest="action", metavar="ACTION", required=True
            )
        options = _add_parser(adders[tuple(group)], own, text)
        if {*group, own} <= set(arguments):
            from jaxepi import commands

            commands.COMMANDS[name].add_options(options)
    return parser


def _add_parser(adder: Any, name: str, text: str) -> argparse.ArgumentParser:
    description = text[0].upper() + text[1:] + "."
    return adder.add_parser(name, help=text, description=description, argument_default=argparse.SUPPRESS)
