"""Learning a Hamiltonian from eigenvalues: the losses of bands and gaps, and their errors.

Flows in: groups of configurations (`band_groups`) and a Hamiltonian to begin from. Flows out: the `Problem` that the loop
trains. Bands are compared in order of energy; the derivative of an eigenvalue is that of its state, which is right for
every sum over a degenerate set and never NaN (jaxepi.electrons.eigen). H(R) and S(R) may be learned beside them
(`blocks`), and the corrections be held small (`penalties`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import Blocks, Hamiltonian
from jaxepi.structure import Structure
from jaxepi.training.bands import penalties
from jaxepi.training.bands.groups import (
    Group,
    aligned,
    band_errors,
    bands,
    bloch,
    functionals,
    gap,
    importance,
    level_errors,
    refuse,
    shifting,
)
from jaxepi.training.blocks import block_errors
from jaxepi.training.settings import BandLossSettings
from jaxepi.tree import pytree, static

__all__ = ["BandOutputs", "BandPlan", "BandProblem", "Group", "aligned", "band_errors", "gap", "importance"]

MEASURES = ("bands_mev", "near_mev", "gap_bias_mev", "gap_scatter_mev")
"""Names of errors, meV: root mean square over all bands in the loss and over those near the gap; mean and standard deviation
of the gap's error."""


MOST = 4
"""Configurations of a step at most: small cells need as many steps as large ones."""


@pytree
class BandPlan:
    """Members of one batch: configurations of one group, -1 where there is none, and which of its k points (None: all)."""

    members: Int[np.ndarray, "B"]
    points: Int[np.ndarray, "p"] | None
    group: int = static()


@pytree
class BandOutputs:
    """Predictions for a batch.

    Attributes:
        energies: as many bands as the labels have, not aligned, eV. blocks: mean squared errors of H (eV^2) and S; zero where
            they are not learned. penalty: what the loss adds to keep orbitals physical. shifts: mean squared errors of levels
            less those at rest, eV^2; zero where the loss does not ask for them.
    """

    energies: Float[Array, "B k b"]
    blocks: Float[Array, "B 2"]
    penalty: Float[Array, "B"]
    shifts: Float[Array, "B"]


