"""What each command of the command line does: calls a workflow, prints, and writes its files. Imports little until one runs."""

import json
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxepi import settings as s
from jaxepi.errors import InputError
from jaxepi.files import FIGURES, RESULTS, Output, claim, mark, whole
from jaxepi.labelling.commands import ACTIONS
from jaxepi.workflows import epi_settings as e
from jaxepi.workflows import outputs as o
from jaxepi.workflows import settings as w
from jaxepi.workflows.crystal_settings import CrystalSettings
from jaxepi.workflows.solver_settings import resources


class Command(NamedTuple):
    """A command: the settings that decide its result, where its files go, and what runs it."""

    settings: type[s.Settings]
    files: type[s.Settings]
    run: Callable[[Any, Any, str], None]

    def add_options(self, parser: Any) -> None:
        """Add its options to a parser."""
        s.add_options(parser, self.settings, self.files)
        if issubclass(self.settings, CrystalSettings):
            parser.add_argument(
                "--config", metavar="FILE", help="TOML file with options by their long names; flags win"
            )

    def __call__(self, settings: s.Settings, files: s.Settings, arguments: Sequence[str]) -> None:
        """Run it; files that it writes carry the command line."""
        if isinstance(files, o.Files) and files.keep_compiled:
            from jaxepi.compiled import keep_compiled

            keep_compiled(files.keep_compiled if isinstance(files.keep_compiled, str) else None)
        if isinstance(files, o.StudyFiles) and files.distributed:
            from jaxepi import machines

            host = files.distributed if isinstance(files.distributed, str) else None
            machines.connect(host, files.processes, files.process)
            if machines.helps():  # process 0 prints
                sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        if isinstance(settings, CrystalSettings):
            compute_in(settings.precision)
        # The precision of a command is a setting of its own: no PrecisionWarning.
        warnings.filterwarnings("ignore", ".* is loaded in float32")
        self.run(settings, files, "jaxepi " + shlex.join(arguments))


def compute_in(precision: str) -> None:
    """Compute in float64 from here on, or make products of float32 in float32 on GPUs too, unless the user has said how."""
    import jax

    if precision == "float64":
        jax.config.update("jax_enable_x64", True)
    elif jax.default_matmul_precision.value is None:
        jax.config.update("jax_default_matmul_precision", "float32")


def _output(settings: Any, files: Any, suffix: str) -> Path:
    """The main file of a command: as given, or by the name of the crystal, in the working directory."""
    return Path(files.output or f"{Path(settings.crystal).stem}-{suffix}")


def _beside(output: Path, named: Any, suffix: str) -> Path:
    """A file of a command that has a name of its own, or that of the result with another suffix."""
    return Path(named) if isinstance(named, str) else output.with_suffix(suffix)


def _claim(name: str, settings: Any, files: Any, *outputs: Output) -> str:
    """Try all outputs of a command before its work; the mark that its files carry."""
    asked = settings.asdict()
    made_by = mark(name, {n: v for n, v in asked.items() if n not in resources(asked)})
    read = ("crystal", "hamiltonian", "potential", "phonons", "born", "trajectory", "reference", "expansion")
    inputs = [asked[n] for n in read if asked.get(n)]
    if isinstance(files, o.StudyFiles) and files.distributed:
        from jaxepi import machines

        if machines.helps():
            return made_by  # process 0 writes
    claim(outputs, made_by, files.overwrite, inputs)
    for output in outputs:
        if output.own and output.path.exists() and not files.overwrite:
            from jaxepi import results

            found = results.read_provenance(output.path)
            results.refuse_other_settings(
                output.path, found, {"settings": json.loads(json.dumps(asked))}, resources(asked)
            )
    return made_by


def _print_remarks(snapshots: Any, trajectory: str | None = None) -> None:
    """Say what drawn snapshots do not have in them; frames of another code may."""
    from jaxepi.workflows import samples

    for remark in samples.remarks(snapshots) if trajectory is None else ():
        print(remark)


