"""Frozen dataclasses that are JAX pytrees: the form of all data that flows between stages.

A field names its unit where it is declared, and a class that the store of results shall hold says so itself:

    @stored
    @pytree
    class Edges:
        energies: Float[Array, "n"] = field(unit="eV")
        degeneracy: int = static()
"""

import dataclasses
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

from jaxepi.guards import constant, traced

T = TypeVar("T")


def field(unit: str | None = None, **kwargs: Any) -> Any:
    """A field that is a leaf, or a pytree of them: arrays in `unit`; "1" where they have none."""
    return dataclasses.field(metadata={"unit": unit}, **kwargs)


def static(**kwargs: Any) -> Any:
    """A dataclass field that belongs to the tree structure (hashable, compared by value)."""
    return dataclasses.field(metadata={"static": True}, **kwargs)


STORED: dict[str, type] = {}
"""Classes that the store of results can hold, by name."""


def stored(cls: type[T]) -> type[T]:
    """Let the store of results hold a pytree; its stage must have it in the front door, which is where a file looks for it.

    Raises:
        TypeError: another class has its name.
    """
    other = STORED.setdefault(cls.__name__, cls)
    if (other.__module__, other.__qualname__) != (cls.__module__, cls.__qualname__):
        raise TypeError(f"{cls.__module__} and {other.__module__} both store a {cls.__name__}; rename one")
    STORED[cls.__name__] = cls
    return cls


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, field, static))
def pytree(cls: type) -> type:
    """Make `cls` a frozen dataclass and a JAX pytree.

    Fields declared with `static()` are hashed with the tree structure (a change recompiles); all others are leaves.
    Unflattening bypasses `__init__`, so transformations may put tracers, `None` or axis numbers in the fields.
    Printed, arrays of more than nine numbers are their type and shape, so that a model with its weights stays readable.
    """
    cls = dataclasses.dataclass(frozen=True, repr=False)(cls)
    names = [f.name for f in dataclasses.fields(cls)]
    meta = [f.name for f in dataclasses.fields(cls) if f.metadata.get("static")]
    data = [n for n in names if n not in meta]

    def flatten_with_keys(obj):
        children = [(jax.tree_util.GetAttrKey(n), getattr(obj, n)) for n in data]
        return children, tuple(getattr(obj, n) for n in meta)

    def flatten(obj):
        return [getattr(obj, n) for n in data], tuple(getattr(obj, n) for n in meta)

    def unflatten(aux, children):
        obj: Any = object.__new__(cls)
        for name, value in zip(data, children, strict=True):
            object.__setattr__(obj, name, value)
        for name, value in zip(meta, aux, strict=True):
            object.__setattr__(obj, name, value)
        return obj

    def show(obj):
        fields = (f"{n}={jax.tree.map(_shown, getattr(obj, n)) if n in data else getattr(obj, n)!r}" for n in names)
        return f"{cls.__name__}({', '.join(fields)})"

    cls.__repr__ = show  # type: ignore[assignment]
    jax.tree_util.register_pytree_with_keys(cls, flatten_with_keys, unflatten, flatten)
    return cls


class _Text(str):
    """Printed without quotation marks."""

    __repr__ = str.__str__


def _shown(leaf: Any) -> _Text:
    """A leaf as it is printed: an array by type and shape (float32[8,3]) unless it is small, anything else as it is."""
    if not isinstance(leaf, np.ndarray | jax.Array):
        return _Text(repr(leaf))
    if leaf.size <= 9 and not isinstance(leaf, jax.core.Tracer):
        return _Text(leaf.tolist())
    return _Text(f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]")


def astype(tree: Any, dtype: Any) -> Any:
    """A pytree with all inexact numbers in another precision ("float32" or "float64"); complex ones stay complex."""

    def cast(leaf: Any) -> Any:
        kind = jax.dtypes.result_type(leaf)
        if not jax.dtypes.issubdtype(kind, np.inexact):
            return leaf
        wanted = np.result_type(dtype, np.complex64) if jax.dtypes.issubdtype(kind, np.complexfloating) else dtype
        if isinstance(leaf, jax.Array):
            return leaf.astype(wanted) if traced(leaf) else constant(leaf, wanted)
        return np.asarray(leaf, wanted)

    return jax.tree.map(cast, tree)


def replace(obj, **changes):
    """A copy of the pytree `obj` with some fields changed, without running `__init__`."""
    new = object.__new__(type(obj))
    for f in dataclasses.fields(obj):
        object.__setattr__(new, f.name, changes.pop(f.name, getattr(obj, f.name)))
    if changes:
        raise TypeError(f"{type(obj).__name__} has no field {sorted(changes)}")
    return new
