"""Learning what the baseline leaves of H(R): batches of whole configurations, errors up to a multiple of S.

Flows in: `Matrices`, what the baseline gives, a module. Flows out: the `Problem` that the loop trains. Blocks are compared up
to mu S, the best multiple of every configuration (the zero of energy is no part of H), which has a closed form. On-site blocks,
2% of the numbers and most of the error, are averaged apart from hoppings. Where the loss asks for it, H(k) is compared in the
eigenbasis of the label too.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxepi.errors import InputError
from jaxepi.graph import FAR
from jaxepi.hamiltonians.e3 import Equivariant
from jaxepi.nn import hermitian
from jaxepi.training.matrices import eigenbasis
from jaxepi.training.matrices.calibration import calibrated
from jaxepi.training.matrices.labels import Matrices
from jaxepi.training.matrices.least_squares import Fitted
from jaxepi.training.packing import Shape, bins
from jaxepi.training.settings import BlockLossSettings

TRAINED = ("atoms", "edges")
"""Parameters of a module that the loop moves."""


class BlockProblem:
    """The `Problem` of an equivariant Hamiltonian.

    Args:
        params: of the module; those of `TRAINED` are where training begins. held: labels. fitted: what the baseline gives.
        batch_atoms: atoms of a batch, at least those of the largest configuration.
    """

    def __init__(
        self,
        module: Equivariant,
        params: Mapping[str, Any],
        held: Matrices,
        fitted: Fitted,
        loss: BlockLossSettings,
        batch_atoms: int = 36,
        dtype: str = "float32",
        seed: int = 0,
    ):
        self.module, self.params, self.held, self.fitted = module, dict(params), held, fitted
        self.settings, self.seed, self.dtype = loss, seed, np.dtype(dtype)
        self.batches: list[np.ndarray] = []
        self.room = max(batch_atoms, int(held.sizes.max()))
        self._of: dict[str, list[int]] = {}
        for split in ("train", "validation", "test"):
            rows = held.rows(split)
            rows = rows[np.argsort(-held.sizes[rows], kind="stable")]
            packed = [np.array(one) for one in bins(held.sizes[rows], Shape(self.room, len(held), ()), rows)]
            self._of[split] = list(range(len(self.batches), len(self.batches) + len(packed)))
            self.batches += packed
        self.most = max(len(b) for b in self.batches)
        electrons = np.array([dict(module.basis.electrons).get(z, 0.0) for z in module.basis.species])[held.species]
        self.filled = np.rint(np.bincount(held.atom_of, electrons, len(held)) / 2).astype(int)
        self.points = loss.eigenbasis_points if loss.eigenbasis else 0
        if self.points and not (self.filled > 0).all():
            raise InputError(
                "the basis does not say its electrons, so no Fermi level is known: set [loss] eigenbasis = 0"
            )
        near = held.near
        train = held.atoms("train")
        edges = np.concatenate([t.edges[t.mask & train[:, None]] for t in near])
        # Errors in units of those of the baseline, so that both parts begin alike.
        self.units = (
            max(float(np.abs(held.onsite[train] - fitted.onsite[train]).mean()), 1e-6),
            max(float(np.abs(held.hopping[edges] - fitted.hopping[edges]).mean()), 1e-6),
        )

    def initial(self) -> dict[str, Any]:
        """Parameters to train."""
        return {n: jax.tree.map(lambda x: np.asarray(x, self.dtype), self.params[n]) for n in TRAINED}

    def calibrated(self) -> dict[str, Any]:
        """Parameters to train whose layers give numbers of the size of one on the first batch."""
        batch = jax.tree.map(lambda x: x[self.plans("train")[0][0]], self.arrays["batches"])
        vectors, receivers = (tuple(t[name] for t in batch["near"]) for name in ("vectors", "receivers"))
        return calibrated(self.module, self.initial(), batch["species"], vectors, receivers)

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """All batches, on the device."""
        parts = [self._batch(members) for members in self.batches]
        if self.points:
            parts = [p | self._states(members) for p, members in zip(parts, self.batches, strict=True)]
        stacked = jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *parts)
        spread = jax.tree.map(lambda x: jnp.asarray(x, self.dtype), self.params["spread"])
        unit = np.asarray(self._unit(stacked) if self.points else 1.0, self.dtype)
        return {"batches": stacked, "spread": spread, "unit": unit, "progress": jnp.ones((), self.dtype)}

    def _batch(self, members: Int[np.ndarray, "k"]) -> dict[str, Any]:
        """One batch on the host: atoms of some configurations, padded by atoms that have no neighbours."""
        held, room = self.held, self.room
        atoms = np.concatenate([np.arange(held.first[c], held.first[c + 1]) for c in members])
        n, local = len(atoms), np.full(len(held.onsite), -1)
        local[atoms] = np.arange(n)
        slot = np.full(len(held), 0)
        slot[members] = np.arange(len(members))

        def padded(values: np.ndarray, fill: float | bool = 0.0) -> np.ndarray:
            out = np.full((room, *values.shape[1:]), fill, values.dtype)
            out[:n] = values
            return out.astype(self.dtype) if values.dtype == np.float64 else out

        near = [self._near(table, atoms, local, padded) for table in held.near]
        left = held.onsite[atoms] - self.fitted.onsite[atoms]
        far, size = np.zeros(self.most), np.ones(self.most)
        for place, c in enumerate(members):
            edges = np.flatnonzero(held.edge_of == c)
            own = slice(held.first[c], held.first[c + 1])
            close = np.concatenate([t.edges[own][t.mask[own]] for t in held.near])
            rest = np.setdiff1d(edges, close)
            far[place] = ((self.fitted.hopping[rest] - held.hopping[rest]) * held.overlap[rest]).sum()
            size[place] = (held.overlap[edges] ** 2).sum() + (held.own_overlap[own] ** 2).sum()
        return {
            "species": padded(held.species[atoms].astype(np.int32)),
            "configuration": padded(slot[held.atom_of[atoms]].astype(np.int32)),
            "real": padded(np.ones(n, bool), False),
            "onsite": padded(left),
            "own_overlap": padded(held.own_overlap[atoms]),
            "far": far.astype(self.dtype),
            "size": size.astype(self.dtype),
            "near": near,
        }

    def _near(self, table: Any, atoms: np.ndarray, local: np.ndarray, padded: Any) -> dict[str, np.ndarray]:
        """A kind of near edges of a batch; `reverse` is the slot of the reverse edge, its own where there is none."""
        held, mask = self.held, table.mask[atoms]
        n, width = mask.shape
        edge = table.edges[atoms]
        place = np.full(len(held.hopping) + 1, -1)
        place[edge[mask]] = np.flatnonzero(mask.ravel())
        back = np.where(mask, place[held.reverse[np.where(mask, edge, 0)]], 0)
        own = np.arange(self.room * width).reshape(self.room, width)
        reverse = own.copy()
        reverse[:n] = np.where(mask, back, own[:n])
        receivers = np.tile(np.arange(self.room)[:, None], (1, width))
        receivers[:n] = np.where(mask, local[table.receivers[atoms]], receivers[:n])
        chosen = np.where(mask, edge, 0)
        left = np.where(mask[..., None, None], held.hopping[chosen] - self.fitted.hopping[chosen], 0.0)
        overlap = np.where(mask[..., None, None], held.overlap[chosen], 0.0)
        vectors = np.tile(np.array([FAR, 0.0, 0.0]), (self.room, width, 1))
        vectors[:n] = table.vectors[atoms]
        shifts = np.where(mask[..., None], held.shifts[chosen], 0).astype(float)
        return {
            "vectors": vectors.astype(self.dtype),
            "shifts": padded(shifts),
            "receivers": receivers.astype(np.int32),
            "mask": padded(mask, False),
            "reverse": reverse.reshape(-1).astype(np.int32),
            "hopping": padded(left),
            "overlap": padded(overlap),
        }

    def _states(self, members: Int[np.ndarray, "k"]) -> dict[str, np.ndarray]:
        """The label's eigenbasis at the k points of a batch, and the error of the baseline in it."""
        held, o, width = self.held, self.held.onsite.shape[1], self.settings.eigenbasis_width
        size, count = self.room * o, self.points
        basis, left = (np.zeros((count, size, size), np.result_type(self.dtype, np.complex64)) for _ in range(2))
        weights, k_of, begin = np.zeros((count, size)), np.zeros((count, self.room, 3)), 0
        error = self.fitted.onsite - held.onsite, self.fitted.hopping - held.hopping
        for c in members.tolist():
            filled, end = int(self.filled[c]), begin + int(held.sizes[c])
            own = slice(begin * o, end * o)
            for p, k in enumerate(eigenbasis.points(held, c, count, filled, width, self.seed)):
                x, w = eigenbasis.states(held, c, k, filled, width)
                basis[p, own, own], weights[p, own], k_of[p, begin:end] = x, w, k
                left[p, own, own] = x.conj().T @ eigenbasis.bloch(held, c, *error, k) @ x
            begin = end
        return {"basis": basis, "left": left, "weights": weights.astype(self.dtype), "k": k_of.astype(self.dtype)}

    def _unit(self, batches: Mapping[str, Any]) -> float:
        """Mean error between states that the baseline leaves in training, eV."""
        found = []
        for number in self._of["train"]:
            batch = jax.tree.map(lambda x, at=number: x[at], batches)
            nothing = jnp.zeros_like(batch["onsite"]), tuple(jnp.zeros_like(t["hopping"]) for t in batch["near"])
            _, mu = self._errors(batch, *nothing)
            found += [np.asarray(self._between_states(batch, *nothing, mu, p)) for p in range(self.points)]
        each = np.concatenate(found)
        return max(float(each[each > 0].mean()), 1e-6)

    def plans(self, split: str, epoch: int | None = None) -> list[np.ndarray]:
        """Batches of a split by number, each with that of its k point, shuffled by seed and epoch; in fixed order and at the
        first k point without an epoch."""
        numbers = np.array(self._of[split], np.int32)
        points = np.zeros_like(numbers)
        if epoch is not None:
            generator = np.random.default_rng((self.seed, epoch))
            numbers = generator.permutation(numbers)
            points = generator.integers(max(self.points, 1), size=len(numbers), dtype=np.int32)
        return list(np.column_stack([numbers, points]))

    def blocks(self, params: Any, arrays: Any, plan: Any) -> tuple[Array, tuple[Array, ...]]:
        """What the network adds in a batch: to on-site blocks, and to the slots of every kind, Hermitian."""
        batch = jax.tree.map(lambda x: x[plan[0]], arrays["batches"])
        whole = {**params, "spread": arrays["spread"]}
        vectors = tuple(t["vectors"] for t in batch["near"])
        receivers = tuple(t["receivers"] for t in batch["near"])
        onsite, parts = self.module.learned(whole, batch["species"], vectors, receivers)
        flat = (part.reshape(-1, *part.shape[2:]) for part in parts)
        hopping = tuple(2 * hermitian(part, t["reverse"]) for part, t in zip(flat, batch["near"], strict=True))
        return hermitian(onsite), hopping

    def loss(self, params: Any, arrays: Any, plan: Any) -> tuple[Array, dict[str, Array]]:
        """Mean of mean absolute and root mean square errors, on-site and hopping apart, in units of the baseline's, and the
        error between states."""
        batch = jax.tree.map(lambda x: x[plan[0]], arrays["batches"])
        found = self.blocks(params, arrays, plan)
        errors, mu = self._errors(batch, *found)
        loss, sums = jnp.zeros((), self.dtype), dict[str, Array]()
        weights = (self.settings.onsite, self.settings.hopping)
        for name, weight, unit, (error, count) in zip(("onsite", "hopping"), weights, self.units, errors, strict=True):
            absolute, square = jnp.sum(jnp.abs(error)), jnp.sum(error**2)
            mean = 0.5 * (absolute / count + jnp.sqrt(square / count + 1e-12))
            loss = loss + weight / unit * mean
            sums |= {f"{name}_absolute": absolute, f"{name}_count": count}
        if self.points:
            each = self._between_states(batch, *found, mu, plan[1])
            total, count = jnp.sum(each), jnp.sum((each > 0).astype(each.dtype))
            start = self.settings.eigenbasis_from
            ramp = jnp.clip(2 * (arrays["progress"] - start) / (1 - start), 0.0, 1.0)
            loss = loss + self.settings.eigenbasis / arrays["unit"] * ramp * total / count
            sums |= {"states_absolute": total, "states_count": count}
        return loss, sums

    def _between_states(self, batch: Any, onsite: Array, hopping: tuple[Array, ...], mu: Array, point: Any) -> Array:
        """Weighted root mean square of the errors between the label's states at one k point, of every configuration, eV."""
        basis, left, weights, k = (batch[n][point] for n in ("basis", "left", "weights", "k"))
        added = eigenbasis.assembled(onsite, batch["near"], hopping, k)
        shift = jnp.diag(jnp.repeat(mu[batch["configuration"]], onsite.shape[1]) * weights)
        error = basis.conj().T @ added @ basis + left - shift.astype(left.dtype)
        return eigenbasis.spread_of(error, weights, batch["configuration"], self.most)

    def _errors(
        self, batch: Any, onsite: Array, hopping: tuple[Array, ...]
    ) -> tuple[list[tuple[Array, Array]], Float[Array, " c"]]:
        """Errors of on-site blocks and of near hoppings after the best mu S of every configuration, with their numbers, and
        these mu."""
        width, of = onsite.shape[1], batch["configuration"]
        real = batch["real"].astype(onsite.dtype)[:, None, None]
        error = (onsite - batch["onsite"]) * real
        edges = []
        share = jax.ops.segment_sum(jnp.sum(error * batch["own_overlap"], axis=(1, 2)), of, self.most)
        for found, t in zip(hopping, batch["near"], strict=True):
            shape = t["hopping"].shape
            e = (found.reshape(shape) - t["hopping"]) * t["mask"].astype(found.dtype)[..., None, None]
            edges.append(e)
            share = share + jax.ops.segment_sum(jnp.sum(e * t["overlap"], axis=(1, 2, 3)), of, self.most)
        each = (share + batch["far"]) / batch["size"]
        mu = each[of]
        error = error - mu[:, None, None] * batch["own_overlap"] * real
        edges = [e - mu[:, None, None, None] * t["overlap"] for e, t in zip(edges, batch["near"], strict=True)]
        count = jnp.sum(real) * width**2
        held = sum(jnp.sum(t["mask"], dtype=jnp.int32) for t in batch["near"])
        joined = jnp.concatenate([e.reshape(-1) for e in edges])
        return [(error, count), (joined, jnp.maximum(held, 1).astype(onsite.dtype) * width**2)], each

    def outputs(self, params: Any, arrays: Any, plan: Any) -> tuple[Array, dict[str, Array], Any]:
        """Loss, sums and blocks of a batch."""
        loss, sums = self.loss(params, arrays, plan)
        return loss, sums, self.blocks(params, arrays, plan)

    def summary(self, sums: Mapping[str, float]) -> dict[str, float]:
        """Mean errors of a training epoch, meV."""
        names = ("onsite", "hopping", *(("states",) if self.points else ()))
        return {f"{n}_mev": 1e3 * sums[f"{n}_absolute"] / sums[f"{n}_count"] for n in names}

    def scores(self, split: str, plans: Sequence[Any], outputs: Sequence[Any]) -> dict[str, float]:
        """Loss and mean absolute errors after mu S (hoppings: of the near edges), meV."""
        sums = {n: float(sum(np.asarray(o[1][n], np.float64) for o in outputs)) for n in outputs[0][1]}
        return {"loss": float(np.mean([float(o[0]) for o in outputs])), **self.summary(sums)}

    def collect(self, plans: Sequence[Any], outputs: Sequence[Any]) -> tuple[Float[np.ndarray, "n o o"], np.ndarray]:
        """On-site blocks and hoppings of all configurations, baseline and network together, eV."""
        held = self.held
        onsite, hopping = self.fitted.onsite.copy(), self.fitted.hopping.copy()
        for plan, (_, _, (own, parts)) in zip(plans, outputs, strict=True):
            members = self.batches[int(plan[0])]
            atoms = np.concatenate([np.arange(held.first[c], held.first[c + 1]) for c in members])
            onsite[atoms] += np.asarray(own, np.float64)[: len(atoms)]
            for table, part in zip(held.near, parts, strict=True):
                mask, shape = table.mask[atoms], (self.room, table.mask.shape[1], *part.shape[1:])
                values = np.asarray(part, np.float64).reshape(shape)[: len(atoms)]
                hopping[table.edges[atoms][mask]] += values[mask]
        return onsite, hopping