# Commands


def _absorb(settings: w.AbsorptionSettings, files: o.AbsorptionFiles, line: str) -> None:
    from jaxepi import plotting
    from jaxepi.machines import Devices
    from jaxepi.materials import measured
    from jaxepi.workflows import absorption
    from jaxepi.workflows.reports import absorption as report

    output = _output(settings, files, "absorption.h5")
    figure = _beside(output, files.figure, ".png")
    tauc = figure.with_name(f"{figure.stem}-tauc{figure.suffix}")
    over = figure.with_name(f"{figure.stem}-map{figure.suffix}")
    csv = _beside(output, files.csv, ".csv")
    outputs = [Output("--output", output, RESULTS, own=True)]
    many = len(settings.temperatures) > report.SHOWN
    outputs += [Output("--figure", path, FIGURES) for path in (figure, tauc, *([over] if many else []))]
    outputs += [Output("--csv", csv)] if files.csv else []
    made_by = _claim("absorb", settings, files, *outputs)
    devices = Devices(files.devices, files.devices_per_snapshot)
    result = absorption.absorption(settings, output, files.progress, not files.overwrite, line, devices)
    print(report.summary(result))
    _print_remarks(result.snapshots[0], settings.trajectory)
    title = f"{Path(settings.crystal).stem}, {len(result.snapshots[0].structure)} atoms"
    known = measured.absorption(settings.crystal)
    some = report.shown(len(result.temperatures))

    def chosen(held: Sequence[Any]) -> list[Any]:
        return [held[i] for i in some] if held else []

    curves = chosen(result.spectra), chosen(result.temperatures)
    drawn = plotting.absorption(
        *curves,
        result.equilibrium,
        known,
        title,
        attracted=chosen(result.attracted),
        quanta=chosen(result.attracted_quanta or result.quanta),
    )
    plotting.save(drawn, figure, made_by)
    written = [output, figure]
    if result.fits:
        plotting.save(plotting.tauc(*curves, chosen(result.fits), result.gap_kind, title), tauc, made_by)
        written.append(tauc)
    if many:
        plotting.save(plotting.sweep(*report.mapped(result), title), over, made_by)
        written.append(over)
    if files.csv:
        report.write_csv(result, csv, made_by)
        written.append(csv)
    print(f"\nWritten: {', '.join(str(path) for path in written)}")


def _bands(settings: w.BandsSettings, files: o.BandsFiles, _: str) -> None:
    from jaxepi import plotting
    from jaxepi.workflows import bands, crystal
    from jaxepi.workflows.reports import bands as report

    output = _output(settings, files, "bands.png")
    made_by = _claim("bands", settings, files, Output("--output", output, FIGURES))
    loaded = crystal.load(settings.crystal, settings.hamiltonian, spin_orbit=settings.spin_orbit)
    if settings.near is None:
        found, near = bands.bands(loaded, settings.path, settings.points), None
    else:
        asked = (settings.near, settings.count, settings.path, settings.points)
        found, near = bands.bands_near(loaded, *asked, progress=files.progress, solver=settings.solver)
    edges = bands.edges_along(found)
    figure = plotting.bands(found.path, found.energies, *edges, settings.window, Path(settings.crystal).stem)
    plotting.save(figure, output, made_by)
    print("\n".join([*report.bands_lines(found), *([] if near is None else report.near_lines(near))]))
    print(f"\nWritten: {output}")


