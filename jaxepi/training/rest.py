"""What a k mesh leaves of forces and stress where the crystal's symmetry allows none.

Flows in and out: `Examples`. A mesh shifted off Gamma has less symmetry than the crystal, so that the crystal at rest is
labelled with forces and an anisotropic stress; no potential of distances and angles can have them.
"""

import dataclasses
import warnings

import numpy as np

from jaxepi.training.examples import Examples

KIND = "unstrained"
"""Configurations at rest on ideal sites are of this kind, without a temperature."""

NEAR = 0.8
"""Angstrom: the forces at rest are those of an atom whose displacement from that site is below this."""


def without_rest(examples: Examples) -> Examples:
    """Less the forces and the anisotropic stress of the crystal at rest on the same mesh in the same cell.

    Meant for crystals whose symmetry fixes the sites of all atoms (diamond, zincblende). Configurations that have none at
    rest beside them keep their labels; a warning names their meshes.
    """
    forces, stress = examples.forces.copy(), examples.stress.copy()
    atoms = [slice(a, b) for a, b in zip(examples.first[:-1], examples.first[1:], strict=True)]
    keys = [(examples.mesh[c], examples.numbers[mine].tobytes()) for c, mine in enumerate(atoms)]
    still = (examples.kind == KIND) & np.isnan(examples.temperature)
    rest = {keys[c]: c for c in np.flatnonzero(still & (examples.weights[:, 1] > 0)).tolist()}
    kept = set()
    for c, mine in enumerate(atoms):
        r = rest.get(keys[c])
        if r is None or not _alike(examples, c, r):
            kept.add(str(examples.mesh[c]))
            continue
        forces[mine] -= examples.forces[atoms[r]]
        excess = examples.stress[r] - np.eye(3) * np.trace(examples.stress[r]) / 3
        stress[c] -= excess * (examples.weights[c, 2] > 0)
    if kept:
        warnings.warn(
            f"some configurations on {', '.join(sorted(kept))} keep what their mesh does to a crystal at rest: no "
            f"configuration of kind {KIND!r} in the same cell says how much that is",
            stacklevel=2,
        )
    return dataclasses.replace(examples, forces=forces, stress=stress)


def _alike(examples: Examples, c: int, r: int) -> bool:
    """Whether configuration c is configuration r, displaced and slightly strained."""
    cells, span = examples.cell[[c, r]], [slice(*examples.first[i : i + 2]) for i in (c, r)]
    if np.abs(cells[0] - cells[1]).max() > 0.1 * np.linalg.norm(cells[1], axis=1).max():
        return False
    there, here = (examples.positions[s] @ np.linalg.inv(m) for s, m in zip(span, cells, strict=True))
    moved = there - here - np.round(there - here)
    moved = (moved - moved.mean(axis=0)) @ cells[0]
    return bool(np.linalg.norm(moved, axis=1).max() < NEAR)
