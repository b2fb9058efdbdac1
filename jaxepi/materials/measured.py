"""Measured absorption and gaps of the shipped materials: small tables of published facts, each with its citation."""

import json
from importlib import resources
from typing import NamedTuple

import numpy as np


class MeasuredAbsorption(NamedTuple):
    """Absorption coefficient (1/cm) at photon energies (eV), at one temperature (K)."""

    energies: np.ndarray
    absorption: np.ndarray
    temperature: float
    citation: str


class MeasuredGap(NamedTuple):
    """Gap (eV) at temperatures (K)."""

    temperatures: np.ndarray
    gaps: np.ndarray
    citation: str

    def at(self, temperature: float) -> float:
        """Linear interpolation; NaN outside the measured range."""
        return float(np.interp(temperature, self.temperatures, self.gaps, left=np.nan, right=np.nan))


def absorption(material: str) -> list[MeasuredAbsorption]:
    """Measured absorption of a material, one entry a source; empty where none is shipped."""
    return [
        MeasuredAbsorption(np.array(t["energy_ev"]), np.array(t["absorption_per_cm"]), t["temperature"], t["citation"])
        for t in _tables().get(material, {}).get("absorption", [])
    ]


def gap(material: str) -> MeasuredGap | None:
    """Measured gap of a material against temperature, or None."""
    table = _tables().get(material, {}).get("gap")
    if table is None:
        return None
    return MeasuredGap(np.array(table["temperature_k"]), np.array(table["gap_ev"]), table["citation"])


def phonons(material: str) -> str:
    """Measured phonons of a material at Gamma, in words, with their citation; empty where none are shipped."""
    return _tables().get(material, {}).get("phonons", "")


def _tables() -> dict:
    return json.loads((resources.files("jaxepi.materials") / "measured.json").read_text())
