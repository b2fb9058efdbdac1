"""Learning an energy: batches of configurations, losses of energies, forces and stresses, and their errors.

Flows in: `Examples` and an energy module. Flows out: the `Problem` that the loop trains. Forces and stresses are derivatives
of the energy by positions and by one strain a configuration. Reference energies and the fixed pair terms of a
module are subtracted from the labels beforehand, so that a step evaluates the network alone.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxepi.graph import Table
from jaxepi.potentials.base import TrainableEnergy
from jaxepi.training.examples import LABELS, Examples
from jaxepi.training.packing import Packing, Plan
from jaxepi.tree import pytree

MEASURES = ("energy_mev", "forces_mev", "stress_mev")
"""Names of errors: meV an atom, meV/angstrom, meV/angstrom^3."""

FIXED = ("reference", "scale", "domain")
"""Parameters of an energy module that are set from data, not trained."""

OFFSET_UNIT = 0.02
"""eV: offsets of meshes are trained in this unit, so that the optimizer's steps have a sensible size."""


class Prediction(NamedTuple):
    """Energies (eV, shape (c,)), forces (eV/angstrom, (a, 3)) and stresses (eV/angstrom^3, (c, 3, 3))."""

    energy: Any
    forces: Any
    stress: Any


@pytree
class Batch:
    """Configurations gathered on the device; see `Plan`. Padding has weight zero and one atom of unit volume."""

    positions: Float[Array, "N 3"]
    species: Any
    cell: Float[Array, "B 3 3"]
    slots: Any
    real: Any
    tables: tuple[Table, ...]
    energy: Float[Array, "B"]
    forces: Float[Array, "N 3"]
    stress: Float[Array, "B 3 3"]
    weights: Float[Array, "B 3"]
    size: Float[Array, "B"]
    volume: Float[Array, "B"]
    mesh: Any


def species_index(species: Sequence[int], numbers: Int[np.ndarray, "a"]) -> Int[np.ndarray, "a"]:
    """Place of every atom's element in `species`."""
    table = np.zeros(int(max(*species, numbers.max(), 0)) + 1, np.int32)
    table[list(species)] = np.arange(len(species))
    return table[numbers]


def gather(arrays: Mapping[str, Any], plan: Plan) -> Batch:
    """The batch of a plan (traceable)."""
    atoms, members = jnp.maximum(plan.atoms, 0), jnp.maximum(plan.configurations, 0)
    real, present = plan.atoms >= 0, plan.configurations >= 0
    dtype = arrays["positions"].dtype
    tables = []
    for (receivers, shifts, mask), width in zip(arrays["tables"], plan.widths, strict=True):
        held = mask[atoms, :width] & real[:, None]
        own = jnp.arange(len(plan.atoms), dtype=jnp.int32)[:, None]
        there = receivers[atoms, :width].astype(jnp.int32) + plan.starts[:, None]
        tables.append(Table(jnp.where(held, there, own), shifts[atoms, :width].astype(jnp.int32), held))

    def each(name: str, empty: Any) -> Array:
        value = arrays[name][members]
        return jnp.where(present.reshape((-1,) + (1,) * (value.ndim - 1)), value, jnp.asarray(empty, value.dtype))

    return Batch(
        positions=jnp.where(real[:, None], arrays["positions"][atoms], 0.0),
        species=arrays["species"][atoms],
        cell=each("cell", np.eye(3)),
        slots=plan.slots,
        real=real,
        tables=tuple(tables),
        energy=each("energy", 0.0),
        forces=jnp.where(real[:, None], arrays["forces"][atoms], 0.0),
        stress=each("stress", 0.0),
        weights=each("weights", 0.0),
        size=each("size", 1.0).astype(dtype),
        volume=each("volume", 1.0),
        mesh=each("mesh", 0),
    )


def predict(module: TrainableEnergy, params: Any, batch: Batch) -> Prediction:
    """Energy of each configuration, and its derivatives by positions and symmetric strain."""
    count = batch.cell.shape[0]

    def total(positions, strain):
        deformation = jnp.eye(3, dtype=positions.dtype)[None] + 0.5 * (strain + strain.mT)
        moved = jnp.einsum("ia,iab->ib", positions, deformation[batch.slots])
        cell = (batch.cell @ deformation)[batch.slots]
        vectors = tuple(table.vectors(moved, cell) for table in batch.tables)
        site = module.site_energies({"params": params}, batch.species, vectors, batch.tables)
        energy = jax.ops.segment_sum(jnp.where(batch.real, site, 0.0), batch.slots, count)
        return jnp.sum(energy), energy

    zero = jnp.zeros((count, 3, 3), batch.positions.dtype)
    (by_positions, by_strain), energy = jax.grad(total, (0, 1), has_aux=True)(batch.positions, zero)
    return Prediction(energy, -by_positions, by_strain / batch.volume[:, None, None])


