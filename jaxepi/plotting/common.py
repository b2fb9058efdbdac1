"""What all figures share: panels, colours, legends, the axis of a path, and how a figure is written."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from jaxepi.errors import InputError
from jaxepi.files import FIGURES, whole
from jaxepi.kpoints import Path as KPath

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 200
"""A figure 7 inches wide is 1400 pixels wide."""

_MARKS = {"png": "Comment", "pdf": "Keywords", "svg": "Description"}
"""Where a figure says what made it."""


def save(figure: "Figure", path: str | os.PathLike, made_by: str = "") -> None:
    """Write a figure (PNG, PDF, SVG by the suffix), whole or not at all.

    Args:
        made_by: `files.mark` of the command, which the file then carries.

    Raises:
        OSError: the file cannot be written. InputError: a suffix matplotlib does not know.
    """
    check_suffix(path)
    with whole(path) as temporary:
        kind = Path(path).suffix[1:]
        figure.savefig(temporary, dpi=DPI, format=kind, metadata={_MARKS[kind]: made_by} if made_by else None)


def png(figure: "Figure") -> bytes:
    """A figure as the bytes of a PNG file, in the size that notebooks show."""
    from jaxepi.plotting import figure as shown

    return shown.png(figure)


def check_suffix(path: str | os.PathLike) -> None:
    """Refuse a file name that does not say which kind of figure it is.

    Raises:
        InputError: names the suffix and the known ones.
    """
    suffix = Path(path).suffix
    if suffix not in FIGURES:
        raise InputError(
            f"{path}: a figure cannot be written as {suffix or 'a file without suffix'!r}; use one of "
            f"{', '.join(FIGURES)}"
        )


def one_panel(width: float = 7.0, height: float = 5.0) -> "tuple[Figure, Axes]":
    """A figure on no display at all: built without pyplot, so nothing is registered and no backend is chosen."""
    from jaxepi.plotting.figure import Shown

    figure = Shown(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.tick_params(which="both", direction="in", top=True, right=True)
    return figure, axes


def panel_with_side(width: float, height: float, share: float = 0.25) -> "tuple[Figure, Axes, Axes]":
    """A figure with a narrow second panel at the right of the first, on the same vertical axis."""
    from jaxepi.plotting.figure import Shown

    figure = Shown(figsize=(width, height), layout="constrained")
    axes, side = figure.subplots(1, 2, sharey=True, width_ratios=(1, share))
    for panel in (axes, side):
        panel.tick_params(which="both", direction="in", top=True, right=True)
    return figure, axes, side


def panels_in_rows(rows: int, columns: int, width: float, height: float) -> "tuple[Figure, np.ndarray]":
    """A figure of several panels, row by row."""
    from jaxepi.plotting.figure import Shown

    figure = Shown(figsize=(width, height), layout="constrained")
    panels = np.ravel(figure.subplots(rows, columns))
    for axes in panels:
        axes.tick_params(which="both", direction="in", top=True, right=True)
    return figure, panels


def plain(text: str) -> str:
    """Text as it stands: a dollar sign in the name of a file begins no formula."""
    return text.replace("$", r"\$")


def colours(count: int) -> np.ndarray:
    """Colours from cold to hot, one a curve."""
    from matplotlib import colormaps

    return colormaps["plasma"](np.linspace(0.0, 0.78, count) if count > 1 else np.array([0.45]))


def legend(axes: "Axes", place: Literal["lower right", "upper left"], note: str) -> None:
    """A legend, with a note as its heading where there is one."""
    box = axes.legend(loc=place, fontsize=9, frameon=True, framealpha=0.9, edgecolor="0.8")
    if note:
        box.set_title(note)
        box.get_title().set_fontsize(9)


def draw_along(axes: "Axes", path: KPath, values: np.ndarray, **style: Any) -> None:
    """Curves along a k path, shape (k, curves): none across a break, lines and names at the corners, Gamma by its letter."""
    apart = np.insert(np.asarray(path.distance, dtype=float), path.breaks, np.nan)
    axes.plot(apart, np.insert(np.asarray(values, dtype=float), path.breaks, np.nan, axis=0), **style)
    names: dict[float, list[str]] = {}
    for place, name in path.corners:
        axes.axvline(place, color="0.6", lw=0.7)
        known = names.setdefault(place, [])
        known += [] if name in known else [name]
    labels = ["|".join("Γ" if name == "G" else plain(name) for name in here) for here in names.values()]
    axes.set_xticks(list(names), labels)
    axes.set_xlim(float(path.distance[0]), float(path.distance[-1]))


def source(citation: str) -> str:
    """Authors of a citation, with the year in brackets if there is one: short enough for a legend."""
    authors = citation.split(":")[-1].split(", ")[0].strip() if ":" in citation else citation.split(", ")[0]
    years = [word.strip("(),.") for word in citation.split() if word.strip("(),.").isdigit()]
    years = [year for year in years if 1900 < int(year) < 2100]
    return f"{authors} ({years[-1]})" if years else authors
