"""Learning a Hamiltonian from eigenvalues: groups of configurations, losses of bands and gaps, and their errors.

Flows in: data sets with eigenvalues and a Hamiltonian to begin from. Flows out: the `Problem` that the loop trains. Bands
are compared in order of energy; the derivative of an eigenvalue is that of its state, which is right for every sum over a
degenerate set and never NaN (jaxepi.electrons.eigen).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from tqdm import tqdm

from jaxepi.electrons.eigen import generalized_eigvalsh
from jaxepi.errors import InputError
from jaxepi.graph import Graph, padded, shape_of
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.bloch import Images, bloch_many, cartesian, phases, signs
from jaxepi.io.dataset import Configurations
from jaxepi.kpoints import KPoints
from jaxepi.structure import Structure
from jaxepi.training.settings import BandLossSettings
from jaxepi.tree import pytree, static

MEASURES = ("bands_mev", "near_mev", "gap_bias_mev", "gap_scatter_mev")
"""Names of errors, meV: root mean square over all bands in the loss and over those near the gap; mean and standard deviation
of the gap's error."""


MOST = 4
"""Configurations of a step at most: small cells need as many steps as large ones."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Configurations of equal shape with everything that their spectra need; arrays on the host.

    Attributes:
        held: as read; energies are its eigenvalues at one level, eV, shape (s, k, b). weight: of its configurations.
        graphs, images: stacked, padded alike. real: whether H(k) is real at all its k points.
    """

    held: Configurations
    energies: Float[np.ndarray, "s k b"]
    weight: float
    graphs: Graph
    images: Images
    real: bool

    @classmethod
    def of(
        cls, held: Configurations, level: str, weight: float, hamiltonian: Hamiltonian, bands: int, progress: bool
    ) -> "Group":
        """Find the neighbours of all configurations; `bands` is how many are kept (0: all)."""
        energies = held.labels[level]["eigenvalues"]
        energies = energies[:, :, : bands or None]
        graphs = []
        module: Any = hamiltonian.module
        if hasattr(module, "relations"):
            # Learned terms end at the cutoff and every configuration has a graph of its own: a skin would only cost. (The
            # bonds of a published set are all pairs within cutoff and skin.)
            hamiltonian = dataclasses.replace(hamiltonian, module=dataclasses.replace(module, skin=0.0))
        rows = tqdm(range(len(held)), desc="neighbours", leave=False, disable=not progress)
        for row in rows:
            structure = Structure.create(held.positions[row], held.cell[row], held.species, held.pbc)
            graphs.append(hamiltonian.graph(structure))
        shape = tuple(max(lengths) for lengths in zip(*map(shape_of, graphs), strict=True))
        most = max(Images.of(g).mask.shape[1] for g in graphs)
        images = _stacked([Images.of(g, most) for g in graphs])
        real = KPoints(held.kpoints, held.weights).is_real
        return cls(held, energies, weight, _stacked([padded(g, shape) for g in graphs]), images, real)

    @property
    def occupied(self) -> int:
        return self.held.occupied

    @property
    def gaps(self) -> Float[np.ndarray, "s"]:
        """Band gaps on the k mesh, eV."""
        return gap(self.energies, self.occupied)


def _stacked(trees: Sequence[Any]) -> Any:
    """Pytrees of equal shapes as one, on the host."""
    return jax.tree.map(lambda *x: np.stack(x), *trees)


def gap(energies: Any, occupied: int) -> Any:
    """Lowest empty less highest filled energy over all k points; energies (..., k, bands)."""
    return energies[..., occupied:].min(axis=(-2, -1)) - energies[..., :occupied].max(axis=(-2, -1))


@pytree
class BandPlan:
    """Members of one batch: configurations of one group, -1 where there is none, and which of its k points (None: all)."""

    members: Int[np.ndarray, "B"]
    points: Int[np.ndarray, "p"] | None
    group: int = static()