def _gap(settings: w.GapSettings, files: o.GapFiles, line: str) -> None:
    from jaxepi.workflows import bands, crystal, trajectories
    from jaxepi.workflows.reports import bands as report

    output = Path(files.output) if files.output else None
    warm = bool(settings.temperatures) or settings.trajectory is not None
    if output is not None:
        if not warm:
            raise InputError(f"--output {output}: gaps at --temperatures are kept; give some, or leave it out")
        _claim("gap", settings, files, Output("--output", output, RESULTS, own=True))
    loaded = crystal.for_settings(settings)
    given: tuple[Any, ...] = ()
    if settings.trajectory is not None:
        loaded, given = trajectories.snapshots(settings, loaded)
    summary = bands.gap_summary(loaded)
    print("\n".join(report.gap_summary_lines(summary)), flush=True)
    if not warm:
        return
    resume = not files.overwrite
    found = bands.thermal_gaps(settings, loaded, summary.edges, output, files.progress, resume, line, given)
    print("\n".join(report.thermal_gap_lines(settings, float(summary.edges.gap), found.gaps, found.snapshots)))
    _print_remarks(found.snapshots[0], settings.trajectory)
    if output is not None:
        print(f"\nWritten: {output}")


def _phonons(settings: w.PhononsSettings, files: o.PhononsFiles, _: str) -> None:
    from jaxepi import plotting
    from jaxepi.workflows import crystal, phonons, vibrations
    from jaxepi.workflows.reports import phonons as report

    output = _output(settings, files, "phonons.png")
    copy = Path(files.write_phonopy) if files.write_phonopy else None
    csv = _beside(output, files.csv, ".csv")
    tables = (
        [csv, *(csv.with_name(f"{csv.stem}-{what}.csv") for what in ("dos", "thermodynamics"))] if files.csv else []
    )
    outputs = [Output("--output", output, FIGURES), *(Output("--csv", path) for path in tables)]
    outputs += [Output("--write-phonopy", copy, (".yaml",))] if copy else []
    made_by = _claim("phonons", settings, files, *outputs)
    loaded = crystal.bound(crystal.load(settings.crystal, potential=settings.potential), settings)
    repeats = settings.supercell
    if settings.calculator is not None:
        loaded, repeats = phonons.with_calculator(loaded, settings, files.progress), None
    if settings.self_consistent is not None:
        loaded, repeats = phonons.self_consistent(loaded, settings), None
    found = phonons.phonons(loaded, repeats, settings.path, settings.points, settings.sum_rules)
    more = vibrations.vibrations(found.constants, settings, loaded.primitive, loaded.vibrating_name, found.broken)
    along = found.dispersion
    title = Path(settings.crystal).stem
    drawn = plotting.phonons(along.path, along.frequencies, title, "; ".join(found.notes), more.density)
    plotting.save(drawn, output, made_by)
    print("\n".join([*report.phonon_lines(found), *report.vibration_lines(more, found.constants.base)]))
    if copy:
        found.constants.write_phonopy(copy, made_by)
    written = vibrations.write_tables(found, more, loaded.primitive, tables, made_by) if tables else []
    print(f"\nWritten: {', '.join(str(path) for path in (output, *written, copy) if path)}")


def _expand(settings: w.ExpandSettings, files: o.ExpandFiles, line: str) -> None:
    from jaxepi import plotting
    from jaxepi.workflows import crystal, expansion
    from jaxepi.workflows.reports import expansion as report

    output = _output(settings, files, "expansion.h5")
    figure = _beside(output, files.figure, ".png")
    outputs = Output("--output", output, RESULTS, own=True), Output("--figure", figure, FIGURES)
    made_by = _claim("expand", settings, files, *outputs)
    loaded = crystal.load(settings.crystal, settings.hamiltonian, settings.potential, settings.spin_orbit)
    loaded = crystal.prepared(loaded, "primitive", settings.precision)
    found = expansion.expansion(settings, loaded, output, files.progress, not files.overwrite, line)
    print("\n".join(report.expansion_lines(found)))
    title = f"{Path(settings.crystal).stem}, {loaded.potential_name}"
    plotting.save(plotting.expansion(found.crystal, found.temperatures.max(), title), figure, made_by)
    print(f"\nWritten: {output}, {figure}")


def _sample(settings: w.SamplingSettings, files: o.SamplingFiles, line: str) -> None:
    from jaxepi.workflows import samples

    output = _output(settings, files, "snapshots.xyz")
    drawn = samples.sample(settings, output, files.progress, not files.overwrite, line)
    count = sum(len(snapshots) for snapshots in drawn)
    _print_remarks(drawn[0])
    print(f"Written: {output} ({count} snapshots of {len(drawn[0].structure)} atoms)")


