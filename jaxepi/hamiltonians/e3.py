"""Equivariant Hamiltonians of non-orthogonal atomic bases: a linear baseline, a network for what it leaves, exact overlap.

    H = baseline (`e3_baseline`) + spread(r) times network (`e3_network`),

blocks by Wigner-Eckart, Hermitian by construction (every directed block is added to the transpose of its reverse), strictly
local, turning with the crystal exactly, at the same cost a cell for all sizes. Edges within and between layers have functions
and weights of their own where that is asked for. S comes from the tables of the basis (`overlap`) and is never learned. The
network works in the precision of its parameters, all else in that of the structure. Flows in: structure and graph. Flows out:
blocks.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Array, Float

from jaxepi import schema, tree
from jaxepi.checkpoint import Checkpoint, compare, read_checkpoint, write_checkpoint
from jaxepi.errors import InputError
from jaxepi.graph import Graph, Relation, Table
from jaxepi.guards import full_precision
from jaxepi.hamiltonians import positions
from jaxepi.hamiltonians.base import BlockModule, Blocks, Hamiltonian
from jaxepi.hamiltonians.basis import SHELLS, Basis
from jaxepi.hamiltonians.e3_baseline import Baseline, splines
from jaxepi.hamiltonians.e3_network import AtomNetwork, EdgeNetwork, Tensors
from jaxepi.hamiltonians.e3_shells import Shells
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.hamiltonians.settings import EquivariantSettings
from jaxepi.model import label
from jaxepi.nn import CHUNK, Features, directions, hermitian, in_chunks, to_edges
from jaxepi.settings import as_json, from_table
from jaxepi.structure import Structure

SPREAD_SPLINES = 12
"""Functions of distance of the size of what the network gives."""


@dataclasses.dataclass(frozen=True)
class Equivariant(BlockModule):
    """Module of an equivariant Hamiltonian.

    Parameters: `baseline`, `overlap` (tables), and with a network `atoms`, `edges` (one a kind) and `spread` (of its blocks).

    Attributes:
        basis: the orbitals. baseline: its sizes. layered: whether edges within and between layers differ.
        atoms, edges: the network, or None. overlap: what S is made of. skin: of the graph, angstrom.
        minimum_distance: shortest pair distance of the training data, angstrom.
    """

    basis: Basis
    baseline: Baseline
    layered: bool
    overlap: Overlap
    atoms: AtomNetwork | None = None
    edges: EdgeNetwork | None = None
    skin: float = 0.4
    minimum_distance: float = 0.0
    citation: str = label()

    @property
    def name(self) -> str:
        return "an equivariant Hamiltonian"

    @property
    def orthogonal(self) -> bool:
        return False

    @property
    def shells(self) -> Shells:
        return self.baseline.shells

    @property
    def cutoff(self) -> float:
        """Of H(R) and S(R), angstrom."""
        return self.baseline.reach

    @property
    def ends_at_cutoff(self) -> bool:
        return True

    @property
    def kinds(self) -> tuple[str, ...]:
        """Of edges."""
        return ("intra", "inter") if self.layered else ("any",)

    @property
    def relations(self) -> tuple[Relation, ...]:
        """All edges of each kind, those of neighbours that act on others, and those of projectors."""
        far = tuple(Relation(self.cutoff, kind) for kind in self.kinds)  # type: ignore[arg-type]
        near = tuple(Relation(self.baseline.near, kind) for kind in self.kinds)  # type: ignore[arg-type]
        return (*far, *near, self.overlap.relation)

    def shapes(self, tables: Mapping[str, Any]) -> dict[str, Any]:
        """Shapes of all parameters.

        Args:
            tables: of the overlap.
        """
        nothing = np.zeros(0)

        def shaped(tree_: Mapping[str, Any]) -> Any:
            return jax.tree.map(
                lambda s: jax.ShapeDtypeStruct(s, nothing.dtype), tree_, is_leaf=lambda s: isinstance(s, tuple)
            )

        found: dict[str, Any] = {"baseline": shaped(self.baseline.shapes()), "overlap": jax.eval_shape(dict, tables)}
        if self.atoms is None or self.edges is None:
            return found
        kinds, index, columns = len(self.kinds), jnp.zeros(1, jnp.int32), self.shells.columns
        ends = (jnp.ones((1, 1, 3)),) * kinds, (jnp.zeros((1, 1), jnp.int32),) * kinds
        features = {irrep: jnp.zeros((1, irrep.dim, self.atoms.channels)) for irrep in self.shells.irreps}
        key = jax.random.key(0)
        found["atoms"] = jax.eval_shape(self.atoms.init, key, index, *ends)["params"]
        one = jax.eval_shape(self.edges.init, key, features, jnp.ones((1, 3)), index, index)["params"]
        found["edges"] = dict.fromkeys(self.kinds, one)
        hopping = {str(i): (kinds, SPREAD_SPLINES, len(c)) for i, c in columns.items()}
        found["spread"] = shaped({"hopping": hopping, "onsite": {str(i): (len(c),) for i, c in columns.items()}})
        return found

    def init(self, seed: int, tables: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters before training: no baseline, a network of normal numbers and of no size.

        Args:
            tables: of the overlap.
        """
        random = np.random.default_rng(seed)

        def drawn(path: Any, leaf: Any) -> np.ndarray:
            room, name = path[0].key, path[-1].key
            # Biases (b0, b1 of `nn.EdgeScalars`) begin at zero; all other weights are normal, as their layers ask for.
            normal = room in ("atoms", "edges") and not (name[0] == "b" and name[1:].isdecimal())
            return random.normal(size=leaf.shape) if normal else np.zeros(leaf.shape)

        found = jax.tree_util.tree_map_with_path(drawn, self.shapes(tables))
        return {**found, "overlap": dict(tables)}

    def kind_of_edges(self, graph: Graph) -> Float[Array, "e k"]:
        """One where an edge is of a kind, else zero."""
        tables = graph.tables[: len(self.kinds)]
        ones = [jnp.ones(table.mask.shape, graph.reference.dtype) for table in tables]
        return jnp.stack([_on_edges(x, table, graph) for x, table in zip(ones, tables, strict=True)], axis=1)

    def near_tables(self, graph: Graph) -> tuple[Table, ...]:
        """Of neighbours that act on edges, one a kind."""
        return graph.tables[len(self.kinds) : 2 * len(self.kinds)]

    def working_bytes(self, graph: Graph) -> float:
        """Of what neighbours do to the edges of one kind by the baseline, so many edges at a time: nearly all there is."""
        edges = min(CHUNK, max(table.mask.size for table in self.near_tables(graph)))
        features = sum(irrep.dim * self.baseline.width(irrep) for irrep in self.shells.columns)
        return float(edges * features * graph.reference.dtype.itemsize)

    def apply(self, variables: Any, structure: Structure, graph: Graph) -> Blocks:
        """Blocks of H and S in eV; see `Hamiltonian.blocks`."""
        params, n = variables["params"], graph.n_atoms
        vectors, kind = graph.vectors(structure), self.kind_of_edges(graph).astype(structure.positions.dtype)
        base = params["baseline"]
        directed = in_chunks(lambda v, k: 0.5 * self.baseline.two_centre(base, v, k), vectors, kind)
        tables = self.near_tables(graph)
        near = tuple(table.vectors(structure.positions, structure.cell) for table in tables)
        onsite = self.baseline.onsite(base, vectors, kind, graph.senders, n)
        if self.baseline.pair_functions:
            onsite = onsite + self.baseline.by_pairs(base, near)
        receivers = tuple(table.receivers for table in tables)
        directed = _added(directed, self.linear(base, near), tables)
        if self.atoms is not None:
            species = jnp.asarray(self.basis.kinds(structure.species))
            own, others = self.learned(params, species, near, receivers)
            onsite, directed = onsite + own, _added(directed, others, tables)
        hopping, onsite = 2 * hermitian(directed, graph.reverse), hermitian(onsite)
        own_overlap, overlap = self.overlap.apply(params["overlap"], structure, graph, graph.tables[-1])
        return Blocks(onsite, hopping, overlap, self.basis, structure.species, onsite_overlap=own_overlap)

    def apply_with_dipoles(self, variables: Any, structure: Structure, graph: Graph) -> Blocks:
        """Blocks with the position matrix elements of the orbitals of the overlap (`hamiltonians.positions`)."""
        blocks = self.apply(variables, structure, graph)
        tables = variables["params"]["overlap"]
        own, between = positions.apply(self.overlap, tables, structure, graph, graph.tables[-1])
        return tree.replace(blocks, dipoles=own, edge_dipoles=between)

    def check_positions(self, params: Any) -> None:
        """Refuse tables of overlaps that are not of one function a shell."""
        positions.check(self.overlap, params["overlap"]["orbital"], self.called)

    def linear(self, params: Mapping[str, Any], near: tuple[Float[Array, "n _ 3"], ...]) -> tuple[Array, ...]:
        """What neighbours do to the edges of each kind by the baseline, directed; shape (n m, o, o)."""
        if not self.baseline.around:
            return ()
        moments = self.baseline.moments(near, self.baseline.neighbour_functions)
        out = []
        for i, v in enumerate(near):

            def made(vectors: Array, senders: Array, i: int = i) -> Array:
                return self.baseline.directed(params, i, vectors, moments, senders)

            out.append(in_chunks(made, v.reshape(-1, 3), _senders(v)))
        return tuple(out)

    @full_precision
    def learned(
        self,
        params: Mapping[str, Any],
        species: Array,
        near: tuple[Float[Array, "n _ 3"], ...],
        receivers: tuple[Array, ...],
    ) -> tuple[Float[Array, "n o o"], tuple[Array, ...]]:
        """What the network adds to atoms (not symmetric yet) and, directed, to the edges of each kind."""
        assert self.atoms is not None
        exact = near[0].dtype
        single = jax.tree.leaves(params["atoms"])[0].dtype
        rounded = tuple(v.astype(single) for v in near)
        found: Any = self.atoms.apply({"params": params["atoms"]}, species, rounded, receivers)
        features, own = found
        spread = params["spread"]["onsite"]
        tensors = {i: x.astype(exact) * spread[str(i)].astype(exact)[None, None] for i, x in own.items()}
        out = []
        for i, (kind, v, there) in enumerate(zip(self.kinds, rounded, receivers, strict=True)):

            def made(vectors: Array, senders: Array, ends: Array, i: int = i, kind: str = kind) -> Array:
                return self._edge_blocks(params, kind, i, features, vectors, senders, ends, exact)

            out.append(in_chunks(made, v.reshape(-1, 3), _senders(v), there.reshape(-1)))
        return self.shells.blocks(tensors), tuple(out)

    def _edge_blocks(
        self, params: Mapping[str, Any], kind: str, i: int, features: Features, vectors, senders, receivers, exact
    ) -> Float[Array, "e o o"]:
        assert self.edges is not None
        found: Any = self.edges.apply({"params": params["edges"][kind]}, features, vectors, senders, receivers)
        tensors: Tensors = found
        basis = splines(directions(vectors)[0], self.baseline.FIRST, self.baseline.near, SPREAD_SPLINES)
        spread = params["spread"]["hopping"]
        scaled = {}
        for irrep, x in tensors.items():
            size = basis @ spread[str(irrep)][i].astype(basis.dtype)
            scaled[irrep] = (x * size[:, None, :]).astype(exact)
        return self.shells.blocks(scaled)


