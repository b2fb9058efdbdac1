"""The command line: a thin face that parses, calls a workflow and prints. Nothing heavy is imported before parsing.

Its options follow from the classes of settings. Exit status: 0 done, 2 input that cannot be used (one line on stderr, no
traceback), 130 interrupted, 143 terminated.
"""

import argparse
import difflib
import json
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from jaxepi import __version__
from jaxepi import settings as s
from jaxepi.errors import InputError
from jaxepi.files import FIGURES, RESULTS, Output, claim, mark
from jaxepi.labelling.commands import ACTIONS
from jaxepi.signals import Interrupted
from jaxepi.workflows import settings as w


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with warnings.catch_warnings():
        warnings.showwarning = _one_line
        return _run(arguments)


def _one_line(
    message: Any, category: type[Warning], filename: str, lineno: int, file: Any = None, line: Any = None
) -> None:
    """A warning, without the place in the code that it comes from."""
    print(f"jaxepi: {message}", file=sys.stderr)


def _run(arguments: list[str]) -> int:
    try:
        command, settings, files = _parse(arguments)
        if isinstance(settings, w.CrystalSettings) and settings.precision == "float64":
            _double_precision()
        command.run(settings, files, "jaxepi " + shlex.join(arguments))
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


def _double_precision() -> None:
    import jax

    jax.config.update("jax_enable_x64", True)


class Command(NamedTuple):
    """A command: the settings that decide its result, where its files go, what runs it, and its description."""

    settings: type[s.Settings]
    files: type[s.Settings]
    run: Callable[[Any, Any, str], None]
    text: str


