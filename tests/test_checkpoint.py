"""Checkpoints: a round trip, and everything that is refused by name."""

import io
import json
import zipfile

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


def edited(path, header=None, without=None, lacks=None, add=None):
    """The same file with an entry of the header changed or left out, or an array changed or left out."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files if name != without}
    if header or lacks:
        content = json.loads(str(arrays["header.json"])) | (header or {})
        content.pop(lacks, None)
        arrays["header.json"] = np.array(json.dumps(content))
    with path.open("wb") as file:
        np.savez_compressed(file, **(arrays | (add or {})))


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
        ({"header": {"version": True}}, "version True"),
        ({"header": {"kind": 3}}, "kind = 3: give a text"),
        ({"header": {"config": [1]}}, r"config = 1: give a table"),
        ({"header": {"config": {"units": None}}}, r"config\.units = None: give a text"),
        ({"header": {"card": "good"}}, "card = 'good': give a table"),
        ({"header": {"arrays": ["a/w"]}}, r"arrays = \['a/w'\]: give a table"),
        ({"header": {"arrays": {"a/w": 6}}}, r"arrays\.a/w = 6: give a list"),
        ({"header": {"arrays": {"a/w": [2.5, 3]}}}, r"arrays\.a/w\[0\] = 2\.5: give zero or a positive whole"),
        ({"header": {"arrays": {"a/w": [-1, 3]}}}, "give zero or a positive whole number"),
        ({"add": {"a/w": np.array([[0, 1, np.nan], [0, 0, 0]])}}, "'a/w' holds NaN"),
        ({"add": {"a/w": np.full((2, 3), 1e30)}}, r"'a/w' holds 1e\+30; no trained model"),
        ({"add": {"a/w": np.full((2, 3), "x")}}, "'a/w' is an array of <U1; expected numbers"),
        ({"add": {"a": np.ones(2)}, "header": {"arrays": {"a": [2], "a/w": [2, 3]}}}, "named like a group"),
        ({"add": {"header.json": np.array("[]")}}, "header is list, not a table"),
        ({"add": {"header.json": np.array("{")}}, "cannot be read: Expecting"),
        ({"add": {"header.json": np.array("[" * 100000)}}, "cannot be read: maximum recursion"),
        ({"add": {"header.json": np.ones(3)}}, "is an array of float64"),
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


def test_arrays_that_the_header_does_not_list_are_left_alone(path):
    edited(path, add={"more": np.array([{}], dtype=object), "big": np.zeros(10**7)})
    assert set(checkpoint.read_checkpoint(path).params) == {"a", "scale"}


def test_memory_is_not_taken_for_what_a_file_cannot_hold(path):
    """A bomb of zeros, and a header of an array that claims more than its member holds."""
    edited(path, add={"a/w": np.zeros((2**24, 1))}, header={"arrays": {"a/w": [2**24, 1], "scale": []}})
    with pytest.raises(InputError, match=r"'a/w' of shape \(16777216, 1\) needs more bytes"):
        checkpoint.read_checkpoint(path)
    edited(path, header={"arrays": {"a/w": [10**6, 10**6], "scale": []}}, without="a/w")
    with zipfile.ZipFile(path, "a") as file:
        claim = io.BytesIO()
        about = {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)}
        np.lib.format.write_array_header_1_0(claim, about)
        file.writestr("a/w.npy", claim.getvalue() + b"0" * 100)
    with pytest.raises(InputError, match="needs more bytes than the file can hold"):
        checkpoint.read_checkpoint(path)


def test_another_kind_of_model_is_refused(path):
    with pytest.raises(InputError, match="kind 'mace'; expected a hamiltonian"):
        checkpoint.read_checkpoint(path, "hamiltonian")
