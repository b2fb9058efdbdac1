"""The notebooks of docs/: each is what its Python file says, is in the navigation, and runs to the picture at its end."""

import importlib.util
import json
import re
import warnings
from pathlib import Path

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "notebooks"
SOURCES = sorted(FOLDER.glob("*.py"))
NAMES = [path.stem for path in SOURCES]

_spec = importlib.util.spec_from_file_location("write_notebooks", ROOT / "scripts" / "write_notebooks.py")
write_notebooks = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(write_notebooks)


def code(name):
    """The cells that are executed."""
    return [body for kind, body in write_notebooks.cells((FOLDER / f"{name}.py").read_text()) if kind == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_is_its_python_file(name):
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    assert text == write_notebooks.notebook((FOLDER / f"{name}.py").read_text(encoding="utf-8")), (
        "python scripts/write_notebooks.py"
    )
    cells = json.loads(text)["cells"]
    assert cells[0]["source"][0].startswith("# ")
    assert f"blob/main/docs/notebooks/{name}.ipynb" in "".join(cells[0]["source"])
    assert "".join(cells[1]["source"]).count("%pip install") == 1
    assert sum("\nQUICK = True" in "".join(cell["source"]) for cell in cells) == 1


def test_all_are_in_the_navigation_and_on_their_page():
    navigation = re.findall(r"notebooks/(\S+)\.ipynb$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    listed = re.findall(r"\]\((\S+)\.ipynb\), \[Colab\]\(\S+/(\S+)\.ipynb\)", (FOLDER / "index.md").read_text())
    assert sorted(navigation) == NAMES
    assert sorted(listed) == [(name, name) for name in NAMES]
    assert len(NAMES) == 6


def said(names):
    """What each notebook must have found, besides its picture."""
    return {
        "first-spectrum": lambda: names["spectra"][1].absorption()[150] > names["spectra"][0].absorption()[150] > 1e3,
        "your-phonons": lambda: np.abs(names["theirs"] - names["ours"]).max() < 1e-5 and names["change"][-1] < -20,
        "your-trajectory": lambda: 0.003 < names["moved"] < 0.012 and names["gaps"].mean() < float(names["edges"].gap),
        "training": lambda: names["error"] < 0.5,
        "many-temperatures": lambda: (np.diff(names["alpha"][:, 0]) > -1e-6).all() and names["alpha"].shape == (200, 3),
        "gradients": lambda: names["history"][-1] < 0.5 * names["history"][0],
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs(name, tmp_path, monkeypatch, capsys):
    if name == "your-phonons":
        pytest.importorskip("phonopy", reason="reads phonopy's files")
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    # JAX as users have it, outside of tests that promote neither ranks nor types.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for cell in code(name):
            exec(compile(re.sub(r"^( *)%pip .*$", r"\1pass", cell, flags=re.MULTILINE), name, "exec"), names)
    assert names["QUICK"] is True
    drawn = [line for axes in names["figure"].axes for line in axes.lines]
    assert len(drawn) > 1
    assert all(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).all() for line in drawn)
    assert said(names)[name]()
    plt.close("all")