def _md(settings: w.DynamicsSettings, files: o.DynamicsFiles, line: str) -> None:
    from jaxepi.workflows import dynamics
    from jaxepi.workflows.reports import dynamics as report

    output, resume = _output(settings, files, "md.h5"), not files.overwrite
    run = dynamics.molecular_dynamics(settings, output, files.progress, resume, line)
    print("\n".join(report.summary_lines(run)))
    print(f"\nWritten: {', '.join(str(path) for path in run.files)}")
    if run.stopped:
        raise InputError(f"{run.stopped}; the {len(run.trajectory.times)} frames before are in {run.files[-2]}")


def _train(settings: w.TrainSettings, files: o.TrainFiles, line: str) -> None:
    from jaxepi.training.settings import BlockLossSettings
    from jaxepi.workflows import hamiltonian, training

    if settings.example is not None:
        _example(settings, files)
        return
    assert settings.file is not None
    study: Any = training if settings.what == "potential" else hamiltonian
    given = {n: getattr(settings, n) for n in ("seed", "epochs", "max_minutes")}
    whole = study.configured(settings.file, {n: value for n, value in given.items() if value is not None})
    baseline = isinstance(whole.loss, BlockLossSettings)  # which least squares finds, in double precision
    compute_in("float64" if baseline else whole.run.dtype)
    folder, resume = Path(files.output or f"{Path(settings.file).stem}-training"), not files.overwrite
    run = study.train_potential if study is training else study.train_hamiltonian
    result = run(whole, folder, files.progress, resume, line)
    print("\n".join(study.summary_lines(result)))


def _example(settings: w.TrainSettings, files: o.TrainFiles) -> None:
    from jaxepi.workflows import templates

    kind = str(settings.example)
    output = Path(files.output or f"{kind}.toml")
    claim([Output("--output", output, (".toml",))], overwrite=files.overwrite)
    data = None
    if settings.data is not None:
        data = os.path.relpath(settings.data, output.parent)  # as the configuration names it
    text = templates.example(kind, output.name, settings.data, data)
    with whole(output) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"Written: {output}; `jaxepi train {kind} {output}` trains it")


def _renormalise(settings: e.RenormalisationSettings, files: o.RenormalisationFiles, line: str) -> None:
    from jaxepi import plotting
    from jaxepi.workflows import renormalisation
    from jaxepi.workflows.reports import epi as report

    output = _output(settings, files, "renormalisation.h5")
    figure = _beside(output, files.figure, ".png")
    bands = figure.with_name(f"{figure.stem}-bands{figure.suffix}")
    csv = _beside(output, files.csv, ".csv")
    outputs = [Output("--output", output, RESULTS, own=True), Output("--figure", figure, FIGURES)]
    outputs += [Output("--figure", bands, FIGURES)] if settings.path else []
    outputs += [Output("--csv", csv)] if files.csv else []
    made_by = _claim("renormalise", settings, files, *outputs)
    loaded = _coupled(settings)
    found = renormalisation.renormalisation(settings, loaded, output, files.progress, not files.overwrite, line)
    print("\n".join(report.lines(found)))
    for remark in renormalisation.remarks(loaded):
        print(remark)
    title = Path(settings.crystal).stem
    plotting.save(plotting.renormalisation(found, report.differences(found), title), figure, made_by)
    written = [output, figure]
    if found.path is not None:
        assert found.bands is not None
        assert found.band_shifts is not None
        warmest = int(found.temperatures.argmax())
        label, shifted = f"{found.temperatures[warmest]:g} K", found.bands + found.band_shifts[warmest]
        zero = float(found.rest[0]) if "valence" in found.levels else 0.0
        drawn = plotting.renormalised_bands(found.path, found.bands, shifted, zero, title, label)
        plotting.save(drawn, bands, made_by)
        written.append(bands)
    if files.csv:
        report.write_csv(found, csv, made_by)
        written.append(csv)
    print(f"\nWritten: {', '.join(str(path) for path in written)}")


