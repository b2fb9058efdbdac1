"""Learned potentials: a network, reference energies, a short-range repulsion and a dispersion term in one energy.

Flows in: structures and the tables of a graph. Flows out: site energies, whose sum is the energy. Built from a
configuration (`build`), read from and written to one-file checkpoints (`read`, `write`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Array, Float, Int

from jaxepi import schema
from jaxepi.checkpoint import Checkpoint, compare, read_checkpoint, write_checkpoint
from jaxepi.errors import InputError
from jaxepi.graph import Graph, Relation, Table
from jaxepi.guards import full_precision
from jaxepi.model import label
from jaxepi.potentials.base import PairTerm, Potential, TrainableEnergy
from jaxepi.potentials.domain import extrapolations
from jaxepi.potentials.mace import Mace
from jaxepi.potentials.settings import MaceSettings
from jaxepi.settings import as_json, from_table
from jaxepi.structure import Structure

ROWS = 1024
"""Atoms of a large cell whose neighbourhoods are held at a time, some 1.5 MB each in single precision."""


@dataclasses.dataclass(frozen=True)
class NetworkEnergy(TrainableEnergy):
    """Energy module: site energies reference[species] + scale * network + pair terms.

    Parameters: `network`, `reference` (eV a species, shape (s,)), `scale` (eV), and, once trained, `domain` (see
    `novelty`).

    Attributes:
        network: linen module that gives site energies and invariant features.
        species: atomic numbers. terms: pair terms. skin: of the graph, angstrom.
        minimum_distance: shortest pair distance of the training data, angstrom; 0 where unknown.
    """

    network: Mace
    species: tuple[int, ...]
    terms: tuple[PairTerm, ...] = ()
    skin: float = 0.6
    minimum_distance: float = 0.0
    citation: str = label()

    @property
    def shares_energy(self) -> bool:
        return True

    @property
    def ends_at_cutoff(self) -> bool:
        return True

    @property
    def has_features(self) -> bool:
        return True

    @property
    def relations(self) -> tuple[Relation, ...]:
        """Those of the network, then one a pair term."""
        return (*self.network.relations, *(term.relation for term in self.terms))

    @property
    def cutoff(self) -> float:
        """Of the longest relation, angstrom."""
        return max(relation.cutoff for relation in self.relations)

    @property
    def reach(self) -> float:
        """Of what was learned, angstrom: an atom farther from all others is lost, whatever the pair terms reach."""
        return max(relation.cutoff for relation in self.network.relations)

    def init(self, key: Array) -> dict[str, Any]:
        """Untrained parameters, float64 where the session allows it: reference energies zero, scale one."""
        index = jnp.zeros(1, jnp.int32)
        table = Table(jnp.zeros((1, 1), jnp.int32), jnp.zeros((1, 1, 3), jnp.int32), jnp.zeros((1, 1), bool))
        count = len(self.network.relations)
        vectors = tuple(jnp.ones((1, 1, 3)) for _ in range(count))
        variables = jax.jit(self.network.init)(key, index, vectors, (table,) * count)
        return {"network": variables["params"], "reference": jnp.zeros(len(self.species)), "scale": jnp.ones(())}

    @full_precision
    def site_energies(
        self,
        variables: Mapping[str, Any],
        species: Int[Array, "n"],
        vectors: tuple[Float[Array, "n _ 3"], ...],
        tables: tuple[Table, ...],
    ) -> Float[Array, "n"]:
        """Energy of every atom, eV; the derivatives are those of the whole.

        Args:
            species: index into `species` of every atom. vectors, tables: one a relation of `relations`.
        """
        params, dtype = variables["params"], vectors[0].dtype
        count = len(self.network.relations)
        read, _ = self.network.apply({"params": params["network"]}, species, vectors[:count], tables[:count])
        reference, scale = (jnp.asarray(params[n]).astype(dtype) for n in ("reference", "scale"))
        energy = reference[species] + scale * read
        numbers = jnp.asarray(self.species)[species]
        for term, v, table in zip(self.terms, vectors[count:], tables[count:], strict=True):
            energy = energy + term.energies(numbers, v, table.receivers)
        return energy

    @property
    def _bounded(self) -> "NetworkEnergy":
        """The same for one structure, however large: `ROWS` atoms at a time."""
        return dataclasses.replace(self, network=self.network.clone(rows=ROWS))

    def energies(self, variables: Mapping[str, Any], structure: Structure, graph: Graph) -> Float[Array, "n"]:
        """Energy of every atom, eV."""
        vectors = tuple(table.vectors(structure.positions, structure.cell) for table in graph.tables)
        return self._bounded.site_energies(variables, self._index(structure), vectors, graph.tables)

    @full_precision
    def site_features(
        self,
        variables: Mapping[str, Any],
        species: Int[Array, "n"],
        vectors: tuple[Float[Array, "n _ 3"], ...],
        tables: tuple[Table, ...],
    ) -> Float[Array, "n f"]:
        """Invariants of every atom; see `TrainableEnergy`. The relations of pair terms may be left out."""
        count = len(self.network.relations)
        weights = {"params": variables["params"]["network"]}
        found: Any = self.network.apply(weights, species, vectors[:count], tables[:count])
        return found[1]

    def features(self, variables: Mapping[str, Any], structure: Structure, graph: Graph) -> Float[Array, "n f"]:
        """Invariants of every atom that the network's energy is linear in."""
        tables = graph.tables[: len(self.network.relations)]
        vectors = tuple(table.vectors(structure.positions, structure.cell) for table in tables)
        return self._bounded.site_features(variables, self._index(structure), vectors, tables)

    @property
    def measures_novelty(self) -> bool:
        """Once it is trained: a network that was never trained is at distance 0 from everything."""
        return True

    def novelty(self, variables: Mapping[str, Any], structure: Structure, graph: Graph) -> Float[Array, ""]:
        """How far the strangest atom is from the training data: 1 is the farthest training atom, 0 where unknown.

        The distance of an atom's features f is sqrt((f - m).C.(f - m)), with m the mean and C the inverse covariance of
        the training atoms' features, species by species (made by `domain`): a last-layer estimate akin to Bigi et
        al., Mach. Learn.: Sci. Technol. 5, 045018 (2024).
        """
        domain = variables["params"].get("domain")
        if domain is None:
            return jnp.zeros((), structure.positions.dtype)
        features = self.features(variables, structure, graph)
        index = self._index(structure)
        mean, root = (jnp.asarray(domain[n]).astype(features.dtype) for n in ("mean", "root"))
        return jnp.sqrt(jnp.max(jnp.sum(jnp.einsum("nfg,ng->nf", root[index], features - mean[index]) ** 2, axis=1)))

    def check(self, structure: Structure, graph: Graph) -> None:
        """Warn of atoms closer than in any training structure."""
        import warnings

        lengths = np.linalg.norm(np.asarray(graph.reference), axis=1)
        for _, what in extrapolations(self, float(lengths.min(initial=np.inf)), 0.0):
            warnings.warn(f"the structure has {what}; energies there are extrapolated", stacklevel=3)

    def _index(self, structure: Structure) -> Array:
        return jnp.asarray([self.species.index(z) for z in structure.species], jnp.int32)


