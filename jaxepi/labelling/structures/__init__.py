"""Structures to label: strains, thermal displacements, distances and slidings, a module each for crystals, carbon layers and
the checks of both.

Every structure carries in `info`: kind, temperature (K; absent without displacements), around (which lattice), and the
k mesh (mesh, shift in divisions) it is to be labelled with. Every function that takes a seed gives the same for the same.
"""

import ase
import numpy as np

HALF = (0.5, 0.5, 0.5)
ZERO = (0.0, 0.0, 0.0)
QUARTER = (0.25, 0.25, 0.25)
"""Shift of the 2x2x2 mesh of the conventional fcc cell that, with its time-reversed points, holds the same points as the
shifted 4x4x4 mesh of the primitive cell, and as the shifted 2x2x2 mesh of 2x2x2 primitive cells."""


def strained(atoms: ase.Atoms, strain: np.ndarray) -> ase.Atoms:
    """x -> x (1 + strain), positions and cell alike."""
    out = atoms.copy()
    out.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return out


def divisions(mesh) -> np.ndarray:
    """Of a k mesh along the three reciprocal lattice vectors, from these or one number for all."""
    return np.array([mesh] * 3 if isinstance(mesh, int) else list(mesh))


def annotate(atoms: ase.Atoms, kind: str, around: str, mesh, shift=ZERO, **info) -> ase.Atoms:
    """Write what a structure is, and the k mesh it is labelled with, into its `info`."""
    atoms.info = {"kind": kind, "around": around, "mesh": divisions(mesh), "shift": np.array(shift, float), **info}
    return atoms


def on_mesh(structures: list[ase.Atoms], mesh, shift=None) -> list[ase.Atoms]:
    """The same structures to be labelled on another mesh; of the same shift where none is given."""
    out = [atoms.copy() for atoms in structures]
    for atoms in out:
        atoms.info["mesh"] = divisions(mesh)
        if shift is not None:
            atoms.info["shift"] = np.array(shift)
    return out
