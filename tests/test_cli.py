"""The command line: what it prints and writes, how it refuses, and how fast it answers."""

import json
import subprocess
import sys
import time
from importlib import resources

import h5py
import numpy as np
import pytest
from ase.build import bulk
from ase.io import read, write

from jaxepi import cli, results

TINY = ["--supercell", "1", "--kmesh", "1", "--snapshots", "2", "--equilibrium-points", "2", "--no-progress"]
TINY += ["--energies", "0.5", "5", "46"]
MODELS = ["--hamiltonian", "si-niquet2009", "--potential", "silicon-mvff"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Every command runs in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Run a command line; its exit status, output and errors. No traceback is ever printed."""

    def go(*arguments):
        status = cli.main([str(a) for a in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return status, captured.out, captured.err

    return go


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study, made once."""
    path = tmp_path_factory.mktemp("absorb") / "silicon.h5"
    assert cli.main(["absorb", "silicon", *TINY, "--temperatures", "100", "300", "--output", str(path), "--csv"]) == 0
    return path


def test_help_is_quick_and_imports_nothing_heavy():
    code = "import sys\nfrom jaxepi import cli\ncli.main(['--help'])\nassert not {'jax', 'numpy', 'ase'} & set(sys.modules)"
    durations = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        durations.append(time.perf_counter() - start)
    assert min(durations) < 1.5
    assert "absorb" in done.stdout


@pytest.mark.parametrize("command", ["absorb", "bands", "gap", "md", "phonons", "sample"])
def test_help_states_units(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert "--config" in out
    units = {"absorb": "eV", "bands": "eV", "gap": " K", "md": " fs", "phonons": "THz", "sample": "angstrom"}
    assert units[command] in out


def test_module_runs():
    done = subprocess.run([sys.executable, "-m", "jaxepi", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("jaxepi ")


@pytest.mark.parametrize(("command", "status", "lines"), [("> /dev/full", 2, 1), ("| true", 141, 0)])
def test_what_cannot_be_printed_ends_in_a_line_at_most(command, status, lines):
    code = "import sys, time; from jaxepi import cli; time.sleep(0.3); sys.exit(cli.main(['materials', 'silicon']))"
    shell = f'set -o pipefail; {sys.executable} -c "{code}" {command}'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60)
    assert done.returncode == status
    assert done.stderr.count("jaxepi: ") == lines
    assert "Exception" not in done.stderr + done.stdout


@pytest.mark.slow
def test_absorb_leaves_result_figures_and_csv(finished):
    names = {file.name for file in finished.parent.iterdir()}
    assert names == {"silicon.h5", "silicon.png", "silicon-tauc.png", "silicon.csv"}
    assert results.read_provenance(finished)["command"].startswith("jaxepi absorb silicon --supercell 1")
    with (finished.parent / "silicon.png").open("rb") as file:
        head = file.read(24)
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(head[16:20]) >= 1200
    text = (finished.parent / "silicon.csv").read_text()
    assert "# absorption in 1/cm" in text
    assert "\ntemperature,energy,absorption,absorption_spread,absorption_error,n," in text


@pytest.mark.slow
def test_absorb_again_reads_what_is_there(finished, run):
    before = finished.stat().st_mtime_ns
    status, out, _ = run("absorb", "silicon", *TINY, "--temperatures", 100, 300, "--output", finished)
    assert status == 0
    assert finished.stat().st_mtime_ns == before
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("100 ", "300 "))]
    assert [row[0] for row in rows] == ["100", "300"]
    assert "measured: M. A. Green" in out


@pytest.mark.slow
def test_absorb_refuses_other_settings_and_overwrites_when_told(finished, run, folder):
    mine = folder / "mine.h5"
    mine.write_bytes(finished.read_bytes())
    arguments = ["absorb", "silicon", *TINY, "--temperatures", 100, 300, "--width", 0.05, "--output", mine]
    status, _, err = run(*arguments)
    assert status == 2
    assert "width was 0.03 and is now 0.05" in err
    assert "--overwrite" in err
    assert run(*arguments, "--overwrite")[0] == 0
    assert results.read_provenance(mine)["settings"]["width"] == 0.05


@pytest.mark.slow
def test_absorb_takes_a_structure_file(run, folder):
    write(folder / "mine.cif", bulk("Si", "diamond", a=5.431, cubic=True))
    status, out, _ = run("absorb", "mine.cif", *MODELS, *TINY)
    assert status == 0
    assert "Gap of the lattice at rest: 1.188 eV" in out
    assert (folder / "mine-absorption.h5").exists()


@pytest.mark.slow
def test_interrupt_says_how_to_go_on(run, monkeypatch):
    from jaxepi.workflows import absorption

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(absorption._Stages, "compute", interrupted)
    status, _, err = run("absorb", "silicon", *TINY)
    assert status == 130
    assert "the same command goes on from there" in err
    assert "silicon-absorption.h5.parts" in err


def test_configuration_file_and_flags(run, folder, monkeypatch):
    from jaxepi.workflows import absorption

    seen = []

    def record(settings, *_):
        seen.append(settings)
        raise KeyboardInterrupt

    monkeypatch.setattr(absorption, "absorption", record)
    (folder / "run.toml").write_text(
        'crystal = "silicon"\ntemperatures = [100, 200]\nspin-orbit = true\nsampling = "random"\nwidth = 0.05\n'
        "energies = [1, 4, 31]\nkmesh = 1\nsupercell = [1, 1, 2]\nsnapshots = 3\n"
    )
    assert run("absorb", "--config", "run.toml", "--width", 0.04, "--kmesh", 2)[0] == 130
    found = seen[0]
    assert (found.crystal, found.temperatures, found.supercell) == ("silicon", (100.0, 200.0), (1, 1, 2))
    assert (found.width, found.kmesh, found.snapshots) == (0.04, 2, 3)
    assert found.spin_orbit
    assert found.sampling == "random"
    assert found.energies == (1.0, 4.0, 31)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("temperature = [100]", "unknown key 'temperature'; did you mean 'temperatures'"),
        ("width = ", "run.toml is not a TOML file"),
        ("[width]\nvalue = 1", "run.toml: width {'value': 1}: give a positive number"),
        ("seed = 1.5", "run.toml: seed 1.5: give zero or a positive whole number"),
        ("scissor = nan", "run.toml: scissor nan eV: give a number"),
        ("energies = [1, inf, 10]", "run.toml: energies inf eV: give a positive number"),
        ("energies = [1, 2]", "run.toml: energies 1 2: give a list of 3 (MIN MAX COUNT)"),
        ("spin-orbit = true\nspin_orbit = true", "spin_orbit is given twice"),
        ('spin-orbit = "yes"', "run.toml: spin_orbit 'yes': give true or false"),
        ("width = true", "run.toml: width True: give a positive number"),
        ('width = "wide"', "run.toml: width 'wide': give a positive number"),
    ],
)
def test_configuration_mistakes_are_named(run, folder, text, message):
    (folder / "run.toml").write_text(text)
    status, _, err = run("absorb", "silicon", "--config", "run.toml")
    assert status == 2
    assert message in err