def build(config: Mapping[str, Any], species: Sequence[int]) -> NetworkEnergy:
    """The energy module of a configuration.

    Args:
        config: a table of `MaceSettings`, whose defaults fill what is left out.
        species: atomic numbers.

    Raises:
        InputError: an unknown key (with the nearest known one), or a value that is refused.
    """
    c = from_table(MaceSettings, config, "model")
    if not species or len(set(species)) != len(species):
        raise InputError(f"species {list(species)}: give every atomic number once")
    layered = c.relations == "layers"
    relations = (Relation(c.cutoff, "intra"), Relation(c.cutoff, "inter")) if layered else (Relation(c.cutoff),)
    names = ["channels", "lmax", "hidden_lmax", "correlation", "interactions", "radial_features", "radial_layers"]
    names += ["cutoff_power", "readout"]
    network = Mace(
        relations=relations,
        neighbours=c.neighbours
        or (4 / 3 * np.pi * c.cutoff**3 / 20.0,) * len(relations),  # an atom in 20 cubic angstrom
        species=len(species),
        separate=c.mixing == "separate",
        **{name: getattr(c, name) for name in names},
    )
    atoms = tuple(int(z) for z in species)
    return NetworkEnergy(network, atoms, _terms(c, atoms), c.skin)


def _terms(c: MaceSettings, species: tuple[int, ...]) -> tuple[PairTerm, ...]:
    """The pair terms that the configuration asks for."""
    terms: list[PairTerm] = []
    if c.repulsion:
        from jaxepi.potentials.zbl import ZBL

        terms.append(ZBL(species))
    if c.dispersion:
        from jaxepi.potentials.dispersion import Dispersion

        terms.append(Dispersion(**(dict(c.dispersion) if isinstance(c.dispersion, Mapping) else {}), species=species))
    for term in terms:
        term.check(species)
    return tuple(terms)


