"""Packing configurations of any size into batches of few shapes, so that little is padding and little is compiled.

A batch is a disjoint union: N atoms in one array, with room for B configurations and for m neighbours an atom and
relation. Every shape that occurs is compiled, so all configurations share one, or two where that saves much. Flows in:
sizes. Flows out: `Plan`s, which name the members of each batch by index.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from jaxepi.tree import pytree, static

OPEN = 16
"""Batches that are filled at the same time."""

SAVING = 0.75
"""A second shape must lower the padded size to this part of what one shape needs."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """Room of a batch: atoms, configurations, and neighbours an atom in every relation."""

    atoms: int
    configurations: int
    widths: tuple[int, ...]


@pytree
class Plan:
    """The members of one batch.

    Attributes:
        atoms: index of every atom in the arrays of the whole set, shape (N,), -1 where there is none.
        slots: which of the batch's configurations it belongs to. starts: position in the batch of the first atom of its
            configuration.
        configurations: index of every configuration in the whole set, shape (B,), -1 where there is none.
        widths: neighbours an atom in every relation (static).
    """

    atoms: Int[np.ndarray, "N"]
    slots: Int[np.ndarray, "N"]
    starts: Int[np.ndarray, "N"]
    configurations: Int[np.ndarray, "B"]
    widths: tuple[int, ...] = static()


@dataclasses.dataclass(frozen=True)
class Packing:
    """Shapes, and which of them each configuration fits best.

    Attributes:
        shapes: one or two. kind: index of its shape for every configuration, shape (c,).
        first: index of its first atom, shape (c + 1,), the number of all atoms last.
    """

    shapes: tuple[Shape, ...]
    kind: Int[np.ndarray, "c"]
    first: Int[np.ndarray, "c_1"]

    def plans(self, members: Int[np.ndarray, "k"], seed: tuple[int, ...] | None = None) -> list[Plan]:
        """Batches that hold every member once; drawn anew for every seed, in their own order without one."""
        random = None if seed is None else np.random.default_rng(seed)
        order = members if random is None else random.permutation(members)
        sizes = np.diff(self.first)
        out = []
        for kind, shape in enumerate(self.shapes):
            mine = order[self.kind[order] == kind]
            out += [self._plan(shape, bin_) for bin_ in bins(sizes[mine], shape, mine)]
        return out if random is None else [out[i] for i in random.permutation(len(out))]

    def _plan(self, shape: Shape, members: Sequence[int]) -> Plan:
        atoms = np.full(shape.atoms, -1, np.int32)
        slots, starts = np.zeros(shape.atoms, np.int32), np.zeros(shape.atoms, np.int32)
        configurations = np.full(shape.configurations, -1, np.int32)
        at = 0
        for slot, c in enumerate(members):
            n = int(self.first[c + 1] - self.first[c])
            atoms[at : at + n] = np.arange(self.first[c], self.first[c + 1])
            slots[at : at + n], starts[at : at + n], configurations[slot] = slot, at, c
            at += n
        return Plan(atoms, slots, starts, configurations, shape.widths)


def pack(sizes: Int[np.ndarray, "c"], widths: Int[np.ndarray, "c r"], atoms: int, shapes: int = 2) -> Packing:
    """Choose shapes for configurations of some sizes (atoms) and widths (most neighbours of an atom, by relation).

    Args:
        atoms: wanted in a batch; larger where a configuration is larger, a little off where that wastes less.
        shapes: at most so many.
    """
    first = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    one = _shape(sizes, widths, atoms)
    best: tuple[Shape, ...] = (one,)
    kind, cost = np.zeros(len(sizes), np.int64), SAVING * _cost(sizes, one)
    if shapes > 1:
        for feature in (sizes, widths.sum(axis=1)):
            values = np.unique(feature)
            # Thresholds at a few quantiles of what occurs are enough to find a worthwhile cut.
            for value in values[np.unique(np.linspace(0, len(values) - 1, 9).astype(int))][:-1]:
                small = feature <= value
                two = (_shape(sizes[small], widths[small], atoms), _shape(sizes[~small], widths[~small], atoms))
                new = _cost(sizes[small], two[0]) + _cost(sizes[~small], two[1])
                if two[0] != two[1] and new < cost:
                    best, kind, cost = two, (~small).astype(np.int64), new
    return Packing(best, kind, first)


def bins(sizes: Int[np.ndarray, "c"], shape: Shape, names: Int[np.ndarray, "c"]) -> list[list[int]]:
    """Members of each batch, by name: each goes into the first open batch that has room."""
    closed: list[list[int]] = []
    open_: list[tuple[int, list[int]]] = []
    for size, name in zip(sizes.tolist(), names.tolist(), strict=True):
        for i, (filled, held) in enumerate(open_):
            if filled + size <= shape.atoms and len(held) < shape.configurations:
                held.append(name)
                open_[i] = (filled + size, held)
                break
        else:
            open_.append((size, [name]))
            if len(open_) > OPEN:
                closed.append(open_.pop(0)[1])
    return closed + [held for _, held in open_]


def _shape(sizes: np.ndarray, widths: np.ndarray, atoms: int) -> Shape:
    """The room near the wanted one that wastes least."""
    largest = int(sizes.max())
    few = np.random.default_rng(0).permutation(sizes)[:256]
    low, high = max(largest, int(0.8 * atoms)), max(largest, int(1.25 * atoms))
    rooms = [Shape(n, max(1, n // int(sizes.min())), _widths(widths)) for n in range(low, high + 1)]
    if len(rooms) > 40:
        rooms = [rooms[i] for i in np.linspace(0, len(rooms) - 1, 40).astype(int)]
    waste = [len(bins(few, room, few)) * room.atoms + 0.01 * abs(room.atoms - atoms) for room in rooms]
    return rooms[int(np.argmin(waste))]


def _widths(widths: np.ndarray) -> tuple[int, ...]:
    return tuple(int(w) for w in np.maximum(widths.max(axis=0), 1))


def _cost(sizes: np.ndarray, shape: Shape) -> float:
    """Padded edges of all batches, from a sample."""
    few = np.random.default_rng(0).permutation(sizes)[:512]
    batches = len(bins(few, shape, few)) * len(sizes) / len(few)
    return batches * shape.atoms * (1 + sum(shape.widths))
