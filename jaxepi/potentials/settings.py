"""Settings of learned potentials: the table [model] of a training run, and what a checkpoint keeps of it."""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

from jaxepi.errors import InputError
from jaxepi.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class DispersionSettings(Settings):
    """The dispersion term D3(BJ) between pairs; damping as for PBE (see `potentials.dispersion.Dispersion`)."""

    group: ClassVar[str] = "dispersion"

    cutoff: float = setting(12.0, "of pairs", "angstrom", above=0, most=100)
    width: float = setting(2.0, "of the switch before the cutoff", "angstrom", above=0, most=100)
    s6: float = setting(1.0, "factor of the r^-6 term", least=0, most=100)
    s8: float = setting(0.7875, "factor of the r^-8 term", least=0, most=100)
    a1: float = setting(0.4289, "damping", least=0, most=100)
    a2: float = setting(4.4407, "damping", "bohr", least=0, most=100)


@dataclasses.dataclass(frozen=True)
class MaceSettings(Settings):
    """A network of the class of MACE, with its pair terms."""

    kind: str = setting("mace", "of network", choices=("mace",))
    cutoff: float = setting(5.0, "neighbours closer than this are seen", "angstrom", least=1e-3, most=100)
    skin: float = setting(0.6, "of the graph: atoms may move by half of it", "angstrom", least=0, most=100)
    channels: int = setting(32, "features of each angular momentum", least=1, most=1024)
    lmax: int = setting(3, "highest angular momentum of the neighbours' directions", least=0, most=6)
    hidden_lmax: int = setting(1, "highest angular momentum that atoms pass on, at most lmax", least=0, most=6)
    correlation: int = setting(3, "factors of products on one atom", least=1, most=3)
    interactions: int = setting(2, "rounds of messages", least=1, most=16)
    radial_features: int = setting(8, "radial functions", least=1, most=256)
    radial_layers: tuple[int, ...] = setting((64, 64, 64), "widths of the radial network", least=1, most=4096)
    cutoff_power: int = setting(5, "of the polynomial that ends the radial functions", least=2, most=20)
    readout: int = setting(16, "width of the last readout", least=1, most=1024)
    mixing: str = setting(
        "shared",
        'of products that give one angular momentum: summed first ("shared"), or each with weights of its own ("separate")',
        choices=("shared", "separate"),
    )
    relations: str = setting(
        "homogeneous",
        'one set of weights, or "layers": weights of their own within and between layers',
        choices=("homogeneous", "layers"),
    )
    neighbours: tuple[float, ...] | None = setting(
        None,
        "typical number, one a relation (default: counted in the training data, or from the volume of an atom)",
        above=0,
        most=1e6,
    )
    repulsion: bool = setting(True, "short-range repulsion of nuclei (ZBL)")
    dispersion: bool | Mapping[str, Any] = setting(
        False, "dispersion between pairs: true, or a table of what follows", table=DispersionSettings
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden_lmax > self.lmax:
            raise InputError(f"hidden_lmax {self.hidden_lmax} exceeds lmax {self.lmax}; lower it")
        if self.correlation == 3 and self.lmax > 4:
            raise InputError(
                f"lmax {self.lmax}: products of three factors are built up to lmax 4; lower it, or correlation"
            )
        count = 2 if self.relations == "layers" else 1
        if self.neighbours is not None and len(self.neighbours) != count:
            raise InputError(f"neighbours {list(self.neighbours)}: give {count} positive number(s), one a relation")
