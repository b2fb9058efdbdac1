"""Reading of data sets for training: what is chosen of them, weighed and joined.

Flows in: data sets and settings. Flows out: `Examples`, or groups of configurations with eigenvalues.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from ase.data import chemical_symbols

from jaxepi.datasets import deeph, deeptb, extxyz, hdf5
from jaxepi.datasets.dataset import Configurations, DataSet, refuse_other_definition
from jaxepi.errors import InputError
from jaxepi.layers import layers
from jaxepi.structure import Structure
from jaxepi.training import splits
from jaxepi.training.energies.rest import without_rest
from jaxepi.training.examples import LABELS, Examples, thin
from jaxepi.training.settings import DataSettings, LossSettings, SetSettings

HDF5 = (".h5", ".hdf5")


def read_examples(data: DataSettings, loss: LossSettings, seed: int = 0) -> Examples:
    """Read all data sets, with the weights of their labels.

    Raises:
        InputError: a file that is refused, a set without the level or that defines it differently, a label that the
            loss needs and a set lacks, no configuration for training or validation.
    """
    parts: list[dict[str, Any]] = []
    theory: dict[str, Any] = {}
    for entry in data.sets:
        for name in ("repeat", "points"):
            if getattr(entry, name) != getattr(SetSettings, name):
                raise InputError(
                    f"{entry.path}: {name} {getattr(entry, name)} is for Hamiltonians; give a potential's set a weight"
                )
        found = read_set(entry, data)
        refuse_missing(found, entry, data.level, loss)
        if data.relative_to:
            refuse_missing(found, entry, data.relative_to, loss)
            found = _differences(found, data.level, data.relative_to)
        theory = theory or dict(found.levels[data.level])
        refuse_other_definition(data.level, theory, found.levels[data.level])
        parts += [_group(group, entry, data.level, loss, found.name) for group in _chosen(found, entry, data.level)]
    if any(loss.stress * entry.stress * entry.weight > 0 for entry in data.sets) and not any(
        part["weights"][:, 2].any() for part in parts
    ):
        raise InputError(
            f"[loss] stress = {loss.stress:g}, but no configuration of {', '.join(e.path for e in data.sets)} has a stress (or "
            f"virial) at level {data.level!r}; label them, or write stress = 0"
        )
    names = [f.name for f in dataclasses.fields(Examples) if f.name not in ("first", "tables", "theory")]
    joined: dict[str, Any] = {n: np.concatenate([part[n] for part in parts]) for n in names}
    sizes = np.concatenate([part["sizes"] for part in parts])
    examples = Examples(first=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64), theory=theory, **joined)
    for split in ("train", "validation"):
        if not len(examples.rows(split)):
            raise InputError(
                f"no configuration is for {split} ({len(examples)} read); add data, or divide a set otherwise: "
                'split = "fraction" (or "rule", by temperature, strain and a hash of the geometry, as jaxepi.datasets.split_of)'
            )
    if data.at_rest == "subtracted":
        examples = without_rest(examples)
    return thin(examples, data.train, seed)


def read_set(entry: SetSettings, data: DataSettings, electrons: Mapping[str, float | int] | None = None) -> DataSet:
    """A data set from HDF5, extended XYZ or folders of DeePTB's layout, divided as its entry asks for.

    Args:
        electrons: of each species, where neither the entry nor a folder says how many bands are filled.

    Raises:
        InputError: no such file, or one that the readers refuse.
    """
    return splits.divided(read_file(Path(entry.path), data.level, data.keys, entry.electrons, electrons), entry)


def read_file(
    path: Path,
    level: str,
    keys: Mapping[str, str] | None = None,
    electrons: Mapping[str, float | int] | None = None,
    assumed_electrons: Mapping[str, float | int] | None = None,
) -> DataSet:
    """A data set from HDF5, extended XYZ or folders of DeePTB's or DeepH's layouts, divided as the files say.

    Args:
        level: of files that do not say theirs. keys: names of labels in extended XYZ. electrons: of each species in a folder.
        assumed_electrons: where neither these nor the folder says how many bands are filled.

    Raises:
        InputError: no such file, or one that the readers refuse.
    """
    if path.is_dir():
        given = {symbol: float(count) for symbol, count in (electrons or {}).items()}
        if deeph.holds(path):
            return deeph.read(path, level=level, electrons=given or assumed_electrons)
        return deeptb.read(path, electrons=given or None, assumed_level=level, assumed_electrons=assumed_electrons)
    if not path.is_file():
        raise InputError(
            f"there is no data set {path}; give an HDF5 data set, extended XYZ, or a folder of DeePTB's or DeepH's layout"
        )
    return hdf5.read(path) if path.suffix in HDF5 else extxyz.read(path, level=level, keys=keys)


def with_eigenvalues(
    entry: SetSettings, data: DataSettings, electrons: Mapping[str, float | int] | None = None
) -> list[Configurations]:
    """The groups of a set that hold eigenvalues at the level, with the kinds, meshes and k points asked for.

    Args:
        electrons: as of `read_set`.

    Raises:
        InputError: no such file, level, eigenvalues or k point.
    """
    level = data.level
    groups = [group for group in with_labels(entry, data, electrons) if "eigenvalues" in group.labels[level]]
    if not groups:
        raise InputError(f"{entry.path} holds no eigenvalues at level {level!r} of the kinds and meshes asked for")
    return [group.at_points(entry.points) if entry.points else group for group in groups]


def with_labels(
    entry: SetSettings, data: DataSettings, electrons: Mapping[str, float | int] | None = None
) -> list[Configurations]:
    """The groups of a set at the level, with the kinds and meshes asked for.

    Args:
        electrons: as of `read_set`.

    Raises:
        InputError: no such file or level.
    """
    found, level = read_set(entry, data, electrons), data.level
    if level not in found.levels:
        raise InputError(f"{entry.path} has no level {level!r}; it has {', '.join(sorted(found.levels))}")
    return _chosen(found, entry, level)


def refuse_missing(found: DataSet, entry: SetSettings, level: str, loss: LossSettings) -> None:
    """Refuse a set that cannot be used as asked.

    Raises:
        InputError: names the level or label that is missing.
    """
    if level not in found.levels:
        raise InputError(f"{entry.path} has no level {level!r}; it has {', '.join(sorted(found.levels))}")
    groups = _chosen(found, entry, level)
    if not groups:
        raise InputError(
            f"{entry.path} holds no configuration at level {level!r} of the kinds and meshes asked for; it has meshes "
            f"{', '.join(sorted({mesh_name(g) for g in found.groups}))} and kinds "
            f"{', '.join(sorted({k for g in found.groups for k in g.kind}))}"
        )
    for name in LABELS:
        needed = getattr(loss, name) * getattr(entry, name) * entry.weight > 0
        lacking = sum(len(group) for group in groups if name not in group.labels[level])
        if needed and lacking and name != "stress":
            raise InputError(
                f"{lacking} configurations of {entry.path} have no {name} at level {level!r}; label them, or leave them "
                f"out of the loss: {{path = ..., {name} = 0}}"
            )


def mesh_name(group: Configurations) -> str:
    """The k mesh of a group: "3x3x3", with shifts "2x2x2+0.5,0.5,0.5", or "none"."""
    if not group.mesh:
        return "none"
    divisions, shifts = group.mesh[:3], group.mesh[3:]
    name = "x".join(f"{n:g}" for n in divisions)
    return name + ("+" + ",".join(f"{s:g}" for s in shifts) if any(shifts) else "")


def mesh_density(group: Configurations, points: float) -> str:
    """What sets the constant in the energies of a group: formula, k points times atoms, shift of the mesh.

    A cubic cell of 8 atoms on 4x4x4 points and one of 64 atoms on 2x2x2 share it: "Si 512". Of slabs the atoms of one
    layer count, so that one and two layers on the same points share it too.
    """
    species, counts = np.unique(group.species, return_counts=True)
    units = int(np.gcd.reduce(counts))
    atoms = float(len(group.species))
    if not all(group.pbc):
        structure = Structure(jnp.asarray(group.positions[0]), jnp.asarray(group.cell[0]), group.species, group.pbc)
        atoms /= 1 + int(layers(structure).max())
    formula = "".join(
        chemical_symbols[z] + (str(n // units) if n > units else "") for z, n in zip(species, counts, strict=True)
    )
    shifts = group.mesh[3:]
    return f"{formula} {points * atoms:g}" + ("+" + ",".join(f"{x:g}" for x in shifts) if any(shifts) else "")


def _differences(found: DataSet, level: str, other: str) -> DataSet:
    """The set with the labels of a level less those of another, of what holds both."""
    groups = []
    for group in found.groups:
        if level in group.labels and other in group.labels:
            one, two = group.labels[level], group.labels[other]
            both = {n: one[n] - two[n] for n in LABELS if n in one and n in two}
            groups.append(dataclasses.replace(group, labels={level: both}))
    return dataclasses.replace(found, groups=tuple(groups))


def _chosen(found: DataSet, entry: SetSettings, level: str) -> list[Configurations]:
    """The groups of a set at a level, with the kinds and meshes asked for."""
    out = []
    for group in found.groups:
        if level in group.labels and (not entry.meshes or mesh_name(group) in entry.meshes):
            part = group.take([i for i, k in enumerate(group.kind) if not entry.kinds or k in entry.kinds])
            if len(part):
                out.append(part)
    return out


def _group(group: Configurations, entry: SetSettings, level: str, loss: LossSettings, name: str) -> dict[str, Any]:
    """A group of configurations, flat."""
    s, n = group.positions.shape[:2]
    labels = group.labels[level]
    shapes = {"energy": (s,), "forces": (s, n, 3), "stress": (s, 3, 3)}
    values = {k: labels.get(k, np.zeros(shape)) for k, shape in shapes.items()}
    weights = [entry.weight * getattr(entry, k) * getattr(loss, k) * (k in labels) for k in LABELS]
    points = float(np.prod(group.mesh[:3])) if group.mesh else 1.0
    return {
        "positions": group.positions.reshape(-1, 3),
        "numbers": np.tile(np.asarray(group.species, np.int64), s),
        "forces": values["forces"].reshape(-1, 3),
        "sizes": np.full(s, n),
        "cell": group.cell,
        "energy": values["energy"],
        "stress": values["stress"],
        "weights": np.tile(np.asarray(weights, np.float64), (s, 1)),
        "temperature": group.temperature,
        "strain": group.strain,
        "points": np.full(s, points),
        "split": np.array(group.split, dtype=object),
        "kind": np.array(group.kind, dtype=object),
        "mesh": np.full(s, mesh_density(group, points), dtype=object),
        "source": np.full(s, name, dtype=object),
        "pbc": np.tile(np.asarray(group.pbc, bool), (s, 1)),
    }
