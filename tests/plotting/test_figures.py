"""Figures: what they show, and that any text a user gives can be drawn."""

import numpy as np
import pytest

from jaxepi import plotting
from jaxepi.errors import InputError
from jaxepi.kpoints import Path

X = np.linspace(0, 1, 5)
LINE = Path(np.zeros((5, 3)), X, [(0.0, "G"), (1.0, "X$1$")])
AWKWARD = r"run $\alpha and $5_{x"


def test_a_dollar_in_a_title_is_text(tmp_path):
    figure = plotting.bands(LINE, X[:, None] * [-1, 1], 0.0, 0.5, title=AWKWARD)
    plotting.save(figure, tmp_path / "bands.svg")
    assert figure.axes[0].get_title() == plotting.common.plain(AWKWARD) + ", gap 0.500 eV"
    plotting.save(plotting.phonons(LINE, X[:, None], AWKWARD), tmp_path / "phonons.png")
    pairs = {name: {"test": (X, X)} for name in ("energy", "gap")}
    plotting.save(plotting.parity(pairs, AWKWARD), tmp_path / "parity.pdf")
    assert {f.name for f in tmp_path.iterdir()} == {"bands.svg", "phonons.png", "parity.pdf"}


def test_the_gap_is_shaded_only_where_there_is_one():
    for conduction, title in ((0.5, "gap 0.500 eV"), (None, "")):
        axes = plotting.bands(LINE, X[:, None], 0.0, conduction).axes[0]
        assert axes.get_title() == title
        assert len(axes.patches) == (conduction is not None)


def test_no_line_crosses_a_break():
    """At a break both corners share a place on the axis; the curve ends there and begins anew."""
    broken = Path(
        np.zeros((5, 3)), np.array([0, 1.0, 2.0, 2.0, 3.0]), [(0, "G"), (2, "U"), (2, "K"), (3, "G")], breaks=(3,)
    )
    values = np.array([0.0, 1.0, 2.0, 7.0, 8.0])[:, None]
    axes = plotting.bands(broken, values, 0.0).axes[0]
    (curve,) = [line for line in axes.lines if len(line.get_xdata()) > 2]
    np.testing.assert_array_equal(curve.get_ydata(), [0, 1, 2, np.nan, 7, 8])
    np.testing.assert_array_equal(curve.get_xdata(), [0, 1, 2, np.nan, 2, 3])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["Γ", "U|K", "Γ"]


def test_a_figure_says_its_kind_by_its_suffix(tmp_path):
    with pytest.raises(InputError, match=r"figure cannot be written as '\.h5'; use one of \.png, \.pdf, \.svg"):
        plotting.check_suffix(tmp_path / "a.h5")
