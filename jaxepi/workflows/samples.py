"""Snapshots of a crystal at its temperatures, drawn as settings say, and files of them."""

import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi import potentials, results, sampling, symmetry
from jaxepi.files import FRAMES, RESULTS, Output, claim, mark, whole
from jaxepi.guards import constant, refuse_beyond_memory
from jaxepi.materials import Material
from jaxepi.potentials.domain import warn_of_snapshots
from jaxepi.sampling import ForceConstants, Snapshots, named_calculators
from jaxepi.sampling.harmonic import refuse_imaginary
from jaxepi.sampling.keys import RandomKey
from jaxepi.structure import Structure
from jaxepi.workflows import crystal as crystals
from jaxepi.workflows import expansion
from jaxepi.workflows.settings import SamplingSettings

POLAR = (
    "polar crystal: a periodic supercell has no macroscopic field, so that at its Gamma longitudinal optical modes are as low "
    "as transverse ones; electrons feel the displacements, not the long-range field of longitudinal modes (no Froehlich "
    "coupling)"
)
"""What snapshots of a crystal lack whose symmetry allows effective charges."""


def remarks(snapshots: Snapshots) -> tuple[str, ...]:
    """What snapshots do not have in them, in words."""
    base = snapshots.structure.base
    return (POLAR,) if len(base) <= crystals.REDUCED and symmetry.allows_charges(base) else ()


def draw(
    settings: SamplingSettings, crystal: Material, supercell: Structure, progress: bool = False
) -> tuple[Snapshots, ...]:
    """Snapshots at every temperature, one `Snapshots` each: those of `draw_with_slopes`."""
    return draw_with_slopes(settings, crystal, supercell, progress, slopes=False)[0]


def draw_with_slopes(
    settings: SamplingSettings, crystal: Material, supercell: Structure, progress: bool = False, slopes: bool = True
) -> tuple[tuple[Snapshots, ...], Float[np.ndarray, "t s n 3"] | None]:
    """Snapshots at every temperature, one `Snapshots` each; force constants are computed once (of each lattice constant, where
    the crystal expands). And derivatives of all positions by temperature, angstrom/K, of harmonic snapshots.

    Args:
        supercell: of `crystal.structure`, at rest.

    Raises:
        InputError: the crystal has no potential or is not at rest or not stable in it; molecular dynamics at 0 K, or one
            that explodes or leaves the skin; more snapshots than memory holds.
    """
    count = len(settings.temperatures) * settings.snapshots
    what = f"{count} snapshots of {len(supercell)} atoms"
    refuse_beyond_memory(3.0 * count * len(supercell), what, "ask for fewer, or for a smaller supercell")
    key = jax.random.key(settings.seed)
    if settings.moves:
        beads = settings.beads if settings.sampling == "path-integral" else 1
        trajectory = sampling.trajectories(
            crystal.potential,
            supercell,
            temperatures=settings.temperatures,
            count=settings.snapshots,
            key=key,
            timestep=settings.timestep,
            equilibration=settings.equilibration,
            interval=settings.interval,
            beads=beads,
            progress=progress,
        )
        return tuple(one.take(range(0, len(one), beads)) for one in trajectory.snapshots()), None
    if settings.self_consistent:
        drawn = _self_consistent(settings, crystal, supercell)
        _warn_of_novelty(drawn, crystal)
        return drawn, None
    constants = crystals.force_constants(settings, crystal, supercell, progress)
    named = settings.calculator or crystal.constants_name
    if settings.imaginary == "error" and named != "none":
        refuse_imaginary(constants, named)
    held = [constants] * len(settings.temperatures)
    if settings.expansion is not None:
        factors = expansion.factor_of(settings.expansion, settings.temperatures, crystal.primitive)
        held = [crystal.force_constants(potentials.stretched(supercell, float(factor))) for factor in factors]
    each = zip(held, settings.temperatures, strict=True)
    drawn = tuple(_harmonic(settings, of_lattice, temperature, key) for of_lattice, temperature in each)
    _warn_of_novelty(drawn, crystal)
    return drawn, _slopes(settings, constants, key) if slopes else None