def test_a_configuration_file_goes_nowhere_through_the_words_of_a_command_line(run, folder):
    (folder / "run.toml").write_text('crystal = "--help"')
    assert run("bands", "--config", "run.toml") == (
        2,
        "",
        "jaxepi: no material and no file '--help': give one of diamond, galliumarsenide, germanium, graphene, "
        "silicon, a bilayer (bilayer-graphene-AB, twisted-bilayer-graphene-m30-r1), or the path of a structure file\n",
    )


def structure(folder, change):
    """A silicon file with something wrong."""
    atoms = bulk("Si", "diamond", a=5.431, cubic=True)
    change(atoms)
    write(folder / "bad.xyz", atoms, format="extxyz")
    return "bad.xyz"


BAD_STRUCTURES = {
    "atoms 0 and 1 are 0.100 angstrom apart": lambda a: a.positions.__setitem__(1, a.positions[0] + [0.1, 0, 0]),
    "volume 0 angstrom^3": lambda a: a.set_cell([[5.431, 0, 0], [5.431, 0, 0], [0, 0, 5.431]]),
    "the cell is left-handed": lambda a: a.set_cell(a.cell.array[[1, 0, 2]]),
    "positions hold NaN or infinity (first in row 3)": lambda a: a.positions.__setitem__(3, np.nan),
    "no parameters": lambda a: a.numbers.__setitem__(0, 47),
}


