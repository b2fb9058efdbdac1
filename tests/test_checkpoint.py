"""Checkpoints: a round trip, and everything that is refused by name."""

import json

import numpy as np
import pytest

from jaxepi import checkpoint
from jaxepi.errors import InputError

PARAMS = {"a": {"w": np.arange(6.0).reshape(2, 3)}, "scale": np.float32(2.0)}


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "model.npz"
    checkpoint.write_checkpoint(file, checkpoint.Checkpoint("mace", {"cutoff": 5.0}, PARAMS, {"data": "none"}))
    return file


def edited(path, header=None, without=None, lacks=None):
    """The same file with an entry of the header changed or left out, or an array left out."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != without}
    if header or lacks:
        content = json.loads(str(arrays["header.json"])) | (header or {})
        content.pop(lacks, None)
        arrays["header.json"] = np.array(json.dumps(content))
    with path.open("wb") as file:
        np.savez(file, **arrays)


def test_round_trip(path):
    found = checkpoint.read_checkpoint(path)
    assert (found.kind, found.config, found.card) == (
        "mace",
        {"units": "eV, angstrom", "cutoff": 5.0},
        {"data": "none"},
    )
    assert np.array_equal(found.params["a"]["w"], PARAMS["a"]["w"])
    assert found.params["scale"].dtype == np.float32
    assert [p.name for p in path.parent.iterdir()] == ["model.npz"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"header": {"version": 7}}, "version 7"),
        ({"header": {"format": "other"}}, "format 'other'"),
        ({"header": {"config": {"units": "Ry"}}}, "units 'Ry'"),
        ({"without": "a/w"}, "lacks the array 'a/w'"),
        ({"header": {"arrays": {"a/w": [3, 3]}}}, r"shape \(2, 3\)"),
        ({"without": "header.json"}, "without a header"),
        *(({"lacks": name}, f"lacks '{name}' in its header") for name in ("kind", "config", "arrays", "card")),
    ],
)
def test_what_does_not_fit_is_refused(path, change, message):
    edited(path, **change)
    with pytest.raises(InputError, match=message):
        checkpoint.read_checkpoint(path)


def test_a_truncated_file_is_refused(path):
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(InputError, match="cannot be read"):
        checkpoint.read_checkpoint(path)


def test_another_kind_of_model_is_refused(path):
    with pytest.raises(InputError, match="kind 'mace'; expected a hamiltonian"):
        checkpoint.read_checkpoint(path, "hamiltonian")