class BandProblem:
    """The `Problem` of a Hamiltonian on some groups of configurations.

    Args:
        hamiltonian: its module, and the parameters to begin from. groups: data. loss: weights.
        batch_atoms: atoms of a step, about; at least one configuration.
    """

    def __init__(
        self,
        hamiltonian: Hamiltonian,
        groups: Sequence[Group],
        loss: BandLossSettings,
        batch_atoms: int = 32,
        dtype: str = "float32",
        seed: int = 0,
    ):
        self.hamiltonian, self.groups, self.settings = hamiltonian, tuple(groups), loss
        self.batch_atoms, self.dtype, self.seed = batch_atoms, np.dtype(dtype), seed
        for group in self.groups:
            refuse(group, hamiltonian, loss)

    @cached_property
    def arrays(self) -> tuple[dict[str, Any], ...]:
        """Everything on the device, one dict a group."""

        def number(x):
            x = np.asarray(x)
            return jnp.asarray(x.astype(self.dtype) if x.dtype.kind == "f" else x)

        out = []
        for group in self.groups:
            held = group.held
            found: dict[str, Any] = {"positions": held.positions, "cell": held.cell, "energies": group.energies}
            found |= {"graphs": group.graphs, "images": group.images}
            found |= {"kpoints": held.kpoints, "importance": importance(group, self.settings)}
            out.append(jax.tree.map(number, found))
        return tuple(out)

    def initial(self) -> Any:
        """Parameters to train."""
        return jax.tree.map(lambda x: np.asarray(x, self.dtype), self.hamiltonian.params)

    def rows(self, group: Group, split: str) -> Int[np.ndarray, "r"]:
        """Configurations of a group in a split."""
        return np.flatnonzero(np.asarray(group.held.split) == split)

    def plans(self, split: str, epoch: int | None = None) -> list[BandPlan]:
        """Batches of a split, each of one group; shuffled by seed and epoch."""
        random = None if epoch is None else np.random.default_rng((self.seed, epoch))
        out = []
        for index, group in enumerate(self.groups):
            rows = self.rows(group, split)
            rows = rows if random is None else random.permutation(rows)
            batch = max(1, min(self.batch_atoms // len(group.held.species), MOST))
            for start in range(0, len(rows), batch):
                chosen = rows[start : start + batch]
                filled = np.pad(chosen, (0, batch - len(chosen)), constant_values=-1)
                out.append(BandPlan(filled.astype(np.int32), self._points(group, random), index))
        return out if random is None else [out[i] for i in random.permutation(len(out))]

    def _points(self, group: Group, random: np.random.Generator | None) -> Int[np.ndarray, "p"] | None:
        """k points of one step: those of the band edges, and others at random."""
        wanted, count = self.settings.points, len(group.held.kpoints)
        if random is None or not 0 < wanted < count:
            return None
        mean, n = group.energies.mean(axis=0), group.occupied
        edges = np.unique([mean[:, n - 1].argmax(), mean[:, n].argmin()])
        others = np.setdiff1d(np.arange(count), edges)
        drawn = random.permutation(others)[: max(wanted - len(edges), 0)]
        return np.concatenate([edges, drawn])[:wanted].astype(np.int32)

    def outputs(self, params: Any, arrays: Any, plan: BandPlan) -> Float[Array, "B k b"]:
        """Eigenvalues of a batch, as many bands as the labels have, not aligned."""
        data, group = arrays[plan.group], self.groups[plan.group]
        members = jnp.maximum(plan.members, 0)
        taken = {n: jax.tree.map(lambda x: x[members], data[n]) for n in ("positions", "cell", "graphs", "images")}
        hamiltonian = dataclasses.replace(self.hamiltonian, params=jax.tree.map(jnp.asarray, params))
        count = group.energies.shape[2]
        kpoints = data["kpoints"] if plan.points is None else data["kpoints"][plan.points]

        def one(positions, cell, graph, images):
            structure = Structure(positions, cell, group.held.species, group.held.pbc)
            return spectrum(hamiltonian, structure, graph, images, kpoints, group.real)[:, :count]

        return jax.vmap(one)(taken["positions"], taken["cell"], taken["graphs"], taken["images"])

    def loss(self, params: Any, arrays: Any, plan: BandPlan) -> tuple[Array, dict[str, Array]]:
        """Weighted mean squared error of aligned bands plus that of the gap."""
        found, data, group = self.outputs(params, arrays, plan), arrays[plan.group], self.groups[plan.group]
        members, present = jnp.maximum(plan.members, 0), plan.members >= 0
        importance_, label = data["importance"][members], data["energies"][members]
        if plan.points is not None:
            importance_, label = importance_[:, plan.points], label[:, plan.points]
        error = aligned(found, group.occupied, self.settings.align) - aligned(
            label, group.occupied, self.settings.align
        )
        bands = jnp.sum(importance_ * error**2, axis=(1, 2)) / jnp.sum(importance_, axis=(1, 2))
        value = bands
        if self.settings.gap:
            value = value + self.settings.gap * (gap(found, group.occupied) - gap(label, group.occupied)) ** 2
        average = group.weight * jnp.sum(jnp.where(present, value, 0.0)) / len(plan.members)
        sums = {"squares": jnp.sum(jnp.where(present, bands, 0.0)), "count": jnp.sum(present).astype(bands.dtype)}
        return average, sums

    def summary(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Weighted root mean square error of a training epoch, meV."""
        return {"weighted_mev": 1e3 * float(np.sqrt(sums["squares"] / max(sums["count"], 1)))}

    def collect(self, plans: Sequence[BandPlan], outputs: Sequence[Any]) -> list[Float[np.ndarray, "s k b"]]:
        """Eigenvalues of every group in the order of its configurations, NaN where there is none."""
        found = [np.full(group.energies.shape, np.nan) for group in self.groups]
        for plan, energies in zip(plans, outputs, strict=True):
            there = plan.members >= 0
            found[plan.group][plan.members[there]] = np.asarray(energies, np.float64)[there]
        return found

    def scores(self, split: str, plans: Sequence[BandPlan], outputs: Sequence[Any]) -> dict[str, float]:
        """Loss and errors of a split, meV."""
        found = self.collect(plans, outputs)
        rows = [self.rows(group, split) for group in self.groups]
        errors = [
            band_errors(g, f, r, self.settings) for g, f, r in zip(self.groups, found, rows, strict=True) if len(r)
        ]
        loss = np.concatenate([e["loss"] for e in errors])
        total = {n: np.concatenate([e[n] for e in errors]) for n in ("bands", "near", "gap")}
        root = {n: 1e3 * float(np.sqrt(np.nanmean(total[n]))) for n in ("bands", "near")}
        gaps = 1e3 * total["gap"]
        measures = (root["bands"], root["near"], float(gaps.mean()), float(gaps.std()))
        return {"loss": float(loss.mean()), **dict(zip(MEASURES, measures, strict=True))}


def spectrum(
    hamiltonian: Hamiltonian, structure: Structure, graph: Graph, images: Images, points: Array, real: bool
) -> Float[Array, "k N"]:
    """All eigenvalues at fractional k points of a small cell, eV (traceable)."""
    blocks, vectors = hamiltonian.blocks(structure, graph), graph.vectors(structure)
    if real:
        factor: Array = jax.vmap(lambda k: signs(graph, k, vectors.dtype))(points)
    else:
        factor = jax.vmap(lambda k: phases(vectors, k))(cartesian(points, structure))
    h, s = bloch_many(blocks, images, factor)
    return (
        jax.vmap(generalized_eigvalsh)(h, s) if s is not None else jax.vmap(lambda x: generalized_eigvalsh(x, None))(h)
    )


def aligned(energies: Any, occupied: int, how: str) -> Any:
    """Energies (..., k, bands) less their reference: the mean of the filled bands, their top, the lowest, or nothing."""
    filled = energies[..., :occupied]
    if how == "valence":
        return energies - filled.mean(axis=(-2, -1), keepdims=True)
    if how == "edge":
        return energies - filled.max(axis=(-2, -1), keepdims=True)
    if how == "minimum":
        return energies - energies.min(axis=(-2, -1), keepdims=True)
    return energies


def importance(group: Group, settings: BandLossSettings) -> Float[np.ndarray, "s k b"]:
    """Weights of all states, from the labels: of the band window, of k, and more near the gap."""
    e, occupied = group.energies, group.occupied
    top = e[:, :, :occupied].max(axis=(1, 2), keepdims=True)
    low, high = settings.window
    inside = (e - top >= low) & (e - top <= high)
    weight = np.where(near_gap(group, settings), settings.near, 1.0) * inside
    k = group.held.weights * len(group.held.weights)
    return weight * k[:, None]


def near_gap(group: Group, settings: BandLossSettings) -> Bool[np.ndarray, "s k b"]:
    """States within `near_width` of the band edge on their side."""
    e, occupied = group.energies, group.occupied
    top = e[:, :, :occupied].max(axis=(1, 2), keepdims=True)
    bottom = e[:, :, occupied:].min(axis=(1, 2), keepdims=True)
    return (e >= top - settings.near_width) & (e <= bottom + settings.near_width)


def band_errors(
    group: Group, found: Float[np.ndarray, "s k b"], rows: Int[np.ndarray, "r"], settings: BandLossSettings
) -> dict[str, np.ndarray]:
    """For each of some configurations: loss, mean squared error (eV^2) of all states in the window and of those near the gap,
    error of the gap (eV)."""
    label, occupied = group.energies[rows], group.occupied
    error = aligned(found[rows], occupied, settings.align) - aligned(label, occupied, settings.align)
    weight, near = importance(group, settings)[rows], near_gap(group, settings)[rows]
    k = np.broadcast_to(group.held.weights[None, :, None], error.shape)
    counted = np.where(weight > 0, k, 0.0)

    def mean(w):
        return (w * error**2).sum(axis=(1, 2)) / w.sum(axis=(1, 2))

    gaps = gap(found[rows], occupied) - gap(label, occupied)
    loss = mean(weight) + settings.gap * gaps**2
    return {"loss": loss, "bands": mean(counted), "near": mean(np.where(near, counted, 0.0)), "gap": gaps}


HARTREE_EV, RYDBERG_EV = 27.211386, 13.605693


def refuse(group: Group, hamiltonian: Hamiltonian, loss: BandLossSettings) -> None:
    """Refuse labels that a Hamiltonian cannot have, or that look wrong, before any training.

    Raises:
        InputError: names what is wrong and the remedy.
    """
    held, where = group.held, f"{len(group.held.species)} atoms on {len(group.held.kpoints)} k points"
    orbitals, bands = hamiltonian.basis.size(held.species), group.energies.shape[2]
    if bands > orbitals:
        raise InputError(f"{where}: {bands} bands for {orbitals} orbitals; lower `bands`, or choose a larger basis")
    if held.occupied < 1 or held.occupied >= bands:
        raise InputError(
            f"{where}: {held.occupied} of {bands} bands are occupied; bands below and above the gap are needed, and the "
            "data set must say how many are filled"
        )
    top = group.energies[:, :, : held.occupied].max(axis=(1, 2))
    if loss.align == "edge" and (group.gaps <= 0).any():
        raise InputError(
            f"{where}: configuration {int(group.gaps.argmin())} has no gap, so its valence edge is undefined; align at "
            "'valence' (the mean of the filled bands) or 'none'"
        )
    if not (importance(group, loss).sum(axis=(1, 2)) > 0).all():
        low, high = group.energies.min() - top.max(), group.energies.max() - top.min()
        raise InputError(
            f"{where}: no state in the window {loss.window} eV; the data reach from {low:.1f} to {high:.1f}"
        )
    width = float((top - group.energies.min(axis=(1, 2))).mean())
    structure = Structure.create(held.positions[0], held.cell[0], held.species, held.pbc)
    graph = hamiltonian.graph(structure)
    images = Images.of(graph)
    own = np.asarray(
        spectrum(hamiltonian, structure, graph, images, jnp.asarray(held.kpoints, structure.cell.dtype), False)
    )
    expected = float(own[:, : held.occupied].max() - own[:, : held.occupied].min())
    for name, unit in (("Hartree", HARTREE_EV), ("Rydberg", RYDBERG_EV)):
        if abs(width * unit / expected - 1) < 0.3:
            raise InputError(
                f"{where}: the filled bands are {width:.3f} wide where {expected:.1f} eV are expected; the eigenvalues look "
                f"like {name}: multiply them by {unit}"
            )
