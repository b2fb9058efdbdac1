"""Settings of learned Hamiltonians: the table [model] of a training run, and what a checkpoint keeps of it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from jaxepi.errors import InputError
from jaxepi.settings import Settings, setting


@dataclasses.dataclass(frozen=True)
class SlaterKosterSettings(Settings):
    """A published set of Slater-Koster integrals, and learned corrections around it."""

    kind: str = setting("slater-koster", "of Hamiltonian", choices=("slater-koster",))
    base: str | Mapping[str, Any] = setting(
        "", "published set to begin from: a shipped one by name, or a .json file; a checkpoint holds what is in it"
    )
    cutoff: float = setting(5.0, "of the learned terms", "angstrom", above=0, most=100)
    skin: float = setting(1.2, "of the graph: atoms may move by half of it", "angstrom", least=0, most=100)
    switch: tuple[float, float] = setting(
        (2.9, 3.3), "where the bonds of the set fade out, at most the cutoff", "angstrom", above=0, most=100
    )
    radial: int = setting(
        0,
        "functions of the length of a bond that every integral has beside the network, linear in their weights: they follow "
        "the crystal and its strains where a network is slow to learn; none for 0",
        least=0,
        most=64,
    )
    channels: int = setting(8, "of the convolution", least=1, most=1024)
    features: int = setting(16, "invariants of an atom's surroundings", least=1, most=4096)
    hidden: tuple[int, ...] = setting((64, 64), "widths of the network of a bond", least=1, most=4096)
    correlation: int = setting(2, "factors of products on one atom", least=1, most=3)
    lmax: int = setting(3, "highest angular momentum of an atom's surroundings", least=0, most=6)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.correlation == 3 and self.lmax > 4:
            raise InputError(
                f"lmax {self.lmax}: products of three factors are built up to lmax 4; lower it, or correlation"
            )
        inner, outer = self.switch
        if not inner < outer <= self.cutoff:
            raise InputError(
                f"switch {inner:g} {outer:g} and cutoff {self.cutoff:g} angstrom: give 0 < first < second <= cutoff"
            )
