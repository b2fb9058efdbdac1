"""Slater-Koster Hamiltonians: two-centre integrals with a distance law, and on-site terms that depend on the bonds.

Flows in: structure and graph. Flows out: blocks. The numbers are a pytree of parameters, so every result can be
differentiated by them; the choice of shells, law and on-site model is static.
"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.hamiltonians import atomic, onsite
from jaxepi.hamiltonians.base import BlockModule, Blocks
from jaxepi.hamiltonians.basis import SHELLS, Basis
from jaxepi.hamiltonians.environment import Environment
from jaxepi.hamiltonians.laws import LAWS, smooth_step
from jaxepi.hamiltonians.two_centre import BONDS, two_centre
from jaxepi.model import label
from jaxepi.structure import Structure


@dataclasses.dataclass(frozen=True)
class SlaterKoster(BlockModule):
    """Module of a published set (static); its parameters are the numbers of the set.

    Attributes:
        integrals: sorted names "shell-shell:bond" present in the set.
        law: distance law (`jaxepi.hamiltonians.laws`). onsite: on-site model (`jaxepi.hamiltonians.onsite`).
        overlap: whether the set has an overlap between atoms.
        couplings: spin-orbit lambda (of a p shell, Delta/3), eV, of every species and shell; empty where the set has none.
        environment: how surroundings scale hoppings and energies; None where they do not.
        switch: bonds count fully up to the first length, smoothly less up to the second, angstrom; None counts every edge.
    """

    basis: Basis
    integrals: tuple[str, ...]
    law: str
    onsite: str
    cutoff: float
    skin: float
    overlap: bool = False
    couplings: tuple[tuple[float, ...], ...] = ()
    switch: tuple[float, float] | None = None
    environment: Environment | None = None
    name: str = label()
    citation: str = label()

    @property
    def orthogonal(self) -> bool:
        return not self.overlap

    @property
    def takes_dipoles(self) -> bool:
        return True

    def dipoles(self, params: Any) -> Float[Array, "kinds pairs"] | None:
        return params.get("dipoles")

    def with_dipoles(self, params: Any, radial: Float[Array, "kinds pairs"]) -> dict[str, Any]:
        return {**params, "dipoles": radial}

    def with_spin_orbit(self, params: Any) -> tuple["SlaterKoster", dict[str, Any]]:
        """The set in the spinor basis, with its spin-orbit couplings among the parameters.

        Raises:
            InputError: it has none.
        """
        if not self.couplings:
            raise InputError(f"the set {self.name} has no spin-orbit couplings; load it with spin_orbit=False")
        module = dataclasses.replace(self, basis=dataclasses.replace(self.basis, spinor=True))
        return module, {**params, "spin_orbit": jnp.array(self.couplings)}

    def check(self, structure: Structure, graph: Graph) -> None:
        """Refuse a structure without bonds, and what the on-site model cannot describe.

        Raises:
            InputError: says how near its atoms come.
        """
        refuse_without_bonds(self.name, self.cutoff, graph)
        onsite.check(self.onsite, structure, graph)

    def apply(self, variables: Any, structure: Structure, graph: Graph) -> Blocks:
        """Blocks of H (and S) in eV; see `Hamiltonian.blocks`."""
        params = variables["params"]
        kinds = jnp.asarray(self.basis.kinds(structure.species))
        pair = (kinds[graph.senders], kinds[graph.receivers])
        vectors = graph.vectors(structure)
        distance = jnp.sqrt((vectors**2).sum(axis=1))
        direction = vectors / distance[:, None]
        energies, integrals = None, None
        if self.environment is not None:
            count = len(self.basis.species)
            energies, integrals = self.environment.deltas(params["environment"], kinds, count, graph, vectors)
        hopping = self.edge_blocks(params["hopping"], pair, direction, distance, integrals)
        overlap = None
        if self.overlap:
            overlap = self.edge_blocks(params["overlap"], pair, direction, distance)
        spinless = dataclasses.replace(self.basis, spinor=False)
        weight = None if self.switch is None else smooth_step(distance, *self.switch)
        terms = onsite.Terms(
            self.basis,
            self.edge_blocks,
            params,
            kinds,
            pair,
            direction,
            distance,
            hopping,
            graph,
            self.law,
            weight,
            energies,
        )
        diagonal = onsite.MODELS[self.onsite](terms)
        if weight is not None:
            hopping = weight[:, None, None] * hopping
            overlap = None if overlap is None else weight[:, None, None] * overlap
        dipoles = None
        radial = self.dipoles(params)
        if radial is not None:
            dipoles = atomic.dipoles(spinless, radial.astype(distance.dtype))[kinds]
        blocks = Blocks(diagonal, hopping, overlap, spinless, structure.species, dipoles)
        return atomic.with_spin_orbit(blocks, self.basis, params["spin_orbit"]) if self.basis.spinor else blocks

    def edge_blocks(
        self,
        tables: dict,
        pair,
        direction: Float[Array, "e 3"],
        distance: Float[Array, " e"],
        deltas: dict[str, Float[Array, " e"]] | None = None,
    ) -> Array:
        """Two-centre blocks (e, o, o) of every edge. `tables` holds arrays (species, species) a law parameter and integral;
        what it says of a bond and of the bond reversed is averaged, so that H stays Hermitian when they are trained. `deltas`:
        relative changes by integral."""
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
            if deltas is not None:
                radial = radial * (1 + deltas[name])
            (l1, keep1), (l2, keep2) = SHELLS[a], SHELLS[b]
            factor = two_centre(l1, l2, direction)[BONDS.index(bond)][:, np.array(keep1)][:, :, np.array(keep2)]
            i, j = slices[a], slices[b]
            rows[i][j] = rows[i][j] + radial[:, None, None] * factor
        return jnp.concatenate([jnp.concatenate(row, axis=2) for row in rows], axis=1)


def refuse_without_bonds(name: str, cutoff: float, graph: Graph) -> None:
    """Refuse a structure in which no two atoms are within the cutoff (angstrom) of a model.

    Raises:
        InputError: says how near its atoms come.
    """
    lengths = np.linalg.norm(np.asarray(graph.reference), axis=1)
    if not (lengths <= cutoff).any():
        near = (
            f"the nearest are {lengths.min():.3f} apart"
            if len(lengths)
            else f"nor within {graph.cutoff + graph.skin:g}"
        )
        raise InputError(
            f"{name}: no two atoms are within its cutoff of {cutoff:g} angstrom, {near}; check the lattice constant, or the "
            "cutoff of the set"
        )
