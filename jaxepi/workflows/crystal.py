"""Crystals by name or from files: what every study starts from."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxepi import hamiltonians, materials, potentials
from jaxepi.errors import InputError
from jaxepi.hamiltonians import Hamiltonian
from jaxepi.potentials import Potential
from jaxepi.structure import Structure
from jaxepi.workflows.settings import AbsorptionSettings, GapSettings


@dataclasses.dataclass(frozen=True)
class Crystal:
    """A crystal at rest and the models there are for it.

    Attributes:
        primitive: the primitive cell (a file's cell as it is). structure: the cell that supercells repeat.
        electrons, ions: models, or None. models: their names.
        gap_kind, tauc_window: what is known of the absorption edge, or None.
    """

    name: str
    primitive: Structure
    structure: Structure
    electrons: Hamiltonian | None
    ions: Potential | None
    models: dict[str, str]
    gap_kind: str | None = None
    tauc_window: tuple[float, float] | None = None

    @property
    def hamiltonian(self) -> Hamiltonian:
        """The Hamiltonian.

        Raises:
            InputError: there is none.
        """
        if self.electrons is None:
            known = ", ".join(hamiltonians.available())
            raise InputError(f"{self.name} has no Hamiltonian: pass --hamiltonian with a path or one of {known}")
        return self.electrons

    @property
    def potential(self) -> Potential:
        """The potential.

        Raises:
            InputError: there is none.
        """
        if self.ions is None:
            known = ", ".join(potentials.available())
            raise InputError(f"{self.name} has no potential: pass --potential with a path or one of {known}")
        return self.ions

    def fingerprint(self) -> dict[str, Any]:
        """The models there are, by name, in the form `results.provenance` takes."""
        models = {"hamiltonian": self.electrons, "potential": self.ions}
        return {f"{kind} {self.models[kind]}": model for kind, model in models.items() if model is not None}

    def periodic(self, counts: "int | tuple[int, ...]") -> tuple[int, ...]:
        """Divisions or repeats of three directions; an integer means one along directions that are not periodic."""
        return tuple(counts if p else 1 for p in self.structure.pbc) if isinstance(counts, int) else tuple(counts)

    def astype(self, dtype: Any) -> "Crystal":
        """Everything in another precision."""

        def cast(x):
            return x.astype(dtype) if jnp.issubdtype(jnp.result_type(x), jnp.inexact) else x

        parts = {n: jax.tree.map(cast, getattr(self, n)) for n in ("primitive", "structure", "electrons", "ions")}
        return dataclasses.replace(self, **parts)


def for_settings(settings: AbsorptionSettings | GapSettings) -> Crystal:
    """The crystal and models that settings name, in their precision.

    Raises:
        InputError: as `load`; also double precision while JAX is set to single.
    """
    loaded = load(settings.crystal, settings.hamiltonian, settings.potential, settings.spin_orbit)
    return prepared(loaded, settings.cell, settings.precision)


def prepared(crystal: Crystal, cell: str, precision: str) -> Crystal:
    """A crystal whose `structure` is the "conventional" or "primitive" cell, in "float64" or "float32".

    Raises:
        InputError: double precision while JAX is set to single.
    """
    if precision == "float64" and not jax.config.read("jax_enable_x64"):
        raise InputError(
            "precision float64: JAX is set to single precision; call jax.config.update('jax_enable_x64', True) first, or "
            "ask for precision float32"
        )
    if cell == "primitive":
        crystal = dataclasses.replace(crystal, structure=crystal.primitive)
    return crystal.astype(precision)


def load(
    crystal: str, hamiltonian: str | None = None, potential: str | None = None, spin_orbit: bool = False
) -> Crystal:
    """A shipped material by name, or a structure file that ASE can read, with models by name or path.

    Raises:
        InputError: an unknown name, or a file or model that cannot be read or used.
    """
    if crystal in materials.available():
        m = materials.load(crystal, hamiltonian, potential, spin_orbit)
        models = {key: text.split(": ")[0] for key, text in m.card if key in ("hamiltonian", "potential")}
        return Crystal(crystal, m.primitive, m.structure, m.hamiltonian, m.potential, models, m.gap_kind, m.tauc_window)
    structure = read_structure(crystal)
    return Crystal(
        crystal,
        structure,
        structure,
        hamiltonians.load(hamiltonian, spin_orbit) if hamiltonian else None,
        potentials.load(potential) if potential else None,
        {"hamiltonian": hamiltonian or "none", "potential": potential or "none"},
    )


def read_structure(path: str) -> Structure:
    """A structure from any file that ASE reads.

    Raises:
        InputError: neither a material nor a file, a file that cannot be read, or a structure that makes no sense.
    """
    if not Path(path).is_file():
        known = ", ".join(materials.available())
        raise InputError(f"no material and no file {path!r}: give one of {known}, or the path of a structure file")
    import ase.io

    try:
        atoms = ase.io.read(path)
    except Exception as error:  # ASE's readers raise whatever their parsers meet
        reason = str(error) or type(error).__name__
        raise InputError(f"{path} cannot be read as a structure ({reason}); give a file that ASE reads") from error
    assert not isinstance(atoms, list)
    try:
        return Structure.from_ase(atoms)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
