"""H(R) and S(R) of all configurations in one list of atoms and one of edges, as if they were one crystal that falls apart.

Flows in: groups of data sets with blocks, and the module that shall learn them. Flows out: `Matrices`, arrays on the host. What
the model makes of vectors alone is then made of all configurations at once, whatever their sizes.
"""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from jaxepi import edge_lists
from jaxepi.datasets.blocks import PairBlocks
from jaxepi.datasets.dataset import Configurations
from jaxepi.datasets.overlap import pair_vectors
from jaxepi.errors import InputError
from jaxepi.graph import FAR, Table, build_graph
from jaxepi.hamiltonians.e3 import Equivariant
from jaxepi.hamiltonians.e3_baseline import Edges
from jaxepi.progress import progress_bar
from jaxepi.structure import Structure
from jaxepi.training.blocks import order, places


@dataclasses.dataclass(frozen=True)
class Near:
    """The table of one kind of near neighbours: `graph.Table` with atoms and edges of the whole list."""

    vectors: Float[np.ndarray, "n m 3"]
    receivers: Int[np.ndarray, "n m"]
    mask: Bool[np.ndarray, "n m"]
    edges: Int[np.ndarray, "n m"]


@dataclasses.dataclass(frozen=True)
class Matrices:
    """c configurations, n atoms and e edges together.

    Attributes:
        vectors: angstrom. kind: one where an edge is of a kind. hopping, onsite: eV. overlap, own_overlap: of edges and atoms.
        atom_of, edge_of: configuration of every atom and edge. near: one a kind. species: index of each atom's.
        split, what, temperature: of the configurations. first: index of the first atom of each, and n.
        beyond: how many pairs of the labels, both directions, lie beyond the reach of the basis, where all is zero.
    """

    vectors: Float[np.ndarray, "e 3"]
    senders: Int[np.ndarray, "e"]
    receivers: Int[np.ndarray, "e"]
    shifts: Int[np.ndarray, "e 3"]
    reverse: Int[np.ndarray, "e"]
    kind: Float[np.ndarray, "e k"]
    hopping: Float[np.ndarray, "e o o"]
    overlap: Float[np.ndarray, "e o o"]
    onsite: Float[np.ndarray, "n o o"]
    own_overlap: Float[np.ndarray, "n o o"]
    atom_of: Int[np.ndarray, "n"]
    edge_of: Int[np.ndarray, "e"]
    near: tuple[Near, ...]
    species: Int[np.ndarray, "n"]
    split: np.ndarray
    what: np.ndarray
    temperature: Float[np.ndarray, "c"]
    first: Int[np.ndarray, "c_1"]
    beyond: Int[np.ndarray, "c"]

    def __len__(self) -> int:
        return len(self.split)

    @property
    def lengths(self) -> Float[np.ndarray, "e"]:
        """Angstrom."""
        return np.linalg.norm(self.vectors, axis=1)

    @property
    def edges(self) -> Edges:
        """As the model takes them."""
        rows = edge_lists.rows(self.senders, np.ones(len(self.senders), bool), len(self.onsite))
        senders, reverse = (x.astype(np.int32) for x in (self.senders, self.reverse))
        return Edges(*map(jnp.asarray, (self.vectors, self.kind, senders, reverse, rows)))

    def atoms(self, split: str) -> Bool[np.ndarray, "n"]:
        """Which atoms are of a split."""
        return (self.split == split)[self.atom_of]

    def rows(self, split: str) -> Int[np.ndarray, "k"]:
        """Configurations of a split."""
        return np.flatnonzero(self.split == split)

    @property
    def sizes(self) -> Int[np.ndarray, "c"]:
        """Atoms of each configuration."""
        return np.diff(self.first)


def gathered(groups: Sequence[Configurations], module: Equivariant, level: str, progress: bool = False) -> Matrices:
    """Labels of all configurations on the edges of the module.

    Raises:
        InputError: a group without blocks at this level, or of other shells than the module's.
    """
    parts = []
    total = sum(len(group) for group in groups)
    with progress_bar(total=total, desc="blocks", unit="configuration", shown=progress, leave=False) as bar:
        for group in groups:
            blocks = group.blocks
            if blocks is None or blocks.level != level:
                raise InputError(
                    f"{len(group.species)} atoms: the data set holds no H(R) at level {level!r}; an equivariant Hamiltonian "
                    'learns from nothing else: give a set with blocks, or kind = "slater-koster"'
                )
            if (beyond := blocks.reach) < module.cutoff - 1e-6:
                raise InputError(
                    f"H(R) of the data ends at {beyond:g} angstrom, the basis reaches {module.cutoff:g}: label with all of it"
                )
            rows = {z: order(module.basis, z, blocks.shells) for z in dict.fromkeys(group.species)}
            index = np.stack([rows[z] for z in group.species])
            for c in range(len(group)):
                parts.append(_one(group, blocks, c, module, index))
                bar.update()
    return _joined(parts)


