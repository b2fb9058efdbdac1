"""Thermal expansion as text."""

import numpy as np

from jaxepi.units import GPA, KB
from jaxepi.workflows.expansion import Expansion
from jaxepi.workflows.reports.tables import aligned, number


def expansion_lines(found: Expansion) -> list[str]:
    """Lattice constants, expansion coefficients, moduli, heat capacities and gaps at temperatures, as text."""
    structure = found.crystal.structure
    lengths, first = np.linalg.norm(np.asarray(structure.cell), axis=1), int(np.flatnonzero(structure.pbc)[0])
    solid = all(structure.pbc)
    gaps = bool(np.isfinite(found.rest_gap))
    header = [
        "T (K)",
        "length (angstrom)",
        "relative (1e-3)",
        "alpha (1e-6/K)",
        "B (GPa)" if solid else "B (eV/angstrom^2)",
    ]
    header += ["C_V (k)", "C_P (k)", "Grueneisen", *(["gap by expansion (meV)"] if gaps else [])]
    states, body = found.states, []
    for n, temperature in enumerate(found.temperatures):
        row = [f"{temperature:g}", f"{found.lengths[n, first]:.5f}", f"{1e3 * (states.factor[n] - 1):+.4f}"]
        row += [f"{1e6 * states.coefficient[n]:.3f}", f"{states.modulus[n] / (GPA if solid else 1.0):.2f}"]
        row += [f"{states.constant_volume[n] / KB:.4f}", f"{states.constant_pressure[n] / KB:.4f}"]
        row += [f"{states.gruneisen[n]:.3f}" if states.constant_volume[n] > 1e-3 * KB else "-"]
        row += [number(1e3 * (found.gaps[n] - found.rest_gap), "{:+.2f}")] if gaps else []
        body.append(row)
    atoms = f"one cell ({len(structure)} atoms)"
    lines = [
        f"Lattice vector at rest: {lengths[first]:.5f} angstrom; relative: to that, zero-point motion included",
        *aligned([header, *body]),
        f"  alpha of lengths; C of the vibrations of {atoms}",
    ]
    if gaps:
        known = found.cell_temperature
        of = "at rest, without zero-point motion" if known is None else f"of {known:g} K"
        lines += [
            f"  gap by expansion: of the lattice at rest, {found.rest_gap:.4f} eV in its own cell, which is one {of}; add it "
            "to the shift at constant volume (jaxepi gap --temperatures), or let that follow the expansion (--expansion)"
        ]
    return [*lines, *found.notes]
