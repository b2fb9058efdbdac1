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
from jaxtyping import Array, Float, Int

from jaxepi import schema, tree
from jaxepi.checkpoint import Checkpoint, compare, read_checkpoint, write_checkpoint
from jaxepi.errors import InputError
from jaxepi.graph import Graph, Relation, Table
from jaxepi.guards import full_precision
from jaxepi.hamiltonians import positions
from jaxepi.hamiltonians.base import BlockModule, Blocks, Hamiltonian
from jaxepi.hamiltonians.basis import SHELLS, Basis
from jaxepi.hamiltonians.e3_baseline import Baseline, Edges, atoms_at_a_time, splines
from jaxepi.hamiltonians.e3_network import AtomNetwork, EdgeNetwork, Tensors
from jaxepi.hamiltonians.e3_shells import Shells
from jaxepi.hamiltonians.overlap import Overlap
from jaxepi.hamiltonians.settings import EquivariantSettings
from jaxepi.model import label
from jaxepi.nn import Features, directions, hermitian, in_parts, joined, to_edges
from jaxepi.settings import as_json, from_table
from jaxepi.structure import Structure

SPREAD_SPLINES = 12
"""Functions of distance of the size of what the network gives."""

ATOMS = 1024
"""Atoms of a large cell whose neighbourhoods the network of atoms holds at a time."""


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
        out = []
        for table in graph.tables[: len(self.kinds)]:
            assert table.edges is not None  # only crystals that share a table have no list
            out.append(to_edges(jnp.ones(table.mask.shape, graph.reference.dtype), table.edges, graph.n_edges))
        return jnp.stack(out, axis=1)

    def near_tables(self, graph: Graph) -> tuple[Table, ...]:
        """Of neighbours that act on edges, one a kind."""
        return graph.tables[len(self.kinds) : 2 * len(self.kinds)]

    def working_bytes(self, graph: Graph) -> float:
        """Of what neighbours do to the edges of some atoms by the baseline: nearly all there is."""
        near = [table.mask for table in self.near_tables(graph)]
        each = self.baseline.numbers_of_an_atom(max(mask.shape[1] for mask in near))
        return float(min(graph.n_atoms, atoms_at_a_time(near)) * each * graph.reference.dtype.itemsize)

    def apply(self, variables: Any, structure: Structure, graph: Graph) -> Blocks:
        """Blocks of H and S in eV; see `Hamiltonian.blocks`."""
        params, tables = variables["params"], self.near_tables(graph)
        vectors, kind = graph.vectors(structure), self.kind_of_edges(graph).astype(structure.positions.dtype)
        near = tuple(table.vectors(structure.positions, structure.cell) for table in tables)
        receivers, slots = (tuple(getattr(table, name) for table in tables) for name in ("receivers", "edges"))
        species = jnp.asarray(self.basis.kinds(structure.species))
        edges = Edges(vectors, kind, graph.senders, graph.reverse, graph.neighbours)
        onsite, hopping = self.matrix(params, species, edges, near, receivers, slots)
        # One after the other, so that what makes H is gone before S is begun.
        onsite, hopping, structure = jax.lax.optimization_barrier((onsite, hopping, structure))
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

    def matrix(
        self,
        params: Mapping[str, Any],
        species: Int[Array, "n"],
        edges: Edges,
        near: tuple[Float[Array, "n _ 3"], ...],
        receivers: tuple[Int[Array, "n _"], ...],
        slots: tuple[Int[Array, "n _"], ...],
    ) -> tuple[Float[Array, "n o o"], Float[Array, "e o o"]]:
        """H of atoms and of edges, eV, made of the edges of some atoms at a time.

        Args:
            species: index of each atom's. near, receivers, slots: vectors, receivers and edges of neighbours that act on
                edges, one table a kind (`near_tables`).
        """
        base, (n, most) = params["baseline"], edges.rows.shape
        features, own = self.on_atoms(params, species, near, receivers)

        def made(senders: Array, row: Array, *around: Any) -> tuple[Array, Array]:
            v, k = edges.of(row)
            onsite = self.baseline.onsite(base, v, k)
            if self.baseline.pair_functions:
                onsite = onsite + self.baseline.by_pairs(base, around[0])
            directed = 0.5 * self.baseline.two_centre(base, v.reshape(-1, 3), k.reshape(-1, k.shape[2]))
            directed = directed.reshape(*row.shape, *directed.shape[1:])
            # Edges of an atom stand together; padding lies beyond, and holds zeros.
            for part, there in zip(self.around(params, features, senders, *around[:2]), around[2], strict=False):
                index = jnp.arange(len(row), dtype=row.dtype)[:, None], there - row[:, :1]
                directed = directed.at[index].add(part, mode="drop")
            return onsite, directed

        atoms = jnp.arange(n, dtype=edges.senders.dtype)
        onsite, directed = in_parts(made, atoms_at_a_time(near), atoms, edges.rows, near, receivers, slots)
        place = jnp.arange(len(edges.senders), dtype=edges.rows.dtype) - edges.rows[edges.senders, 0]
        directed = directed.reshape(-1, *directed.shape[3:])
        place = jnp.where(place < most, edges.senders * most + place, len(directed))
        one, back = (directed.at[at].get(mode="fill", fill_value=0) for at in (place, place[edges.reverse]))
        return hermitian(joined(onsite, n) + own), one + jnp.swapaxes(back, 1, 2)

    @full_precision
    def on_atoms(
        self, params: Mapping[str, Any], species: Array, near: tuple[Float[Array, "n _ 3"], ...], receivers: Any
    ) -> tuple[Features, Float[Array, "n o o"]]:
        """The network's features of all atoms, and what it adds to their blocks (not symmetric yet); none without one."""
        if self.atoms is None:
            return {}, jnp.zeros((len(species), self.shells.width, self.shells.width), near[0].dtype)
        single = jax.tree.leaves(params["atoms"])[0].dtype
        rounded = tuple(v.astype(single) for v in near)
        found: Any = self.atoms.clone(rows=ATOMS).apply({"params": params["atoms"]}, species, rounded, receivers)
        features, own = found
        exact, spread = near[0].dtype, params["spread"]["onsite"]
        tensors = {i: x.astype(exact) * spread[str(i)].astype(exact)[None, None] for i, x in own.items()}
        return features, self.shells.blocks(tensors)

    @full_precision
    def around(
        self,
        params: Mapping[str, Any],
        features: Features,
        senders: Array,
        near: Any,
        receivers: Any,
        linear: bool = True,
    ) -> tuple[Float[Array, "n _ o o"], ...]:
        """What the neighbours of both ends do to the edges of some atoms, directed, one array a kind.

        Args:
            features: of all atoms. senders, near, receivers: of these. linear: with the baseline, not the network alone.
        """
        linear = linear and self.baseline.around
        if not linear and self.edges is None:
            return ()
        moments = self.baseline.moments(near, self.baseline.neighbour_functions) if linear else []
        out = []
        for i, (v, there) in enumerate(zip(near, receivers, strict=True)):
            tensors: Tensors = {}
            if linear:
                found = self.baseline.directed(params["baseline"], i, v, moments)
                tensors = {irrep: x.reshape(-1, *x.shape[2:]) for irrep, x in found.items()}
            if self.edges is not None:
                for irrep, x in self._learned(params, i, features, v, senders, there).items():
                    tensors[irrep] = tensors[irrep] + x if irrep in tensors else x
            blocks = self.shells.blocks(tensors)
            out.append(blocks.reshape(*v.shape[:2], *blocks.shape[1:]))
        return tuple(out)

    def learned(
        self, params: Mapping[str, Any], species: Array, near: tuple[Float[Array, "n _ 3"], ...], receivers: Any
    ) -> tuple[Float[Array, "n o o"], tuple[Float[Array, "n _ o o"], ...]]:
        """What the network adds to atoms (not symmetric yet) and, directed, to the edges of each kind."""
        features, own = self.on_atoms(params, species, near, receivers)

        def made(senders: Array, near: Any, receivers: Any) -> tuple[Array, ...]:
            return self.around(params, features, senders, near, receivers, linear=False)

        atoms = jnp.arange(len(own), dtype=receivers[0].dtype)
        return own, joined(in_parts(made, atoms_at_a_time(near), atoms, near, receivers), len(own))

    def _learned(
        self, params: Mapping[str, Any], i: int, features: Features, vectors: Array, senders: Array, receivers: Array
    ) -> Tensors:
        """What the network adds to the edges of kind i of some atoms."""
        assert self.edges is not None
        kind, single = self.kinds[i], jax.tree.leaves(params["edges"])[0].dtype
        v = vectors.reshape(-1, 3).astype(single)
        ends = jnp.broadcast_to(senders[:, None], receivers.shape).reshape(-1), receivers.reshape(-1)
        found: Any = self.edges.apply({"params": params["edges"][kind]}, features, v, *ends)
        basis = splines(directions(v)[0], self.baseline.FIRST, self.baseline.near, SPREAD_SPLINES)
        sizes = {irrep: basis @ params["spread"]["hopping"][str(irrep)][i].astype(single) for irrep in found}
        return {irrep: (x * sizes[irrep][:, None, :]).astype(vectors.dtype) for irrep, x in found.items()}


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
