"""The result store: pytrees of every stage in one HDF5 file, with units, provenance, and a run that survives a kill.

Flows in: snapshots, transitions, spectra, band edges, tables of numbers. Flows out: one file, and the same pytrees again.
Every array carries its unit in the attribute `unit`, as its field declares it (`tree.field`); `format` and `version` are
attributes of the file. Stages say which of their classes can be stored (`tree.stored`); none is known here.

A run in progress keeps each finished snapshot in a small part file in `<name>.parts/`, and packs them into `<name>` at the
end. A part is written under another name and moved into place with `os.replace`, which the file system does whole or not
at all: whenever the process is killed, a part is there and complete, or it is not there. The other choice, rewriting the
whole file after every snapshot, is as safe, but writes a number of bytes that grows with the square of the number of
snapshots (8 GB for 100 snapshots of 512 atoms); appending to one open HDF5 file is not safe, since its metadata are
inconsistent until they are flushed. The packed file is moved into place in the same way, and only then are the parts removed.
"""

import dataclasses
import datetime
import hashlib
import io
import json
import os
import platform
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import jax
import numpy as np

import jaxepi
from jaxepi.errors import InputError
from jaxepi.files import whole
from jaxepi.guards import constant
from jaxepi.tree import STORED

FORMAT, VERSION = "jaxepi-result", 1


class Quantity(NamedTuple):
    """An array and its unit, for numbers that belong to no pytree."""

    value: Any
    unit: str


class Result(NamedTuple):
    """A file that was read: its contents (nested dicts of pytrees and quantities) and where they come from."""

    contents: dict[str, Any]
    provenance: dict[str, Any]


