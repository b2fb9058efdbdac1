"""What a Hamiltonian learns from: configurations with eigenvalues, in groups of equal shape, and how spectra are compared.

Flows in: configurations of a data set and a Hamiltonian to begin from. Flows out: `Group`s with graphs, labels and weights,
errors of bands and gaps, and refusals of labels that cannot be right.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Inexact, Int

from jaxepi.datasets.dataset import Configurations
from jaxepi.datasets.deeptb import paired
from jaxepi.electrons.eigen import generalized_eigvalsh
from jaxepi.errors import InputError
from jaxepi.graph import Graph, padded, shape_of
from jaxepi.hamiltonians.base import Blocks, Hamiltonian
from jaxepi.hamiltonians.bloch import Images, bloch_many, cartesian, phases, signs
from jaxepi.kpoints import KPoints
from jaxepi.progress import progress_bar
from jaxepi.structure import Structure
from jaxepi.training.bands import edges
from jaxepi.training.blocks import BlockTargets, targets
from jaxepi.training.settings import BandLossSettings


@dataclasses.dataclass(frozen=True)
class Group:
    """Configurations of equal shape with everything that their spectra need; arrays on the host.

    Attributes:
        held: as read; energies are its eigenvalues at one level, eV, shape (s, k, b). weight: of its configurations.
        graphs, images: stacked, padded alike. real: whether H(k) is real at all its k points.
        blocks: H(R) and S(R) on the edges of the graphs, where they are learned. repeat: how often a training epoch goes
            through them. positions, cell: of the configurations, and after them of the crystal at rest where another group
            holds it on the same mesh; graphs and images too. rest: its row, None without. still: its eigenvalues, eV, shape
            (k, b), NaN without.
    """

    held: Configurations
    energies: Float[np.ndarray, "s k b"]
    weight: float
    graphs: Graph
    images: Images
    real: bool
    positions: Float[np.ndarray, "r n 3"]
    cell: Float[np.ndarray, "r 3 3"]
    still: Float[np.ndarray, "k b"]
    blocks: BlockTargets | None = None
    repeat: int = 1
    rest: int | None = None

    @classmethod
    def of(
        cls,
        held: Configurations,
        level: str,
        weight: float,
        hamiltonian: Hamiltonian,
        bands: int,
        progress: bool,
        matrices: bool = False,
        repeat: int = 1,
        rest: tuple[Configurations, int] | None = None,
    ) -> "Group":
        """Find the neighbours of all configurations; `bands` is how many are kept (0: all).

        Args:
            rest: group and row of the crystal at rest (`edges.crystal_of`); None: of these configurations, if they hold it and
                it is trained on.

        Raises:
            InputError: with `matrices`, blocks that the model cannot have (see `blocks.targets`).
        """
        energies = held.labels[level]["eigenvalues"]
        energies = energies[:, :, : bands or None]
        still, positions, cell = np.full(energies.shape[1:], np.nan), held.positions, held.cell
        rest = rest or edges.crystal_of((), held, level, "train")
        row_at_rest = None
        if rest is not None:
            home, row_at_rest = rest
            still = home.labels[level]["eigenvalues"][row_at_rest, :, : energies.shape[2]]
            if home is not held:
                positions, cell = (
                    np.append(a, b[row_at_rest][None], axis=0)
                    for a, b in ((positions, home.positions), (cell, home.cell))
                )
                row_at_rest = len(held)
        graphs = []
        # Every configuration has a graph of its own: where terms end at the cutoff a skin would only cost. (The bonds of a
        # published set are all pairs within cutoff and skin.)
        skin = 0.0 if hamiltonian.module.ends_at_cutoff else None
        rows = progress_bar(range(len(positions)), desc="neighbours", unit="configuration", leave=False, shown=progress)
        for row in rows:
            structure = Structure.create(positions[row], cell[row], held.species, held.pbc)
            graphs.append(hamiltonian.graph(structure, skin))
        shape = tuple(max(lengths) for lengths in zip(*map(shape_of, graphs), strict=True))
        most = max(Images.of(g).mask.shape[1] for g in graphs)
        images = _stacked([Images.of(g, most) for g in graphs])
        real = hamiltonian.real and KPoints(held.kpoints, held.weights).is_real
        graphs = [padded(g, shape) for g in graphs]
        blocks = targets(held, graphs[: len(held)], hamiltonian, level) if matrices else None
        found = (_stacked(graphs), images, real, positions, cell, still, blocks)
        return cls(held, energies, weight, *found, repeat, row_at_rest)

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


def spectrum(
    hamiltonian: Hamiltonian, structure: Structure, graph: Graph, images: Images, points: Array, real: bool
) -> Float[Array, "k N"]:
    """All eigenvalues at fractional k points of a small cell, eV (traceable)."""
    return bands(*bloch(hamiltonian.blocks(structure, graph), structure, graph, images, points, real))


def bloch(
    blocks: Blocks, structure: Structure, graph: Graph, images: Images, points: Array, real: bool
) -> tuple[Inexact[Array, "k N N"], Inexact[Array, "k N N"] | None]:
    """H(k) and S(k) at fractional k points of a small cell; with `real`, as real matrices."""
    vectors = graph.vectors(structure)
    if real:
        factor: Array = jax.vmap(lambda k: signs(graph, k, vectors.dtype))(points)
    else:
        factor = jax.vmap(lambda k: phases(vectors, k))(cartesian(points, structure))
    return bloch_many(blocks, images, factor)


def bands(h: Inexact[Array, "k N N"], s: Inexact[Array, "k N N"] | None) -> Float[Array, "k N"]:
    """Eigenvalues at every k point, eV."""
    if s is None:
        return jax.vmap(lambda x: generalized_eigvalsh(x, None))(h)
    return jax.vmap(generalized_eigvalsh)(h, s)


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
    weight = np.where(near_gap(group, settings.near_width), settings.near, 1.0) * inside
    weight = weight * np.where(near_gap(group, settings.edge_width), settings.edge, 1.0)
    k = group.held.weights * len(group.held.weights)
    return weight * k[:, None]


def level_errors(error: Any, functional: Any) -> Any:
    """Mean squared error of levels, eV^2, from errors of all eigenvalues (s, k, b); zero without levels."""
    return ((error[:, None] * functional[None]).sum(axis=(2, 3)) ** 2).sum(axis=1) / max(len(functional), 1)


def near_gap(group: Group, width: float) -> Bool[np.ndarray, "s k b"]:
    """States within some eV of the band edge on their side."""
    e, occupied = group.energies, group.occupied
    top = e[:, :, :occupied].max(axis=(1, 2), keepdims=True)
    bottom = e[:, :, occupied:].min(axis=(1, 2), keepdims=True)
    return (e >= top - width) & (e <= bottom + width)


def band_errors(
    group: Group, found: Float[np.ndarray, "s k b"], rows: Int[np.ndarray, "r"], settings: BandLossSettings
) -> dict[str, np.ndarray]:
    """For each of some configurations: loss, mean squared error (eV^2) of all states in the window and of those near the gap,
    error of the gap (eV)."""
    label, occupied = group.energies[rows], group.occupied
    error = aligned(found[rows], occupied, settings.align) - aligned(label, occupied, settings.align)
    weight, near = importance(group, settings)[rows], near_gap(group, settings.near_width)[rows]
    k = np.broadcast_to(group.held.weights[None, :, None], error.shape)
    counted = np.where(weight > 0, k, 0.0)

    def mean(w):
        return (w * error**2).sum(axis=(1, 2)) / w.sum(axis=(1, 2))

    gaps = gap(found[rows], occupied) - gap(label, occupied)
    loss = settings.eigenvalues * mean(weight) + settings.gap * gaps**2
    loss = loss + settings.levels * level_errors(found[rows] - label, functionals(group, settings))
    return {"loss": loss, "bands": mean(counted), "near": mean(np.where(near, counted, 0.0)), "gap": gaps}


def functionals(group: Group, settings: BandLossSettings) -> Float[np.ndarray, "l k b"]:
    """What the loss compares of levels (`edges.functionals`); none where it does not, or without the crystal at rest."""
    if not settings.levels or group.rest is None or group.rest == len(group.held):
        return np.zeros((0, *group.energies.shape[1:]))
    return edges.functionals(group.still, group.occupied, settings.levels_within)


def shifting(group: Group, settings: BandLossSettings) -> Float[np.ndarray, "l k b"]:
    """What the loss compares of shifts from the crystal at rest, on meshes that hold it: the levels, and the valence top."""
    if not settings.shifts or group.rest is None:
        return np.zeros((0, *group.energies.shape[1:]))
    found = edges.functionals(group.still, group.occupied, settings.levels_within)
    top = edges.top_functional(group.still, group.occupied, group.held.weights)
    return np.concatenate([found, top[None]])


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
    electrons = dict(hamiltonian.basis.electrons)
    total = sum(electrons[z] for z in held.species)
    if hamiltonian.basis.spin_degeneracy == 2 and held.occupied == total and paired(group.energies) is not None:
        raise InputError(
            f"{where}: all bands come in pairs and {held.occupied} are filled, one electron each (spin-orbit coupling), but "
            "every band of this Hamiltonian holds two; train on bands of a calculation without spin"
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
    if loss.positive_overlap and jax.eval_shape(hamiltonian.blocks, structure, graph).overlap is None:
        raise InputError("positive_overlap: this model is orthogonal and its overlap always positive; leave it out")
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
