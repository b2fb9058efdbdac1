"""The command line: a thin face that parses, calls a workflow and prints. Nothing heavy is imported before parsing.

Exit status: 0 done, 2 input that cannot be used (one line on stderr, no traceback), 130 interrupted, 143 terminated.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxepi import __version__
from jaxepi.errors import InputError
from jaxepi.options import flag as _flag
from jaxepi.options import from_file, to_settings
from jaxepi.options import option as _option
from jaxepi.signals import Interrupted
from jaxepi.workflows.settings import CHOICES, AbsorptionSettings, DynamicsSettings, SamplingSettings


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = _parse(arguments)
        if options.get("precision", "float64") == "float64":
            _double_precision()
        run: Callable[[dict[str, Any]], None] = options.pop("run")
        options["command"] = "jaxepi " + shlex.join(arguments)
        run(options)
        sys.stdout.flush()
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2 if stop.code else 0
    except InputError as error:
        print(f"jaxepi: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        _leave_stdout()
        what = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        print(f"jaxepi: {what}; check the path, its permissions and the space on its disk", file=sys.stderr)
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


def _parse(arguments: list[str]) -> dict[str, Any]:
    """Options of a command, only those that were given: first from the configuration file, then flags, which win."""
    parser, commands = _parser()
    given = vars(parser.parse_args(arguments))
    name = given["subcommand"]
    if "config" in given:
        commands[name].set_defaults(**from_file(given["config"], commands[name]))
        given = vars(parser.parse_args(arguments))
        del given["config"]
    del given["subcommand"]
    if given.get("crystal", name) is None:
        raise InputError(f"{name}: name a material or a structure file; `jaxepi materials` lists the materials")
    return given


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and those of its commands. Options that are not given do not appear in the result."""
    parser = argparse.ArgumentParser(
        prog="jaxepi",
        description="What lattice vibrations do to the electrons and the light of crystals.",
        epilog="Units: eV, angstrom, kelvin, femtoseconds; phonons in THz. `jaxepi COMMAND --help` lists the options.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"jaxepi {__version__}")
    adder = parser.add_subparsers(title="commands", dest="subcommand", metavar="COMMAND", required=True)
    commands = {}
    for name, (build, run, text) in _COMMANDS.items():
        command = adder.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", argument_default=argparse.SUPPRESS
        )
        command.set_defaults(run=run)
        build(command)
        commands[name] = command
    return parser, commands


def _crystal_options(command: Any, hamiltonian: bool = True, potential: bool = True) -> None:
    command.add_argument("crystal", nargs="?", default=None, help="a material by name, or a structure file ASE reads")
    if hamiltonian:
        _option(command, "hamiltonian", "electrons: a shipped set by name, or a .json file", metavar="NAME")
        _flag(command, "spin-orbit", "spin-orbit coupling, in the spinor basis")
    if potential:
        _option(command, "potential", "energies of the lattice: a shipped set by name, or a file", metavar="NAME")
    _option(command, "precision", "of all arithmetic")
    command.add_argument("--config", metavar="FILE", help="TOML file with options by their long names; flags win")
    _flag(command, "progress", "progress bars on stderr (default: yes)")


def _sampling_options(command: Any) -> None:
    group = command.add_argument_group("snapshots")
    _option(group, "temperatures", "temperatures, K", type=float, nargs="+", metavar="K")
    _option(group, "cell", "cell of a material to repeat")
    _option(group, "supercell", "its repeats, one or three", type=int, nargs="+", metavar="N")
    _option(group, "snapshots", "snapshots a temperature", type=int, metavar="N")
    _option(group, "sampler", "how they are drawn")
    _option(group, "statistics", "of the nuclei; quantum has zero-point motion")
    _flag(group, "antithetic", "harmonic snapshots in pairs displaced oppositely")
    _option(group, "imaginary", "harmonic sampler: refuse unstable modes, or leave them out")
    _option(group, "timestep", "of molecular dynamics, fs", type=float, metavar="FS")
    _option(group, "equilibration", "steps before the first snapshot of molecular dynamics", type=int, metavar="STEPS")
    _option(group, "interval", "steps of molecular dynamics between snapshots", type=int, metavar="STEPS")
    _option(group, "seed", "of all random numbers", type=int, metavar="N")


