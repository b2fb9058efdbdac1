"""The README's Python runs as it stands, and its commands are those that CI and users run."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.slow
def test_python_blocks_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    # JAX as users have it, outside of tests that promote neither ranks nor types.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        for block in re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.S):
            exec(compile(block, "README.md", "exec"), names)
        step = 2.0
        ends = [float(names["log_absorption"](300.0 + sign * step)) for sign in (1, -1)]
    assert (tmp_path / "silicon.png").stat().st_size > 10_000
    alpha = np.asarray(names["alpha"])
    assert (alpha > 0).all()
    assert alpha[-1] > 1e5 > alpha[50]
    assert float(names["slope"]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-3)
    assert jax.config.read("jax_enable_x64")


def test_commands_set_themselves_up():
    commands = [line.strip() for line in README.read_text().splitlines() if line.startswith("    python3 -m venv")]
    assert len(commands) == 2
    assert commands[0].endswith("absorb silicon --temperatures 100 200 300 400")
    assert "pytest" in commands[1]
