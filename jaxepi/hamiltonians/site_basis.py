"""Orbitals of one crystal, atom by atom: the basis of Hamiltonians that a file gives of it."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from jaxepi.errors import InputError
from jaxepi.hamiltonians.basis import Basis
from jaxepi.tree import pytree, static


@pytree
class SiteBasis(Basis):
    """Orbitals by atom of one crystal, without angular momentum: atoms of one species may carry different numbers.

    Attributes:
        sites: species of the atoms of the base cell. orbitals: Wannier functions of each; spinors are counted one by one.
        filling: electrons of the base cell in these bands, or None where that is not known.
        source: name of the .win file that could say so.
    """

    sites: tuple[int, ...] = static(default=())
    orbitals: tuple[int, ...] = static(default=())
    filling: float | None = static(default=None)
    source: str = static(default="the .win file")

    @property
    def block_size(self) -> int:
        """Orbitals of the atom that has most."""
        return max(self.orbitals)

    def kinds(self, species: Sequence[int]) -> Int[np.ndarray, " n"]:
        """Index of each atom in the base cell.

        Raises:
            InputError: atoms that are not those of the crystal, cell by cell.
        """
        cells = len(species) // len(self.sites)
        if tuple(species) != self.sites * cells or not cells:
            from ase.formula import Formula

            names = [str(Formula.from_list(_symbols(z)).format("hill")) for z in (self.sites, species)]
            raise InputError(
                f"this Hamiltonian is of one crystal, {names[0]}, and its supercells (`supercell` of module.structure); "
                f"the structure is {names[1]}, or has its atoms in another order"
            )
        return np.tile(np.arange(len(self.sites)), cells)

    def index(self, species: Sequence[int]) -> Int[np.ndarray, "n o"]:
        """Global orbital index of each block entry; padding points past the last orbital."""
        kept = np.arange(self.block_size) < np.array(self.orbitals)[self.kinds(species)][:, None]
        return np.where(kept, np.cumsum(kept).reshape(kept.shape) - 1, kept.sum())

    def size(self, species: Sequence[int]) -> int:
        """Number of Wannier functions, the dimension of H(k)."""
        return int(np.array(self.orbitals)[self.kinds(species)].sum())

    @property
    def counts_electrons(self) -> bool:
        return self.filling is not None

    @property
    def uncounted(self) -> str:
        return (
            "a file of Wannier90 does not say how many of its bands are filled: write num_valence_bands = (their number) "
            f"into {self.source}, or in Python read it with hamiltonians.wannier.read(path, electrons=...)"
        )

    def occupied(self, species: Sequence[int]) -> int:
        """Number of filled bands.

        Raises:
            InputError: the number of electrons is not known, or does not fill whole bands.
        """
        if self.filling is None:
            raise InputError(self.uncounted)
        filled = self.filling * (len(self.kinds(species)) // len(self.sites)) / self.spin_degeneracy
        if abs(filled - round(filled)) > 1e-9:
            raise InputError(f"{self.filling:g} electrons a cell do not fill whole bands of this supercell")
        return round(filled)


def _symbols(species: Sequence[int]) -> list[str]:
    from ase.data import chemical_symbols

    return [chemical_symbols[z] for z in species]
