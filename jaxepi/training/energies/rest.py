"""What a k mesh leaves of forces and stress where the crystal's symmetry allows none.

Flows in and out: `Examples`. A mesh shifted off Gamma has less symmetry than the crystal, so that the crystal at rest is
labelled with forces and an anisotropic stress, and energies hold the work against them; no potential of distances and
angles can have them.
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
    """Less the forces F and the anisotropic stress S that the crystal at rest has on the same mesh in the same cell.

    Of a configuration strained by e and displaced by u from there, the energy loses V S:e - F.u, V the volume at rest.
    Meant for crystals whose symmetry fixes the sites of all atoms (diamond, zincblende). Configurations that have none at
    rest beside them keep their labels; a warning names their meshes.
    """
    energy, forces, stress = (getattr(examples, name).copy() for name in ("energy", "forces", "stress"))
    atoms = [slice(a, b) for a, b in zip(examples.first[:-1], examples.first[1:], strict=True)]
    keys = [(examples.mesh[c], examples.numbers[mine].tobytes()) for c, mine in enumerate(atoms)]
    still = (examples.kind == KIND) & np.isnan(examples.temperature)
    rest = {keys[c]: c for c in np.flatnonzero(still & (examples.weights[:, 1] > 0)).tolist()}
    kept = set()
    for c, mine in enumerate(atoms):
        r = rest.get(keys[c])
        move = None if r is None else _move(examples, r, c)
        if r is None or move is None:
            kept.add(str(examples.mesh[c]))
            continue
        strain, displacement = move
        force = examples.forces[atoms[r]]
        excess = examples.stress[r] - np.eye(3) * np.trace(examples.stress[r]) / 3
        energy[c] -= examples.volume[r] * np.sum(excess * strain) - np.sum(force * displacement)
        forces[mine] -= force
        stress[c] -= excess * (examples.weights[c, 2] > 0)
    if kept:
        warnings.warn(
            f"some configurations on {', '.join(sorted(kept))} keep what their mesh does to a crystal at rest: no "
            f"configuration of kind {KIND!r} in the same cell says how much that is",
            stacklevel=2,
        )
    return dataclasses.replace(examples, energy=energy, forces=forces, stress=stress)


def _move(examples: Examples, r: int, c: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Symmetric strain and displacements (angstrom) from configuration r to c; None where they are not alike."""
    before, after = examples.cell[r], examples.cell[c]
    strain = np.linalg.solve(before, after) - np.eye(3)
    here, there = (
        examples.positions[examples.first[i] : examples.first[i + 1]] @ np.linalg.inv(examples.cell[i]) for i in (r, c)
    )
    moved = there - here - np.round(there - here)
    moved = (moved - moved.mean(axis=0)) @ after
    if np.abs(strain).max() > 0.1 or np.linalg.norm(moved, axis=1).max() > NEAR:
        return None
    return 0.5 * (strain + strain.T), moved
