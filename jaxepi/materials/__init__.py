"""Materials: a structure, a potential and a Hamiltonian that belong together, each with a card."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from jaxepi import hamiltonians, potentials
from jaxepi.errors import InputError
from jaxepi.guards import warn_of_single_precision
from jaxepi.materials import bilayers, measured, models
from jaxepi.materials.material import Material
from jaxepi.optics.bethe_salpeter import ModelDielectric
from jaxepi.optics.bethe_salpeter import setup as excitons
from jaxepi.sampling import Polar
from jaxepi.sampling.polar import checked
from jaxepi.structure import Structure

if TYPE_CHECKING:
    import ase

__all__ = ["Material", "available", "bilayers", "known", "load", "measured", "models"]


def available() -> list[str]:
    """Names of the shipped materials."""
    return sorted(models.catalogue())


def known(name: str) -> bool:
    """Whether `load` has a material of that name: a shipped one, or a bilayer of graphene (`bilayers.named`).

    Raises:
        InputError: a bilayer that there is none of.
    """
    return name in models.catalogue() or bilayers.named(name) is not None


def load(name: str, hamiltonian: str | None = None, potential: str | None = None, spin_orbit: bool = False) -> Material:
    """A shipped material by name, with other models where they are given by name or path; or a bilayer of graphene, whose
    names `bilayers.named` reads.

    Raises:
        InputError: an unknown material, or models that cannot be read or have other elements.
    """
    catalogue, layered = models.catalogue(), bilayers.named(name)
    if name not in catalogue and layered is None:
        raise InputError(
            f"no material {name!r}; shipped are {', '.join(sorted(catalogue))}, bilayers such as bilayer-graphene-AB and "
            "twisted-bilayer-graphene-m30-r1, or give a structure file"
        )
    warn_of_single_precision(name)
    entry = catalogue[name] if layered is None else {**catalogue["graphene"], **bilayers.CARD}
    electrons = hamiltonian or entry["hamiltonian"]
    ions = potential or entry["potential"]
    card = {
        "description": entry["description"],
        "hamiltonian": f"{electrons}: {hamiltonians.citation(electrons)}",
        "potential": f"{ions}: {potentials.citation(ions)}" if ions else "none",
        "domain": entry["domain"],
        "notes": entry.get("notes", ""),
    }
    if "polar" in entry:
        card["charges"] = _charges_in_words(entry["polar"])
    if "screening" in entry:
        card["screening of excitons"] = (
            f"dielectric constant {entry['screening']['eps0']:g}: {entry['screening']['citation']}"
        )
    window = entry.get("tauc_window")
    primitive = Structure.from_ase(_crystal(entry["crystal"], cubic=False)) if layered is None else layered
    found = Material(
        primitive=primitive,
        structure=Structure.from_ase(_crystal(entry["crystal"], cubic=True)) if layered is None else layered,
        electrons=hamiltonians.load(electrons, spin_orbit),
        ions=potentials.load(ions) if ions else None,
        name=name,
        hamiltonian_name=electrons,
        potential_name=ions or "none",
        gap_kind=entry["gap_kind"],
        tauc_window=(float(window[0]), float(window[1])) if window else None,
        cell_temperature=entry.get("temperature"),
        card=tuple(card.items()),
        polar=_polar(entry["polar"], primitive, name) if "polar" in entry else None,
    )
    found.refuse_foreign()
    return dataclasses.replace(found, screening=_screening(entry, found))


def _charges_in_words(entry: dict) -> str:
    charges = ", ".join(f"{symbol} {charge:+g}" for symbol, charge in entry["charges"].items())
    return f"{charges} elementary charges, dielectric constant {entry['dielectric']:g}: {entry['citation']}"


def _polar(entry: dict, primitive: Structure, name: str) -> Polar:
    """Isotropic charges and dielectric tensor of a card."""
    charges = np.array([entry["charges"][symbol] for symbol in primitive.to_ase().get_chemical_symbols()])
    unit = np.eye(3)
    return checked(charges[:, None, None] * unit, entry["dielectric"] * unit, primitive, name)[0]


def _screening(entry: dict, material: Material) -> ModelDielectric | None:
    """A model dielectric function of the valence electrons with a card's dielectric constant."""
    if "screening" not in entry:
        return None
    return excitons.model_dielectric_of(material.hamiltonian, material.primitive, entry["screening"]["eps0"])


def _crystal(entry: dict, cubic: bool) -> "ase.Atoms":
    from ase.build import bulk, graphene

    if entry["structure"] == "graphene":
        atoms = graphene(entry["name"], a=entry["a"], vacuum=entry["vacuum"])
        atoms.pbc = (True, True, False)
        return atoms
    return bulk(entry["name"], entry["structure"], a=entry["a"], cubic=cubic)
