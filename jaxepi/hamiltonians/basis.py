"""Orbital bases: which shells each species carries. The one authority for orbital indices.

Real harmonics are in e3nn's order: p = (x, y, z), d = (xz, xy, y^2-(x^2+z^2)/2, yz, (z^2-x^2)/2), each normalised so that
the squares of a shell sum to one on the unit sphere. A spinor basis holds, atom by atom, all orbitals with spin up, then
all with spin down.
"""

import re
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxepi.errors import InputError
from jaxepi.tree import pytree, static


class _Shells(dict):
    """Known shell names; others are read as digits (a principal number or a count), a letter, and any number of stars."""

    def __missing__(self, name: str) -> tuple[int, tuple[int, ...]]:
        found = re.fullmatch(r"[0-9]*([spd])[0-9*]*", name)
        if found is None:
            raise InputError(f"shell {name!r} is not known; names are like s, p, d, s*, 3s, 2p or pz")
        l = "spd".index(found.group(1))
        return l, tuple(range(2 * l + 1))


SHELLS: dict[str, tuple[int, tuple[int, ...]]] = _Shells({"pz": (1, (2,))})
"""Angular momentum of a shell, and which components of it are kept."""


@pytree
class Basis:
    """Orbitals a species: hashable, compared by value.

    Attributes:
        shells: pairs of atomic number and shell names.
        electrons: pairs of atomic number and valence electrons of the neutral atom, of the species that have them known.
        spinor: whether every orbital comes twice, spin up and spin down.
    """

    shells: tuple[tuple[int, tuple[str, ...]], ...] = static()
    electrons: tuple[tuple[int, float], ...] = static()
    spinor: bool = static(default=False)

    @property
    def species(self) -> tuple[int, ...]:
        return tuple(z for z, _ in self.shells)

    @property
    def spin_degeneracy(self) -> int:
        """Electrons a spatial state holds: two, or one in a spinor basis."""
        return 1 if self.spinor else 2

    @property
    def all_shells(self) -> tuple[str, ...]:
        """Shells that occur on any species, in the order in which blocks hold them."""
        seen: dict[str, None] = {}
        for _, names in self.shells:
            seen.update(dict.fromkeys(names))
        return tuple(seen)

    @property
    def block_size(self) -> int:
        """Orbitals a block row holds (the union over species; absent ones are padding)."""
        return self.width * (2 if self.spinor else 1)

    def slices(self) -> dict[str, slice]:
        """Where each shell stands in a spinless block."""
        out, start = {}, 0
        for name in self.all_shells:
            width = len(SHELLS[name][1])
            out[name] = slice(start, start + width)
            start += width
        return out

    @property
    def width(self) -> int:
        """Orbitals of a spinless block row."""
        return sum(len(SHELLS[s][1]) for s in self.all_shells)

    def by_orbital(self, values: Float[Array, "*k shells"]) -> Float[Array, "*k orbitals"]:
        """One value a shell, given to each of its orbitals in a spinless block: what turns with the crystal can differ
        between shells alone."""
        widths = np.array([len(SHELLS[s][1]) for s in self.all_shells])
        return jnp.repeat(jnp.asarray(values), widths, axis=-1, total_repeat_length=self.width)

    def kinds(self, species: Sequence[int]) -> Int[np.ndarray, " n"]:
        """Index of each atom's species in `self.shells`.

        Raises:
            InputError: an element without parameters.
        """
        table = {z: i for i, z in enumerate(self.species)}
        missing = sorted(set(species) - set(table))
        if missing:
            from ase.data import chemical_symbols

            names = [chemical_symbols[z] for z in missing]
            known = [chemical_symbols[z] for z in table]
            raise InputError(f"no Hamiltonian parameters for {', '.join(names)}; this model knows {', '.join(known)}")
        return np.array([table[z] for z in species])

    def index(self, species: Sequence[int]) -> Int[np.ndarray, "n o"]:
        """Global orbital index of each block entry, shape (n, block_size); padding points past the last orbital."""
        slices, width = self.slices(), self.width
        present = np.zeros((len(self.shells), width), dtype=bool)
        for kind, (_, names) in enumerate(self.shells):
            for name in names:
                present[kind, slices[name]] = True
        if self.spinor:
            present = np.tile(present, (1, 2))
        kept = present[self.kinds(species)]
        index = np.cumsum(kept).reshape(kept.shape) - 1
        return np.where(kept, index, kept.sum())

    def size(self, species: Sequence[int]) -> int:
        """Number of orbitals, the dimension of H(k)."""
        widths = {z: sum(len(SHELLS[s][1]) for s in names) for z, names in self.shells}
        self.kinds(species)
        return sum(widths[z] for z in species) * (2 if self.spinor else 1)

    @property
    def counts_electrons(self) -> bool:
        """Whether the number of electrons is known, so that `occupied` has an answer."""
        return set(self.species) <= set(dict(self.electrons))

    @property
    def uncounted(self) -> str:
        """Why `occupied` has no answer, and what to do."""
        from ase.data import chemical_symbols

        names = [chemical_symbols[z] for z in self.species if z not in dict(self.electrons)]
        return (
            f"the file of this Hamiltonian does not say how many valence electrons {', '.join(names)} "
            f"{'has' if len(names) == 1 else 'have'}: write electrons into it (docs/formats.md)"
        )

    def occupied(self, species: Sequence[int]) -> int:
        """Number of filled bands of the neutral crystal.

        Raises:
            InputError: electrons that are not known, or an odd number of them in a spin-degenerate basis.
        """
        counts = dict(self.electrons)
        missing = sorted(set(species) - set(counts))
        if missing:
            raise InputError(self.uncounted)
        total = sum(counts[z] for z in species)
        filled = total / self.spin_degeneracy
        if abs(filled - round(filled)) > 1e-9:
            raise InputError(
                f"{total:g} electrons do not fill whole bands; use an even number of atoms or a spinor basis"
            )
        return round(filled)