def _unfold(settings: e.UnfoldingSettings, files: o.UnfoldingFiles, line: str) -> None:
    from jaxepi import plotting
    from jaxepi.workflows import renormalisation, unfolding
    from jaxepi.workflows.reports import epi as report

    output = _output(settings, files, "unfolding.h5")
    figure = _beside(output, files.figure, ".png")
    kelvin = settings.temperatures
    names = [figure if len(kelvin) == 1 else figure.with_stem(f"{figure.stem}-{t:g}K") for t in kelvin]
    outputs = [Output("--output", output, RESULTS, own=True), *(Output("--figure", name, FIGURES) for name in names)]
    made_by = _claim("unfold", settings, files, *outputs)
    loaded = _coupled(settings)
    found = unfolding.unfolding(settings, loaded, output, files.progress, not files.overwrite, line)
    print("\n".join(report.unfolded_lines(found)))
    for remark in renormalisation.remarks(loaded):
        print(remark)
    for t, values, name in zip(kelvin, found.values, names, strict=True):
        title = f"{Path(settings.crystal).stem}, {t:g} K"
        drawn = plotting.spectral_function(found.path, found.energies, values, found.bands, found.zero, title)
        plotting.save(drawn, name, made_by)
    print(f"\nWritten: {', '.join(str(path) for path in (output, *names))}")


def _coupled(settings: Any) -> Any:
    """The crystal of settings with its electrons and its vibrations, both of which it must have."""
    from jaxepi.workflows import crystal, renormalisation

    loaded = crystal.load(settings.crystal, settings.hamiltonian, settings.potential, settings.spin_orbit)
    loaded = crystal.bound(loaded, settings)
    renormalisation.refuse_unfit(loaded)
    if settings.calculator is None:
        loaded.refuse_unbound()
    return crystal.prepared(loaded, "primitive", settings.precision)


def _materials(settings: w.MaterialsSettings, files: s.Settings, _: str) -> None:
    from jaxepi import materials, potentials

    compute_in("float64")
    chosen = settings.name
    if not chosen:
        print("\n".join(materials.models.material_lines(settings.elements)))
        return
    cards = [card for card in materials.models.shipped() if card.name == chosen]
    if cards and chosen not in materials.available():
        print("\n".join(materials.models.lines(cards)))
    if any(card.learned_potential for card in cards) or chosen.endswith(".npz"):
        print(json.dumps(potentials.card(chosen), indent=2, ensure_ascii=False))
    if cards or chosen.endswith(".npz"):
        return
    for key, text in materials.load(chosen).card:
        print(f"{key:12} {text}")


COMMANDS = {
    "absorb": Command(w.AbsorptionSettings, o.AbsorptionFiles, _absorb),
    "bands": Command(w.BandsSettings, o.BandsFiles, _bands),
    "gap": Command(w.GapSettings, o.GapFiles, _gap),
    "phonons": Command(w.PhononsSettings, o.PhononsFiles, _phonons),
    "expand": Command(w.ExpandSettings, o.ExpandFiles, _expand),
    "sample": Command(w.SamplingSettings, o.SamplingFiles, _sample),
    "train": Command(w.TrainSettings, o.TrainFiles, _train),
    "md": Command(w.DynamicsSettings, o.DynamicsFiles, _md),
    "renormalise": Command(e.RenormalisationSettings, o.RenormalisationFiles, _renormalise),
    "unfold": Command(e.UnfoldingSettings, o.UnfoldingFiles, _unfold),
    "materials": Command(w.MaterialsSettings, o.Nothing, _materials),
}
COMMANDS |= {f"label {name}": Command(*action) for name, action in ACTIONS.items()}
"""By the names that `jaxepi.cli.COMMANDS` describes."""
