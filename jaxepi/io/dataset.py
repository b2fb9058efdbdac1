"""Data sets of labelled configurations: what they hold, how they are split, and their HDF5 file.

Written by the scripts that run ab initio codes, read by training. Nothing downstream is imported. A set holds
`Configurations` (arrays of equal shape: same species, same k points), each labelled at one or more levels of theory. A
level is defined once a set (code, version, settings); a second definition under the same name is refused.

Units: angstrom, eV, eV/angstrom, eV/angstrom^3 (stress is dE/d(strain)/volume, positive is tension), kelvin; k points
are fractional. Every array in the file carries its unit, and another one is refused.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float

from jaxepi.errors import InputError
from jaxepi.tree import pytree, static

FORMAT, VERSION = "jaxepi-dataset", 1

QUANTITIES = {
    "energy": ("eV", 7),
    "forces": ("eV/angstrom", 7),
    "stress": ("eV/angstrom^3", 9),
    "eigenvalues": ("eV", 7),
}
"""What a level may store: unit, and the decimals kept in the file."""

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
        changes: dict[str, Any] = {n: getattr(self, n)[index] for n in _ARRAYS}
        changes |= {n: tuple(getattr(self, n)[i] for i in index) for n in _TEXTS}
        changes["extra"] = {n: v[index] for n, v in self.extra.items()}
        changes["labels"] = {level: {n: v[index] for n, v in q.items()} for level, q in self.labels.items()}
        return dataclasses.replace(self, **changes)

    @property
    def key(self) -> tuple:
        """What configurations must share to be held in one array."""
        points = tuple(np.round(self.kpoints % 1.0, 6).ravel() % 1.0)
        held = tuple((level, tuple(sorted(q))) for level, q in sorted(self.labels.items()))
        bands = tuple(q["eigenvalues"].shape[2] for _, q in sorted(self.labels.items()) if "eigenvalues" in q)
        return (self.species, self.pbc, self.mesh, points, held, bands, tuple(sorted(self.extra)))


_ARRAYS = ("positions", "cell", "strain", "temperature", "seconds")
_TEXTS = ("kind", "around", "source", "split", "fingerprint")


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A named data set.

    Attributes:
        name: of the set. levels: level of theory -> {code, version, settings}. groups: configurations, by shape.
        provenance: who made what, in words.
    """

    name: str
    levels: Mapping[str, Mapping[str, Any]]
    groups: tuple[Configurations, ...]
    provenance: Mapping[str, str] = dataclasses.field(default_factory=dict)

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

    changes: dict[str, Any] = {n: join(getattr(a, n), getattr(b, n)) for n in _ARRAYS}
    changes |= {n: getattr(a, n) + getattr(b, n) for n in _TEXTS}
    changes["extra"] = {n: join(a.extra[n], b.extra[n]) for n in a.extra}
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
    mesh: Iterable[float] = (),
    occupied: int = 0,
    temperature: float = float("nan"),
    seconds: float = float("nan"),
    strain: Float[np.ndarray, "3 3"] | None = None,
    extra: Mapping[str, float] | None = None,
    kind: str = "unknown",
    around: str = "unknown",
    source: str = "unknown",
) -> Configurations:
    """One labelled configuration, checked; join several with `gather`.

    Args:
        labels: level -> quantity -> value: energy eV, forces (n, 3) eV/angstrom, stress (3, 3) eV/angstrom^3,
            eigenvalues (k, bands) eV.
        mesh: three divisions and three shifts of the k mesh, shifts in units of one division.

    Raises:
        InputError: an array of the wrong shape, a NaN, a quantity that is not known, or no energy.
    """
    x, c = np.array(positions, dtype=np.float64), np.array(cell, dtype=np.float64)
    e = np.zeros((3, 3)) if strain is None else np.array(strain, dtype=np.float64).reshape(3, 3)
    numbers, grid = tuple(int(z) for z in species), tuple(float(v) for v in mesh)
    periodic = tuple(bool(p) for p in pbc)
    more = {n: float(v) for n, v in (extra or {}).items()}
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
        species=numbers,
        pbc=(periodic[0], periodic[1], periodic[2]),
        mesh=grid,
        occupied=int(occupied),
        kind=(kind,),
        around=(around,),
        source=(source,),
        split=(split_of(x, c, numbers, temperature, e, more),),
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
    mesh: Iterable[float] = (),
) -> str:
    """Hash of species, cell and positions (to 1e-6 angstrom) and k mesh: 16 hexadecimal digits."""
    digest = hashlib.sha256(np.array(list(species), dtype="<i4").tobytes())
    for array in (cell, positions):
        digest.update((np.round(np.asarray(array) * 1e6).astype("<i8")).tobytes())
    digest.update(json.dumps([round(float(v), 6) for v in mesh]).encode())
    return digest.hexdigest()[:16]


