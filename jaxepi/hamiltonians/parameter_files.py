"""Parameter files of Slater-Koster sets: JSON in the format of `parameters/README.md`, shipped or a user's own."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import atomic_numbers

from jaxepi.errors import InputError
from jaxepi.hamiltonians import onsite
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.basis import Basis
from jaxepi.hamiltonians.laws import LAWS
from jaxepi.hamiltonians.slater_koster import SlaterKoster

FORMAT, VERSION = "jaxepi-slater-koster", 1

ENDING = ".json"
SHIPPED = Path(__file__).parent / "parameters"


def sets() -> list[str]:
    """Names of the shipped parameter sets."""
    return sorted(file.stem for file in SHIPPED.glob(f"*{ENDING}"))


def read(name_or_path: str | Path) -> dict:
    """The contents of a parameter file, by shipped name or path.

    Raises:
        InputError: an unknown name, an unreadable file, or a file of another format or version.
    """
    text = str(name_or_path)
    source = Path(text) if text.endswith(ENDING) else SHIPPED / f"{text}{ENDING}"
    if not source.is_file():
        raise InputError(f"no Slater-Koster set {text!r}; shipped are {', '.join(sets())}, or give a {ENDING} file")
    try:
        data = json.loads(source.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{text} is not a readable parameter file: {error}") from error
    if data.get("format") != FORMAT:
        raise InputError(f"{text} has format {data.get('format')!r}; expected {FORMAT!r}")
    if data.get("version") != VERSION:
        raise InputError(f"{text} has version {data.get('version')!r}; this jaxepi reads version {VERSION}")
    return data


def load(name_or_path: str | Path, spin_orbit: bool = False) -> Hamiltonian:
    """The Hamiltonian of a parameter set.

    Args:
        spin_orbit: use the spinor basis with the set's spin-orbit couplings.

    Raises:
        InputError: see `read`; also a set without spin-orbit couplings when they are asked for.
    """
    module, params = build(read(name_or_path), spin_orbit)
    return Hamiltonian(params, module)


def build(data: dict, spin_orbit: bool = False) -> tuple[SlaterKoster, dict[str, Any]]:
    """Module and parameters of the contents of a parameter file.

    Raises:
        InputError: a set without spin-orbit couplings when they are asked for, or an unknown on-site model.
    """
    symbols = list(data["species"])
    numbers = [atomic_numbers[s] for s in symbols]
    shells = tuple((z, tuple(data["species"][s]["shells"])) for z, s in zip(numbers, symbols, strict=True))
    electrons = tuple((z, float(data["species"][s]["electrons"])) for z, s in zip(numbers, symbols, strict=True))
    basis = Basis(shells, electrons)
    hopping = _tables(data, symbols, "hopping")
    params: dict[str, Any] = {"hopping": hopping, "onsite": _onsite_energies(data, symbols, basis)}
    if any("overlap" in pair for pair in data["pairs"]):
        params["overlap"] = _tables(data, symbols, "overlap")
    params |= _onsite_parameters(data, symbols, basis)
    couplings = [float(data["species"][s].get("spin_orbit", {}).get("p", 0.0)) for s in symbols]
    module = SlaterKoster(
        basis=basis,
        integrals=tuple(sorted(hopping)),
        law=data["law"],
        onsite=data["onsite_model"],
        overlap="overlap" in params,
        cutoff=float(data["cutoff"]),
        skin=float(data["skin"]),
        couplings=tuple(couplings) if any(couplings) else (),
        name=data["name"],
        citation=data["citation"],
    )
    params = jax.tree.map(jnp.asarray, params)
    return module.with_spin_orbit(params) if spin_orbit else (module, params)


def _tables(data: dict, symbols: list[str], kind: str) -> dict[str, dict[str, np.ndarray]]:
    """Law parameters by integral, as (species, species) arrays; the reversed pair is filled in."""
    count, tables = len(symbols), {}
    neutral = LAWS[data["law"]].neutral
    for pair in data["pairs"]:
        i, j = (symbols.index(s) for s in pair["species"])
        shared = pair.get("shared", {})
        for name, values in pair[kind].items():
            shells, bond = name.split(":")
            a, b = shells.split("-")
            for integral, p, q in ((f"{a}-{b}:{bond}", i, j), (f"{b}-{a}:{bond}", j, i)):
                if integral not in tables:
                    tables[integral] = {k: np.full((count, count), v) for k, v in neutral.items()}
                for key, value in {**shared, **values}.items():
                    tables[integral][key][p, q] = value
    return tables


def _onsite_energies(data: dict, symbols: list[str], basis: Basis) -> np.ndarray:
    """On-site energies (species, shells), eV; zero for shells that a species lacks."""
    species = [data["species"][symbol] for symbol in symbols]
    return np.array([[float(s["onsite"].get(shell, 0.0)) for shell in basis.all_shells] for s in species])


def _onsite_parameters(data: dict, symbols: list[str], basis: Basis) -> dict:
    """Parameters of the set's on-site model as a pytree."""
    model, values = data["onsite_model"], data.get("onsite_parameters", {})
    if model not in onsite.MODELS:
        raise InputError(f"{data['name']}: on-site model {model!r} is unknown; use one of {', '.join(onsite.MODELS)}")
    if model == "niquet":
        return {"niquet": {"alpha": values["alpha"], "length": values["length"], **values["beta"]}}
    if model == "density":
        rows = [values["coefficients"][shell] for shell in basis.all_shells]
        return {"density": {**{k: values[k] for k in ("decay", "switch", "width")}, "coefficients": np.array(rows)}}
    if model == "boykin":
        return {"boykin": _boykin_parameters(data, symbols, basis, values)}
    return {}


def _boykin_parameters(data: dict, symbols: list[str], basis: Basis, values: dict) -> dict:
    count, shells = len(symbols), basis.all_shells
    c, length = np.zeros((count, count, len(shells), len(shells))), np.ones((count, count))
    for pair in data["pairs"]:
        i, j = (symbols.index(s) for s in pair["species"])
        length[i, j] = length[j, i] = pair["shared"]["length"]
        for name, value in pair["C"].items():
            a, b = (shells.index(shell) for shell in name.split("-"))
            c[i, j, a, b] = value
            c[j, i, b, a] = value
    return {"C": c, "length": length, "shift": values["shift"], "strength": values["strength"]}
