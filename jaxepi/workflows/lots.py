"""Snapshots of an absorption study computed together: over the devices of a mesh, several at once where memory holds them.

Flows in: some snapshots, of whatever temperatures. Flows out: transitions, band edges and, where asked for, derivatives of the
histograms by temperature, snapshot by snapshot. A last lot that is not full is filled up with its last snapshot, so that one
program serves all.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Float

from jaxepi import electrons, optics
from jaxepi.electrons.edges import EdgeProbe
from jaxepi.graph import Graph
from jaxepi.guards import constant
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.kpoints import KPoints
from jaxepi.results import Quantity
from jaxepi.sampling import Snapshots

LARGEST = 16
"""Snapshots that one device takes together at most: what is kept after a kill, and the time to the next line of a bar."""

SPARSE = 1500
"""Orbitals above which band edges are sought on the host (`electrons.thermal_edges`)."""


@dataclasses.dataclass(frozen=True)
class Lots:
    """What all lots of a study share.

    Attributes:
        mesh: of devices. size: snapshots of a lot. probe: of band edges; None without a gap. points: of a snapshot.
        memory_gb: bound on the working memory of each device.
    """

    hamiltonian: Hamiltonian
    graph: Graph
    mesh: Mesh
    size: int
    memory_gb: float
    points: Callable[[int], KPoints]
    probe: EdgeProbe | None

    def __call__(
        self, drawn: Sequence[Snapshots], lot: Sequence[tuple[int, int]], directions: np.ndarray | None
    ) -> list[dict[str, Any]]:
        """Observables of snapshots by the numbers of their temperature and of themselves.

        Args:
            directions: derivatives of all positions by temperature, angstrom/K, shape (t, s, n, 3).
        """
        full = [*lot, *[lot[-1]] * (self.size - len(lot))]
        positions = np.stack([np.asarray(drawn[t].positions[s]) for t, s in full])
        dtype = positions.dtype
        together = Snapshots(drawn[0].structure, constant(positions), constant(0.0, dtype))
        toward = None if directions is None else np.stack([directions[t, s] for t, s in full])
        found = optics.spread_transitions(
            self.hamiltonian,
            together,
            tuple(self.points(s) for _, s in full),
            self.mesh,
            directions=toward,
            graph=self.graph,
            memory_gb=self.memory_gb,
        )
        valence, conduction = self._edges(together)
        parts = []
        for i, binned in enumerate(found.transitions[: len(lot)]):
            edges = {"valence": Quantity(valence[i : i + 1], "eV"), "conduction": Quantity(conduction[i : i + 1], "eV")}
            part: dict[str, Any] = {"transitions": binned, "edges": edges}
            parts.append(part | ({"slope": Quantity(found.slopes[i][None], "eV/K")} if found.slopes else {}))
        return parts

    def _edges(self, together: Snapshots) -> tuple[np.ndarray, np.ndarray]:
        """Valence and conduction edge of every snapshot, eV; NaN without a gap."""
        if self.probe is None:
            nothing = np.full(len(together), np.nan)
            return nothing, nothing
        if self.mesh.size == 1 or self.hamiltonian.basis.size(together.structure.species) > SPARSE:
            found = electrons.thermal_edges(self.hamiltonian, together, self.probe, self.graph)
        else:
            rows = len(self.mesh.devices)
            padding = together.take([*range(len(together)), *[len(together) - 1] * (-len(together) % rows)])
            padding.check(self.graph)
            placed = jax.device_put(np.asarray(padding.positions), NamedSharding(self.mesh, P("snapshot")))
            found = self._spread_edges(placed, together.structure)
        valence, conduction = (np.asarray(edge)[: len(together)] for edge in found)
        return valence, conduction

    @cached_property
    def _spread_edges(self) -> Callable[..., tuple[Array, Array]]:
        """Edges of snapshots that lie on the devices of the mesh, made once: one program."""
        probe, graph = self.probe, self.graph
        assert probe is not None

        def one(structure, x: Float[Array, "n 3"]):
            single = Snapshots(structure, x[None], constant(0.0, x.dtype))
            valence, conduction = electrons.thermal_edges(self.hamiltonian, single, probe, graph, "dense")
            return valence[0], conduction[0]

        def share(x, structure):
            return jax.lax.map(lambda each: one(structure, each), x)

        mapped = jax.shard_map(
            share, mesh=self.mesh, in_specs=(P("snapshot"), P()), out_specs=P("snapshot"), check_vma=False
        )
        return jax.jit(mapped)