def _absorb_options(command: argparse.ArgumentParser) -> None:
    _crystal_options(command)
    _sampling_options(command)
    group = command.add_argument_group("spectrum")
    _option(group, "twists", "quasirandom k points of each snapshot", type=int, metavar="N")
    _option(
        group, "kmesh", "regular mesh instead: divisions of the reciprocal vectors", type=int, nargs="+", metavar="N"
    )
    _option(group, "broadening", "line shape")
    _option(
        group, "width", "broadening, eV: standard deviation or half width at half maximum", type=float, metavar="EV"
    )
    _option(group, "scissor", "rigid shift of all transition energies, eV", type=float, metavar="EV")
    limits = ("MIN", "MAX", "COUNT")
    _option(group, "energies", "photon energies, eV, and how many", type=float, nargs=3, metavar=limits)
    text = "quasirandom k points of the primitive cell, lattice at rest"
    _option(group, "equilibrium-points", text, type=int, metavar="N")
    _option(group, "gap-kind", "of the Tauc fit (default: the material's, or from the band edges)")
    text = "of the Tauc fit, eV (default: the material's, or from the band edges)"
    _option(group, "tauc-window", text, type=float, nargs=2, metavar=("MIN", "MAX"))
    _option(group, "memory-gb", "bound on working memory, GB", type=float, metavar="GB")
    _option(
        group,
        "workers",
        "snapshots computed at once (default: the cores; 1 of small supercells)",
        type=int,
        metavar="N",
    )
    group = command.add_argument_group("files")
    group.add_argument("--output", metavar="FILE", help="result, HDF5 (default: CRYSTAL-absorption.h5)")
    group.add_argument("--figure", metavar="FILE", help="figure, PNG, PDF or SVG (default: beside the result, .png)")
    group.add_argument(
        "--csv", metavar="FILE", nargs="?", const="", help="optical constants as CSV (default: beside it)"
    )
    _flag(group, "overwrite", "replace a result of other settings (default: no; a run with equal settings resumes)")


def _bands_options(command: argparse.ArgumentParser) -> None:
    _crystal_options(command, potential=False)
    command.add_argument("--path", help="special points by name, for example LGXWKG (G is Gamma)")
    command.add_argument("--points", type=int, default=200, metavar="N", help="points on the path (default: 200)")
    command.add_argument("--output", metavar="FILE", help="figure (default: CRYSTAL-bands.png); energies in eV")


def _gap_options(command: argparse.ArgumentParser) -> None:
    _crystal_options(command)
    _sampling_options(command)


def _phonons_options(command: argparse.ArgumentParser) -> None:
    _crystal_options(command, hamiltonian=False)
    command.add_argument(
        "--supercell", type=int, default=4, metavar="N", help="repeats of the primitive cell (default: 4)"
    )
    command.add_argument("--path", help="special points by name, for example GXKGL (G is Gamma)")
    command.add_argument("--points", type=int, default=120, metavar="N", help="points on the path (default: 120)")
    command.add_argument("--output", metavar="FILE", help="figure (default: CRYSTAL-phonons.png); frequencies in THz")


def _sample_options(command: argparse.ArgumentParser) -> None:
    _crystal_options(command, hamiltonian=False)
    _sampling_options(command)
    text = "extended XYZ (.xyz) or HDF5 (.h5), angstrom (default: CRYSTAL-snapshots.xyz)"
    command.add_argument("--output", metavar="FILE", help=text)


def _md_options(command: argparse.ArgumentParser) -> None:
    _crystal_options(command, hamiltonian=False)
    group = command.add_argument_group("runs")
    _option(group, "temperatures", "targets, K; their runs move side by side", type=float, nargs="+", metavar="K")
    group.add_argument("--replicas", type=int, metavar="N", help="runs a temperature (default: 1)")
    _option(group, "cell", "cell of a material to repeat")
    _option(group, "supercell", "its repeats, one or three", type=int, nargs="+", metavar="N")
    group.add_argument("--ensemble", choices=CHOICES["ensemble"], help="(default: langevin)")
    group.add_argument("--steps", type=int, metavar="N", help="steps of each run (default: 10000)")
    _option(group, "timestep", "fs", type=float, metavar="FS")
    group.add_argument("--interval", type=int, metavar="STEPS", help="steps between frames (default: 100)")
    group.add_argument("--friction", type=float, metavar="RATE", help="of langevin, 1/fs (default: 0.01)")
    group.add_argument("--relaxation", type=float, metavar="FS", help="time of nose-hoover, fs (default: 100)")
    text = "kinetic energy at the start over its target: 2 for a crystal at rest, 1 for a hot structure (default: 2)"
    group.add_argument("--heating", type=float, metavar="FACTOR", help=text)
    _option(group, "seed", "of all random numbers", type=int, metavar="N")
    text = (
        "trajectory: HDF5 (.h5), or extended XYZ (.xyz) beside it, angstrom, eV; log beside it (default: CRYSTAL-md.h5)"
    )
    command.add_argument("--output", metavar="FILE", help=text)
    text = "replace what other settings left (default: no; with equal settings an interrupted run goes on)"
    _flag(command, "overwrite", text)


