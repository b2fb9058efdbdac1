"""On-site dipoles of a Hamiltonian: radial integrals by name, put into a model or into the file of a trained one.

They enter velocities alone (hbar v = dH/dk - i [d, H]): bands, gaps and forces stay as they are. Angular factors are in
`atomic.dipoles`. Flows in: integrals in angstrom. Flows out: a Hamiltonian, or a checkpoint, that carries them.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Array, Float

from jaxepi.checkpoint import read_checkpoint, write_checkpoint
from jaxepi.errors import InputError, refuse_unknown
from jaxepi.hamiltonians import atomic, learned
from jaxepi.hamiltonians.base import Hamiltonian

Values = Mapping[str, Mapping[str, float | int]]
"""Radial integrals, angstrom, by element and pair of shells: {"Si": {"s-p": 0.9, "p-d": 1.4}}."""


def free(hamiltonian: Hamiltonian) -> tuple[tuple[str, str], ...]:
    """Element and pair of shells ("Si", "s-p") of every radial integral that an atom can have.

    Raises:
        InputError: as `with_dipoles`, for the kind of model.
    """
    _refuse_without_place(hamiltonian)
    held = dict(hamiltonian.basis.shells)
    pairs = atomic.dipole_pairs(hamiltonian.basis)
    return tuple((chemical_symbols[z], f"{a}-{b}") for z in held for a, b in pairs if {a, b} <= set(held[z]))


def with_dipoles(hamiltonian: Hamiltonian, radial: Float[Array, " p"]) -> Hamiltonian:
    """The same Hamiltonian with on-site dipoles.

    Args:
        radial: integrals int R_a R_b r^3 dr, angstrom, in the order of `free`. Traceable.

    Raises:
        InputError: a model with an overlap (its velocity has no such term), without a Slater-Koster basis, or another
            number of integrals.
    """
    names = free(hamiltonian)
    if radial.shape != (len(names),):
        raise InputError(f"{radial.shape[0]} radial integrals for {len(names)}: give one for each of {_listed(names)}")
    basis = hamiltonian.basis
    pairs = [f"{a}-{b}" for a, b in atomic.dipole_pairs(basis)]
    rows = np.array([[chemical_symbols[z] for z in basis.species].index(element) for element, _ in names])
    columns = np.array([pairs.index(pair) for _, pair in names])
    table = jnp.zeros((len(basis.species), len(pairs)), radial.dtype).at[rows, columns].set(radial)
    return dataclasses.replace(hamiltonian, params=hamiltonian.module.with_dipoles(hamiltonian.params, table))


def values(hamiltonian: Hamiltonian) -> dict[str, dict[str, float]]:
    """The radial integrals that a Hamiltonian carries, angstrom, by element and pair of shells; empty where it has none."""
    _refuse_without_place(hamiltonian)
    table = hamiltonian.module.dipoles(hamiltonian.params)
    out: dict[str, dict[str, float]] = {}
    if table is None:
        return out
    species = [chemical_symbols[z] for z in hamiltonian.basis.species]
    pairs = [f"{a}-{b}" for a, b in atomic.dipole_pairs(hamiltonian.basis)]
    for element, pair in free(hamiltonian):
        value = float(np.asarray(table)[species.index(element), pairs.index(pair)])
        out.setdefault(element, {})[pair] = round(value, 7)
    return out


def ordered(hamiltonian: Hamiltonian, found: Values) -> Float[np.ndarray, " p"]:
    """Radial integrals by name in the order of `free`; those that are not named are zero.

    Raises:
        InputError: an element or pair that the model does not have (with the nearest it has), or a value that is no number.
    """
    names = free(hamiltonian)
    for element, pairs in found.items():
        refuse_unknown([element], dict.fromkeys(e for e, _ in names), "dipoles")
        refuse_unknown(pairs, [pair for e, pair in names if e == element], f"dipoles of {element}")
        for pair, value in pairs.items():
            if not np.isfinite(value):
                raise InputError(f"dipoles of {element}: {pair} is {value}; give a number in angstrom")
    return np.array([float(found.get(element, {}).get(pair, 0.0)) for element, pair in names])


def write_into(source: str | Path, output: str | Path, found: Values, citation: str) -> None:
    """Copy the checkpoint of a learned Hamiltonian with on-site dipoles in it; the rest of it stays as it was.

    Args:
        found: radial integrals; those that it carried before are forgotten. citation: where they come from, for the card.

    Raises:
        InputError: as `learned.read`, `with_dipoles` and `ordered`.
    """
    model, _ = learned.read(source)
    radial = ordered(model, found)
    held = read_checkpoint(source, "hamiltonian")
    carrying = with_dipoles(model, jnp.asarray(radial))
    params = model.module.with_dipoles(held.params, jnp.asarray(model.module.dipoles(carrying.params)))
    card: dict[str, Any] = {**held.card, "dipoles_angstrom": {"radial_integrals": found, "citation": citation}}
    write_checkpoint(output, dataclasses.replace(held, params=params, card=card))


def _refuse_without_place(hamiltonian: Hamiltonian) -> None:
    module = hamiltonian.module
    if not module.takes_dipoles:
        raise InputError(
            f"{module.called} takes no on-site dipoles of its own; use a Slater-Koster set or a learned one"
        )
    if not module.orthogonal:
        raise InputError("on-site dipoles go with an orthogonal basis; this model has an overlap: choose another set")


def _listed(names: tuple[tuple[str, str], ...]) -> str:
    return ", ".join(f"{element} {pair}" for element, pair in names)
