"""The HDF5 file of a data set: compressed, written whole or not at all, every array with its unit.

Flows in: a `DataSet` or a path. Flows out: a file or a `DataSet`. Format and version are in it; others are refused.
"""

import json
import os
from typing import Any

import h5py
import numpy as np

from jaxepi import archive, tree
from jaxepi.datasets.blocks import PairBlocks
from jaxepi.datasets.dataset import TEXTS, Configurations, DataSet, check
from jaxepi.datasets.overlap import OverlapFunctions, pair_vectors
from jaxepi.errors import InputError, shown, shown_words
from jaxepi.files import whole

FORMAT, VERSION = "jaxepi-dataset", 2
READABLE = (1, 2)
"""Versions of the format: 2 holds blocks in order of distance, 1 as their pairs come."""

DEFLATE = 2000
"""How many times their size in the file arrays may have: zeros shrink so much, and no more."""

QUANTITIES = {
    "energy": ("eV", 7),
    "forces": ("eV/angstrom", 7),
    "stress": ("eV/angstrom^3", 9),
    "eigenvalues": ("eV", 7),
}
"""What a level may store: unit, and the decimals kept in the file."""

TABLES = {"orbital": "bohr^-l", "projector": "bohr^-l", "correction": "1"}
"""Tables of `OverlapFunctions` and their units."""


OVERLAP_TOLERANCE = 1e-6
"""How far S that is rebuilt from functions of distance may be from S of the code."""


def write(dataset: DataSet, path: str | os.PathLike) -> None:
    """Write the set to one compressed HDF5 file, whole or not at all.

    Raises:
        InputError: the set is empty, a group is damaged (see `check`), or its functions do not give its S.
    """
    if not len(dataset):
        raise InputError(f"data set {dataset.name!r} is empty; nothing was written")
    for i, group in enumerate(dataset.groups):
        check(group, f"group {i} of {dataset.name!r}", dataset.levels)
        if group.blocks is not None and group.blocks.functions is not None:
            off = float(
                np.abs(_overlap(group, group.blocks.functions, group.blocks.pairs) - group.blocks.overlap).max()
            )
            if not off < OVERLAP_TOLERANCE:
                raise InputError(
                    f"group {i} of {dataset.name!r}: S rebuilt from its functions is off by {off:.1e}; store S itself"
                )
    with whole(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"format": FORMAT, "version": VERSION, "name": dataset.name})
        file.attrs["provenance"] = json.dumps(dict(dataset.provenance))
        for level, definition in dataset.levels.items():
            node = file.create_group(f"levels/{level}")
            node.attrs["code"], node.attrs["code_version"] = definition["code"], definition["version"]
            node.attrs["settings"] = json.dumps(definition["settings"], sort_keys=True)
        for i, group in enumerate(dataset.groups):
            _write_group(file.create_group(f"groups/{i:02d}"), group)


CLOSE = 2048
"""Blocks of about one distance in a chunk, each element for itself: its numbers then need few bits."""


def _put(
    node: h5py.Group,
    name: str,
    value: np.ndarray,
    unit: str,
    decimals: int | None = None,
    chunks: tuple[int, ...] | None = None,
) -> None:
    options: dict[str, Any] = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if value.size else {}
    if chunks is not None and value.size:
        options["chunks"] = tuple(min(c, n) for c, n in zip(chunks, value.shape, strict=True))
    if decimals is not None and value.size:
        options["scaleoffset"] = decimals
        value = np.round(value, decimals)  # onto one grid, so that rewriting a set with more in it changes nothing
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
    for name in TEXTS:
        node.create_dataset(name, data=np.array(getattr(group, name), dtype="S"), compression="gzip")
    for level, quantities in group.labels.items():
        node.require_group(f"labels/{level}")  # a level of blocks alone holds no quantities
        for name, value in quantities.items():
            _put(node, f"labels/{level}/{name}", value, *QUANTITIES[name])
    if group.blocks is not None:
        held = group.blocks
        _put(node, "blocks/offsets", held.offsets, "1")
        _put(node, "blocks/pairs", held.pairs.astype(np.int16), "1")
        order = np.argsort(_distances(group), kind="stable").astype(np.int32)
        _put(node, "blocks/order", order, "1")
        _put(node, "blocks/hamiltonian", held.hamiltonian[order], "eV", 5, (CLOSE, 1, 1))
        node["blocks"].attrs.update({"shells": list(held.shells), "reach_angstrom": held.reach, "level": held.level})
        if held.functions is None:
            _put(node, "blocks/overlap", held.overlap[order], "1", 8, (CLOSE, 1, 1))
        else:
            node["blocks"].attrs["overlap_functions"] = held.functions.digest
            _write_functions(node.file, held.functions)