def _on_edges(values: Float[Array, "n m *rest"], table: Table, graph: Graph) -> Float[Array, "e *rest"]:
    """What stands in the slots of a table of a graph, on its edges."""
    assert table.edges is not None  # only crystals that share a table have no list
    return to_edges(values, table.edges, graph.n_edges)


def _added(edges: Float[Array, "e o o"], parts: tuple[Array, ...], tables: tuple[Table, ...]) -> Float[Array, "e o o"]:
    """What stands on the edges of a graph, and in the slots of tables (none, or one part a table), there too."""
    for part, table in zip(parts, tables, strict=True) if parts else ():
        assert table.edges is not None  # only crystals that share a table have no list
        edges = edges.at[table.edges.reshape(-1)].add(part, mode="drop")
    return edges


def _senders(vectors: Float[Array, "n m 3"]) -> Array:
    """Sender of every slot of a table."""
    n, m = vectors.shape[:2]
    # Not `repeat`, whose sums over constants XLA works out while it compiles.
    return jax.lax.broadcasted_iota(jnp.int32, (n, m), 0).reshape(-1)


def configured(
    config: Mapping[str, Any], basis: Basis, overlap: Overlap, neighbours: Sequence[float] = ()
) -> Equivariant:
    """The module of a configuration.

    Args:
        config: a table of `EquivariantSettings`. neighbours: typical number of each kind.

    Raises:
        InputError: an unknown key, a value that is refused, or shells other than s, p and d.
    """
    c = from_table(EquivariantSettings, config, "model")
    shells = Shells(tuple(SHELLS[name][0] for name in basis.all_shells))
    layered = c.relations == "layers"
    kinds = 2 if layered else 1
    linear = c.baseline == "linear"
    baseline = Baseline(
        shells,
        overlap.cutoff,
        c.cutoff,
        kinds,
        splines=c.splines,
        edge_functions=c.edge_functions if linear else 0,
        neighbour_functions=c.neighbour_functions if linear else 0,
        pair_functions=c.pair_functions if linear else 0,
        edge_lmax=max(irrep.l for irrep in shells.irreps),
        neighbour_lmax=c.neighbour_lmax,
    )
    atoms = edges = None
    if c.interactions:
        columns = tuple((irrep, len(pairs)) for irrep, pairs in shells.columns.items())
        shared: dict[str, Any] = {"lmax": c.lmax, "radial_features": c.radial_features}
        typical = tuple(neighbours) or c.neighbours or (20.0,) * kinds
        atoms = AtomNetwork(
            columns,
            c.cutoff,
            kinds,
            typical,
            len(basis.species),
            channels=c.channels,
            correlation=c.correlation,
            interactions=c.interactions,
            radial_layers=c.radial_layers,
            **shared,
        )
        edges = EdgeNetwork(columns, c.cutoff, channels=c.edge_channels, hidden=c.hidden, **shared)
    return Equivariant(basis, baseline, layered, overlap, atoms, edges, c.skin)