def penalty(errors: Any, huber: float) -> Any:
    """Squares of errors; where `huber` is positive, linear beyond it with the slope there (NumPy or JAX arrays)."""
    if not huber:
        return errors**2
    size = abs(errors)
    inside = size.clip(max=huber)
    return inside * (2 * size - inside)


class EnergyProblem:
    """The `Problem` of an energy module on some examples.

    Trained parameters are {"model": all of the module's but `FIXED`, "offsets": of the meshes, in `OFFSET_UNIT` an atom}
    (the latter only where asked for).

    Args:
        module: `site_energies` without fixed terms. fixed: its parameters that are not trained.
        examples: with tables, labels less all that is fixed. packing: of the examples.
        offsets: eV an atom of each mesh, subtracted from its energies, in the order of `meshes`; trained where `free`.
        ramp: weight of energies in the first step, relative to that in the last. huber: see `LossSettings`.
    """

    def __init__(
        self,
        module: TrainableEnergy,
        fixed: Mapping[str, Any],
        examples: Examples,
        packing: Packing,
        offsets: Float[np.ndarray, "m"],
        free: Bool[np.ndarray, "m"],
        dtype: str = "float32",
        seed: int = 0,
        ramp: float = 1.0,
        huber: float = 0.0,
    ):
        self.seed, self.ramp, self.huber = seed, ramp, huber
        self.module, self.fixed, self.examples, self.packing = module, dict(fixed), examples, packing
        self.meshes, self._mesh = np.unique(examples.mesh.astype(str), return_inverse=True)
        self.offsets, self.free, self.dtype = np.asarray(offsets, np.float64), np.asarray(free, bool), np.dtype(dtype)

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """Everything on the device."""
        e, species = self.examples, self.module.species
        energy = e.energy - e.sizes * self.offsets[self._mesh]
        # Of a batch on average, so that the mean over batches is the mean over the set, however they are packed.
        content = np.maximum(self.examples.content("train"), 1) / len(self.plans("train", 0))
        real = {
            "positions": e.positions,
            "forces": e.forces,
            "cell": e.cell,
            "energy": energy,
            "stress": e.stress,
            "weights": e.weights,
            "size": e.sizes,
            "volume": e.volume,
            "content": content,
            "free": self.free,
        }
        other = {
            "species": species_index(species, e.numbers),
            "mesh": self._mesh.astype(np.int32),
            "tables": tuple(tuple(part) for part in e.tables),
        }
        fixed = jax.tree.map(lambda x: np.asarray(x, self.dtype), self.fixed)
        numbers = {n: np.asarray(x, self.dtype) for n, x in real.items()}
        progress = np.ones((), self.dtype)
        return jax.tree.map(jnp.asarray, {**numbers, **other, "fixed": fixed, "progress": progress})

    def initial(self, params: Mapping[str, Any], trained: bool) -> dict[str, Any]:
        """Parameters to train from those of the module."""
        model = {n: x for n, x in params.items() if n not in FIXED}
        start: dict[str, Any] = {"model": jax.tree.map(lambda x: np.asarray(x, self.dtype), model)}
        return start | {"offsets": np.zeros(len(self.meshes), self.dtype)} if trained else start

    def found_offsets(self, params: Mapping[str, Any]) -> Float[np.ndarray, "m"]:
        """Offsets of the meshes after training, eV an atom."""
        moved = np.asarray(params.get("offsets", np.zeros(len(self.meshes))), np.float64)
        return self.offsets + OFFSET_UNIT * self.free * moved

    def plans(self, split: str, epoch: int | None = None) -> list[Plan]:
        """Batches of a split, shuffled by seed and epoch; in fixed order without an epoch."""
        seed = None if epoch is None else (self.seed, epoch)
        return self.packing.plans(self.examples.rows(split), seed)

    def outputs(self, params: Any, arrays: Any, plan: Plan) -> Prediction:
        """Predictions for a batch; the offsets of the meshes are added to its energies."""
        return self._predict(params, arrays, gather(arrays, plan))

    def _predict(self, params: Any, arrays: Any, batch: Batch) -> Prediction:
        found = predict(self.module, {**params["model"], **arrays["fixed"]}, batch)
        if "offsets" not in params:
            return found
        offset = OFFSET_UNIT * (arrays["free"] * params["offsets"])[batch.mesh]
        return found._replace(energy=found.energy + batch.size * offset)

    def loss(self, params: Any, arrays: Any, plan: Plan) -> tuple[Array, dict[str, Array]]:
        """Weighted mean squared errors; the mean over the batches of an epoch is that over the training set."""
        batch = gather(arrays, plan)
        count = batch.cell.shape[0]
        found = self._predict(params, arrays, batch)
        per_atom = (batch.volume / batch.size)[:, None, None]
        energy, forces = (found.energy - batch.energy) / batch.size, found.forces - batch.forces
        stress = found.stress - batch.stress

        def mean(values: Array) -> Array:
            """Of the components of each configuration's forces."""
            return jax.ops.segment_sum(jnp.mean(values, axis=1), batch.slots, count)

        virial = jnp.mean(penalty(stress * per_atom, self.huber), axis=(1, 2))
        terms = jnp.stack([penalty(energy, self.huber), mean(penalty(forces, self.huber)), virial], axis=1)
        scale = jnp.ones(3, terms.dtype).at[0].set(self.ramp ** (1 - arrays["progress"]))
        loss = jnp.sum(scale * jnp.sum(batch.weights * terms, axis=0) / arrays["content"])
        raw = jnp.stack([energy**2, mean(forces**2), jnp.mean(stress**2, axis=(1, 2))], axis=1)
        sums = jnp.sum(jnp.where(batch.weights > 0, raw, 0.0), axis=0)
        return loss, dict(zip(LABELS, sums, strict=True))

    def summary(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Root mean squared errors of a training epoch, as in `scores`, of the parameters as they went along."""
        with np.errstate(invalid="ignore"):
            root = np.sqrt(np.array([sums[n] for n in LABELS]) / self.examples.content("train"))
        return dict(zip(MEASURES, (1e3 * root).tolist(), strict=True))

    def scores(self, split: str, plans: Sequence[Plan], outputs: Sequence[Prediction]) -> dict[str, float]:
        """Loss and root mean squared errors: energy in meV an atom, forces in meV/angstrom, stress in meV/angstrom^3."""
        errors = self.errors(self.collect(plans, outputs))
        rows, content = self.examples.rows(split), self.examples.content(split)
        weights, per_atom = self.examples.weights[rows], (self.examples.volume / self.examples.sizes)[:, None, None]

        def each(energy: np.ndarray, forces: np.ndarray, stress: np.ndarray) -> np.ndarray:
            """One row a configuration: its energy, the mean over its forces and its stress."""
            columns = [energy, self.examples.sum(forces.mean(axis=1)), stress.mean(axis=(1, 2))]
            return np.stack(columns, axis=1)[rows]

        terms = each(*(penalty(x, self.huber) for x in (errors.energy, errors.forces, errors.stress * per_atom)))
        loss = np.sum((weights * terms).sum(axis=0) / np.maximum(content, 1))
        raw = np.where(weights > 0, each(*(x**2 for x in errors)), 0.0).sum(axis=0)
        with np.errstate(invalid="ignore"):
            root = np.sqrt(raw / content)
        return {"loss": float(loss), **dict(zip(MEASURES, (1e3 * root).tolist(), strict=True))}

    def collect(self, plans: Sequence[Plan], outputs: Sequence[Prediction]) -> Prediction:
        """Predictions of batches in the order of the examples, NaN for those that are in no batch; offsets removed."""
        e = self.examples
        energy, forces = np.full(len(e), np.nan), np.full((len(e.positions), 3), np.nan)
        stress = np.full((len(e), 3, 3), np.nan)
        for plan, found in zip(plans, outputs, strict=True):
            there, atoms = plan.configurations >= 0, plan.atoms >= 0
            energy[plan.configurations[there]] = np.asarray(found.energy)[there]
            stress[plan.configurations[there]] = np.asarray(found.stress)[there]
            forces[plan.atoms[atoms]] = np.asarray(found.forces)[atoms]
        return Prediction(energy, forces, stress)

    def errors(self, found: Prediction) -> Prediction:
        """Predicted less labelled: energies in eV an atom, offsets included."""
        e = self.examples
        energy = found.energy + e.sizes * self.offsets[self._mesh] - e.energy
        return Prediction(energy / e.sizes, found.forces - e.forces, found.stress - e.stress)
