"""Data sets of labelled configurations: what they hold, what is refused, and how they are split.

Written by the scripts that run ab initio codes, read by training. Nothing downstream is imported. A set holds
`Configurations` (arrays of equal shape: same species, same k points), each labelled at one or more levels of theory. A
level is defined once a set (code, version, settings); a second definition under the same name is refused.

Units: angstrom, eV, eV/angstrom, eV/angstrom^3 (stress is dE/d(strain)/volume, positive is tension), kelvin; k points
are fractional.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float

from jaxepi.datasets.blocks import PairBlocks
from jaxepi.errors import InputError, shown
from jaxepi.kpoints import find
from jaxepi.tree import pytree, static

UNKNOWN: Mapping[str, Any] = {"code": "unknown", "version": "unknown", "settings": {}}
"""The level of theory of files that do not say who calculated their labels."""

SPLITS = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
"""What files call the splits, and their names here."""

LARGEST = 1e9
"""No number of a label, length or temperature is larger (eV, angstrom, kelvin)."""

TEST_TEMPERATURES = (200.0, 600.0)
"""Kelvin: configurations at these temperatures are test only (one interpolated, one extrapolated)."""

TEST_STRAIN = 0.025
"""Configurations with a principal strain beyond this are test only."""

TEST_DISTANCE = (3.55, 3.65)
"""Angstrom: bilayers with an interlayer distance in this window are test only."""


@pytree
class Configurations:
    """Labelled configurations of equal shape: s configurations of n atoms on k k points.

    Attributes:
        positions: angstrom. cell: angstrom, rows are lattice vectors. strain: relative to the lattice of `around`.
        temperature: kelvin, NaN without thermal displacements. seconds: of one core, NaN where unknown.
        extra: further numbers a configuration, shape (s,) each (interlayer distance, for example).
        kpoints: fractional. weights: sum to one. Both are empty when no level stores eigenvalues.
        labels: level -> quantity (`energy`, `forces`, `stress`, `eigenvalues`) -> array, s first.
        blocks: H(R) and S(R) of the configurations, or None.
        species: atomic numbers. pbc: periodic directions. mesh: divisions and shift of the k mesh that was asked for.
        occupied: number of occupied bands (spin-degenerate).
        kind: what was done to each structure. around: which lattice. source: who labelled it.
        split: train, validation or test.
        fingerprint: hash of structure and mesh; a set holds each at most once.
    """

    positions: Float[np.ndarray, "s n 3"]
    cell: Float[np.ndarray, "s 3 3"]
    strain: Float[np.ndarray, "s 3 3"]
    temperature: Float[np.ndarray, "s"]
    seconds: Float[np.ndarray, "s"]
    extra: dict[str, np.ndarray]
    kpoints: Float[np.ndarray, "k 3"]
    weights: Float[np.ndarray, "k"]
    labels: dict[str, dict[str, np.ndarray]]
    blocks: PairBlocks | None
    species: tuple[int, ...] = static()
    pbc: tuple[bool, bool, bool] = static()
    mesh: tuple[float, ...] = static()
    occupied: int = static()
    kind: tuple[str, ...] = static()
    around: tuple[str, ...] = static()
    source: tuple[str, ...] = static()
    split: tuple[str, ...] = static()
    fingerprint: tuple[str, ...] = static()

    def __len__(self) -> int:
        return self.positions.shape[0]

    def select(self, split: str) -> "Configurations":
        """Those of one split (train, validation, test)."""
        return self.take([i for i, s in enumerate(self.split) if s == split])

    def take(self, rows: Iterable[int]) -> "Configurations":
        """Some configurations, by row."""
        index = np.asarray(list(rows), dtype=int)
        changes: dict[str, Any] = {n: getattr(self, n)[index] for n in ARRAYS}
        changes |= {n: tuple(getattr(self, n)[i] for i in index) for n in TEXTS}
        changes["extra"] = {n: v[index] for n, v in self.extra.items()}
        changes["blocks"] = None if self.blocks is None else self.blocks.take(index)
        changes["labels"] = {level: {n: v[index] for n, v in q.items()} for level, q in self.labels.items()}
        return dataclasses.replace(self, **changes)

    def at_points(self, points: Sequence[Sequence[float | int]]) -> "Configurations":
        """With eigenvalues at some of the k points alone, all of the same weight.

        Args:
            points: fractional; a point stands for its time-reversal image and those a reciprocal vector away.

        Raises:
            InputError: a point that is not among those of the group.
        """
        rows = []
        for point in np.asarray(points, dtype=float):
            row = find(self.kpoints, point)
            if row is None:
                raise InputError(
                    f"k point {point.tolist()} is not among the {len(self.kpoints)} of {len(self.species)} atoms on mesh "
                    f"{self.mesh}; choose points of that mesh"
                )
            rows.append(row)
        labels = {
            level: {n: v[:, rows] if n == "eigenvalues" else v for n, v in quantities.items()}
            for level, quantities in self.labels.items()
        }
        weights = np.full(len(rows), 1.0 / len(rows))
        return dataclasses.replace(self, kpoints=self.kpoints[rows], weights=weights, labels=labels)

    @property
    def key(self) -> tuple:
        """What configurations must share to be held in one array."""
        points = tuple(np.round(self.kpoints % 1.0, 6).ravel() % 1.0)
        quantities = tuple((level, tuple(sorted(q))) for level, q in sorted(self.labels.items()))
        bands = tuple(q["eigenvalues"].shape[2] for _, q in sorted(self.labels.items()) if "eigenvalues" in q)
        held = self.blocks
        functions = None if held is None or held.functions is None else held.functions.digest
        matrices = None if held is None else (held.shells, held.reach, held.level, functions)
        return (self.species, self.pbc, self.mesh, points, quantities, bands, matrices, tuple(sorted(self.extra)))


ARRAYS = ("positions", "cell", "strain", "temperature", "seconds")
TEXTS = ("kind", "around", "source", "split", "fingerprint")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A named data set.

    Attributes:
        name: of the set. levels: level of theory -> {code, version, settings}. groups: configurations, by shape.
        provenance: who made what, in words. splits_given: whether the file says the splits; else `split_of` decided.
    """

    name: str
    levels: Mapping[str, Mapping[str, Any]]
    groups: tuple[Configurations, ...]
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)
    splits_given: bool = True

    def __len__(self) -> int:
        return sum(len(group) for group in self.groups)

    def select(self, split: str) -> "DataSet":
        """The part of one split (train, validation, test)."""
        parts = tuple(group.select(split) for group in self.groups)
        return dataclasses.replace(self, groups=tuple(part for part in parts if len(part)))

    def merged(self, other: "DataSet") -> "DataSet":
        """Both sets in one; configurations that this set already holds are dropped from the other.

        Raises:
            InputError: the same level of theory is defined differently in the two.
        """
        levels = dict(self.levels)
        for level, definition in other.levels.items():
            if level in levels:
                refuse_other_definition(level, levels[level], definition)
            levels[level] = definition
        groups = {group.key: group for group in self.groups}
        for group in other.groups:
            held = set(groups[group.key].fingerprint) if group.key in groups else set()
            new = group.take([i for i, f in enumerate(group.fingerprint) if f not in held])
            if len(new):
                groups[group.key] = _joined(groups[group.key], new) if group.key in groups else new
        return DataSet(self.name, levels, tuple(groups.values()), {**self.provenance, **other.provenance})