def carried(overlap: Overlap, shells: Sequence[str], number: int, electrons: float) -> Basis:
    """The basis of one element whose shells are named by letter: the second s shell is s*, the third s**.

    Raises:
        InputError: shells other than those that the overlap is tabulated for.
    """
    if tuple(shells) != overlap.shells:
        raise InputError(
            f"blocks have shells {' '.join(shells)}, their overlap {' '.join(overlap.shells)}: label again"
        )
    names = [letter + "*" * list(shells[:i]).count(letter) for i, letter in enumerate(shells)]
    return Basis(((number, tuple(names)),), ((number, float(electrons)),) if electrons else ())


def write(hamiltonian: Hamiltonian, config: Mapping[str, Any], path: str | Path, card: Mapping[str, Any]) -> None:
    """Write an equivariant Hamiltonian to one file, with the tables of its overlap.

    Args:
        config: the configuration it was built from. card: data, errors, domain of validity, provenance.
    """
    module = hamiltonian.module
    if not isinstance(module, Equivariant):
        raise InputError(f"{module.called} is no equivariant Hamiltonian; its own room writes it")
    ((number, _),) = module.basis.shells
    known = {
        "model": as_json(from_table(EquivariantSettings, config, "model").asdict()),
        "species": [number],
        "electrons": float(dict(module.basis.electrons).get(number, 0.0)),
        "overlap": as_json(module.overlap.to_config()),
        "minimum_distance": module.minimum_distance,
    }
    params = {**hamiltonian.params, "baseline": tree.astype(hamiltonian.params["baseline"], np.float64)}
    write_checkpoint(path, Checkpoint("hamiltonian", known, jax.tree.map(np.asarray, params), card))


