"""Crystals by name or from files: what every study starts from."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxepi import hamiltonians, materials, potentials, symmetry
from jaxepi.datasets.structure_files import read_structure
from jaxepi.errors import InputError
from jaxepi.hamiltonians import Hamiltonian
from jaxepi.potentials import Potential
from jaxepi.structure import Structure
from jaxepi.workflows.settings import AbsorptionSettings, GapSettings

REDUCED = 1000
"""Atoms of the largest cell that is searched for a smaller one: the time grows with their square."""


@dataclasses.dataclass(frozen=True)
class Crystal:
    """A crystal at rest and the models there are for it.

    Attributes:
        primitive: the primitive cell. structure: the cell that supercells repeat.
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
    if not Path(crystal).is_file():
        known = ", ".join(materials.available())
        raise InputError(f"no material and no file {crystal!r}: give one of {known}, or the path of a structure file")
    structure = read_structure(crystal)
    electrons = hamiltonians.load(hamiltonian, spin_orbit) if hamiltonian else None
    return Crystal(
        crystal,
        _primitive(crystal, structure, electrons),
        structure,
        electrons,
        potentials.load(potential) if potential else None,
        {"hamiltonian": hamiltonian or "none", "potential": potential or "none"},
    )


def _primitive(path: str, structure: Structure, electrons: Hamiltonian | None) -> Structure:
    """The primitive cell of a file's structure, with a warning where it is another; cells past `REDUCED` as they are."""
    if len(structure) > REDUCED:
        return structure
    try:
        small = symmetry.primitive(structure)
        if electrons is not None and small is not structure:
            electrons.graph(small)
    except InputError:
        return structure  # H(R) of a file may be of just this cell; what a model refuses in both, it will say
    if small is not structure:
        warnings.warn(
            f"{path}: its {len(structure)} atoms are {len(structure) // len(small)} primitive cells; bands, gaps and phonons "
            f"are those of the primitive cell ({len(small)} atoms, in the same orientation)",
            stacklevel=3,
        )
    return small