def _distances(group: Configurations) -> np.ndarray:
    """Length of every pair of a group's blocks, angstrom."""
    assert group.blocks is not None
    each = np.split(group.blocks.pairs, group.blocks.offsets[1:-1])
    vectors = [pair_vectors(*of) for of in zip(group.positions, group.cell, each, strict=True)]
    return np.linalg.norm(np.concatenate(vectors), axis=1)


def _write_functions(file: h5py.File, functions: OverlapFunctions) -> None:
    """Tables of S, once a file."""
    where = f"overlap_functions/{functions.digest}"
    if where in file:
        return
    for name, unit in TABLES.items():
        _put(file, f"{where}/{name}", getattr(functions, name), unit)
    file[where].attrs.update({"shells": list(functions.shells), "projectors": list(functions.projectors)})
    about = {"end_bohr": functions.end, "reach_bohr": functions.reach, "threshold": functions.threshold}
    file[where].attrs.update(about)


def read_functions(file: h5py.File, digest: str, where: str) -> OverlapFunctions:
    """The tables of a basis that an open file holds, by their hash.

    Args:
        where: the file, for messages.

    Raises:
        InputError: they are missing or damaged.
    """
    path = f"overlap_functions/{digest}"
    if path not in file:
        raise InputError(f"{where}: {path} is missing")
    node = file[path]
    shells, projectors = (tuple(str(x) for x in node.attrs[n]) for n in ("shells", "projectors"))
    tables = {name: _array(node, name, where) for name in TABLES}
    first, last = (float(r) for r in node.attrs["reach_bohr"])
    end, threshold = float(node.attrs["end_bohr"]), float(node.attrs["threshold"])
    functions = OverlapFunctions(
        **tables, shells=shells, projectors=projectors, end=end, reach=(first, last), threshold=threshold
    )
    if functions.digest != digest:
        raise InputError(f"{where}: {path} is damaged: its hash is {functions.digest}")
    return functions


def _overlap(group: Configurations, functions: OverlapFunctions, pairs: np.ndarray) -> np.ndarray:
    """S of all configurations of a group from its functions."""
    assert group.blocks is not None
    offsets = group.blocks.offsets
    parts = [
        functions.blocks(group.positions[i], group.cell[i], group.pbc, pairs[offsets[i] : offsets[i + 1]])
        for i in range(len(group))
    ]
    return np.concatenate(parts)


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
        try:
            return _read(file, str(path))
        except InputError:
            raise
        except Exception as error:  # whatever h5py and NumPy meet in a damaged file
            reason = shown_words(str(error).strip("\"'")) or type(error).__name__
            raise InputError(f"{path} is damaged or incomplete: {reason}") from error


def _read(file: h5py.File, path: str) -> DataSet:
    found = file.attrs.get("format")
    if not isinstance(found, str) or found != FORMAT:
        raise InputError(f"{path} has format {found!r}; expected {FORMAT!r}")
    version = file.attrs.get("version")
    if version not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise InputError(f"{path} has version {version} of {FORMAT}; this code reads {known}")
    levels = {
        level: {
            "code": str(node.attrs["code"]),
            "version": str(node.attrs["code_version"]),
            "settings": _table(node.attrs["settings"], f"{path}: settings of level {level}"),
        }
        for level, node in file["levels"].items()
    }
    groups = tuple(_read_group(node, f"{path}, group {name}") for name, node in file["groups"].items())
    for i, group in enumerate(groups):
        check(group, f"{path}, group {i:02d}", levels)
    return DataSet(str(file.attrs["name"]), levels, groups, _table(file.attrs["provenance"], f"{path}: provenance"))


def _table(text: Any, where: str) -> dict[str, Any]:
    """A JSON object in an attribute."""
    try:
        found = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{where} is not JSON ({shown_words(str(error))}); write the set again") from error
    if not isinstance(found, dict):
        raise InputError(f"{where} is {shown(found)}; expected names and values")
    return found


