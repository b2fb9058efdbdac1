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


@dataclasses.dataclass(frozen=True)
class EquivariantSettings(Settings):
    """An equivariant network around a linear baseline, for H(R) of a non-orthogonal atomic basis (see `hamiltonians.e3`)."""

    kind: str = setting("equivariant", "of Hamiltonian", choices=("equivariant",))
    cutoff: float = setting(
        4.8,
        "of neighbours that act on others, and of the hoppings that the network corrects",
        "angstrom",
        above=0,
        most=20,
    )
    skin: float = setting(0.4, "of the graph: atoms may move by half of it", "angstrom", least=0, most=100)
    relations: str = setting(
        "homogeneous",
        'one set of weights, or "layers": weights of their own within and between layers',
        choices=("homogeneous", "layers"),
    )
    baseline: str = setting(
        "linear",
        'what least squares fit before training: "levels" alone, "two-centre" functions of distance and on-site sums over '
        'neighbours, or "linear", also what neighbours do to hoppings, and what pairs of them do to atoms',
        choices=("levels", "two-centre", "linear"),
    )
    splines: int = setting(26, "functions of distance of two centres", least=4, most=200)
    edge_functions: int = setting(7, "of the length of a hopping that neighbours act on", least=1, most=64)
    neighbour_functions: int = setting(5, "of the distance of such neighbours", least=1, most=64)
    neighbour_lmax: int = setting(3, "highest angular momentum of such neighbours", least=0, most=6)
    pair_functions: int = setting(
        4, "of the distance of each of two neighbours that act on an atom together; none for 0", least=0, most=16
    )
    ridge: float = setting(1e-9, "of the least squares, relative to the size of the features", above=0, below=1)
    interactions: int = setting(1, "rounds of messages of the network; 0 leaves the baseline alone", least=0, most=4)
    channels: int = setting(16, "features of atoms, of each angular momentum", least=1, most=1024)
    edge_channels: int = setting(16, "features of hoppings, likewise", least=1, most=1024)
    hidden: tuple[int, ...] = setting((32, 32), "widths of the invariants of a hopping", least=1, most=4096)
    lmax: int = setting(4, "highest angular momentum of directions", least=0, most=6)
    correlation: int = setting(3, "factors of products on one atom", least=1, most=4)
    radial_features: int = setting(8, "radial functions of the network", least=1, most=64)
    radial_layers: tuple[int, ...] = setting((32,), "widths of the radial network", least=1, most=4096)
    neighbours: tuple[float, ...] | None = setting(
        None, "typical number, one a relation (default: counted in the training data)", above=0, most=1e6
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        count = 2 if self.relations == "layers" else 1
        if self.neighbours is not None and len(self.neighbours) != count:
            raise InputError(f"neighbours {list(self.neighbours)}: give {count} positive number(s), one a relation")
