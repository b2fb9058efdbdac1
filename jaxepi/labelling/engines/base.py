"""What an engine is, and what it is given: structures with a k mesh each.

An engine is anything with the attributes and the two methods of `Engine`. `check` refuses a structure by name before
anything runs; `label` returns plain numpy arrays in eV and angstrom, or raises `LabelFailure` with the reason.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import ase
import numpy as np

from jaxepi.errors import InputError


class LabelFailure(RuntimeError):  # noqa: N818
    """A calculation that failed or did not converge; the message is the reason that is recorded."""


@dataclasses.dataclass(frozen=True)
class Mesh:
    """A k mesh: divisions and shift in units of one division (0.5 is the shifted Monkhorst-Pack mesh)."""

    divisions: tuple[int, int, int]
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def of(cls, atoms: ase.Atoms) -> "Mesh":
        """The mesh that `jaxepi label structures` wrote with a structure (`mesh` and `shift` in `atoms.info`).

        Raises:
            InputError: there is none.
        """
        if "mesh" not in atoms.info:
            raise InputError("the structure carries no k mesh (info `mesh`); write it with `jaxepi label structures`")
        divisions = [int(n) for n in np.asarray(atoms.info["mesh"]).ravel()]
        shift = [float(s) for s in np.asarray(atoms.info.get("shift", [0, 0, 0])).ravel()]
        return cls((divisions[0], divisions[1], divisions[2]), (shift[0], shift[1], shift[2]))

    @property
    def flat(self) -> list[float]:
        """Divisions and shift in one list, as data sets keep them."""
        return [*map(float, self.divisions), *self.shift]


@runtime_checkable
class Engine(Protocol):
    """What labelling needs of a code.

    Attributes:
        levels: level of theory -> its definition (`code`, `version`, `settings`), equal for every configuration.
    """

    @property
    def levels(self) -> Mapping[str, Mapping[str, Any]]: ...

    def check(self, atoms: ase.Atoms) -> None:
        """Raise `InputError` that names what this engine cannot take."""

    def label(self, atoms: ase.Atoms) -> dict[str, np.ndarray]:
        """Energies, forces and the rest, keyed `level/quantity`, with `kpoints` (fractional), `weights` and `seconds`.

        Raises:
            LabelFailure: the calculation failed or did not converge.
        """
        ...
