"""Tables as plain text: aligned columns, numbers with errors, vectors."""

from typing import Any

import numpy as np


def aligned(rows: list[list[str]]) -> list[str]:
    """Columns of text, aligned to the right under their headings."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]


def number(value: float, form: str) -> str:
    """A number in a form, or a dash where it is unknown."""
    return form.format(value) if np.isfinite(value) else "-"


def with_error(value: float, error: float) -> str:
    """A number and its error, where these are known."""
    if not np.isfinite(value):
        return "-"
    return f"{value:.3f} +- {error:.3f}" if np.isfinite(error) else f"{value:.3f}"


ONE_RUN = "  no standard error: the frames are one run and depend on each other (--independent, where they do not)"


def one_run(trajectory: str | None, groups: tuple[int, ...]) -> list[str]:
    """What is said where the frames of a trajectory tell no standard error."""
    return [ONE_RUN] if trajectory is not None and len(groups) > 1 and len(set(groups)) == 1 else []


def vector(values: Any) -> str:
    """Four decimals of each component, without negative zeros."""
    return "(" + ", ".join(f"{float(v) + 0.0:.4f}" for v in np.round(np.asarray(values), 6)) + ")"