def refuse_other_definition(level: str, one: Mapping[str, Any], two: Mapping[str, Any]) -> None:
    """Refuse two definitions of one level of theory.

    Raises:
        InputError: names the settings that differ.
    """
    if dict(one) == dict(two):
        return
    first, second = (json.loads(json.dumps(dict(x))) for x in (one, two))
    flat = [{**{k: v for k, v in x.items() if k != "settings"}, **x.get("settings", {})} for x in (first, second)]
    names = sorted(n for n in flat[0].keys() | flat[1].keys() if flat[0].get(n) != flat[1].get(n))
    difference = "; ".join(f"{n}: {flat[0].get(n)} and {flat[1].get(n)}" for n in names)
    raise InputError(f"two levels of theory under the name {level!r} ({difference}); keep them in separate sets")


def _joined(a: Configurations, b: Configurations) -> Configurations:
    def join(x, y):
        return np.concatenate([x, y])

    changes: dict[str, Any] = {n: join(getattr(a, n), getattr(b, n)) for n in ARRAYS}
    changes |= {n: getattr(a, n) + getattr(b, n) for n in TEXTS}
    changes["extra"] = {n: join(a.extra[n], b.extra[n]) for n in a.extra}
    changes["blocks"] = None if a.blocks is None or b.blocks is None else a.blocks.joined(b.blocks)
    changes["labels"] = {
        level: {n: join(v, b.labels[level][n]) for n, v in quantities.items()} for level, quantities in a.labels.items()
    }
    return dataclasses.replace(a, **changes)