def _one(
    group: Configurations, blocks: PairBlocks, c: int, module: Equivariant, index: np.ndarray
) -> dict[str, object]:
    """Labels of one configuration."""
    structure = Structure.create(group.positions[c], group.cell[c], group.species, group.pbc)
    graph = build_graph(structure, module.cutoff, 0.0, module.relations)
    part = slice(blocks.offsets[c], blocks.offsets[c + 1])
    there, back, own = places(blocks.pairs[part], graph)
    if (own < 0).any() or ((there < 0) & (back < 0)).any():
        raise InputError(
            f"{len(group.species)} atoms: blocks/pairs lack pairs within {module.cutoff:g} angstrom; label again"
        )
    first, second = index[np.asarray(graph.senders)], index[np.asarray(graph.receivers)]

    def edges(values: np.ndarray) -> np.ndarray:
        found = np.where((there >= 0)[:, None, None], values[there], values[back].swapaxes(1, 2))
        return np.take_along_axis(np.take_along_axis(found, first[:, :, None], 1), second[:, None, :], 2)

    def atoms(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(np.take_along_axis(values[own], index[:, :, None], 1), index[:, None, :], 2)

    h, s = blocks.hamiltonian[part], blocks.overlap[part]
    i, j, shifts = (np.asarray(x) for x in (graph.senders, graph.receivers, graph.shifts))
    vectors = pair_vectors(group.positions[c], group.cell[c], np.column_stack([i, j, shifts]))
    kind = np.zeros((len(vectors), len(module.kinds)))
    for k, table in enumerate(graph.tables[: len(module.kinds)]):
        kind[np.asarray(table.edges)[np.asarray(table.mask)], k] = 1.0
    return {
        "vectors": vectors,
        "senders": i,
        "receivers": j,
        "shifts": shifts,
        "reverse": np.asarray(graph.reverse),
        "kind": kind,
        "hopping": edges(h),
        "overlap": edges(s),
        "onsite": atoms(h),
        "own_overlap": atoms(s),
        "species": np.asarray(module.basis.kinds(group.species)),
        "near": [_near(table, vectors) for table in module.near_tables(graph)],
        "about": (group.split[c], group.kind[c], group.temperature[c]),
        "beyond": 2 * (len(blocks.pairs[part]) - len(own)) - len(vectors),
    }


def _near(table: Table, vectors: Float[np.ndarray, "e 3"]) -> Near:
    """A table on the host, with the vectors of its edges."""
    receivers, mask, edges = (np.asarray(x) for x in (table.receivers, table.mask, table.edges))
    found = np.where(mask[..., None], vectors[np.where(mask, edges, 0)], np.array([FAR, 0.0, 0.0]))
    return Near(found, receivers, mask, edges)


def _joined(parts: list[dict]) -> Matrices:
    sizes, counts = (np.array([len(p[name]) for p in parts]) for name in ("onsite", "vectors"))
    first, start = np.concatenate([[0], np.cumsum(sizes)]), np.concatenate([[0], np.cumsum(counts)])

    def each(name: str, shift: np.ndarray | None = None) -> np.ndarray:
        return np.concatenate([p[name] + (0 if shift is None else shift[c]) for c, p in enumerate(parts)])

    split, what, temperature = zip(*(p["about"] for p in parts), strict=True)
    return Matrices(
        **{n: each(n) for n in ("vectors", "shifts", "kind", "hopping", "overlap", "onsite", "own_overlap", "species")},
        senders=each("senders", first),
        receivers=each("receivers", first),
        reverse=each("reverse", start),
        atom_of=np.repeat(np.arange(len(parts)), sizes),
        edge_of=np.repeat(np.arange(len(parts)), counts),
        near=tuple(_stacked([p["near"][k] for p in parts], first, start, counts) for k in range(len(parts[0]["near"]))),
        split=np.array(split),
        what=np.array(what),
        temperature=np.array(temperature, float),
        first=first,
        beyond=np.array([p["beyond"] for p in parts]),
    )


def _stacked(tables: list[Near], first: np.ndarray, start: np.ndarray, counts: np.ndarray) -> Near:
    """Tables of single configurations below each other, as wide as the widest; slots that pad name the edge past the last."""
    width = max(t.mask.shape[1] for t in tables)

    def wide(values: np.ndarray, fill: np.ndarray) -> np.ndarray:
        out = np.broadcast_to(fill, (len(values), width, *values.shape[2:])).astype(values.dtype)
        out[:, : values.shape[1]] = values
        return out

    far, total = np.array([FAR, 0.0, 0.0]), int(start[-1])
    vectors, receivers, masks, edges = [], [], [], []
    for c, t in enumerate(tables):
        vectors.append(wide(t.vectors, far))
        receivers.append(wide(t.receivers, np.arange(len(t.receivers))[:, None]) + first[c])
        masks.append(wide(t.mask, np.array(False)))
        own = np.where(t.mask, t.edges + start[c], total)
        edges.append(wide(own, np.array(total)))
    return Near(*(np.concatenate(x) for x in (vectors, receivers, masks, edges)))