CONFIG = schema.Table(
    {
        "model": schema.Table({}, others=True),
        "species": schema.List(schema.Number(1, len(chemical_symbols) - 1, whole=True), least=1, most=1),
        "electrons": schema.Number(0, 100),
        "overlap": schema.Table({}, others=True),
        "minimum_distance": schema.Number(0, 100, "angstrom"),
    },
    others=True,
)
"""What the configuration of a checkpoint holds."""


def read(path: str | Path) -> tuple[Hamiltonian, Mapping[str, Any]]:
    """An equivariant Hamiltonian and its card.

    Raises:
        InputError: what `read_checkpoint` refuses, or parameters that do not belong to the configuration.
    """
    found = read_checkpoint(path, "hamiltonian")
    where = f"checkpoint {path}"
    CONFIG.check(found.config, where, "config")
    tables = found.params.get("overlap", {})
    overlap = Overlap.from_config(found.config["overlap"], tables, where)
    (number,) = found.config["species"]
    basis = carried(overlap, overlap.shells, int(number), found.config["electrons"])
    try:
        module = configured(found.config["model"], basis, overlap)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    least, citation = float(found.config["minimum_distance"]), str(found.card.get("citation", ""))
    module = dataclasses.replace(module, minimum_distance=least, citation=citation)
    compare(module.shapes(tables), found.params, path)
    return Hamiltonian(jax.tree.map(jnp.asarray, dict(found.params)), module), found.card
