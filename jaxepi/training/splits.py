"""Which configurations are for training, validation and test: as a file says, by fraction, or by rule.

Flows in: a data set and what its entry in the settings asks for. Flows out: the same set with other splits.
"""

import dataclasses
from collections.abc import Iterator

from jaxepi.datasets import dataset
from jaxepi.datasets.dataset import Configurations, DataSet
from jaxepi.errors import InputError
from jaxepi.training.settings import SetSettings

FEW = 3
"""Geometries for validation at least, where there are four times as many: one or two say little."""


def divided(found: DataSet, entry: SetSettings) -> DataSet:
    """A set with the splits that its entry asks for.

    Raises:
        InputError: splits of a file that has none, or too few configurations to divide.
    """
    how = entry.split
    if how == "auto":
        how = "file" if found.splits_given else "fraction"
    if how == "file":
        if not found.splits_given:
            raise InputError(f'{entry.path} says no splits; give its frames a `split`, or ask for split = "fraction"')
        return found
    if how == "rule":
        return _with(found, (tuple(_rule(group)) for group in found.groups))
    if how == "fraction":
        return _by_fraction(found, entry)
    return _with(found, ((how,) * len(group) for group in found.groups))


def _with(found: DataSet, splits: Iterator[tuple[str, ...]]) -> DataSet:
    """The set with a split for each of its configurations."""
    groups = [dataclasses.replace(g, split=split) for g, split in zip(found.groups, splits, strict=True)]
    return dataclasses.replace(found, groups=tuple(groups), splits_given=True)


def _rule(group: Configurations) -> Iterator[str]:
    for i in range(len(group)):
        extra = {name: float(values[i]) for name, values in group.extra.items()}
        yield dataset.split_of(
            group.positions[i], group.cell[i], group.species, group.temperature[i], group.strain[i], extra
        )


def _geometries(group: Configurations) -> list[str]:
    """Names of the geometries, whatever their k mesh: one on two meshes stays together."""
    return [dataset.fingerprint(x, c, group.species) for x, c in zip(group.positions, group.cell, strict=True)]


def _by_fraction(found: DataSet, entry: SetSettings) -> DataSet:
    """Shares of the geometries in the order of their hashes: the same ones whatever the order of the frames and the seed."""
    names = [_geometries(group) for group in found.groups]
    order = sorted({name for group in names for name in group})
    count = len(order)
    if count < 2:
        raise InputError(f"{entry.path} holds one geometry, which cannot be divided; give more, or say its split")
    validation = max(round(entry.validation * count), min(FEW, max(count // 4, 1))) if entry.validation else 0
    test = max(round(entry.test * count), 1) if entry.test else 0
    if validation + test >= count:
        raise InputError(
            f"{entry.path}: {validation} of {count} geometries for validation and {test} for test leave none for training; "
            "lower the fractions validation and test, or give more"
        )
    split = dict.fromkeys(order, "train") | dict.fromkeys(order[:validation], "validation")
    split |= dict.fromkeys(order[validation : validation + test], "test")
    return _with(found, (tuple(split[name] for name in group) for group in names))
