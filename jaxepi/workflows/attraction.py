"""Excitons in the absorption study: screening, meshes, and spectra of the lattice at rest and of snapshots.

Flows in: settings and a crystal. Flows out: `Transitions` in which electrons and holes attract each other.
"""

import dataclasses
import warnings

import numpy as np

from jaxepi import kpoints, optics
from jaxepi.errors import InputError
from jaxepi.materials import Material
from jaxepi.optics import Excitons, ModelDielectric, Screening, Transitions
from jaxepi.optics.bethe_salpeter.pairs import check_memory
from jaxepi.optics.bethe_salpeter.setup import Setup
from jaxepi.sampling import Snapshots
from jaxepi.symmetry import operations
from jaxepi.workflows.settings import AbsorptionSettings
from jaxepi.workflows.solving import line_shape

HALVES = 0.5 * np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 1], [0, 1, 0], [1, 0, 1], [0, 0, 1], [1, 1, 0]])
"""Shifts of meshes that are their own image under time reversal, in units of a division, in the order of the snapshots."""

UNRESOLVED = 0.1
"""Change of eps2 by the last fifth of the steps, over its largest value, that is warned of."""


def screening(settings: AbsorptionSettings, crystal: Material) -> Screening | ModelDielectric:
    """By the dielectric constant that was asked for, the material's, or that of independent particles of its Hamiltonian."""
    asked, known = settings.dielectric_constant, crystal.screening
    eps0 = float(known.eps0) if asked is None and known is not None else asked
    made = optics.model_dielectric_of if settings.exciton_screening == "model" else optics.screening_of
    return made(crystal.hamiltonian, crystal.primitive, eps0)


def snapshot_mesh(settings: AbsorptionSettings, crystal: Material, atoms: int) -> tuple[int, ...]:
    """k mesh of snapshots: the one asked for, or as dense as that of the primitive cell."""
    if settings.kmesh is not None:
        return crystal.periodic(settings.kmesh)
    dimensions = sum(crystal.primitive.pbc)
    repeats = (atoms / len(crystal.primitive)) ** (1 / dimensions)
    dense = np.mean([n for n, p in zip(_mesh(settings, crystal), crystal.primitive.pbc, strict=True) if p])
    return crystal.periodic(max(1, round(float(dense) / repeats)))


def check(settings: AbsorptionSettings, crystal: Material, given: tuple[Snapshots, ...]) -> None:
    """Refuse what cannot be before any work is done.

    Raises:
        InputError: a crystal without a gap, one that is not periodic in three directions, or what does not fit in memory.
    """
    if not settings.excitons:
        return
    if (settings.gap_kind or crystal.gap_kind) == "none":
        raise InputError(f"excitons of {settings.crystal}, a metal: its electrons screen wholly; leave --excitons out")
    if not all(crystal.primitive.pbc):
        raise InputError(
            f"excitons of {settings.crystal}, which is not periodic in three directions: the command screens as bulk crystals "
            "do; take optics.excitons with optics.Keldysh in Python"
        )
    _refuse_uneven(settings, crystal, len(given[0]) if given else settings.snapshots)
    structure = given[0].structure if given else crystal.structure.supercell(crystal.periodic(settings.supercell))
    for cell, mesh, precision in (
        (crystal.primitive, _mesh(settings, crystal), settings.precision),
        (structure, snapshot_mesh(settings, crystal, len(structure)), "float32"),
    ):
        setup = Setup.of(crystal.hamiltonian, cell, mesh, None, None, None, (0.0, 0.0, 0.0), precision, halved=True)
        check_memory(setup.memory(), settings.memory_gb, setup.mesh, setup.bands)


def _refuse_uneven(settings: AbsorptionSettings, crystal: Material, snapshots: int) -> None:
    """Single directions that go round are alike in cubic crystals alone, unless they count alike."""
    if settings.exciton_directions == "all" or snapshots % 3 == 0:
        return
    turned = operations(crystal.primitive).cartesian[:, :, 0]
    if np.abs(turned.T @ turned / len(turned) - np.eye(3) / 3).max() > 1e-6:
        raise InputError(
            f"exciton_directions one with {snapshots} snapshots of {settings.crystal}, which is not cubic: x, y and z would "
            "not count alike; give a multiple of three snapshots, or exciton_directions all"
        )


def at_rest(settings: AbsorptionSettings, crystal: Material, weakened: Screening | ModelDielectric) -> Transitions:
    """Of the primitive cell, lattice at rest."""
    found = optics.excitons(
        crystal.hamiltonian,
        crystal.primitive,
        _mesh(settings, crystal),
        weakened,
        steps=settings.exciton_steps,
        precision=settings.precision,
        memory_gb=settings.memory_gb,
        tamm_dancoff=settings.tamm_dancoff,
    )
    _warn_of_few_steps(settings, found, "the lattice at rest")
    return found.transitions()


def of_snapshot(
    settings: AbsorptionSettings, crystal: Material, one: Snapshots, index: int, weakened: Screening | ModelDielectric
) -> Transitions:
    """Of one snapshot, on a mesh that is shifted in its own way unless one was asked for.

    Where H is real the shifts are half divisions, which spare half of the points by time reversal; all eight together are a
    mesh twice as fine. Otherwise they are quasirandom. Single directions of the field go round by snapshot.
    """
    mesh = snapshot_mesh(settings, crystal, len(one.structure))
    periodic = crystal.structure.pbc
    if settings.kmesh is not None:
        shift = np.zeros(3)
    elif crystal.hamiltonian.real:
        shift = HALVES[index % len(HALVES)] * np.array(periodic)
    else:
        shift = kpoints.quasirandom(1, index, periodic).points[0]
    found = optics.excitons(
        crystal.hamiltonian,
        one,
        mesh,
        weakened,
        steps=settings.exciton_steps,
        polarisations=None if settings.exciton_directions == "all" else np.eye(3)[[index % 3]],
        shift=tuple(shift),
        precision="float32",
        memory_gb=settings.memory_gb,
        tamm_dancoff=settings.tamm_dancoff,
    )
    _warn_of_few_steps(settings, found, "snapshots")
    # Meshes that are shifted differently hold different numbers of points: their levels cannot be joined.
    bare = found.transitions()
    return dataclasses.replace(bare, eigenvalues=bare.eigenvalues[:, :0], weights=bare.weights[:0])


def _warn_of_few_steps(settings: AbsorptionSettings, found: Excitons, what: str) -> None:
    """Say where the recursion is too short for the lines that are asked for: its spectrum then has ripples."""
    changed = found.convergence(np.linspace(*settings.energies), line_shape(settings))
    if changed > UNRESOLVED:
        steps, width = settings.exciton_steps, 1e3 * settings.width
        warnings.warn(
            f"with attraction, {what}: {steps} steps of the recursion do not resolve lines of {width:g} meV (the last fifth of "
            f"them changed eps2 by more than {100 * UNRESOLVED:g}% of its largest value); raise --exciton-steps, or --width",
            stacklevel=2,
        )


def _mesh(settings: AbsorptionSettings, crystal: Material) -> tuple[int, ...]:
    return crystal.periodic(settings.exciton_mesh)
