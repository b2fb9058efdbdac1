"""What the API pages do to docstrings that say several arguments a line."""

import importlib.util
from pathlib import Path

import pytest

pytest.importorskip("griffe", reason="comes with the extra docs")
WHERE = Path(__file__).parents[2] / "scripts" / "split_arguments.py"

TEXT = """Something.

Args:
    x, y: of the points, shape (n, 3),
        angstrom. count: how many (more: better). graph: of the crystal.

Raises:
    InputError: no points. OSError: the file
        cannot be written.
"""


def test_every_argument_and_error_has_a_line():
    spec = importlib.util.spec_from_file_location("split_arguments", WHERE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    lines = [line.strip() for line in module.split(TEXT, ["x", "y", "count", "graph"]).splitlines()]
    assert lines[3:7] == [
        "x: of the points, shape (n, 3), angstrom.",
        "y: of the points, shape (n, 3), angstrom.",
        "count: how many (more: better).",
        "graph: of the crystal.",
    ]
    assert lines[9:11] == ["InputError: no points.", "OSError: the file cannot be written."]