def _materials_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "name", nargs="?", default=None, help="print the card of this material, or of a learned potential"
    )


def _train_options(command: argparse.ArgumentParser) -> None:
    command.set_defaults(precision="float32")
    command.add_argument("what", choices=["potential", "hamiltonian"], help="the kind of model")
    command.add_argument("file", metavar="CONFIG", help="TOML file: [data], [model], [loss], [optimizer], [run]")
    text = "folder of the model, its measures and figures (default: CONFIG-training); a stopped run goes on from there"
    command.add_argument("--output", metavar="FOLDER", help=text)
    command.add_argument("--seed", type=int, metavar="N", help="of initial parameters and the order of configurations")
    command.add_argument("--epochs", type=int, metavar="N", help="passes over the training set at most")
    command.add_argument("--max-minutes", type=float, metavar="MIN", help="stop this call after so many minutes")
    _flag(command, "overwrite", "start over (default: no; an interrupted run goes on)")
    _flag(command, "progress", "progress bars on stderr (default: yes)")


def _beside(options: dict[str, Any], suffix: str) -> Path:
    """The default name of a file of this crystal, in the working directory."""
    return Path(f"{Path(options['crystal']).stem}-{suffix}")


# Commands


def _absorb(options: dict[str, Any]) -> None:
    from jaxepi import plotting
    from jaxepi.materials import measured
    from jaxepi.workflows import absorption
    from jaxepi.workflows.reports import absorption as report

    settings = to_settings(AbsorptionSettings, options)
    output = Path(options.get("output") or _beside(options, "absorption.h5"))
    figure = Path(options.get("figure") or output.with_suffix(".png"))
    plotting.check_suffix(figure)
    resume = not options.get("overwrite", False)
    try:
        result = absorption.absorption(settings, output, options.get("progress", True), resume, options["command"])
    except KeyboardInterrupt:
        print(
            f"\njaxepi: interrupted; finished snapshots are kept in {output}.parts, and the same command goes on from "
            "there" + ("" if resume else " (without --overwrite)"),
            file=sys.stderr,
        )
        raise SystemExit(130) from None
    print(report.summary(result))
    title = f"{Path(settings.crystal).stem}, {len(result.snapshots[0].structure)} atoms"
    known = measured.absorption(settings.crystal)
    plotting.save(plotting.absorption(result.spectra, result.temperatures, result.equilibrium, known, title), figure)
    written = [output, figure]
    if result.fits:
        written.append(figure.with_name(f"{figure.stem}-tauc{figure.suffix}"))
        tauc = plotting.tauc(result.spectra, result.temperatures, result.fits, result.gap_kind, title)
        plotting.save(tauc, written[-1])
    if "csv" in options:
        written.append(Path(options["csv"] or output.with_suffix(".csv")))
        report.write_csv(result, written[-1])
    print(f"\nWritten: {', '.join(str(path) for path in written)}")


def _load(options: dict[str, Any]) -> Any:
    """The crystal of a command, in double precision unless told otherwise."""
    from jaxepi.workflows import crystal

    names = ("hamiltonian", "potential", "spin_orbit")
    return crystal.load(options["crystal"], **{n: options[n] for n in names if n in options})


def _bands(options: dict[str, Any]) -> None:
    from jaxepi import plotting
    from jaxepi.workflows import bands
    from jaxepi.workflows.reports import bands as report

    output = Path(options.get("output") or _beside(options, "bands.png"))
    plotting.check_suffix(output)
    crystal = _load(options)
    found = bands.bands(crystal, options.get("path"), options["points"])
    edges = bands.edges_along(found)
    figure = plotting.bands(found.distance, found.energies, found.corners, *edges, title=Path(options["crystal"]).stem)
    plotting.save(figure, output)
    print("\n".join(report.bands_lines(found)))
    print(f"\nWritten: {output}")


def _gap(options: dict[str, Any]) -> None:
    from jaxepi.workflows import bands, crystal, samples
    from jaxepi.workflows.reports import bands as report

    settings = to_settings(SamplingSettings, options)
    loaded = crystal.for_settings(settings)
    summary = bands.gap_summary(loaded)
    print("\n".join(report.gap_summary_lines(summary)))
    if "temperatures" not in options:
        return
    progress = options.get("progress", True)
    supercell = loaded.structure.supercell(loaded.periodic(settings.supercell))
    drawn = samples.draw(settings, loaded, supercell, progress)
    gaps = bands.thermal_gaps(loaded, drawn, summary.edges, progress)
    print("\n".join(report.thermal_gap_lines(settings, float(summary.edges.gap), gaps)))


