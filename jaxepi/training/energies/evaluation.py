"""Errors of a trained model, by split and by kind, temperature and size: a table and a CSV.

Flows in: examples and predictions less labels. Flows out: rows of numbers. Errors are in meV an atom, meV/angstrom and
meV/angstrom^3; a label without weight in the loss does not count.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from jaxepi.training.energies.problem import Prediction
from jaxepi.training.examples import Examples

SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class ErrorRow:
    """Errors of some configurations: root mean square (rmse), mean absolute (mae) and largest.

    Attributes:
        split, group, member: which; group "all" has one member.
        configurations, atoms: how many. forces_relative: the root mean square error of the forces, percent of the root
            mean square force. The rest: meV an atom, meV/angstrom, meV/angstrom^3; NaN without labels.
    """

    split: str
    group: str
    member: str
    configurations: int
    atoms: int
    energy_rmse: float
    energy_mae: float
    energy_largest: float
    forces_rmse: float
    forces_mae: float
    forces_largest: float
    forces_relative: float
    stress_rmse: float


def error_rows(examples: Examples, errors: Prediction) -> list[ErrorRow]:
    """Errors of every split, of all its configurations and by kind, temperature, root mean square force component, number
    of atoms, mesh and set.

    Args:
        examples: labels as read (the forces are whole). errors: predictions less labels.
    """
    temperature = np.array(["none" if np.isnan(t) else f"{t:g} K" for t in examples.temperature], dtype=object)
    typical_force = np.sqrt(examples.sum(np.mean(examples.forces**2, axis=1)) / examples.sizes)
    groups = {
        "all": np.full(len(examples), "all", dtype=object),
        "kind": examples.kind,
        "temperature": temperature,
        "force": np.array([f"{int(f)} to {int(f) + 1} eV/Å" for f in typical_force], dtype=object),
        "atoms": np.array([str(n) for n in examples.sizes], dtype=object),
        "mesh": examples.mesh,
        "set": examples.source,
    }
    out = []
    for split in SPLITS:
        mine = examples.split == split
        for group, members in groups.items():
            for member in sorted(set(members[mine]), key=_natural):
                out.append(_row(examples, errors, mine & (members == member), (split, group, str(member))))
    return out


def _natural(name: str) -> tuple:
    head = name.split()[0] if name else name
    return (0, float(head), name) if head.replace(".", "", 1).isdigit() else (1, 0.0, name)


def _row(examples: Examples, errors: Prediction, chosen: np.ndarray, names: tuple[str, str, str]) -> ErrorRow:
    has = chosen[:, None] & (examples.weights > 0)
    atoms = np.repeat(has[:, 1], examples.sizes)
    energy, forces = 1e3 * errors.energy[has[:, 0]], 1e3 * errors.forces[atoms]
    size = 1e3 * _rms(examples.forces[atoms])
    stress = 1e3 * errors.stress[has[:, 2]]
    return ErrorRow(
        *names,
        int(chosen.sum()),
        int(examples.sizes[chosen].sum()),
        *(_rms(energy), _mean(energy), _largest(energy)),
        *(_rms(forces), _mean(forces), _largest(forces), 100 * _rms(forces) / size if size else float("nan")),
        _rms(stress),
    )


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(x**2))) if x.size else float("nan")


def _mean(x: np.ndarray) -> float:
    return float(np.mean(np.abs(x))) if x.size else float("nan")


def _largest(x: np.ndarray) -> float:
    return float(np.max(np.abs(x))) if x.size else float("nan")


def error_lines(rows: Sequence[ErrorRow]) -> Iterator[str]:
    """The table that is printed at the end: every split as a whole, and the test set by kind, temperature, root mean
    square force component and number of atoms."""
    yield f"{'':34} {'count':>6} {'energy':>10} {'forces':>10} {'relative':>10} {'largest':>10} {'stress':>10}"
    yield f"{'RMSE':34} {'':>6} {'meV/atom':>10} {'meV/Å':>10} {'%':>10} {'meV/Å':>10} {'meV/Å^3':>10}"
    for row in rows:
        whole = row.group == "all"
        if not whole and (row.split != "test" or row.group not in ("kind", "temperature", "atoms")):
            continue
        if row.group == "temperature" and row.member == "none":
            continue
        member = f"{row.member} atoms" if row.group == "atoms" else row.member
        name = row.split if whole else f"  {row.split}, {member}"
        numbers = (row.energy_rmse, row.forces_rmse, row.forces_relative, row.forces_largest, row.stress_rmse)
        yield f"{name:34} {row.configurations:6d} " + " ".join(f"{x:10.3f}" for x in numbers)