def single(
    positions: Float[np.ndarray, "n 3"],
    cell: Float[np.ndarray, "3 3"],
    species: Iterable[int],
    labels: Mapping[str, Mapping[str, Any]],
    *,
    kpoints: Float[np.ndarray, "k 3"] | None = None,
    weights: Float[np.ndarray, "k"] | None = None,
    pbc: Iterable[bool] = (True, True, True),
    mesh: Iterable[float | int] = (),
    occupied: int = 0,
    temperature: float | int = float("nan"),
    seconds: float | int = float("nan"),
    strain: Float[np.ndarray, "3 3"] | None = None,
    extra: Mapping[str, float | int] | None = None,
    blocks: PairBlocks | None = None,
    kind: str = "unknown",
    around: str = "unknown",
    source: str = "unknown",
    split: str | None = None,
) -> Configurations:
    """One labelled configuration, checked, lengths rounded to 1e-8 angstrom as in files; join several with `gather`.

    Args:
        labels: level -> quantity -> value: energy eV, forces (n, 3) eV/angstrom, stress (3, 3) eV/angstrom^3,
            eigenvalues (k, bands) eV.
        mesh: three divisions and three shifts of the k mesh, shifts in units of one division.
        split: one of the words of `SPLITS`; `split_of` decides without.

    Raises:
        InputError: an array of the wrong shape, a NaN, a quantity or split that is not known, or no energy (which levels
            may lack that hold nothing but eigenvalues or blocks).
    """
    x, c = (np.round(np.asarray(v, dtype=np.float64), 8) for v in (positions, cell))
    e = np.zeros((3, 3)) if strain is None else np.array(strain, dtype=np.float64).reshape(3, 3)
    numbers, grid = tuple(int(z) for z in species), tuple(float(v) for v in mesh)
    periodic = tuple(bool(p) for p in pbc)
    more = {n: float(v) for n, v in (extra or {}).items()}
    if split is not None and split not in SPLITS:
        raise InputError(f"split {shown(split)} is not known; give one of {', '.join(SPLITS)}")
    out = Configurations(
        positions=x[None],
        cell=c[None],
        strain=e[None],
        temperature=np.array([temperature], dtype=np.float64),
        seconds=np.array([seconds], dtype=np.float64),
        extra={n: np.array([v]) for n, v in more.items()},
        kpoints=np.zeros((0, 3)) if kpoints is None else np.array(kpoints, dtype=np.float64),
        weights=np.zeros(0) if weights is None else np.array(weights, dtype=np.float64),
        labels={v: {n: np.asarray(a, dtype=np.float64)[None] for n, a in q.items()} for v, q in labels.items()},
        blocks=blocks,
        species=numbers,
        pbc=(periodic[0], periodic[1], periodic[2]),
        mesh=grid,
        occupied=int(occupied),
        kind=(kind,),
        around=(around,),
        source=(source,),
        split=(split_of(x, c, numbers, temperature, e, more) if split is None else SPLITS[split],),
        fingerprint=(fingerprint(x, c, numbers, grid),),
    )
    check(out, "the configuration")
    return out