def domain(
    features: Float[np.ndarray, "a f"], species: Int[np.ndarray, "a"], kinds: int, floor: float = 1e-6
) -> dict[str, np.ndarray]:
    """Mean m, and R such that |R (f - m)| is the distance of features f, 1 for the farthest of these: one a species.

    Args:
        features: of the training atoms. species: index of each. kinds: how many species.
        floor: variances below this times the largest count as that, so that directions never explored stay finite.
    """
    width = features.shape[1]
    mean, root = np.zeros((kinds, width)), np.zeros((kinds, width, width))
    for z in range(kinds):
        chosen = features[species == z]
        if not len(chosen):
            continue
        mean[z] = chosen.mean(axis=0)
        variance, vectors = np.linalg.eigh(np.cov(chosen.T, bias=True).reshape(width, width))
        whiten = (vectors / np.sqrt(np.maximum(variance, floor * max(variance.max(), 1e-30)))).T
        farthest = np.sqrt((((chosen - mean[z]) @ whiten.T) ** 2).sum(axis=1).max())
        root[z] = whiten / max(farthest, 1e-30)
    return {"mean": mean, "root": root}


def write(potential: Potential, config: Mapping[str, Any], path: str | Path, card: Mapping[str, Any]) -> None:
    """Write a learned potential to one file.

    Args:
        config: the configuration it was built from. card: data, errors, domain of validity, provenance.
    """
    module = potential.module
    if not isinstance(module, NetworkEnergy):
        raise InputError(f"{type(module).__name__} is not a learned potential; only those are written to checkpoints")
    known = {"species": list(module.species), "minimum_distance": module.minimum_distance}
    params = jax.tree.map(np.asarray, potential.params)
    write_checkpoint(
        path,
        Checkpoint(
            "potential", {**known, "model": as_json(from_table(MaceSettings, config, "model").asdict())}, params, card
        ),
    )


CONFIG = schema.Table(
    {
        "model": schema.Table({}, others=True),
        "species": schema.List(schema.Number(1, len(chemical_symbols) - 1, whole=True)),
        "minimum_distance": schema.Number(0, 100, "angstrom"),
    },
    others=True,
)
"""What the configuration of a checkpoint holds; `MaceSettings` say what stands in the model."""


def read(path: str | Path) -> tuple[Potential, Mapping[str, Any]]:
    """A learned potential and its card.

    Raises:
        InputError: what `read_checkpoint` refuses, or parameters that do not belong to its configuration.
    """
    found = read_checkpoint(path, "potential")
    where = f"checkpoint {path}"
    CONFIG.check(found.config, where, "config")
    try:
        module = build(found.config["model"], found.config["species"])
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    least, citation = float(found.config["minimum_distance"]), str(found.card.get("citation", ""))
    module = dataclasses.replace(module, minimum_distance=least, citation=citation)
    compare(jax.eval_shape(module.init, jax.random.key(0)), found.params, path)
    return Potential(jax.tree.map(jnp.asarray, dict(found.params)), module), found.card