def _array(node: h5py.Group, name: str, where: str) -> np.ndarray:
    """Numbers of a data set, looked at before memory is taken for them."""
    held = node[name]
    if not isinstance(held, h5py.Dataset) or held.dtype.kind not in archive.KINDS:
        raise InputError(f"{where}: {name} is no array of numbers; write the set again")
    if held.size * 8 > archive.SMALL + DEFLATE * held.id.get_storage_size():
        raise InputError(
            f"{where}: {name} of shape {held.shape} needs more bytes than the file can hold; it is damaged"
        )
    return np.asarray(held, dtype=np.float64)


def _wholes(node: h5py.Group, name: str, where: str, count: int | None = None) -> tuple[int, ...]:
    """Whole numbers of an attribute."""
    found = np.atleast_1d(np.asarray(node.attrs[name]))
    whole = found.dtype.kind in "iub" or (found.dtype.kind == "f" and (found == np.round(found)).all())
    if found.ndim > 1 or not whole or count not in (None, len(found)):
        expected = "whole numbers" if count is None else f"{count} whole number(s)"
        raise InputError(f"{where}: {name} = {shown(found.tolist())}; expected {expected}")
    return tuple(int(v) for v in found)


def _read_group(node: h5py.Group, where: str) -> Configurations:
    def get(name: str, unit: str) -> np.ndarray:
        if name not in node:
            raise InputError(f"{where}: {name} is missing")
        if node[name].attrs.get("unit") != unit:
            raise InputError(f"{where}: {name} is in {node[name].attrs.get('unit')!r}; expected {unit!r}")
        return _array(node, name, where)

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
    blocks = None
    if "blocks" in node:
        offsets, pairs = (get(f"blocks/{name}", "1").astype(int) for name in ("offsets", "pairs"))
        about = node["blocks"].attrs
        shells = tuple(str(x) for x in about["shells"])
        order = get("blocks/order", "1").astype(int) if "order" in node["blocks"] else np.arange(len(pairs))
        if not np.array_equal(np.sort(order), np.arange(len(pairs))):
            raise InputError(f"{where}: blocks/order does not name each of {len(pairs)} blocks once")

        def placed(name: str, unit: str) -> np.ndarray:
            stored = get(f"blocks/{name}", unit)
            if len(stored) != len(order):
                raise InputError(f"{where}: {len(stored)} blocks of {name} for {len(order)} pairs")
            out = np.empty_like(stored)
            out[order] = stored
            return out

        hamiltonian, functions = placed("hamiltonian", "eV"), None
        if "overlap_functions" in about:
            functions = read_functions(node.file, str(about["overlap_functions"]), where)
            overlap = np.zeros_like(hamiltonian)
        else:
            overlap = placed("overlap", "1")
        reach, level = float(about["reach_angstrom"]), str(about["level"])
        blocks = PairBlocks(offsets, pairs, hamiltonian, overlap, shells, reach, level, functions)
    pbc = [bool(p) for p in _wholes(node, "pbc", where, 3)]
    group = Configurations(
        positions=get("positions", "angstrom"),
        cell=get("cell", "angstrom"),
        strain=get("strain", "1"),
        temperature=get("temperature", "K"),
        seconds=get("seconds", "s"),
        extra={n: get(f"extra/{n}", "angstrom" if n == "distance" else "1") for n in node.get("extra", {})},
        kpoints=get("kpoints", "fractional"),
        weights=get("weights", "1"),
        labels=labels,
        blocks=blocks,
        species=_wholes(node, "species", where),
        pbc=(pbc[0], pbc[1], pbc[2]),
        mesh=tuple(float(v) for v in node.attrs["mesh"]),
        occupied=_wholes(node, "occupied", where, 1)[0],
        kind=texts("kind"),
        around=texts("around"),
        source=texts("source"),
        split=texts("split"),
        fingerprint=texts("fingerprint"),
    )
    if blocks is not None and blocks.functions is not None:
        check(group, where)
        rebuilt = tree.replace(blocks, overlap=_overlap(group, blocks.functions, blocks.pairs))
        group = tree.replace(group, blocks=rebuilt)
    return group
