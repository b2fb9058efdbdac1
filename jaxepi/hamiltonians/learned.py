"""A learned Slater-Koster Hamiltonian: a published set that fades out beyond its bonds, and learned corrections around it.

With r the length and n the direction of a bond, every two-centre integral is

    V_ab(i, j) = w(r) V0_ab(r) [1 + f(r) u_ab(i, j)] + f(r) v_ab(i, j),

where V0 is the law of the published set, w its switch, f the cutoff, and u (one a pair of shells), v (one an integral) come
from a network of r, the species and the surroundings of both atoms. With A_i,lm the moments of an atom's surroundings (one
convolution, jaxepi.nn), those enter as invariants of each atom alone (their symmetric products) and as the bond sees them,
sum_m A_i,lm Y_lm(n): what tells a bond which of its angles are strained. A potential of a third atom mixes orbitals in
ways that two centres forbid (s of one atom with the p across the bond of the other); those three-centre terms are

    T_ab(i, j) = f(r) sum_l C(a, b; l) [t_abl(i, j) A_i,l + t'_abl(i, j) A_j,l],        l > 0, l_a + l_b + l even,

with couplings C and learned factors t. The on-site block of an atom is that of the published set, whose energies a shell are
trained too, plus a sum over neighbours of two-centre blocks with learned integrals: complete blocks between shells, not only
diagonals. Hoppings and on-site integrals may have a part that is linear in functions of the bond length alone (`radial`).
All of it turns with the crystal exactly. Flows in: structure and graph. Flows out: blocks.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jaxtyping import Array, Float, Int

from jaxepi.checkpoint import Checkpoint, compare, read_checkpoint, write_checkpoint
from jaxepi.errors import InputError
from jaxepi.graph import Graph, Relation, Table
from jaxepi.hamiltonians import atomic, onsite, parameter_files
from jaxepi.hamiltonians.angles import Angles, integrals, three_centre
from jaxepi.hamiltonians.base import BlockModule, Blocks, Hamiltonian
from jaxepi.hamiltonians.basis import Basis
from jaxepi.hamiltonians.settings import SlaterKosterSettings
from jaxepi.hamiltonians.slater_koster import SlaterKoster, refuse_without_bonds
from jaxepi.model import label
from jaxepi.nn import (
    SCALAR,
    Convolution,
    Features,
    Linear,
    SymmetricContraction,
    directions,
    harmonics,
    natural,
    natural_up_to,
    normalised_silu,
    polynomial_cutoff,
    radial_basis,
)
from jaxepi.settings import as_json, from_table
from jaxepi.structure import Structure


class Corrections(NamedTuple):
    """What the network says of every bond.

    Attributes:
        there, back: hopping corrections of the bond and of the bond reversed. onsite: integrals that the receiver adds to
            the block of the sender. tensors, reverse: sums t A + t' A of the three-centre terms, one a path, of the bond
            and of the bond reversed.
    """

    there: Float[Array, "e h"]
    back: Float[Array, "e h"]
    onsite: Float[Array, "e q"]
    tensors: tuple[Float[Array, "e m"], ...]
    reverse: tuple[Float[Array, "e m"], ...]


class BondNetwork(nn.Module):
    """Corrections of every bond from its length, the species and the surroundings of its two ends.

    Attributes:
        relation: all edges. species: how many. channels: of the convolution. features: invariants of an atom's
            surroundings. hidden: widths of the network of a bond. hoppings: integrals of a bond, in both the factor u
            and the term v (and the overlap where there is one). onsite: integrals that a neighbour adds to the block of
            an atom. paths: angular momentum l of each three-centre term. correlation, lmax, neighbours,
            radial_features: of the surroundings.
    """

    relation: Relation
    species: int
    hoppings: int
    onsite: int
    paths: tuple[int, ...] = ()
    channels: int = 8
    features: int = 16
    hidden: tuple[int, ...] = (64, 64)
    correlation: int = 2
    lmax: int = 3
    neighbours: float = 16.0
    radial_features: int = 8

    @nn.compact
    def __call__(
        self,
        species: Int[Array, "n"],
        vectors: Float[Array, "n m 3"],
        table: Table,
        senders: Int[Array, " e"],
        receivers: Int[Array, " e"],
        distance: Float[Array, " e"],
        direction: Float[Array, "e 3"],
    ) -> Corrections:
        """Corrections of all edges; `direction` is the unit vector from sender to receiver."""
        onehot = jax.nn.one_hot(species, self.species, dtype=distance.dtype)
        alone, moments = self._surroundings(onehot, species, vectors, table)
        cutoff, dtype = self.relation.cutoff, distance.dtype
        basis = radial_basis(distance, cutoff, self.radial_features)
        angles = harmonics(direction, self.lmax)

        def end(index: Array, sign: float) -> Array:
            seen = [
                (sign**l / (2 * l + 1) ** 0.5) * jnp.einsum("em,emc->ec", angles[l], moments[natural(l)][index])
                for l in range(1, self.lmax + 1)
            ]
            return jnp.concatenate([onehot[index], alone[index], *seen], axis=1)

        near, far = end(senders, 1.0), end(receivers, -1.0)
        fade = polynomial_cutoff(distance, cutoff)[:, None]
        weights = self._weights(basis.shape[1] + 2 * near.shape[1])

        def evaluate(first: Array, second: Array) -> list[Array]:
            x = jnp.concatenate([basis, first, second], axis=1)
            for i, (w, b) in enumerate(weights):
                x = x @ (w.astype(dtype) / w.shape[0] ** 0.5) + b.astype(dtype)[None]
                x = normalised_silu(x) if i < len(weights) - 1 else x
            return jnp.split(fade * x, [self.hoppings, self.hoppings + self.onsite], axis=1)

        (there, onsite_, forward), (back, _, backward) = evaluate(near, far), evaluate(far, near)
        tensors = self._tensors(forward, moments, senders, receivers)
        reverse = self._tensors(backward, moments, receivers, senders)
        return Corrections(there, back, onsite_, tensors, reverse)

    def _tensors(self, factors: Array, moments: Features, first: Array, second: Array) -> tuple[Array, ...]:
        """Sums of the moments of both ends, each with its factors; one a path."""
        own = factors.reshape(len(factors), len(self.paths), 2, self.channels)
        out = []
        for i, l in enumerate(self.paths):
            both = jnp.stack([moments[natural(l)][first], moments[natural(l)][second]], axis=1)
            out.append(jnp.einsum("esc,esmc->em", own[:, i], both))
        return tuple(out)

    def _weights(self, width: int) -> list[tuple[Array, Array]]:
        """Matrices and biases of the bond network; the last layer begins at zero, so that training starts from the set."""
        out = []
        sizes = (width, *self.hidden, self.hoppings + self.onsite + 2 * self.channels * len(self.paths))
        for i, (rows, columns) in enumerate(itertools.pairwise(sizes)):
            last = i == len(sizes) - 2
            start = nn.initializers.zeros if last else nn.initializers.normal(1.0)
            w = self.param(f"w{i}", start, (rows, columns))
            out.append((w, self.param(f"b{i}", nn.initializers.zeros, (columns,))))
        return out

    def _surroundings(
        self, onehot: Array, species: Array, vectors: Array, table: Table
    ) -> tuple[Float[Array, "n f"], Features]:
        """Invariants of every atom, and the moments they are made of."""
        length, unit = directions(vectors)
        cutoff = self.relation.cutoff
        basis, angles = radial_basis(length, cutoff, self.radial_features), harmonics(unit, self.lmax)
        shape = (self.species, self.channels)
        embedding = jnp.asarray(self.param("embedding", nn.initializers.normal(1.0), shape), vectors.dtype)
        convolution = Convolution(self.channels, natural_up_to(self.lmax), (32,), self.neighbours, name="convolution")
        moments = convolution({SCALAR: embedding[:, None]}, basis, angles, table.receivers, onehot)
        products = SymmetricContraction(self.correlation, self.species, (SCALAR,), name="products")(moments, species)
        return Linear(self.features, name="mix")(products)[SCALAR][:, 0], moments


@dataclasses.dataclass(frozen=True)
class LearnedSlaterKoster(BlockModule):
    """Module of a learned Hamiltonian.

    Parameters: `base` (those of the published set), `network`, and `radial` where there are functions of the length alone.

    Attributes:
        base: the published set, with its switch. network: corrections of bonds. skin: of the graph, angstrom.
        scale: eV: size of a learned term where the network's output is one. radial: how many functions of the length alone.
    """

    base: SlaterKoster
    network: BondNetwork
    skin: float = 1.2
    scale: float = 0.3
    radial: int = 0
    citation: str = label()

    @property
    def name(self) -> str:
        return f"a Hamiltonian learned from {self.base.name}"

    @property
    def basis(self) -> Basis:
        return self.base.basis

    @property
    def relations(self) -> tuple[Relation, ...]:
        return (self.network.relation,)

    @property
    def cutoff(self) -> float:
        """Angstrom."""
        return self.network.relation.cutoff

    @property
    def ends_at_cutoff(self) -> bool:
        return True

    @property
    def orthogonal(self) -> bool:
        return self.base.orthogonal

    @property
    def takes_dipoles(self) -> bool:
        return True

    def dipoles(self, params: Any) -> Float[Array, "kinds pairs"] | None:
        return self.base.dipoles(params["base"])

    def with_dipoles(self, params: Any, radial: Float[Array, "kinds pairs"]) -> dict[str, Any]:
        return {**params, "base": self.base.with_dipoles(params["base"], radial)}

    def with_spin_orbit(self, params: Any) -> tuple["LearnedSlaterKoster", dict[str, Any]]:
        """The model in the spinor basis, with the spin-orbit couplings of the published set.

        Raises:
            InputError: that set has none.
        """
        base, own = self.base.with_spin_orbit(params["base"])
        return dataclasses.replace(self, base=base), {**params, "base": own}

    def check(self, structure: Structure, graph: Graph) -> None:
        """Refuse a structure without bonds, and what the on-site model of the published set cannot describe."""
        refuse_without_bonds(self.base.name, self.cutoff, graph)
        onsite.check(self.base.onsite, structure, graph)

    def init(self, key: Array, base: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters that reproduce the published set."""
        one, zero = jnp.zeros(1, jnp.int32), jnp.ones((1, 1, 3))
        table = Table(jnp.zeros((1, 1), jnp.int32), jnp.zeros((1, 1, 3), jnp.int32), jnp.zeros((1, 1), bool))
        variables = jax.jit(self.network.init)(key, one, zero, table, one, one, jnp.ones(1), jnp.ones((1, 3)))
        found = {"base": dict(base), "network": variables["params"]}
        if self.radial:
            shape = (self.network.species, self.network.species, self.network.onsite, self.radial)
            found["radial"] = {"hopping": jnp.zeros(shape), "onsite": jnp.zeros(shape)}
        return found

    def apply(self, variables: Any, structure: Structure, graph: Graph) -> Blocks:
        """Blocks of H (and S) in eV; see `Hamiltonian.blocks`."""
        params = variables["params"]
        basis = dataclasses.replace(self.basis, spinor=False)
        kinds = jnp.asarray(basis.kinds(structure.species))
        vectors = graph.vectors(structure)
        distance = jnp.sqrt((vectors**2).sum(axis=1))
        dense = graph.tables[0].vectors(structure.positions, structure.cell)
        ends = (graph.senders, graph.receivers)
        unit = vectors / distance[:, None]
        found: Any = self.network.apply(
            {"params": params["network"]}, kinds, dense, graph.tables[0], *ends, distance, unit
        )
        there, back, around = found.there, found.back, found.onsite
        spinless = dataclasses.replace(self.base, basis=basis)
        start = spinless.apply({"params": params["base"]}, structure, graph)
        angles = Angles.of(basis, unit)
        pairs, count = len(angles.pairs), angles.count
        hopping = start.hopping * (1 + angles.factors(there[:, :pairs], back[:, :pairs]))
        part = slice(pairs, pairs + count)
        forward, reverse = there[:, part], back[:, part]
        if self.radial:
            basis_ = radial_basis(distance, self.cutoff, self.radial)
            own, far = kinds[graph.senders], kinds[graph.receivers]
            weights = jax.tree.map(lambda w: w.astype(distance.dtype), params["radial"])
            forward = forward + jnp.einsum("ecn,en->ec", weights["hopping"][own, far], basis_)
            reverse = reverse + jnp.einsum("ecn,en->ec", weights["hopping"][far, own], basis_)
            around = around + jnp.einsum("ecn,en->ec", weights["onsite"][own, far], basis_)
        hopping = hopping + self.scale * angles.hoppings(forward, reverse)
        paths = three_centre(basis, self.network.lmax)
        hopping = hopping + self.scale * angles.tensors(paths, found.tensors, found.reverse)
        overlap = start.overlap
        if overlap is not None:
            part = slice(pairs + count, pairs + 2 * count)
            overlap = overlap + 0.1 * angles.hoppings(there[:, part], back[:, part])
        bonds = self.scale * angles.onsite(around)
        added = jax.ops.segment_sum(bonds, graph.senders, graph.n_atoms, indices_are_sorted=True)
        blocks = Blocks(start.onsite + added, hopping, overlap, basis, structure.species, start.dipoles)
        if not self.basis.spinor:
            return blocks
        return atomic.with_spin_orbit(blocks, self.basis, params["base"]["spin_orbit"])


