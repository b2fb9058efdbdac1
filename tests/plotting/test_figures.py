"""Figures: what they show, and that any text a user gives can be drawn."""

import numpy as np
import pytest

from jaxepi import plotting
from jaxepi.errors import InputError

AWKWARD = r"run $\alpha and $5_{x"


def test_a_dollar_in_a_title_is_text(tmp_path):
    x = np.linspace(0, 1, 5)
    figure = plotting.bands(x, x[:, None] * [-1, 1], [(0.0, "G"), (1.0, "X$1$")], 0.0, 0.5, title=AWKWARD)
    plotting.save(figure, tmp_path / "bands.svg")
    assert figure.axes[0].get_title() == plotting.common.plain(AWKWARD) + ", gap 0.500 eV"
    plotting.save(plotting.phonons(x, x[:, None], [(0.0, "G"), (1.0, "X")], AWKWARD), tmp_path / "phonons.png")
    plotting.save(
        plotting.parity({"energy": {"test": (x, x)}, "gap": {"test": (x, x)}}, AWKWARD), tmp_path / "parity.pdf"
    )
    assert {f.name for f in tmp_path.iterdir()} == {"bands.svg", "phonons.png", "parity.pdf"}


def test_the_gap_is_shaded_only_where_there_is_one():
    x = np.linspace(0, 1, 5)
    for conduction, title in ((0.5, "gap 0.500 eV"), (None, "")):
        axes = plotting.bands(x, x[:, None], [(0.0, "G"), (1.0, "X")], 0.0, conduction).axes[0]
        assert axes.get_title() == title
        assert len(axes.patches) == (conduction is not None)


def test_a_figure_says_its_kind_by_its_suffix(tmp_path):
    with pytest.raises(InputError, match=r"figure cannot be written as '\.h5'; use one of \.png, \.pdf, \.svg"):
        plotting.check_suffix(tmp_path / "a.h5")
