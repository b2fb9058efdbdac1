"""Data sets and a command that several tests need."""

import pytest
import small_spectra
from small_world import labelled

from jaxepi import cli, datasets


@pytest.fixture(scope="session")
def dataset():
    return labelled()


@pytest.fixture(scope="session")
def path(dataset, tmp_path_factory):
    """The same in a file."""
    target = tmp_path_factory.mktemp("sets") / "silicon.h5"
    datasets.write(dataset, target)
    return target


@pytest.fixture(scope="session")
def spectra_set():
    return small_spectra.labelled()


@pytest.fixture
def train(monkeypatch, capsys):
    """Run `jaxepi train` for a kind of model in a folder: exit status, output and errors."""

    def go(kind, folder, *arguments, config="config.toml", text=None):
        monkeypatch.chdir(folder)
        if text is not None:
            (folder / config).write_text(text)
        status = cli.main(["train", kind, config, "--no-progress", *(str(a) for a in arguments)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return status, captured.out, captured.err

    return go
