"""No command writes over what it did not make: refused before any work, with the remedy, and the file as it was."""

import pytest

from jaxepi import cli, hamiltonians, potentials, training

PHONONS = ["phonons", "silicon", "--potential", "silicon-sw1985", "--supercell", 1, "--points", 8, "--path", "GX"]
BANDS = ["bands", "silicon", "--hamiltonian", "si-vogl1983", "--points", 8, "--path", "GX"]
SAMPLE = ["sample", "silicon", "--potential", "silicon-sw1985", "--supercell", 1, "--snapshots", 2, "--no-progress"]
MD = [
    "md",
    "silicon",
    "--potential",
    "silicon-sw1985",
    "--supercell",
    1,
    "--steps",
    2,
    "--interval",
    1,
    "--no-progress",
]
GAP = ["gap", "silicon", "--temperatures", 300, "--supercell", 1, "--snapshots", 2, "--no-progress"]
ABSORB = ["absorb", "silicon", "--supercell", 1, "--snapshots", 2, "--no-progress"]
TRAIN = ["train", "potential", "config.toml", "--no-progress"]
CONFIG = """
[data]
level = "pbe"
[[data.sets]]
path = "nowhere.h5"
[model]
kind = "mace"
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def idle(monkeypatch):
    """No model is loaded and no data are read: whatever is refused is refused before."""

    def work(*_, **__):
        raise AssertionError("the work has begun")

    for module, name in ((hamiltonians, "load"), (potentials, "load"), (training, "read_examples")):
        monkeypatch.setattr(module, name, work)


@pytest.fixture
def run(capsys):
    def go(*words):
        status = cli.main([str(word) for word in words])
        return status, capsys.readouterr().err

    return go


@pytest.mark.parametrize(
    ("words", "file", "option"),
    [
        ([*ABSORB, "--output", "a.h5"], "a.png", "--figure"),
        ([*ABSORB, "--output", "a.h5"], "a-tauc.png", "--figure"),
        ([*ABSORB, "--output", "a.h5", "--csv"], "a.csv", "--csv"),
        ([*ABSORB, "--output", "a.h5", "--figure", "b.pdf"], "b.pdf", "--figure"),
        (BANDS, "silicon-bands.png", "--output"),
        (PHONONS, "silicon-phonons.png", "--output"),
        ([*SAMPLE, "--output", "a.xyz"], "a.xyz", "--output"),
        ([*MD, "--output", "a.h5"], "a.csv", "--output"),
        ([*MD, "--output", "a.xyz"], "a.xyz", "--output"),
        ([*TRAIN, "--output", "."], "potential.npz", "--output"),
        ([*TRAIN, "--output", "."], "metrics.csv", "--output"),
    ],
)
def test_what_others_made_is_not_replaced(run, idle, folder, words, file, option):
    (folder / file).write_text("mine\n")
    before = sorted(path.name for path in folder.iterdir())
    status, errors = run(*words)
    assert status == 2
    assert f"{file} was not made by this command with these settings; give another {option}" in errors
    assert "--overwrite" in errors
    assert errors.count("\n") == 1
    assert (folder / file).read_text() == "mine\n"
    assert sorted(path.name for path in folder.iterdir()) == before


@pytest.mark.parametrize("words", [ABSORB, GAP, [*SAMPLE], MD], ids=lambda words: words[0])
def test_a_file_that_is_no_result_is_not_replaced(run, idle, folder, words):
    (folder / "a.h5").write_text("mine\n")
    status, errors = run(*words, "--output", "a.h5")
    assert status == 2
    assert "a.h5 cannot be read as HDF5" in errors
    assert (folder / "a.h5").read_text() == "mine\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([*ABSORB, "--output", "a.h5", "--csv", "./a.h5"], "--output and --csv are one file"),
        ([*ABSORB, "--output", "a.h5", "--csv", "a.png"], "--figure and --csv are one file"),
        ([*ABSORB, "--output", "a.png"], "give --output a file name that ends in one of .h5"),
        ([*ABSORB, "--figure", "silicon-absorption.h5"], "give --figure a file name that ends in one of .png"),
        ([*BANDS, "--output", "a.h5"], "give --output a file name that ends in one of .png"),
        ([*GAP, "--output", "a.csv"], "give --output a file name that ends in one of .h5"),
        (["gap", "silicon", "--output", "a.h5"], "gaps at --temperatures are kept"),
        ([*MD, "--output", "a.csv"], "give --output a file name that ends in one of .h5"),
        ([*PHONONS, "--output", f"{'a' * 2000}.png"], "cannot be written (File name too long)"),
        ([*SAMPLE, "--output", "nowhere/a.xyz"], "nowhere is not a folder"),
        ([*TRAIN, "--output", "nowhere/a"], "nowhere is not a folder"),
        ([*TRAIN, "--output", "config.toml"], "config.toml was not made by this command"),
    ],
)
def test_paths_are_tried_before_the_work(run, idle, folder, words, message):
    status, errors = run(*words)
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["config.toml"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "other", "file"),
    [(BANDS, ["--points", 9], "a.png"), (PHONONS, ["--points", 9], "a.svg"), (SAMPLE, ["--seed", 1], "a.xyz")],
    ids=lambda words: str(words[0]),
)
def test_its_own_files_a_command_writes_again(run, folder, words, other, file):
    words = [*words, "--output", file]
    assert run(*words)[0] == 0
    first = (folder / file).read_bytes()
    assert run(*words)[0] == 0
    status, errors = run(*words, *other)
    assert status == 2
    assert "was not made by this command with these settings" in errors
    assert run(*words, *other, "--overwrite")[0] == 0
    assert (folder / file).read_bytes() != first


def test_an_input_is_never_replaced(run, folder):
    from ase.build import bulk
    from ase.io import write

    write(folder / "cell.xyz", bulk("Si", "diamond", a=5.431, cubic=True), format="extxyz")
    before = (folder / "cell.xyz").read_text()
    status, errors = run("sample", "cell.xyz", *SAMPLE[2:], "--output", "cell.xyz", "--overwrite")
    assert status == 2
    assert "cell.xyz is read by this command; give another --output" in errors
    assert (folder / "cell.xyz").read_text() == before


@pytest.mark.slow
def test_stored_snapshots_are_read_again_and_others_refused(run, folder):
    words = [*SAMPLE, "--output", "a.h5"]
    assert run(*words)[0] == 0
    before = (folder / "a.h5").stat().st_mtime_ns
    assert run(*words)[0] == 0
    assert (folder / "a.h5").stat().st_mtime_ns == before
    status, errors = run(*words, "--seed", 1)
    assert status == 2
    assert "seed was 0 and is now 1" in errors
    assert run(*words, "--seed", 1, "--overwrite")[0] == 0


@pytest.mark.slow
def test_trajectories_are_written_again_beside_their_result(run, folder):
    assert run(*MD, "--output", "a.xyz")[0] == 0
    assert run(*MD, "--output", "a.xyz")[0] == 0
    assert {path.name for path in folder.iterdir()} == {"a.xyz", "a.h5", "a.csv", "config.toml"}
    assert run(*MD, "--output", "a.h5", "--seed", 1)[0] == 2
    assert run(*MD, "--output", "a.xyz", "--seed", 1, "--overwrite")[0] == 0
