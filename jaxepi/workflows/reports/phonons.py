"""Phonon frequencies as text."""

import numpy as np

from jaxepi.workflows.phonons import Phonons
from jaxepi.workflows.reports.tables import aligned


def _named(cell: str) -> str:
    """Gamma by its name, as it is reached from elsewhere too."""
    return "Gamma" if cell == "G" else f"Gamma from {cell[2:]}" if cell.startswith("G-") else cell


def phonon_lines(found: Phonons) -> list[str]:
    """Frequencies at the special points (THz) as text; imaginary ones are negative; then what is missing from them."""
    modes = max(len(f) for f in found.points.values())
    header = ["point", *(f"{i + 1} (THz)" for i in range(modes))]
    body = [[name, *(f"{value:.3f}" for value in np.round(values, 3) + 0.0)] for name, values in found.points.items()]
    # Columns of many modes would not fit a screen: then one mode a line.
    table = [list(row) for row in zip(header, *body, strict=True)] if modes > 8 else [header, *body]
    return [*aligned([[_named(cell) for cell in row] for row in table]), *found.notes]
