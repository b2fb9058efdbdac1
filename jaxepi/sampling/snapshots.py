"""Snapshots: configurations of one crystal at one temperature, the data that samplers hand to the electrons."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxepi import html
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.guards import constant, number, numpy_for, traced
from jaxepi.sampling import averages, frames
from jaxepi.sampling.averages import Groups, Values
from jaxepi.structure import Structure
from jaxepi.tree import field, pytree, replace, static, stored

if TYPE_CHECKING:
    import ase


Statistics = Literal["quantum", "classical"]


@stored
@pytree
class Snapshots:
    """Configurations that share one cell, one order of atoms and one topology.

    Attributes:
        structure: the equilibrium structure the displacements refer to.
        positions: shape (s, n, 3), angstrom.
        temperature: kelvin, scalar.
        weights: of the snapshots in means, shape (s,); None where all are equal.
        groups: a number a snapshot: those of equal numbers, such as antithetic pairs or the frames of one run of molecular
            dynamics, depend on one another, and a standard error counts them once (static). Empty: all are independent.
        statistics: of the nuclei they were drawn with, "quantum" or "classical" (static); None where nobody said.
    """

    structure: Structure
    positions: Float[Array, "s n 3"] = field(unit="angstrom")
    temperature: Float[Array, ""] | float = field(unit="K")
    weights: Float[Array, "s"] | None = field(unit="1", default=None)
    groups: Groups = static(default=())
    statistics: Statistics | None = static(default=None)

    def __len__(self) -> int:
        return self.positions.shape[0]

    def __getitem__(self, index: int) -> Structure:
        return self.structure.with_positions(_rows(self.positions, index))

    def _repr_html_(self) -> str | None:
        if traced(self):
            return None
        away = np.asarray(self.displacements, dtype=float)
        size = np.sqrt((away**2).sum(axis=-1).mean()) if away.size else 0.0
        rows = [
            ("snapshots", len(self)),
            ("crystal", f"{self.structure.to_ase().symbols}, {len(self.structure)} atoms"),
            ("temperature (K)", f"{float(self.temperature):g}"),
            ("nuclei", self.statistics or "not said"),
            ("independent groups", len(set(self.groups)) if self.groups else len(self)),
            ("displacements, root mean square (angstrom)", f"{size:.4f}"),
        ]
        return html.table("Snapshots", rows)

    @property
    def displacements(self) -> Float[Array, "s n 3"]:
        """Displacements from equilibrium, angstrom."""
        return self.positions - self.structure.positions[None]

    def take(self, rows: Sequence[int]) -> "Snapshots":
        """Some of the snapshots, with their weights and groups.

        Raises:
            InputError: a row that is not there.
        """
        outside = [row for row in rows if not -len(self) <= row < len(self)]
        if outside or not len(rows):
            raise InputError(
                f"snapshots {list(outside or rows)} of {len(self)}: give at least one, from 0 to {len(self) - 1}"
            )
        index = np.asarray(rows)
        weights = None if self.weights is None else _rows(self.weights, index)
        groups = tuple(self.groups[row] for row in rows) if self.groups and len(rows) > 1 else ()
        return replace(self, positions=_rows(self.positions, index), weights=weights, groups=groups)

    def check(self, graph: Graph) -> Graph:
        """Refuse snapshots that a graph does not hold: static facts always, positions where they are known.

        Returns:
            The graph, marked as `Graph.check` does it.

        Raises:
            InputError: none at all, other atoms, or atoms that have left the graph's skin; names displacement and remedy.
        """
        if not len(self):
            raise InputError("no snapshots: give at least one")
        graph.fits(replace(self.structure, positions=self.positions))
        if traced(self.structure, self.positions, graph):
            return graph
        held = graph.hold(self.positions, self.structure.cell)
        if not held.all():
            worst = int(held.argmin())
            with jax.ensure_compile_time_eval():  # known values, perhaps within a function that is traced
                complaint = graph.complaint(self[worst])
            raise InputError(f"snapshot {worst}: {complaint}")
        return replace(graph, checked=True)

    def mean(self, values: Values) -> Float[Array, "*rest"]:
        """Thermal average of what was computed of every snapshot."""
        return averages.mean(values, self.weights)

    def standard_error(self, values: Values) -> Float[Array, "*rest"]:
        """Standard error of `mean`, counting each group once; NaN for fewer than two groups."""
        return averages.standard_error(values, self.groups, self.weights)

    @classmethod
    def from_ase(
        cls,
        images: "Sequence[ase.Atoms]",
        reference: "Structure | ase.Atoms | None" = None,
        temperature: float | int | None = None,
        statistics: Statistics | None = None,
        groups: Groups | None = None,
    ) -> "Snapshots":
        """Snapshots from frames of any code, `ase.io.read(file, ":")` for example.

        Atoms are matched to the sites of the reference, whatever their order and the origin, unwrapped through the cell's
        faces, and the drift of the whole crystal is taken out. Frames of a run at constant pressure are taken in its mean cell,
        with a warning.

        Args:
            reference: the crystal at rest in the cell of the frames; the mean of the unwrapped frames when left out.
            temperature: kelvin; `temperature` in the `info` of every frame when left out.
            statistics: of the nuclei; `statistics` in the `info` of the frames, where it is there, when left out.
            groups: of the frames that depend on one another; `group` in their `info` when left out, and where nothing says,
                all are one run, which tells no standard error. `()`: all are independent.

        Raises:
            InputError: no frames, no temperature, or a frame that does not fit the reference (its number from zero, and why).
        """
        images = frames.at_mean_cell(images)
        x = frames.positions_of(images)
        if reference is None:
            rest = frames.mean_structure(images)
        else:
            rest = reference if isinstance(reference, Structure) else Structure.from_ase(reference)
        away = frames.displacements(images, rest, x)
        kelvin = frames.common(images, "temperature") if temperature is None else temperature
        if kelvin is None:
            raise InputError("no temperature: the frames do not all say the same in `info`; give temperature, K")
        kelvin = number("temperature", kelvin, "K")
        if not 0 <= kelvin < np.inf:
            raise InputError(f"temperature {kelvin} K: give zero or a positive, finite one")
        said = frames.common(images, "statistics") if statistics is None else statistics
        if said not in (None, *get_args(Statistics)):
            raise InputError(f"statistics {said!r}: give one of {', '.join(get_args(Statistics))}")
        if groups is None:
            groups = frames.groups_of(images)
        if groups and len(groups) != len(images):
            raise InputError(f"{len(groups)} groups for {len(images)} frames: give one a frame")
        positions = rest.positions[None] + jnp.asarray(away, rest.positions.dtype)
        named = frames.weights_of(images)
        weights = None if named is None else jnp.asarray(named, positions.dtype)
        return cls(rest, positions, float(kelvin), weights, tuple(groups), said)

    def to_ase(self) -> "list[ase.Atoms]":
        """One `ase.Atoms` a snapshot, whose `info` holds temperature (K), statistics, group and weight for `from_ase`."""
        atoms = self.structure.to_ase()
        atoms.info = {"temperature": float(self.temperature)}
        atoms.info |= {} if self.statistics is None else {"statistics": self.statistics}
        images = []
        for s, x in enumerate(np.asarray(self.positions)):
            image = atoms.copy()
            image.positions = x
            image.info["group"] = self.groups[s] if self.groups else s
            if self.weights is not None:
                image.info["weight"] = float(self.weights[s])
            images.append(image)
        return images


def _rows(values: Array, index: int | np.ndarray) -> Array:
    """Some rows of an array; of a known one on the host."""
    return constant(numpy_for(values, index).asarray(values)[index])