def gather(
    name: str, levels: Mapping[str, Mapping[str, Any]], parts: Iterable[Configurations], **provenance: str
) -> DataSet:
    """A set of many configurations, arrays joined where the shapes agree (same structure twice: the first is kept)."""
    held: dict[tuple, list[Configurations]] = {}
    seen: set[tuple] = set()
    for part in parts:
        for row in range(len(part)):
            if (part.key, part.fingerprint[row]) not in seen:
                seen.add((part.key, part.fingerprint[row]))
                held.setdefault(part.key, []).append(part if len(part) == 1 else part.take([row]))
    groups = []
    for members in held.values():
        while len(members) > 1:  # pairwise, so that joining stays linear in the number of configurations
            pairs = zip(members[::2], members[1::2], strict=False)
            members = [_joined(a, b) for a, b in pairs] + ([members[-1]] if len(members) % 2 else [])
        groups.append(members[0])
    return DataSet(name, dict(levels), tuple(groups), provenance)


def fingerprint(
    positions: Float[np.ndarray, "n 3"],
    cell: Float[np.ndarray, "3 3"],
    species: Iterable[int],
    mesh: Iterable[float | int] = (),
) -> str:
    """Hash of species, cell and positions (to 1e-8 angstrom, as files keep them) and k mesh: 16 hexadecimal digits."""
    digest = hashlib.sha256(np.array(list(species), dtype="<i4").tobytes())
    for array in (cell, positions):
        digest.update((np.round(np.asarray(array) * 1e8).astype("<i8")).tobytes())
    digest.update(json.dumps([round(float(v), 6) for v in mesh]).encode())
    return digest.hexdigest()[:16]


def split_of(
    positions: Float[np.ndarray, "n 3"],
    cell: Float[np.ndarray, "3 3"],
    species: Iterable[int],
    temperature: float | int,
    strain: Float[np.ndarray, "3 3"],
    extra: Mapping[str, float | int] | None = None,
) -> str:
    """The split of a configuration: a fixed rule, so that no file of lists is needed.

    Test: the temperatures `TEST_TEMPERATURES`, principal strains beyond `TEST_STRAIN`, interlayer distances within
    `TEST_DISTANCE`; training never sees them. Of the rest a tenth, by hash of the geometry (not of the k mesh, so that
    one geometry on two meshes stays together), is for validation.
    """
    if any(abs(temperature - t) < 0.5 for t in TEST_TEMPERATURES):
        return "test"
    if np.abs(np.linalg.eigvalsh(0.5 * (strain + strain.T))).max() > TEST_STRAIN:
        return "test"
    distance = (extra or {}).get("distance")
    if distance is not None and TEST_DISTANCE[0] <= distance <= TEST_DISTANCE[1]:
        return "test"
    return "validation" if int(fingerprint(positions, cell, species), 16) % 10 == 0 else "train"


def _without_energy(group: Configurations, level: str) -> bool:
    """Whether a level may do without an energy: it holds eigenvalues or blocks, and no derivative of the energy."""
    electronic = "eigenvalues" in group.labels[level] or (group.blocks is not None and group.blocks.level == level)
    return electronic and not group.labels[level].keys() & {"forces", "stress"}