def split_of(
    positions: Float[np.ndarray, "n 3"],
    cell: Float[np.ndarray, "3 3"],
    species: Iterable[int],
    temperature: float,
    strain: Float[np.ndarray, "3 3"],
    extra: Mapping[str, float] | None = None,
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


def check(group: Configurations, where: str, levels: Iterable[str] | None = None) -> None:
    """Refuse configurations whose arrays are missing, of the wrong shape, or hold NaN.

    Args:
        where: how to name the group in the message. levels: levels of theory that the set defines.

    Raises:
        InputError: names the array and what is wrong.
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
    for name in _TEXTS:
        if len(getattr(group, name)) != s:
            raise InputError(f"{where}: {len(getattr(group, name))} entries of {name} for {s} configurations")
    if not group.labels:
        raise InputError(f"{where}: no labels; every configuration needs at least an energy")
    shapes = {"energy": (s,), "forces": (s, n, 3), "stress": (s, 3, 3), "eigenvalues": (s, k, None)}
    for level, quantities in group.labels.items():
        if levels is not None and level not in levels:
            raise InputError(f"{where}: level of theory {level!r} is not defined in the set; add its code and settings")
        if "energy" not in quantities:
            raise InputError(f"{where}: {level} has no energy")
        for name, value in quantities.items():
            if name not in shapes:
                raise InputError(f"{where}: {level} holds {name!r}, which is not one of {sorted(shapes)}")
            if name == "eigenvalues" and k == 0:
                raise InputError(f"{where}: {level} has eigenvalues but the group has no kpoints")
            refuse(f"{level}/{name}", value, shapes[name])


def write(dataset: DataSet, path: str | os.PathLike) -> None:
    """Write the set to one compressed HDF5 file, whole or not at all.

    Raises:
        InputError: the set is empty, or a group is damaged (see `check`).
    """
    if not len(dataset):
        raise InputError(f"data set {dataset.name!r} is empty; nothing was written")
    for i, group in enumerate(dataset.groups):
        check(group, f"group {i} of {dataset.name!r}", dataset.levels)
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs.update({"format": FORMAT, "version": VERSION, "name": dataset.name})
            file.attrs["provenance"] = json.dumps(dict(dataset.provenance))
            for level, definition in dataset.levels.items():
                node = file.create_group(f"levels/{level}")
                node.attrs["code"], node.attrs["code_version"] = definition["code"], definition["version"]
                node.attrs["settings"] = json.dumps(definition["settings"], sort_keys=True)
            for i, group in enumerate(dataset.groups):
                _write_group(file.create_group(f"groups/{i:02d}"), group)
        with temporary.open("rb") as finished:
            os.fsync(finished.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def _put(node: h5py.Group, name: str, value: np.ndarray, unit: str, decimals: int | None = None) -> None:
    options: dict[str, Any] = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if value.size else {}
    if decimals is not None and value.size:
        options["scaleoffset"] = decimals
    data = node.create_dataset(name, data=value, **options)
    data.attrs["unit"] = unit


def _write_group(node: h5py.Group, group: Configurations) -> None:
    node.attrs.update({"species": group.species, "pbc": group.pbc, "mesh": group.mesh, "occupied": group.occupied})
    _put(node, "positions", group.positions, "angstrom", 8)
    _put(node, "cell", group.cell, "angstrom", 8)
    _put(node, "strain", group.strain, "1", 10)
    _put(node, "temperature", group.temperature, "K")
    _put(node, "seconds", group.seconds, "s")
    _put(node, "kpoints", group.kpoints, "fractional")
    _put(node, "weights", group.weights, "1")
    for name, value in group.extra.items():
        _put(node, f"extra/{name}", value, "angstrom" if name == "distance" else "1")
    for name in _TEXTS:
        node.create_dataset(name, data=np.array(getattr(group, name), dtype="S"), compression="gzip")
    for level, quantities in group.labels.items():
        for name, value in quantities.items():
            _put(node, f"labels/{level}/{name}", value, *QUANTITIES[name])


def read(path: str | os.PathLike) -> DataSet:
    """Read and check a data set.

    Raises:
        InputError: the file is missing, truncated, of another format or version, or damaged; the message names it.
    """
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as HDF5 ({error}); it is missing, truncated or of another format"
        ) from error
    with file:
        found = file.attrs.get("format")
        if found != FORMAT:
            raise InputError(f"{path} has format {found!r}; expected {FORMAT!r}")
        if int(file.attrs.get("version", -1)) != VERSION:
            raise InputError(f"{path} has version {file.attrs.get('version')} of {FORMAT}; this code reads {VERSION}")
        try:
            levels = {
                level: {
                    "code": str(node.attrs["code"]),
                    "version": str(node.attrs["code_version"]),
                    "settings": json.loads(node.attrs["settings"]),
                }
                for level, node in file["levels"].items()
            }
            groups = tuple(_read_group(node, f"{path}, group {name}") for name, node in file["groups"].items())
            provenance = json.loads(file.attrs["provenance"])
        except (KeyError, OSError) as error:
            raise InputError(f"{path} is damaged or incomplete: {str(error).strip(chr(34))}") from error
        for i, group in enumerate(groups):
            check(group, f"{path}, group {i:02d}", levels)
        return DataSet(str(file.attrs["name"]), levels, groups, provenance)


def _read_group(node: h5py.Group, where: str) -> Configurations:
    def get(name: str, unit: str) -> np.ndarray:
        if name not in node:
            raise InputError(f"{where}: {name} is missing")
        if node[name].attrs.get("unit") != unit:
            raise InputError(f"{where}: {name} is in {node[name].attrs.get('unit')!r}; expected {unit!r}")
        return np.asarray(node[name], dtype=np.float64)

    def texts(name: str) -> tuple[str, ...]:
        if name not in node:
            raise InputError(f"{where}: {name} is missing")
        return tuple(t.decode() for t in node[name][...])

    labels: dict[str, dict[str, np.ndarray]] = {}
    for level, quantities in node.get("labels", {}).items():
        unknown = sorted(set(quantities) - set(QUANTITIES))
        if unknown:
            raise InputError(f"{where}: {level} holds {unknown[0]!r}, which is not one of {sorted(QUANTITIES)}")
        labels[level] = {n: get(f"labels/{level}/{n}", QUANTITIES[n][0]) for n in quantities}
    pbc = [bool(p) for p in node.attrs["pbc"]]
    return Configurations(
        positions=get("positions", "angstrom"),
        cell=get("cell", "angstrom"),
        strain=get("strain", "1"),
        temperature=get("temperature", "K"),
        seconds=get("seconds", "s"),
        extra={n: get(f"extra/{n}", "angstrom" if n == "distance" else "1") for n in node.get("extra", {})},
        kpoints=get("kpoints", "fractional"),
        weights=get("weights", "1"),
        labels=labels,
        species=tuple(int(z) for z in node.attrs["species"]),
        pbc=(pbc[0], pbc[1], pbc[2]),
        mesh=tuple(float(v) for v in node.attrs["mesh"]),
        occupied=int(node.attrs["occupied"]),
        kind=texts("kind"),
        around=texts("around"),
        source=texts("source"),
        split=texts("split"),
        fingerprint=texts("fingerprint"),
    )