@pytest.mark.parametrize("message", BAD_STRUCTURES)
def test_bad_structures_are_refused(run, folder, message):
    status, _, err = run("absorb", structure(folder, BAD_STRUCTURES[message]), *MODELS, *TINY)
    assert status == 2
    assert message in err or (message == "no parameters" and "Ag" in err), err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("absorb unobtainium", "no material and no file 'unobtainium': give one of diamond, galliumarsenide"),
        ("absorb", "name a material or a structure file"),
        ("absorb graphene", "graphene has no potential"),
        ("absorb silicon --temperatures -5", "temperatures -5 K: give zero or a positive number"),
        ("absorb silicon --temperatures 100 100", "temperature 100 K is given twice"),
        ("absorb silicon --temperatures nan", "temperatures nan K: give zero or a positive number"),
        ("absorb silicon --energies 0 5 100", "energies 0 eV: give a positive number"),
        ("absorb silicon --energies -1 5 100", "energies -1 eV: give a positive number"),
        ("absorb silicon --kmesh 0", "kmesh 0: give a positive whole number"),
        ("absorb silicon --supercell 2 2", "supercell 2 2"),
        ("absorb silicon --width 0", "width 0 eV: give a positive number"),
        ("absorb silicon --width wide", "width 'wide': give a positive number"),
        ("absorb silicon --scissor -1e-3 --width nan", "width nan eV"),
        ("absorb silicon --scissor=-inf", "scissor -inf eV: give a number from -100"),
        (
            "absorb silicon --supercell 100000000000000000000",
            "supercell 100000000000000000000: give a positive whole number or a list of 3",
        ),
        ("absorb silicon --snapshots 1000000000000", "snapshots 1000000000000: give a positive whole number up to"),
        ("absorb silicon --snapshots 2.5", "snapshots 2.5: give a positive whole number"),
        ("absorb silicon --width 0.001", "width 0.001 eV: the energy bins resolve 0.008 eV"),
        ("absorb silicon --snapshots 3", "snapshots 3: antithetic snapshots come in pairs; ask for 4"),
        ("absorb silicon --sampling molecular-dynamics", "statistics quantum"),
        (
            "absorb silicon --sampling guess",
            "sampling 'guess': give one of antithetic, random, sobol, special, molecular",
        ),
        ("absorb silicon --seed -1", "seed -1"),
        ("absorb silicon --tauc-window 2 1", "Tauc window 2 to 1 eV"),
        ("absorb silicon --supercell 12", "a Hamiltonian of 138240 orbitals needs about"),
        ("absorb silicon --hamiltonian si-unknown", "no Hamiltonian 'si-unknown'"),
        ("absorb silicon --potential unknown", "unknown potential 'unknown'"),
        ("absorb silicon --figure out.gif", "out.gif"),
        ("absorb silicon --output nowhere/out.h5", "nowhere is not a folder"),
        ("absorb silicon --config missing.toml", "missing.toml"),
        (
            "absorb silicon --unknown 1",
            "absorb: unknown argument '--unknown'; `jaxepi absorb --help` says what there is",
        ),
        ("bands silicon --scissor 1", "bands: unknown argument '--scissor'; `jaxepi bands --help` says what there is"),
        ("absorb silicon --temperature 1", "absorb: unknown argument '--temperature'; did you mean --temperatures?"),
        ("absorb silicon --temperatures 30000", "more than half the graph's skin"),
        (
            "sample silicon --supercell 10 --snapshots 1000000 --temperatures 1 2 3 4 5 6",
            "6000000 snapshots of 8000 atoms need",
        ),
        ("md silicon --supercell 5 --steps 2000000000 --interval 1", "2000000000 frames of 1000 atoms need 4.8e+04 GB"),
        ("bands silicon --path GQ", "no special point 'Q'"),
        ("bands silicon --path G", "give at least two special points"),
        ("phonons graphene", "graphene has no potential"),
        ("sample silicon --output out.cif", "out.cif"),
        ("materials lead", "no material 'lead'"),
        ("materials --elements Xx", "elements 'Xx': that is no element"),
        ("guess", "invalid choice: 'guess'"),
    ],
)
def test_bad_input_is_named_and_exits_with_two(run, arguments, message):
    words = arguments.split()
    status, _, err = run(*words[:2], *(TINY if "30000" in words else []), *words[2:])
    assert status == 2
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.slow
def test_imaginary_modes_are_refused_with_the_way_on(run, folder):
    write(folder / "squeezed.cif", bulk("Si", "diamond", a=4.6, cubic=True))
    status, _, err = run("absorb", "squeezed.cif", *MODELS, *TINY)
    assert status == 2
    assert "negative means imaginary" in err
    assert "imaginary='drop'" in err