def check(group: Configurations, where: str, levels: Iterable[str] | None = None) -> None:
    """Refuse configurations whose arrays are missing, of the wrong shape, or hold NaN.

    Args:
        where: how to name the group in the message. levels: levels of theory that the set defines.

    Raises:
        InputError: names the array and what is wrong; also species that are no elements.
    """
    s, n, k = len(group.positions), len(group.species), len(group.kpoints)

    def refuse(name: str, value: np.ndarray, shape: tuple, finite: bool = True) -> None:
        matches = value.ndim == len(shape) and all(w in (None, h) for h, w in zip(value.shape, shape, strict=True))
        if not matches:
            expected = tuple("any" if w is None else w for w in shape)
            raise InputError(f"{where}: {name} has shape {value.shape}; expected {expected}")
        if finite and not np.isfinite(value).all():
            row = int(np.argwhere(~np.isfinite(value))[0, 0])
            raise InputError(f"{where}: {name} holds NaN or infinity (first in row {row})")
        if (np.abs(value) > LARGEST).any():
            raise InputError(f"{where}: {name} holds {value[np.abs(value) > LARGEST][0]:g}; the file is damaged")

    strange = [z for z in group.species if not 0 < z < len(chemical_symbols)]
    if strange:
        raise InputError(
            f"{where}: species {strange[0]} is no atomic number; they are 1 to {len(chemical_symbols) - 1}"
        )
    if group.occupied < 0:
        raise InputError(
            f"{where}: {group.occupied} occupied bands; give a positive number, or 0 where it is not known"
        )
    refuse("positions", group.positions, (s, n, 3))
    refuse("cell", group.cell, (s, 3, 3))
    refuse("strain", group.strain, (s, 3, 3))
    refuse("temperature", group.temperature, (s,), finite=False)
    refuse("seconds", group.seconds, (s,), finite=False)
    refuse("kpoints", group.kpoints, (k, 3))
    refuse("weights", group.weights, (k,))
    if k and abs(group.weights.sum() - 1) > 1e-6:
        raise InputError(f"{where}: weights sum to {group.weights.sum():.6f}; expected 1")
    for name, value in group.extra.items():
        refuse(name, value, (s,))
    for name in TEXTS:
        if len(getattr(group, name)) != s:
            raise InputError(f"{where}: {len(getattr(group, name))} entries of {name} for {s} configurations")
    if not group.labels:
        raise InputError(f"{where}: no labels; every configuration needs an energy, eigenvalues or blocks")
    shapes = {"energy": (s,), "forces": (s, n, 3), "stress": (s, 3, 3), "eigenvalues": (s, k, None)}
    for level, quantities in group.labels.items():
        if levels is not None and level not in levels:
            raise InputError(f"{where}: level of theory {level!r} is not defined in the set; add its code and settings")
        if "energy" not in quantities and not _without_energy(group, level):
            raise InputError(f"{where}: {level} has no energy")
        for name, value in quantities.items():
            if name not in shapes:
                raise InputError(f"{where}: {level} holds {name!r}, which is not one of {sorted(shapes)}")
            if name == "eigenvalues" and k == 0:
                raise InputError(f"{where}: {level} has eigenvalues but the group has no kpoints")
            refuse(f"{level}/{name}", value, shapes[name])
    if group.blocks is not None:
        held, p = group.blocks, len(group.blocks.pairs)
        refuse("blocks/offsets", held.offsets, (s + 1,))
        refuse("blocks/pairs", held.pairs, (p, 5))
        refuse("blocks/hamiltonian", held.hamiltonian, (p, None, None))
        refuse("blocks/overlap", held.overlap, held.hamiltonian.shape)
        inside = (held.pairs[:, :2] >= 0).all() and (held.pairs[:, :2] < n).all()
        if not inside or (np.abs(held.pairs) > 500).any():
            raise InputError(f"{where}: blocks/pairs name atoms beyond the {n} there are, or cells beyond 500")
        if held.offsets[0] != 0 or held.offsets[-1] != p or (np.diff(held.offsets) < n).any():
            raise InputError(f"{where}: blocks/offsets do not divide {p} pairs among {s} configurations")
        if levels is not None and held.level not in levels:
            raise InputError(f"{where}: blocks belong to level {held.level!r}, which the set does not define")
