"""What a learned potential does not know: atoms closer than, or unlike, all those it was trained on."""

from collections.abc import Iterator

from jaxepi.potentials.base import EnergyModule


def extrapolations(module: EnergyModule, closest: float, novelty: float) -> Iterator[tuple[str, str]]:
    """A word and a phrase for every way in which atoms lie outside the training data of an energy module.

    Args:
        closest: shortest distance of two atoms, angstrom. novelty: of `NetworkEnergy.novelty`, 1 at the edge.
    """
    least = module.minimum_distance
    if closest < least:
        yield (
            "distance",
            f"two atoms {closest:.3f} angstrom apart, closer than in any training structure ({least:.3f})",
        )
    if novelty > 1:
        yield (
            "novelty",
            f"an atom outside the training data of the potential (distance {novelty:.2f}, where 1 is the edge)",
        )