def _slopes(settings: SamplingSettings, constants: ForceConstants, key: RandomKey) -> Float[np.ndarray, "t s n 3"]:
    """Derivatives of the positions of harmonic snapshots by temperature, through the sampler; one program for all."""

    @jax.jit
    def slope(temperature: Array) -> Array:
        one = jnp.ones_like(temperature)
        return jax.jvp(lambda t: _harmonic(settings, constants, t, key).positions, (temperature,), (one,))[1]

    dtype = constants.matrix.dtype
    return np.stack([np.asarray(slope(constant(t, dtype))) for t in settings.temperatures])


def _warn_of_novelty(drawn: tuple[Snapshots, ...], crystal: Material) -> None:
    """Warn of snapshots outside the training data of the potential."""
    for snapshots in drawn if crystal.ions is not None else ():
        warn_of_snapshots(crystal.potential, snapshots.structure, snapshots.positions, float(snapshots.temperature))


def _self_consistent(settings: SamplingSettings, crystal: Material, supercell: Structure) -> tuple[Snapshots, ...]:
    """Snapshots from the self-consistent force constants of each temperature, which start from those of the one before."""
    key, start, drawn = jax.random.key(settings.seed), None, []
    for temperature in settings.temperatures:
        start = sampling.self_consistent(
            crystal.potential, supercell, temperature=temperature, key=key, start=start
        ).constants
        drawn.append(_harmonic(settings, start, temperature, key))
    return tuple(drawn)


def _harmonic(settings: SamplingSettings, constants: ForceConstants, temperature: Any, key: RandomKey) -> Snapshots:
    """Snapshots of one temperature; all temperatures have the same noise but for the signs of special displacements."""
    given: dict[str, Any] = {"temperature": temperature, "count": settings.snapshots, "key": key}
    given |= {"statistics": settings.statistics, "imaginary": settings.imaginary}
    if settings.sampling == "special":
        return sampling.special(constants, **given)
    if settings.sampling == "sobol":
        given |= {"points": "sobol", "scrambles": settings.scrambles}
    return sampling.harmonic(constants, antithetic=settings.sampling != "random", **given)


def sample(
    settings: SamplingSettings,
    output: str | os.PathLike,
    progress: bool = True,
    resume: bool = True,
    command: str = "",
) -> tuple[Snapshots, ...]:
    """Draw snapshots and write them: extended XYZ (.xyz, .extxyz), or the HDF5 store (.h5, .hdf5), which is read where it is.

    Args:
        resume: False replaces whatever `output` holds.

    Raises:
        InputError: another suffix, a file that something else made, or what `draw` refuses. OSError: the file cannot be
            written.
    """
    target, made_by = Path(output), mark("sample", settings.asdict())
    stored = target.suffix in RESULTS
    inputs = [settings.crystal, settings.potential or "", settings.phonons or "", settings.born or ""]
    claim([Output("--output", target, (*FRAMES, *RESULTS), own=stored)], made_by, not resume, inputs)
    if stored and resume and target.exists():
        results.read_provenance(target)  # refuses what is no result before the models are loaded
    found = crystals.bound(crystals.load(settings.crystal, potential=settings.potential), settings)
    if settings.calculator is None:
        found.refuse_unbound()
    crystal = crystals.prepared(found, settings.cell, settings.precision)
    supercell = crystal.structure.supercell(crystal.periodic(settings.supercell))
    bound = crystal.vibrating() if settings.calculator is None else {}
    more = expansion.hashes(settings.expansion) | named_calculators.hashes(settings.calculator)
    origin = results.provenance(settings.asdict(), bound, command, **more)
    if stored and resume and target.exists():
        results.refuse_other_settings(target, results.read_provenance(target), origin)
        return results.read(target).contents["snapshots"]
    drawn = draw(settings, crystal, supercell, progress)
    if stored:
        results.write(target, {"snapshots": drawn}, origin)
    else:
        _write_xyz(drawn, target, made_by)
    return drawn


def _write_xyz(drawn: tuple[Snapshots, ...], target: Path, made_by: str) -> None:
    """All frames in one file, whole or not at all; each frame says its temperature (K), statistics and group."""
    import ase.io

    frames = []
    for snapshots in drawn:
        for atoms in snapshots.to_ase():
            atoms.info["made_by"] = made_by
            frames.append(atoms)
    with whole(target) as temporary:
        ase.io.write(temporary, frames, format="extxyz")