class _Parser(argparse.ArgumentParser):
    """A parser that refuses in one line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self._negative_number_matcher = re.compile(r"-\.?\d|-inf|-nan")  # -1e-3 is a number, too

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{s.shown_words(message)}; `{self.prog} --help` says what there is")


def _parse(arguments: list[str]) -> tuple[Command, s.Settings, s.Settings]:
    """A command, its settings and files: what a configuration file gives, and flags, which win."""
    parsed, unknown = _parser(arguments).parse_known_args(arguments)
    words = vars(parsed)
    name = " ".join(words[key] for key in ("subcommand", "action") if key in words)
    command = COMMANDS[name]
    classes = (command.settings, command.files)
    if unknown:
        names = [f.option.lstrip("-") for cls in classes for f in s.fields(cls)]
        near = difflib.get_close_matches(unknown[0].lstrip("-"), names, 1)
        hint = f"did you mean --{near[0]}?" if near else f"`jaxepi {name} --help` says what there is"
        raise InputError(f"{name}: unknown argument {s.shown(unknown[0])}; {hint}")
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
    for name, command in COMMANDS.items():
        *group, own = name.split()
        if tuple(group) not in adders:
            parent = _add_parser(adder, group[0], GROUPS[group[0]])
            adders[tuple(group)] = parent.add_subparsers(
                title="actions", dest="action", metavar="ACTION", required=True
            )
        options = _add_parser(adders[tuple(group)], own, command.text)
        if not {*group, own} <= set(arguments):
            continue
        s.add_options(options, command.settings, command.files)
        if issubclass(command.settings, w.CrystalSettings):
            options.add_argument(
                "--config", metavar="FILE", help="TOML file with options by their long names; flags win"
            )
    return parser


def _add_parser(adder: Any, name: str, text: str) -> argparse.ArgumentParser:
    description = text[0].upper() + text[1:] + "."
    return adder.add_parser(name, help=text, description=description, argument_default=argparse.SUPPRESS)


def _output(settings: Any, files: Any, suffix: str) -> Path:
    """The main file of a command: as given, or by the name of the crystal, in the working directory."""
    return Path(files.output or f"{Path(settings.crystal).stem}-{suffix}")


def _claim(name: str, settings: Any, files: Any, *outputs: Output) -> str:
    """Try all outputs of a command before its work; the mark that its files carry."""
    asked = settings.asdict()
    made_by = mark(name, {n: v for n, v in asked.items() if n not in w.RESOURCES})
    inputs = [asked[n] for n in ("crystal", "hamiltonian", "potential") if asked.get(n)]
    claim(outputs, made_by, files.overwrite, inputs)
    for output in outputs:
        if output.own and output.path.exists() and not files.overwrite:
            from jaxepi import results

            found = results.read_provenance(output.path)
            results.refuse_other_settings(output.path, found, {"settings": json.loads(json.dumps(asked))}, w.RESOURCES)
    return made_by


# Commands


def _absorb(settings: w.AbsorptionSettings, files: w.AbsorptionFiles, line: str) -> None:
    from jaxepi import plotting
    from jaxepi.materials import measured
    from jaxepi.workflows import absorption
    from jaxepi.workflows.reports import absorption as report

    output = _output(settings, files, "absorption.h5")
    figure = Path(files.figure or output.with_suffix(".png"))
    tauc = figure.with_name(f"{figure.stem}-tauc{figure.suffix}")
    csv = Path(files.csv) if isinstance(files.csv, str) else output.with_suffix(".csv")
    outputs = [Output("--output", output, RESULTS, own=True)]
    outputs += [Output("--figure", path, FIGURES) for path in (figure, tauc)]
    outputs += [Output("--csv", csv)] if files.csv else []
    made_by = _claim("absorb", settings, files, *outputs)
    result = absorption.absorption(settings, output, files.progress, not files.overwrite, line)
    print(report.summary(result))
    title = f"{Path(settings.crystal).stem}, {len(result.snapshots[0].structure)} atoms"
    known = measured.absorption(settings.crystal)
    drawn = plotting.absorption(result.spectra, result.temperatures, result.equilibrium, known, title)
    plotting.save(drawn, figure, made_by)
    written = [output, figure]
    if result.fits:
        fits = plotting.tauc(result.spectra, result.temperatures, result.fits, result.gap_kind, title)
        plotting.save(fits, tauc, made_by)
        written.append(tauc)
    if files.csv:
        report.write_csv(result, csv, made_by)
        written.append(csv)
    print(f"\nWritten: {', '.join(str(path) for path in written)}")


def _bands(settings: w.BandsSettings, files: w.BandsFiles, _: str) -> None:
    from jaxepi import plotting
    from jaxepi.workflows import bands, crystal
    from jaxepi.workflows.reports import bands as report

    output = _output(settings, files, "bands.png")
    made_by = _claim("bands", settings, files, Output("--output", output, FIGURES))
    loaded = crystal.load(settings.crystal, settings.hamiltonian, spin_orbit=settings.spin_orbit)
    found = bands.bands(loaded, settings.path, settings.points)
    edges = bands.edges_along(found)
    figure = plotting.bands(found.path, found.energies, *edges, title=Path(settings.crystal).stem)
    plotting.save(figure, output, made_by)
    print("\n".join(report.bands_lines(found)))
    print(f"\nWritten: {output}")


def _gap(settings: w.GapSettings, files: w.GapFiles, line: str) -> None:
    from jaxepi.workflows import bands, crystal
    from jaxepi.workflows.reports import bands as report

    output = Path(files.output) if files.output else None
    if output is not None:
        if not settings.temperatures:
            raise InputError(f"--output {output}: gaps at --temperatures are kept; give some, or leave it out")
        _claim("gap", settings, files, Output("--output", output, RESULTS, own=True))
    loaded = crystal.for_settings(settings)
    summary = bands.gap_summary(loaded)
    print("\n".join(report.gap_summary_lines(summary)), flush=True)
    if not settings.temperatures:
        return
    found = bands.thermal_gaps(settings, loaded, summary.edges, output, files.progress, not files.overwrite, line)
    print("\n".join(report.thermal_gap_lines(settings, float(summary.edges.gap), found.gaps, found.snapshots)))
    if output is not None:
        print(f"\nWritten: {output}")


def _phonons(settings: w.PhononsSettings, files: w.PhononsFiles, _: str) -> None:
    from jaxepi import plotting
    from jaxepi.workflows import crystal, phonons
    from jaxepi.workflows.reports import phonons as report

    output = _output(settings, files, "phonons.png")
    made_by = _claim("phonons", settings, files, Output("--output", output, FIGURES))
    loaded = crystal.load(settings.crystal, potential=settings.potential)
    found = phonons.phonons(loaded, settings.supercell, settings.path, settings.points)
    along = found.dispersion
    title = Path(settings.crystal).stem
    drawn = plotting.phonons(along.path, along.frequencies, title, "; ".join(found.notes))
    plotting.save(drawn, output, made_by)
    print("\n".join(report.phonon_lines(found)))
    print(f"\nWritten: {output}")


def _sample(settings: w.SamplingSettings, files: w.SamplingFiles, line: str) -> None:
    from jaxepi.workflows import samples

    output = _output(settings, files, "snapshots.xyz")
    drawn = samples.sample(settings, output, files.progress, not files.overwrite, line)
    count = sum(len(snapshots) for snapshots in drawn)
    print(f"Written: {output} ({count} snapshots of {len(drawn[0].structure)} atoms)")


def _md(settings: w.DynamicsSettings, files: w.DynamicsFiles, line: str) -> None:
    from jaxepi.workflows import dynamics
    from jaxepi.workflows.reports import dynamics as report

    output, resume = _output(settings, files, "md.h5"), not files.overwrite
    run = dynamics.molecular_dynamics(settings, output, files.progress, resume, line)
    print("\n".join(report.summary_lines(run)))
    print(f"\nWritten: {', '.join(str(path) for path in run.files)}")
    if run.stopped:
        raise InputError(f"{run.stopped}; the {len(run.trajectory.times)} frames before are in {run.files[-2]}")


def _train(settings: w.TrainSettings, files: w.TrainFiles, line: str) -> None:
    from jaxepi.workflows import hamiltonian, training

    study: Any = training if settings.what == "potential" else hamiltonian
    given = {n: getattr(settings, n) for n in ("seed", "epochs", "max_minutes")}
    whole = study.configured(settings.file, {n: value for n, value in given.items() if value is not None})
    if whole.run.dtype == "float64":
        _double_precision()
    folder, resume = Path(files.output or f"{Path(settings.file).stem}-training"), not files.overwrite
    run = study.train_potential if study is training else study.train_hamiltonian
    result = run(whole, folder, files.progress, resume, line)
    print("\n".join(study.summary_lines(result)))


def _materials(settings: w.MaterialsSettings, files: s.Settings, _: str) -> None:
    from jaxepi import materials, potentials

    _double_precision()
    chosen = settings.name
    if chosen and chosen not in materials.available() and (chosen in potentials.available() or chosen.endswith(".npz")):
        print(json.dumps(potentials.card(chosen), indent=2, ensure_ascii=False))
        return
    for name in [chosen] if chosen else materials.available():
        card = dict(materials.load(name).card)
        if not chosen:
            print(f"{name:18} {card['description']}")
            continue
        for key, text in card.items():
            print(f"{key:12} {text}")


COMMANDS = {
    "absorb": Command(
        w.AbsorptionSettings,
        w.AbsorptionFiles,
        _absorb,
        "optical absorption at temperatures: snapshots, spectra, gaps, figures",
    ),
    "bands": Command(w.BandsSettings, w.BandsFiles, _bands, "electronic bands of the lattice at rest along a path, eV"),
    "gap": Command(
        w.GapSettings, w.GapFiles, _gap, "band gap of the lattice at rest, and with --temperatures (K) its change, eV"
    ),
    "phonons": Command(
        w.PhononsSettings, w.PhononsFiles, _phonons, "phonon frequencies at special points and along a path, THz"
    ),
    "sample": Command(
        w.SamplingSettings, w.SamplingFiles, _sample, "snapshots at temperatures, to extended XYZ or HDF5"
    ),
    "train": Command(
        w.TrainSettings, w.TrainFiles, _train, "train a model on labelled configurations; errors in meV and angstrom"
    ),
    "md": Command(
        w.DynamicsSettings,
        w.DynamicsFiles,
        _md,
        "molecular dynamics at temperatures: trajectory and log of temperatures and energies",
    ),
    "materials": Command(
        w.MaterialsSettings,
        w.Nothing,
        _materials,
        "shipped materials, and the cards of these and of learned potentials",
    ),
}
COMMANDS |= {f"label {name}": Command(*action) for name, action in ACTIONS.items()}

GROUPS = {"label": "label structures with first-principles codes: make them, run, pack the labels into data sets"}
"""What commands of two words have in common, by the first."""