def _phonons(options: dict[str, Any]) -> None:
    from jaxepi import plotting
    from jaxepi.workflows import phonons
    from jaxepi.workflows.reports import phonons as report

    output = Path(options.get("output") or _beside(options, "phonons.png"))
    plotting.check_suffix(output)
    found = phonons.phonons(_load(options), options["supercell"], options.get("path"), options["points"])
    along = found.dispersion
    title = Path(options["crystal"]).stem
    plotting.save(plotting.phonons(along.distance, along.frequencies, along.corners, title), output)
    print("\n".join(report.phonon_lines(found)))
    print(f"\nWritten: {output}")


def _sample(options: dict[str, Any]) -> None:
    from jaxepi.workflows import samples

    settings = to_settings(SamplingSettings, options)
    output = Path(options.get("output") or _beside(options, "snapshots.xyz"))
    drawn = samples.sample(settings, output, options.get("progress", True), options["command"])
    count = sum(len(snapshots) for snapshots in drawn)
    print(f"Written: {output} ({count} snapshots of {len(drawn[0].structure)} atoms)")


def _md(options: dict[str, Any]) -> None:
    from jaxepi.workflows import dynamics
    from jaxepi.workflows.reports import dynamics as report

    settings = to_settings(DynamicsSettings, options)
    output = Path(options.get("output") or _beside(options, "md.h5"))
    resume, progress = not options.get("overwrite", False), options.get("progress", True)
    try:
        run = dynamics.molecular_dynamics(settings, output, progress, resume, options["command"])
    except KeyboardInterrupt:
        again = "the same command goes on from there" + ("" if resume else " (without --overwrite)")
        print(f"\njaxepi: interrupted; frames are kept beside {output}, and {again}", file=sys.stderr)
        raise SystemExit(130) from None
    print("\n".join(report.summary_lines(run)))
    print(f"\nWritten: {', '.join(str(path) for path in run.files)}")
    if run.stopped:
        raise InputError(f"{run.stopped}; the {len(run.trajectory.times)} frames before are in {run.files[-2]}")


def _train(options: dict[str, Any]) -> None:
    from jaxepi.workflows import hamiltonian, training

    study: Any = training if options["what"] == "potential" else hamiltonian
    given: dict[str, Any] = {n: options[n] for n in ("seed", "epochs", "max_minutes") if n in options}
    settings = study.configured(options["file"], given)
    if settings.run.dtype == "float64":
        _double_precision()
    folder = Path(options.get("output") or f"{Path(options['file']).stem}-training")
    resume, progress = not options.get("overwrite", False), options.get("progress", True)
    run = study.train_potential if study is training else study.train_hamiltonian
    try:
        result = run(settings, folder, progress, resume, options["command"])
    except KeyboardInterrupt:
        again = "the same command goes on from there" + ("" if resume else " (without --overwrite)")
        print(f"\njaxepi: interrupted; the state is kept in {folder}, and {again}", file=sys.stderr)
        raise SystemExit(130) from None
    print("\n".join(study.summary_lines(result)))


def _materials(options: dict[str, Any]) -> None:
    import json

    from jaxepi import materials, potentials

    chosen = options["name"]
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


_COMMANDS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], Callable[[dict[str, Any]], None], str]] = {
    "absorb": (_absorb_options, _absorb, "optical absorption at temperatures: snapshots, spectra, gaps, figures"),
    "bands": (_bands_options, _bands, "electronic bands of the lattice at rest along a path, eV"),
    "gap": (_gap_options, _gap, "band gap of the lattice at rest, and with --temperatures (K) its change, eV"),
    "phonons": (_phonons_options, _phonons, "phonon frequencies at special points and along a path, THz"),
    "sample": (_sample_options, _sample, "snapshots at temperatures, to extended XYZ or HDF5"),
    "train": (_train_options, _train, "train a model on labelled configurations; errors in meV and angstrom"),
    "md": (_md_options, _md, "molecular dynamics at temperatures: trajectory and log of temperatures and energies"),
    "materials": (
        _materials_options,
        _materials,
        "shipped materials, and the cards of these and of learned potentials",
    ),
}
"""Commands: their options, what runs them, their description."""