def provenance(
    settings: Mapping[str, Any], models: Mapping[str, Any], command: str = "", **more: str
) -> dict[str, Any]:
    """Where a result comes from: versions, command line, settings, models by name with the hash of their parameters, date.

    Args:
        settings: every setting, JSON types. models: name -> model (a pytree), hashed together in this order.
    """
    return {
        "jaxepi": jaxepi.__version__,
        "jax": jax.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "backend": jax.default_backend(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command,
        "settings": json.loads(json.dumps(dict(settings))),
        "models": list(models),
        "model_hash": fingerprint(*models.values()),
        **more,
    }


def fingerprint(*trees: Any) -> str:
    """SHA-256 of pytrees: their structure (static fields included), and each array's type, shape and bytes."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(trees):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    for tree in trees:
        digest.update(repr(getattr(tree, "module", None)).encode())
    return digest.hexdigest()


def write(path: str | os.PathLike, contents: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    """Write contents (nested dicts of pytrees and quantities) with their provenance, whole or not at all.

    Raises:
        OSError: the folder cannot be written. TypeError: something the store does not know how to hold.
    """
    target = Path(path)
    _write(target, contents, origin)


def _write(target: Path, contents: Mapping[str, Any], origin: Mapping[str, Any], temporary: Path | None = None) -> None:
    """Whole or not at all; `temporary` is where it is written meanwhile (`files.whole`)."""
    _put_image(target, image(contents, origin), temporary)


def _put_image(target: Path, held: bytes, temporary: Path | None = None) -> None:
    with whole(target, temporary) as path:
        path.write_bytes(held)


def image(contents: Mapping[str, Any], origin: Mapping[str, Any]) -> bytes:
    """The bytes of a result's file.

    It is made in memory: a full disk is then met by Python alone, since HDF5 prints what it meets while it cleans up.
    """
    name = f"image-{uuid.uuid4().hex}"  # HDF5 opens no name twice, and other threads make images too
    with h5py.File(name, "w", driver="core", backing_store=False, block_size=1 << 20) as file:
        file.attrs.update({"format": FORMAT, "version": VERSION})
        for key, value in origin.items():
            file.attrs[key] = value if isinstance(value, str) else json.dumps(value, sort_keys=True)
        for name, value in contents.items():
            _encode(file, name, value, None)
        file.flush()
        return file.id.get_file_image()


def of_image(held: bytes) -> dict[str, Any]:
    """What the bytes of a result's file hold."""
    with h5py.File(io.BytesIO(held), "r") as file:
        return {name: _decode(file[name]) for name in file}


def read(path: str | os.PathLike) -> Result:
    """Read a result: the same pytrees that were written.

    Raises:
        InputError: the file is missing, truncated, of another format or version, or damaged; names it and the remedy.
    """
    with _opened(path) as file:
        try:
            return Result({name: _decode(file[name]) for name in file}, _origin(file))
        except (KeyError, OSError, RuntimeError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path} is damaged ({error}); delete it and run again, or pass --overwrite") from error


def read_provenance(path: str | os.PathLike) -> dict[str, Any]:
    """Only where a result comes from; raises as `read`."""
    with _opened(path) as file:
        return _origin(file)


def _opened(path: str | os.PathLike) -> h5py.File:
    if not Path(path).is_file():
        raise InputError(f"{path} is not a file; give the path of a result written by jaxepi")
    try:
        file = h5py.File(path, "r")
        found, version = file.attrs.get("format"), file.attrs.get("version")
    except OSError as error:
        raise InputError(
            f"{path} cannot be read as HDF5 ({error}): it is truncated or of another format; delete it and run again, "
            "or pass --overwrite"
        ) from error
    if found == FORMAT and version == VERSION:
        return file
    file.close()
    if found != FORMAT:
        raise InputError(f"{path} has format {found!r}; expected {FORMAT!r}: give the path of another file")
    raise InputError(
        f"{path} has version {version} of {FORMAT}; this jaxepi {jaxepi.__version__} reads version {VERSION}: use the "
        "release that wrote it, or run again with --overwrite"
    )


def _origin(file: h5py.File) -> dict[str, Any]:
    origin = {key: value for key, value in file.attrs.items() if key not in ("format", "version")}
    return {key: json.loads(v) if key in ("settings", "models") else v for key, v in origin.items()}


def _encode(parent: h5py.Group, name: str, value: Any, unit: Any) -> None:
    """Put one value under `name`; `unit` is that of an array."""
    cls = type(value)
    if isinstance(value, Quantity):
        _encode(parent, name, np.asarray(value.value), value.unit)
        parent[name].attrs["type"] = "Quantity"
    elif STORED.get(cls.__name__) is cls:
        group = parent.create_group(name)
        group.attrs.update({"type": cls.__name__, "stage": _stage(cls)})
        for field in dataclasses.fields(value):
            item = getattr(value, field.name)
            if field.metadata.get("static") and type(item) not in STORED.values():
                _encode_static(group, f"static {field.name}", json.dumps(item))
            elif item is not None:  # else its default, when it is read
                _encode(group, field.name, item, field.metadata.get("unit"))
    elif isinstance(value, Mapping | tuple | list):
        group = parent.create_group(name)
        group.attrs["type"] = "dict" if isinstance(value, Mapping) else "tuple"
        items = value.items() if isinstance(value, Mapping) else ((f"{i:06d}", v) for i, v in enumerate(value))
        for key, item in items:
            _encode(group, key, item, unit)
    elif isinstance(value, str):
        parent.create_dataset(name, data=value).attrs["type"] = "text"
    elif unit is not None:
        array = np.asarray(value)
        options: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        data = parent.create_dataset(name, data=array, **(options if array.size > 100 else {}))
        data.attrs["unit"] = unit
    else:
        raise TypeError(f"{name}: the store holds no {cls.__name__}; wrap numbers in Quantity(value, unit)")


def _encode_static(group: h5py.Group, name: str, text: str) -> None:
    """JSON as an attribute, or as a text where it is longer than an attribute can be (64 kB)."""
    if len(text) < 60_000:
        group.attrs[name] = text
    else:
        group.create_dataset(name, data=text).attrs["type"] = "text"


def _decode(node: h5py.Group | h5py.Dataset) -> Any:
    kind = node.attrs.get("type")
    if isinstance(node, h5py.Dataset) and kind == "text":
        return node.asstr()[()]
    if isinstance(node, h5py.Dataset):
        value = node[()]
        return Quantity(np.asarray(value), str(node.attrs["unit"])) if kind == "Quantity" else constant(value)
    if kind == "dict":
        return {name: _decode(child) for name, child in node.items()}
    if kind == "tuple":
        return tuple(_decode(node[name]) for name in sorted(node))
    cls = _class(str(kind), node.attrs.get("stage"))
    if cls is None:
        raise InputError(f"{node.file.filename} holds {node.name} of unknown type {kind!r}; use a newer jaxepi")
    prefix = "static "
    values = {name: _decode(child) for name, child in node.items()}
    texts = {k: v for k, v in {**node.attrs, **values}.items() if k.startswith(prefix)}
    values = {k: v for k, v in values.items() if k not in texts}
    return cls(**values, **{k.removeprefix(prefix): tuples(json.loads(v)) for k, v in texts.items()})


def _stage(cls: type) -> str:
    """The stage in whose front door a class stands."""
    return ".".join(cls.__module__.split(".")[:2])


def _class(kind: str, stage: str | None) -> type | None:
    """A registered class, if its stage has one of this name; files of earlier versions do not say which stage that is."""
    for room in [stage.removeprefix("jaxepi.")] if stage else jaxepi.__all__:
        if kind in STORED:
            break
        if room in jaxepi.__all__:
            getattr(getattr(jaxepi, room), kind, None)  # a front door imports what it is asked for
    return STORED.get(kind)


def tuples(value: Any) -> Any:
    """JSON with tuples in the place of its lists."""
    if isinstance(value, Mapping):
        return {key: tuples(v) for key, v in value.items()}
    return tuple(tuples(v) for v in value) if isinstance(value, list) else value


def begun(path: str | os.PathLike) -> bool:
    """Whether there is a result or a run of one, finished or not, of whatever settings."""
    target = Path(path)
    return target.exists() or (parts_of(target) / "run.h5").exists()


def parts_of(path: Path) -> Path:
    """The folder of what is finished of a result that is not."""
    return path.with_name(path.name + ".parts")


class Run:
    """A result under construction: finished parts are safe at once, and a second run finds them.

    Args:
        path: of the finished file. origin: `provenance(...)` of this run.
        resume: go on from what an earlier run finished; otherwise everything that is there is replaced.
        ignore: settings that may differ from the earlier run's.

    Raises:
        InputError: what is there was made with other settings or models (names the first that differ), is unreadable, or
            is of another format or version. OSError: the folder cannot be written.
    """

    def __init__(
        self, path: str | os.PathLike, origin: Mapping[str, Any], resume: bool = True, ignore: tuple[str, ...] = ()
    ) -> None:
        self.path, self.origin = Path(path), dict(origin)
        self.parts = parts_of(self.path)
        if self.path.is_dir():
            raise InputError(f"{self.path} is a folder; give --output the name of a file")
        if not self.path.parent.is_dir():
            raise InputError(f"{self.path.parent} is not a folder; make it, or give another --output")
        if not resume:
            self._discard()
        self.complete = self.path.exists()
        if self.complete:
            refuse_other_settings(self.path, read_provenance(self.path), self.origin, ignore)
            self._remove_parts("*.h5", "replaced.old")
            return
        header = self._file("run")
        if header.exists():
            refuse_other_settings(header, read_provenance(header), self.origin, ignore)
        else:
            self.parts.mkdir(exist_ok=True)
            self.put("run", {})

    def _file(self, name: str) -> Path:
        return self.parts / f"{name}.h5"

    def _discard(self) -> None:
        """Start afresh. A finished result is only put aside: it goes when the new one is complete."""
        self._remove_parts("*.h5")
        if self.path.exists():
            self.parts.mkdir(exist_ok=True)
            os.replace(self.path, self.parts / "replaced.old")

    def _remove_parts(self, *patterns: str) -> None:
        """Remove files of this run, and the folder if nothing else is in it."""
        for pattern in (*patterns, ".*.tmp"):
            for file in self.parts.glob(pattern):
                file.unlink(missing_ok=True)
        if self.parts.is_dir() and not any(self.parts.iterdir()):
            self.parts.rmdir()

    def put(self, name: str, contents: Mapping[str, Any]) -> None:
        """Store one part, whole or not at all."""
        _write(self._file(name), contents, self.origin)

    def put_image(self, name: str, held: bytes) -> None:
        """Store one part that another process made (`image`), whole or not at all."""
        _put_image(self._file(name), held)

    def get(self, name: str) -> dict[str, Any] | None:
        """One part, or None where it is not finished; an unreadable one (a full disk, say) counts as not finished."""
        if not self._file(name).exists():
            return None
        try:
            return read(self._file(name)).contents
        except InputError as error:
            warnings.warn(f"computing one part again: {error}", stacklevel=2)
            return None

    def keep(self, name: str, compute: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """One part: from its file if it is finished, computed and stored otherwise. Both give the same values."""
        found = self.get(name)
        return self.replaced(name, compute()) if found is None else found

    def replaced(self, name: str, contents: Mapping[str, Any]) -> dict[str, Any]:
        """One part stored, whatever was there, and as it reads back."""
        self.put(name, contents)
        found = self.get(name)
        if found is None:
            raise OSError(f"{self._file(name)} was written but cannot be read back; check the disk")
        return found

    def finish(self, contents: Mapping[str, Any]) -> None:
        """Write the result into place, then remove the parts."""
        _write(self.path, contents, self.origin, self.parts / f".result.{os.getpid()}.tmp")
        self.complete = True
        self._remove_parts("*.h5", "replaced.old")


def refuse_other_settings(
    path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], ignore: tuple[str, ...] = ()
) -> None:
    """Refuse to go on with a result of other settings or models.

    Raises:
        InputError: names what differs, and says that --overwrite and another --output exist.
    """
    before, now = found.get("settings", {}), wanted["settings"]
    names = [n for n in sorted(before.keys() | now.keys()) if n not in ignore and before.get(n) != now.get(n)]
    differences = [f"{n} was {before.get(n)!r} and is now {now.get(n)!r}" for n in names]
    if not names:
        hashes = sorted(k for k in wanted if k.endswith("_hash") and found.get(k) != wanted[k])
        differences = [f"the {k.removesuffix('_hash')} has changed (another SHA-256)" for k in hashes]
    if differences:
        raise InputError(
            f"{path} belongs to another run: {'; '.join(differences)}. Give another --output, or pass --overwrite to "
            "replace it"
        )
