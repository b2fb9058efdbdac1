"""Phonons as text: frequencies, thermodynamics, sound, modes at Gamma, sum rules."""

import numpy as np

from jaxepi.structure import Structure
from jaxepi.units import KB
from jaxepi.workflows.phonons import Phonons
from jaxepi.workflows.reports.tables import aligned, number
from jaxepi.workflows.vibrations import Vibrations


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


def vibration_lines(found: Vibrations, base: Structure) -> list[str]:
    """What follows from phonons as text.

    Args:
        base: the cell that free energies are of.
    """
    return [
        *(["", *_heat_lines(found, base)] if found.thermodynamics is not None else []),
        "",
        *_sound_lines(found),
        *(["", *_gamma_lines(found)] if found.gamma else []),
        "",
        "sum rules were broken by {:.1e} eV/angstrom^2 (acoustic), {:.1e} eV/angstrom (rotational), {:.1e} eV (Huang)".format(
            *map(float, found.rules)
        ),
        *found.notes,
    ]


def _heat_lines(found: Vibrations, base: Structure) -> list[str]:
    """Free energy, entropy, heat capacity and mean squares of each element."""
    table = found.thermodynamics
    assert table is not None
    symbols = np.array(base.to_ase().get_chemical_symbols())
    squares = np.einsum("tiaa->ti", table.mean_squares) / 3
    elements = list(dict.fromkeys(symbols))
    header = ["T (K)", "F (eV)", "U (eV)", "S (k)", "C_V (k)", *(f"<u^2> {e} (angstrom^2)" for e in elements)]
    body = [
        [f"{t:g}", f"{f:.5f}", f"{u:.5f}", f"{s / KB:.4f}", f"{c / KB:.4f}"]
        + [f"{row[symbols == e].mean():.6f}" for e in elements]
        for t, f, u, s, c, row in zip(*table[:5], squares, strict=True)
    ]
    what = f"  of the vibrations of one cell ({len(base)} atoms) at constant volume; <u^2> along one direction"
    return [*aligned([header, *body]), what]


def _sound_lines(found: Vibrations) -> list[str]:
    header = ["towards", *(f"sound {n} (km/s)" for n in (1, 2, 3))]
    body = [[name, *(number(100 * float(v), "{:.3f}") for v in speeds)] for name, speeds in found.sound.items()]
    return aligned([header, *body])


def _gamma_lines(found: Vibrations) -> list[str]:
    def seen(infrared: bool, raman: bool) -> str:
        return ", ".join(name for name, by in (("infrared", infrared), ("Raman", raman)) if by) or "silent"

    header = ["modes at Gamma", "THz", "degeneracy", "symmetry lets them be seen by"]
    body = [
        [
            mode.label or "?",
            f"{round(mode.frequency, 3) + 0.0:.3f}",
            f"{mode.degeneracy}",
            seen(mode.infrared, mode.raman),
        ]
        for mode in found.gamma
    ]
    return aligned([header, *body])