class BandProblem:
    """The `Problem` of a Hamiltonian on some groups of configurations.

    Args:
        hamiltonian: its module, and the parameters to begin from. groups: data. loss: weights.
        batch_atoms: atoms of a step, about; at least one configuration.
        published: the set that on-site terms and hoppings are held to, where the loss asks for that.

    Raises:
        InputError: labels that cannot be right (`refuse`), or penalties that the model has no place for.
    """

    def __init__(
        self,
        hamiltonian: Hamiltonian,
        groups: Sequence[Group],
        loss: BandLossSettings,
        batch_atoms: int = 32,
        dtype: str = "float32",
        seed: int = 0,
        published: Hamiltonian | None = None,
    ):
        self.hamiltonian, self.groups, self.settings = hamiltonian, tuple(groups), loss
        self.batch_atoms, self.dtype, self.seed = batch_atoms, np.dtype(dtype), seed
        self.published = published
        if loss.keep_onsite + loss.keep_hopping > 0 and published is None:
            raise InputError("keep_onsite and keep_hopping hold a model to its published set, and this one has none")
        for group in self.groups:
            refuse(group, hamiltonian, loss)
        for name, weight, found in (("levels", loss.levels, functionals), ("shifts", loss.shifts, shifting)):
            if weight and not any(len(found(group, loss)) for group in self.groups):
                raise InputError(
                    f"{name} {weight:g}: no set holds the crystal at rest (kind 'unstrained') on the mesh of its others and in "
                    f"the split train; add it, or leave {name} out"
                )

    @cached_property
    def arrays(self) -> tuple[dict[str, Any], ...]:
        """Everything on the device, one dict a group."""

        def number(x):
            x = np.asarray(x)
            return jnp.asarray(x.astype(self.dtype) if x.dtype.kind == "f" else x)

        out = []
        for group in self.groups:
            held = group.held
            found: dict[str, Any] = {"positions": group.positions, "cell": group.cell, "energies": group.energies}
            found |= {"still": group.still, "shifts": shifting(group, self.settings)}
            found |= {"graphs": group.graphs, "images": group.images}
            found |= {"kpoints": held.kpoints, "importance": importance(group, self.settings), "blocks": group.blocks}
            found["levels"] = functionals(group, self.settings)
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
            if random is not None:
                rows = np.concatenate([random.permutation(rows) for _ in range(group.repeat)])
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

    def outputs(self, params: Any, arrays: Any, plan: BandPlan) -> BandOutputs:
        """What the model says of a batch."""
        data, group = arrays[plan.group], self.groups[plan.group]
        members = jnp.maximum(plan.members, 0)
        rest = group.rest if len(data["shifts"]) else None
        # The crystal at rest comes last, where shifts from it are compared.
        rows = members if rest is None else jnp.append(members, rest)
        taken = [jax.tree.map(lambda x: x[rows], data[n]) for n in ("positions", "cell", "graphs", "images")]
        taken.append(jax.tree.map(lambda x: x[jnp.minimum(rows, len(group.held) - 1)], data["blocks"]))
        hamiltonian = dataclasses.replace(self.hamiltonian, params=jax.tree.map(jnp.asarray, params))
        count = group.energies.shape[2]
        kpoints = data["kpoints"] if plan.points is None else data["kpoints"][plan.points]

        def one(positions, cell, graph, images, target):
            structure = Structure(positions, cell, group.held.species, group.held.pbc)
            blocks = hamiltonian.blocks(structure, graph)
            h, s = bloch(blocks, structure, graph, images, kpoints, group.real)
            errors = jnp.zeros(2, positions.dtype)
            if target is not None:
                errors = jnp.stack(block_errors(blocks, target, graph, self.settings.align != "none"))
            return bands(h, s)[:, :count], errors, self.penalty(blocks, s, structure, graph)

        energies, errors, penalty = jax.vmap(one)(*taken)
        if rest is None:
            return BandOutputs(energies, errors, penalty, jnp.zeros_like(penalty))
        error = energies[:-1] - data["energies"][members] - (energies[-1] - data["still"])[None]
        return BandOutputs(energies[:-1], errors[:-1], penalty[:-1], level_errors(error, data["shifts"]))

    def penalty(self, blocks: Blocks, overlaps: Array | None, structure: Structure, graph: Graph) -> Float[Array, ""]:
        """What keeps the orbitals of one configuration physical (`penalties`), weighted."""
        settings, total = self.settings, jnp.zeros((), structure.positions.dtype)
        if self.published is not None and settings.keep_onsite + settings.keep_hopping > 0:
            params = jax.tree.map(lambda x: jnp.asarray(x, total.dtype), self.published.params)
            # On the graph of the model, whose reach may be another.
            published = self.published.module.apply({"params": params}, structure, graph)
            total = total + settings.keep_onsite * penalties.onsite_change(blocks, published)
            total = total + settings.keep_hopping * penalties.hopping_change(blocks, published, graph)
        if settings.positive_overlap and overlaps is not None:
            total = total + settings.positive_overlap * penalties.indefinite(overlaps, settings.least_overlap)
        return total

    def loss(self, params: Any, arrays: Any, plan: BandPlan) -> tuple[Array, dict[str, Array]]:
        """Weighted mean squared error of aligned bands, of the gap and of blocks, and the penalties."""
        found, data, group = self.outputs(params, arrays, plan), arrays[plan.group], self.groups[plan.group]
        settings, occupied = self.settings, group.occupied
        members, present = jnp.maximum(plan.members, 0), plan.members >= 0
        importance_, label = data["importance"][members], data["energies"][members]
        if plan.points is not None:
            importance_, label = importance_[:, plan.points], label[:, plan.points]
        error = aligned(found.energies, occupied, settings.align) - aligned(label, occupied, settings.align)
        squares = jnp.sum(importance_ * error**2, axis=(1, 2)) / jnp.sum(importance_, axis=(1, 2))
        value = found.penalty + settings.shifts * found.shifts
        if settings.eigenvalues:
            value = value + settings.eigenvalues * squares
        if settings.gap:
            value = value + settings.gap * (gap(found.energies, occupied) - gap(label, occupied)) ** 2
        if len(data["levels"]):
            value = value + settings.levels * level_errors(found.energies - label, data["levels"])
        if settings.matrices:
            value = value + found.blocks @ jnp.asarray([settings.hamiltonian, settings.overlap], value.dtype)
        average = group.weight * jnp.sum(jnp.where(present, value, 0.0)) / len(plan.members)
        sums = {"squares": jnp.sum(jnp.where(present, squares, 0.0)), "count": jnp.sum(present).astype(value.dtype)}
        return average, sums

    def summary(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Weighted root mean square error of a training epoch, meV."""
        return {"weighted_mev": 1e3 * float(np.sqrt(sums["squares"] / max(sums["count"], 1)))}

    def collect(self, plans: Sequence[BandPlan], outputs: Sequence[BandOutputs]) -> list[Float[np.ndarray, "s k b"]]:
        """Eigenvalues of every group in the order of its configurations, NaN where there is none."""
        return self._gathered(plans, [x.energies for x in outputs])

    def terms(self, plans: Sequence[BandPlan], outputs: Sequence[BandOutputs]) -> list[Float[np.ndarray, "s 4"]]:
        """Mean squared errors of H (eV^2) and S, penalties, and mean squared errors of shifts (eV^2), likewise."""
        return self._gathered(plans, [np.column_stack([x.blocks, x.penalty, x.shifts]) for x in outputs])

    def _gathered(self, plans: Sequence[BandPlan], values: Sequence[Any]) -> list[np.ndarray]:
        shapes: dict[int, tuple[int, ...]] = {
            plan.group: np.shape(v)[1:] for plan, v in zip(plans, values, strict=True)
        }
        found = [np.full((len(g.energies), *shapes.get(i, (0,))), np.nan) for i, g in enumerate(self.groups)]
        for plan, value in zip(plans, values, strict=True):
            there = plan.members >= 0
            found[plan.group][plan.members[there]] = np.asarray(value, np.float64)[there]
        return found

    def scores(self, split: str, plans: Sequence[BandPlan], outputs: Sequence[BandOutputs]) -> dict[str, float]:
        """Loss (penalties included) and errors of a split; meV, S without a unit."""
        found, terms, settings = self.collect(plans, outputs), self.terms(plans, outputs), self.settings
        rows = [self.rows(group, split) for group in self.groups]
        errors = [band_errors(g, f, r, settings) for g, f, r in zip(self.groups, found, rows, strict=True) if len(r)]
        more = np.concatenate([t[r] for t, r in zip(terms, rows, strict=True) if len(r)])
        loss = np.concatenate([e["loss"] for e in errors]) + more @ [
            settings.hamiltonian,
            settings.overlap,
            1.0,
            settings.shifts,
        ]
        total = {n: np.concatenate([e[n] for e in errors]) for n in ("bands", "near", "gap")}
        root = {n: 1e3 * float(np.sqrt(np.nanmean(total[n]))) for n in ("bands", "near")}
        gaps = 1e3 * total["gap"]
        measures = (root["bands"], root["near"], float(gaps.mean()), float(gaps.std()))
        scores = {"loss": float(loss.mean()), **dict(zip(MEASURES, measures, strict=True))}
        if settings.matrices:
            roots = np.sqrt(more[:, :2].mean(axis=0))
            scores |= {"hamiltonian_mev": 1e3 * float(roots[0]), "overlap": float(roots[1])}
        return scores
