"""Phonon energies in the absorption study: parts of eps2 by quantum, put back into spectra of snapshots.

Flows in: settings, a crystal, spectra of snapshots and of the lattice at rest. Flows out: spectra with phonon energies.
"""

from collections.abc import Sequence

import numpy as np

from jaxepi import epi, optics
from jaxepi.electrons import BandEdges
from jaxepi.epi import Assisted
from jaxepi.errors import InputError
from jaxepi.guards import constant
from jaxepi.materials import Material
from jaxepi.optics import Spectrum
from jaxepi.optics.broadening import Broadening
from jaxepi.workflows import crystal as crystals
from jaxepi.workflows.settings import AbsorptionSettings
from jaxepi.workflows.solving import LARGEST_EDGES

CONSTANTS = 4
"""Repeats of the primitive cell for force constants of a potential or calculator."""

PAIRS = 60
"""Pairs of wave vectors of every stratum: see `epi.assisted_absorption`."""


def check(settings: AbsorptionSettings, crystal: Material, size: int) -> None:
    """Refuse what cannot be before any work is done.

    Args:
        size: orbitals of a snapshot.

    Raises:
        InputError: no quanta (frames of a trajectory, classical nuclei), no indirect gap, a basis with overlap, or snapshots
            too large for band edges.
    """
    if not settings.phonon_energies:
        return
    if settings.trajectory is not None:
        raise InputError(
            f"phonon energies with trajectory {settings.trajectory}: frames carry no quanta; leave one of the two out"
        )
    if settings.statistics == "classical":
        raise InputError(
            "phonon energies of classical nuclei: quanta need statistics quantum; leave one of the two out"
        )
    kind = settings.gap_kind or crystal.gap_kind
    if kind in ("none", "direct"):
        what = "a metal" if kind == "none" else "whose gap is direct"
        raise InputError(
            f"phonon energies of {settings.crystal}, {what}: they belong to the tail of an indirect gap; leave "
            "--phonon-energies out"
        )
    if not crystal.hamiltonian.orthogonal:
        raise InputError(
            f"phonon energies with {crystal.hamiltonian.module.called}: its orbitals overlap, and these parts are for "
            "orthogonal ones; take optics.mode_spectra in Python"
        )
    if size > LARGEST_EDGES:
        raise InputError(
            f"phonon energies of snapshots of {size} orbitals: they follow each snapshot's gap, which is looked for up to "
            f"{LARGEST_EDGES} orbitals; use a smaller supercell, or leave --phonon-energies out"
        )


def parts(settings: AbsorptionSettings, crystal: Material, line: Broadening, progress: bool) -> Assisted:
    """Of the primitive cell, at the study's photon energies and as broad."""
    given = () if crystal.constants is None else crystal.constants.supercell.repeats
    supercell = crystal.primitive.supercell(crystal.periodic(max(CONSTANTS, *given, 1)))
    constants = crystals.force_constants(settings, crystal, supercell, progress)
    known = epi.topology(crystal.hamiltonian, constants)
    energies = np.linspace(*settings.energies)
    return epi.assisted_absorption(crystal.hamiltonian, constants, energies, line, known, pairs=PAIRS)


def put_back(
    found: Assisted,
    edges: BandEdges,
    gaps: Sequence[float],
    temperatures: Sequence[float],
    scissor: float,
    spectra: Sequence[Spectrum],
    rest: Spectrum | None,
) -> tuple[Spectrum, ...]:
    """Spectra of snapshots with phonon energies.

    Args:
        edges: at rest. gaps: mean of each temperature, scissor not included, eV. rest: spectrum of the lattice at rest, scissor
            included; None where there are no spectra.
    """
    if rest is None:
        return ()
    energies, still = np.asarray(rest.energies, float), np.asarray(rest.mean()[1], float)
    out = []
    for gap, temperature, spectrum in zip(gaps, temperatures, spectra, strict=True):
        change = gap - float(edges.gap)
        modes = found.at(temperature).aligned(change + scissor)
        direct = constant(np.interp(energies - change, energies, still), spectrum.eps2.dtype)
        out.append(optics.with_quanta(spectrum, modes, direct))
    return tuple(out)