def test_model_files_with_mistakes_are_refused(run, folder):
    text = (resources.files("jaxepi.hamiltonians") / "parameters" / "si-vogl1983.json").read_text()
    data = json.loads(text)
    (folder / "newer.json").write_text(json.dumps({**data, "version": 99}))
    (folder / "short.json").write_text(json.dumps({**data, "cutoff": 0.0}))
    (folder / "half.json").write_text(text[:200])
    expected = {
        "newer.json": "version 99",
        "short.json": "short.json: cutoff = 0.0 angstrom",
        "half.json": "half.json cannot be read",
    }
    for name, message in expected.items():
        status, _, err = run("absorb", "silicon", "--hamiltonian", name, *TINY)
        assert status == 2
        assert message in err


@pytest.mark.slow
def test_unreadable_results_are_refused(run, folder, finished):
    whole = finished.read_bytes()
    arguments = ["absorb", "silicon", *TINY, "--temperatures", 100, 300, "--output", "mine.h5"]
    (folder / "mine.h5").write_bytes(whole[: len(whole) // 2])
    status, _, err = run(*arguments)
    assert status == 2
    assert "mine.h5 cannot be read" in err
    (folder / "mine.h5").write_bytes(whole)
    with h5py.File(folder / "mine.h5", "a") as file:
        file.attrs["version"] = 99
    status, _, err = run(*arguments)
    assert status == 2
    assert "version 99" in err


@pytest.mark.slow
def test_gap_bands_phonons_and_materials_print_known_numbers(run, folder):
    status, out, _ = run("gap", "silicon")
    assert status == 0
    assert "1.1876 eV (indirect)" in out
    status, out, _ = run("bands", "silicon", "--points", 60, "--path", "GX")
    assert status == 0
    assert (folder / "silicon-bands.png").exists()
    assert "Gap: 1.18" in out
    status, out, _ = run("phonons", "silicon", "--supercell", 2, "--points", 20)
    assert status == 0
    assert "15.65" in next(line for line in out.splitlines() if "Gamma" in line)
    assert (folder / "silicon-phonons.png").exists()
    status, out, _ = run("materials")
    assert status == 0
    assert "galliumarsenide  As Ga " in out
    assert "silicon-mvff" not in run("materials", "--elements", "Ge")[1]
    assert "15.65 THz at Gamma" in run("materials", "silicon-mvff")[1]
    assert "hamiltonian  silicon-pbe " in run("materials", "silicon-pbe")[1]
    assert "niquet" in run("materials", "silicon")[1]
    assert '"forces_rmse"' in run("materials", "silicon-pbe")[1]


@pytest.mark.parametrize("name", ["out.xyz", "out.h5"])
def test_sample_writes_snapshots(run, folder, name):
    arguments = ["--temperatures", 0, 300, "--supercell", 1, "--snapshots", 2, "--no-progress", "--output", name]
    assert run("sample", "silicon", *arguments)[0] == 0
    if name == "out.xyz":
        frames = read(folder / name, index=":")
        assert [frame.info["temperature"] for frame in frames] == [0, 0, 300, 300]
    else:
        assert [float(s.temperature) for s in results.read(folder / name).contents["snapshots"]] == [0, 300]
