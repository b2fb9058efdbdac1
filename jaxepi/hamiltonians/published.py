"""Hamiltonians by name or file: published Slater-Koster sets, and learned ones.

A published set has two-centre integrals with a distance law, and on-site terms that depend on the bonds.

`load` reads a shipped set by name or a user's file of the same format (see `parameters/README.md`). The numbers become a
pytree of parameters, so every result can be differentiated by them; the choice of shells, law and on-site model is static.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.hamiltonians import onsite
from jaxepi.hamiltonians.base import Blocks, Hamiltonian
from jaxepi.hamiltonians.basis import SHELLS, Basis
from jaxepi.hamiltonians.laws import LAWS, smooth_step
from jaxepi.hamiltonians.two_centre import BONDS, two_centre
from jaxepi.structure import Structure

FORMAT, VERSION = "jaxepi-slater-koster", 1

WANNIER = "_hr.dat"
"""How names of files of Wannier90 end."""


@dataclasses.dataclass(frozen=True)
class SlaterKoster:
    """Module of a published set (static); its parameters are the numbers of the set.

    Attributes:
        integrals: sorted names "shell-shell:bond" present in the set.
        law: distance law (`jaxepi.hamiltonians.laws`). onsite: on-site model (`jaxepi.hamiltonians.onsite`).
        switch: bonds count fully up to the first length, smoothly less up to the second, angstrom; None counts every edge.
    """

    name: str
    basis: Basis
    integrals: tuple[str, ...]
    law: str
    onsite: str
    cutoff: float
    skin: float
    switch: tuple[float, float] | None = None

    def check(self, structure: Structure, graph: Graph) -> None:
        onsite.check(self.onsite, structure, graph)

    def apply(self, variables: Any, structure: Structure, graph: Graph) -> Blocks:
        """Blocks of H (and S) in eV; see `Hamiltonian.blocks`."""
        params = variables["params"]
        kinds = jnp.asarray(self.basis.kinds(structure.species))
        pair = (kinds[graph.senders], kinds[graph.receivers])
        vectors = graph.vectors(structure)
        distance = jnp.sqrt((vectors**2).sum(axis=1))
        direction = vectors / distance[:, None]
        hopping = self.edge_blocks(params["hopping"], pair, direction, distance)
        overlap = None
        if "overlap" in params:
            overlap = self.edge_blocks(params["overlap"], pair, direction, distance)
        spinless = dataclasses.replace(self.basis, spinor=False)
        weight = None if self.switch is None else smooth_step(distance, *self.switch)
        terms = onsite.Terms(self, params, kinds, pair, direction, distance, hopping, graph, weight)
        diagonal = onsite.MODELS[self.onsite](terms)
        if weight is not None:
            hopping = weight[:, None, None] * hopping
            overlap = None if overlap is None else weight[:, None, None] * overlap
        dipoles = None
        if "dipoles" in params:
            dipoles = onsite.dipoles(spinless, params["dipoles"].astype(distance.dtype))[kinds]
        blocks = Blocks(diagonal, hopping, overlap, spinless, structure.species, dipoles)
        return onsite.with_spin_orbit(blocks, self.basis, params["spin_orbit"]) if self.basis.spinor else blocks

    def edge_blocks(self, tables: dict, pair, direction: Float[Array, "e 3"], distance: Float[Array, " e"]) -> Array:
        """Two-centre blocks (e, o, o) of every edge. `tables` holds arrays (species, species) a law parameter and integral;
        what it says of a bond and of the bond reversed is averaged, so that H stays Hermitian when they are trained."""
        slices = {name: i for i, name in enumerate(self.basis.all_shells)}
        shells = self.basis.all_shells
        rows: list[list[Array]] = [
            [jnp.zeros((distance.shape[0], len(SHELLS[a][1]), len(SHELLS[b][1])), distance.dtype) for b in shells]
            for a in shells
        ]
        for name in self.integrals:
            shell_pair, bond = name.split(":")
            a, b = shell_pair.split("-")
            reverse = tables[f"{b}-{a}:{bond}"]
            values = {k: ((v + reverse[k].T) / 2)[pair].astype(distance.dtype) for k, v in tables[name].items()}
            radial = LAWS[self.law](distance, **values)
            (l1, keep1), (l2, keep2) = SHELLS[a], SHELLS[b]
            factor = two_centre(l1, l2, direction)[BONDS.index(bond)][:, np.array(keep1)][:, :, np.array(keep2)]
            i, j = slices[a], slices[b]
            rows[i][j] = rows[i][j] + radial[:, None, None] * factor
        return jnp.concatenate([jnp.concatenate(row, axis=2) for row in rows], axis=1)


def available() -> list[str]:
    """Names of the shipped sets and models."""
    return sorted([*sets(), *(file.stem for file in Path(__file__).parent.glob("models/*.npz"))])


def sets() -> list[str]:
    """Names of the shipped parameter sets."""
    return sorted(file.stem for file in Path(__file__).parent.glob("parameters/*.json"))


def _checkpoint(name_or_path: str | Path) -> Path | None:
    """The file of a learned model, or None where a published set is meant."""
    shipped = Path(__file__).parent / "models" / f"{name_or_path}.npz"
    if shipped.is_file():
        return shipped
    return Path(name_or_path) if str(name_or_path).endswith(".npz") else None


def read(name_or_path: str | Path) -> dict:
    """The contents of a parameter file, by shipped name or path.

    Raises:
        InputError: an unknown name, an unreadable file, or a file of another format or version.
    """
    text = str(name_or_path)
    source = Path(__file__).parent / "parameters" / f"{text}.json"
    if not source.is_file():
        if not text.endswith(".json") or not Path(text).is_file():
            raise InputError(
                f"no Slater-Koster set {text!r}; shipped are {', '.join(available())}, or give a .json, .npz or _hr.dat file"
            )
        source = Path(text)
    try:
        data = json.loads(source.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{text} is not a readable parameter file: {error}") from error
    if data.get("format") != FORMAT:
        raise InputError(f"{text} has format {data.get('format')!r}; expected {FORMAT!r}")
    if data.get("version") != VERSION:
        raise InputError(f"{text} has version {data.get('version')!r}; this jaxepi reads version {VERSION}")
    return data


def citation(name_or_path: str | Path) -> str:
    """Where a set or model comes from."""
    if str(name_or_path).endswith(WANNIER):
        return f"Wannier functions of {Path(name_or_path).name}"
    path = _checkpoint(name_or_path)
    if path is not None:
        from jaxepi.checkpoint import read_checkpoint

        return str(read_checkpoint(path).card.get("citation", "no citation"))
    return read(name_or_path)["citation"]


def load(name_or_path: str | Path, spin_orbit: bool = False) -> Hamiltonian:
    """A Hamiltonian, by shipped name (`available()`), from a parameter file (.json), a learned checkpoint (.npz), or H(R) of
    Wannier90 (_hr.dat; see `wannier.read`).

    Args:
        spin_orbit: use the spinor basis with the set's spin-orbit couplings.

    Raises:
        InputError: see `read`; also a set without spin-orbit couplings when they are asked for.
    """
    from ase.data import atomic_numbers

    if str(name_or_path).endswith(WANNIER):
        from jaxepi.hamiltonians import wannier

        if spin_orbit:
            raise InputError(
                f"{name_or_path}: H(R) of a file has its spin-orbit coupling or none; load it without spin_orbit"
            )
        return wannier.read(name_or_path)
    path = _checkpoint(name_or_path)
    if path is not None:
        from jaxepi.hamiltonians import learned

        return learned.with_spin_orbit(learned.read(path)[0]) if spin_orbit else learned.read(path)[0]
    data = read(name_or_path)
    symbols = list(data["species"])
    numbers = [atomic_numbers[s] for s in symbols]
    shells = tuple((z, tuple(data["species"][s]["shells"])) for z, s in zip(numbers, symbols, strict=True))
    electrons = tuple((z, float(data["species"][s]["electrons"])) for z, s in zip(numbers, symbols, strict=True))
    if spin_orbit and not any(data["species"][s].get("spin_orbit") for s in symbols):
        raise InputError(f"the set {data['name']} has no spin-orbit couplings; load it with spin_orbit=False")
    basis = Basis(shells, electrons, spin_orbit)
    hopping = _tables(data, symbols, "hopping")
    params: dict[str, Any] = {"hopping": hopping, "onsite": _onsite_energies(data, symbols, basis)}
    if any("overlap" in pair for pair in data["pairs"]):
        params["overlap"] = _tables(data, symbols, "overlap")
    params |= onsite.parameters(data, symbols, basis)
    if spin_orbit:
        params["spin_orbit"] = jnp.array([data["species"][s].get("spin_orbit", {}).get("p", 0.0) for s in symbols])
    module = SlaterKoster(
        name=data["name"],
        basis=basis,
        integrals=tuple(sorted(hopping)),
        law=data["law"],
        onsite=data["onsite_model"],
        cutoff=float(data["cutoff"]),
        skin=float(data["skin"]),
    )
    return Hamiltonian(jax.tree.map(jnp.asarray, params), module)


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