def build(config: Mapping[str, Any], key: Array) -> Hamiltonian:
    """A learned Hamiltonian that begins as a published one (see `configured`).

    Args:
        key: of the first weights.
    """
    module, published = configured(config)
    return Hamiltonian(module.init(key, published), module)


def complete(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with defaults for what is left out and, in the place of its name, the published set itself.

    Args:
        config: a table of `SlaterKosterSettings`.

    Raises:
        InputError: an unknown key (with the nearest known one), a value that is refused, no set or an unknown one.
    """
    found = from_table(SlaterKosterSettings, config, "model")
    if not found.base:
        known = ", ".join(parameter_files.sets())
        raise InputError(f"the model names no published set to begin from; give base, one of {known}")
    base = found.base if isinstance(found.base, Mapping) else parameter_files.read(found.base)
    return as_json({**found.asdict(), "base": base})


def configured(config: Mapping[str, Any]) -> tuple[LearnedSlaterKoster, dict[str, Any]]:
    """The module of a configuration, and the parameters of the published set.

    Args:
        config: a table of `SlaterKosterSettings`; its base may be the contents of a parameter file.

    Raises:
        InputError: as `complete`; also a set with on-site terms that a learned one cannot have.
    """
    whole = complete(config)
    c = from_table(SlaterKosterSettings, whole, "model")
    published, params = parameter_files.build(whole["base"])
    if published.onsite == "boykin":
        raise InputError(
            f"{published.name} cannot be the base of a learned Hamiltonian: its on-site terms refer to the directions of a "
            "perfect crystal; choose a set with constant, Niquet's or density-dependent ones"
        )
    if published.environment is not None:
        raise InputError(
            f"{published.name} cannot be the base of a learned Hamiltonian: its integrals depend on their surroundings "
            "already; choose a set without environment"
        )
    base = dataclasses.replace(published, switch=c.switch)
    found = integrals(base.basis)
    count = sum(n for _, _, n in found)
    hoppings = len(found) + count * (2 if base.overlap else 1)
    sizes: dict[str, Any] = {n: getattr(c, n) for n in ("channels", "features", "correlation", "lmax", "hidden")}
    sizes["paths"] = tuple(l for _, _, l in three_centre(base.basis, c.lmax))
    network = BondNetwork(Relation(c.cutoff), len(base.basis.species), hoppings, count, **sizes)
    return LearnedSlaterKoster(base, network, c.skin, radial=c.radial), params


def write(hamiltonian: Hamiltonian, config: Mapping[str, Any], path: str | Path, card: Mapping[str, Any]) -> None:
    """Write a learned Hamiltonian to one file, which holds its published set too.

    Args:
        config: the configuration it was built from. card: data, errors, domain of validity, provenance.
    """
    params = jax.tree.map(np.asarray, hamiltonian.params)
    write_checkpoint(path, Checkpoint("hamiltonian", {"model": complete(config)}, params, card))


def read(path: str | Path) -> tuple[Hamiltonian, Mapping[str, Any]]:
    """A learned Hamiltonian and its card.

    Raises:
        InputError: what `read_checkpoint` refuses, or parameters that do not belong to the configuration.
    """
    found = read_checkpoint(path, "hamiltonian")
    where = f"checkpoint {path}"
    config = from_table(SlaterKosterSettings, found.config.get("model", {}), f"{where}: model").asdict()
    if not isinstance(config.get("base"), Mapping):
        raise InputError(
            f"checkpoint {path} names its published set, {config.get('base')!r}, in place of holding it: it is of an earlier "
            f"jaxepi; bring it up to date with python scripts/migrate_models.py {path}"
        )
    parameter_files.check(config["base"], f"{where}: base", sizes=False)
    try:
        module, published = configured(config)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    module = dataclasses.replace(module, citation=str(found.card.get("citation", "")))
    compare(jax.eval_shape(module.init, jax.random.key(0), published), found.params, path)
    return Hamiltonian(jax.tree.map(jnp.asarray, dict(found.params)), module), found.card
