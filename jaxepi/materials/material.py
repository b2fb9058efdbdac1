"""What a study starts from: a crystal at rest and the models there are for it."""

from typing import Any

import numpy as np

from jaxepi import html, sampling, tree
from jaxepi.errors import InputError, whole_number
from jaxepi.hamiltonians import Hamiltonian
from jaxepi.materials import models
from jaxepi.optics.bethe_salpeter import ModelDielectric, Screening
from jaxepi.potentials import Potential
from jaxepi.sampling import ForceConstants, Polar
from jaxepi.structure import Structure
from jaxepi.tree import pytree, static


@pytree
class Material:
    """A crystal at rest and the models that describe it, shipped (`materials.load`) or of a user's own files.

    Attributes:
        primitive: the primitive cell. structure: the cell that supercells repeat.
        electrons, ions: its models, or None; `hamiltonian` and `potential` give them or refuse.
        name: of the material, or path of its file.
        hamiltonian_name, potential_name, constants_name: of the models, "none" where there are none.
        gap_kind: "direct", "indirect" or "none" (a metal); empty where nobody has said.
        tauc_window: of the absorption edge, eV.
        cell_temperature: of which the cell is, K; None where it is at rest, or nobody has said.
        card: pairs (key, text) that say what the models are fitted to and where they hold.
        constants: force constants of another code, which then hold the atoms in place of a potential, or None.
        polar: charges of the primitive cell's atoms, where the crystal is polar and they are known.
        screening: what weakens the attraction of electrons and holes, where it is known.
    """

    primitive: Structure
    structure: Structure
    electrons: Hamiltonian | None
    ions: Potential | None
    name: str = static()
    hamiltonian_name: str = static(default="none")
    potential_name: str = static(default="none")
    constants_name: str = static(default="none")
    gap_kind: str = static(default="")
    tauc_window: tuple[float, float] | None = static(default=None)
    cell_temperature: float | None = static(default=None)
    card: tuple[tuple[str, str], ...] = static(default=())
    constants: ForceConstants | None = None
    polar: Polar | None = None
    screening: ModelDielectric | Screening | None = None

    def _repr_html_(self) -> str | None:
        cell = self.primitive._repr_html_()
        known = {"hamiltonian": self.hamiltonian_name, "potential": self.potential_name, "phonons": self.constants_name}
        names = [(what, name) for what, name in known.items() if name != "none" and what not in dict(self.card)]
        return cell and html.table(self.name, [*self.card, *names]) + cell

    @property
    def hamiltonian(self) -> Hamiltonian:
        """The Hamiltonian.

        Raises:
            InputError: there is none.
        """
        if self.electrons is None:
            raise InputError(f"{self.name} has no Hamiltonian; {models.remedy('hamiltonian', self.primitive)}")
        return self.electrons

    @property
    def potential(self) -> Potential:
        """The potential.

        Raises:
            InputError: there is none.
        """
        if self.ions is None:
            raise InputError(
                f"{self.name} has no potential; {models.remedy('potential', self.primitive)}; phonons and "
                "harmonic snapshots may have force constants instead (--phonons FILE, --calculator NAME)"
            )
        return self.ions

    def refuse_foreign(self) -> None:
        """Refuse models that lack elements of the crystal.

        Raises:
            InputError: names the elements, and models that have them.
        """
        if self.electrons is not None:
            models.refuse_foreign("hamiltonian", self.hamiltonian_name, self.electrons.module, self.primitive)
        if self.ions is not None:
            models.refuse_foreign("potential", self.potential_name, self.ions.module, self.primitive)

    def refuse_unbound(self) -> None:
        """Refuse a crystal whose vibrations nothing describes, before any work.

        Raises:
            InputError: neither force constants nor a potential.
        """
        if self.constants is None:
            self.potential  # noqa: B018  (refuses)

    def force_constants(self, supercell: Structure) -> ForceConstants:
        """Force constants of a supercell of the crystal: those that were given, laid out in it, or of the potential (of
        a large one, computed in a part of it: `sampling.large_force_constants`).

        Raises:
            InputError: neither, a supercell that is not at rest, or force constants of another crystal.
        """
        if self.constants is not None:
            return sampling.resampled(self.constants, supercell, name=self.constants_name)
        return sampling.large_force_constants(self.potential, supercell)

    def models(self) -> dict[str, Any]:
        """The models there are, by name, in the form `results.provenance` takes."""
        found: dict[str, Any] = {
            f"hamiltonian {self.hamiltonian_name}": self.electrons,
            f"potential {self.potential_name}": self.ions,
        }
        found |= {f"phonons {self.constants_name}": self.constants}
        return {name: model for name, model in found.items() if model is not None}

    def vibrating(self) -> dict[str, Any]:
        """What describes its vibrations alone, as `models`."""
        if self.constants is not None:
            return {f"phonons {self.constants_name}": self.constants}
        return {"potential": self.potential}

    @property
    def vibrating_name(self) -> str:
        """Of what describes its vibrations: the force constants, else the potential."""
        return self.constants_name if self.constants is not None else self.potential_name

    def periodic(self, counts: Any) -> tuple[int, ...]:
        """Divisions or repeats of three directions; an integer means one along directions that are not periodic."""
        given = [counts if p else 1 for p in self.structure.pbc] if np.ndim(counts) == 0 else counts
        return tuple(whole_number(n, f"repeats or divisions {counts}") for n in given)

    def astype(self, dtype: Any) -> "Material":
        """Everything in another precision."""
        return tree.astype(self, dtype)
