"""Fixed Hamiltonians from Wannier90: H(R) of one crystal, which every later stage takes like any other model.

Flows in: `seedname_hr.dat`, with the lattice of `seedname.win`, the centres of `seedname_centres.xyz` and, where Wannier90
distributes H(R) by distance (`use_ws_distance`), `seedname_wsvec.dat`, which is made again where it is missing; or
`seedname_tb.dat`, which has the position matrix elements, and so the centres, itself. Flows out: a `Hamiltonian` whose blocks
are those of the file.

A Wannier function belongs to the atom nearest to its centre r_m, so that the structure is the crystal itself. Phases run
from atom to atom; what the centre is off the atom, d = r_m - tau, goes into the on-site dipoles. With them the velocity

    hbar v = dH/dk - i [d, H]

is dH/dk of H_mn(k) = sum_R exp(ik.(R + r_n - r_m)) H_mn(R), the gauge of the centres, up to the unitary exp(ik.d): position
matrix elements between different Wannier functions are left out, as they are not in an _hr.dat file. With those of a _tb.dat
file d is the matrix A(k) of all of them and the velocity is exact within the bands of the file, whatever the functions (Wang,
Yates, Souza, Vanderbilt, Phys. Rev. B 74, 195118 (2006)).
"""

import dataclasses
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxepi.datasets import wannier as files
from jaxepi.datasets.wannier_tb import ENDING, Tight, read_tb
from jaxepi.errors import InputError
from jaxepi.graph import Graph
from jaxepi.hamiltonians.base import BlockModule, Blocks, Hamiltonian
from jaxepi.hamiltonians.site_basis import SiteBasis
from jaxepi.model import label
from jaxepi.structure import Structure

TOLERANCE = 1e-3
"""Angstrom: how far atoms and lattice vectors may be from those of the file. eV: how far H may be from Hermitian."""

ROUNDING = 1e-6
"""eV: imaginary parts up to the last decimal of a file are its rounding, larger ones belong to H."""

LARGEST_TABLE = 10**8
"""Entries of the table from lattice translations to blocks; more come of a damaged file."""

SKIN = 4 * TOLERANCE
"""Of the graph, angstrom: rounding apart, atoms do not move."""


@dataclasses.dataclass(frozen=True)
class Wannier(BlockModule):
    """Module of a fixed Hamiltonian.

    Parameters: `hopping`, <m| H |n> of every pair of atoms, eV, shape (p, o, o), padded with zero; and `centres`, from the
    atom, angstrom, shape (n, o, 3), or `positions`, <m| r |n> likewise, shape (p, 3, o, o).

    Attributes:
        exact: whether there are position matrix elements between all functions.
        name: first line of the file. cell, positions: of the base cell, angstrom. cutoff, skin: angstrom.
        pairs: atoms i, j and lattice translation of j of every row of `hopping`: the bytes of integers (p, 5).
        real: whether H(R) is; that of spinors is not taken to be.
    """

    basis: SiteBasis
    cell: tuple[tuple[float, ...], ...]
    positions: tuple[tuple[float, ...], ...]
    pairs: bytes
    cutoff: float
    skin: float = SKIN
    real: bool = True
    exact: bool = False
    name: str = label()

    @property
    def fixed(self) -> bool:
        return True

    @property
    def structure(self) -> Structure:
        """The crystal of the file: later stages take it and its supercells."""
        return Structure.create(self.positions, self.cell, self.basis.sites)

    @cached_property
    def rows(self) -> Int[np.ndarray, "p 5"]:
        """The pairs of `hopping` as integers."""
        return np.frombuffer(self.pairs, np.int32).reshape(-1, 5)

    def check(self, structure: Structure, graph: Graph) -> None:
        """Refuse a structure that is not the crystal of the file or a supercell of it.

        Raises:
            InputError: says which atom or lattice vector differs, and by how much.
        """
        if len(structure) != len(self.basis.sites) * int(np.prod(structure.repeats)):
            raise InputError(
                f"this Hamiltonian is of a cell of {len(self.basis.sites)} atoms, not {len(structure)}: build a supercell "
                "with `supercell`, which says how its cells are ordered"
            )
        expected = self.structure if structure.repeats == (1, 1, 1) else self.structure.supercell(structure.repeats)
        cell = np.abs(np.asarray(structure.cell) - np.asarray(expected.cell)).max(axis=1)
        if cell.max() > TOLERANCE * max(structure.repeats):
            i = int(cell.argmax())
            raise InputError(
                f"lattice vector {i} is {cell[i]:.4f} angstrom off that of the crystal of this Hamiltonian; H(R) of a file is "
                "fixed: use module.structure, or a model that follows strain and displacements"
            )
        moved = np.asarray(structure.positions) - np.asarray(expected.positions)
        off = np.linalg.norm(moved - moved.mean(axis=0), axis=1)
        if off.max() > TOLERANCE:
            i = int(off.argmax())
            raise InputError(
                f"atom {i} is {off[i]:.4f} angstrom off its place in the crystal of this Hamiltonian (another periodic image "
                "counts as another place); H(R) of a file is fixed: use module.structure, or a model that follows displacements"
            )

    def apply(self, variables: Any, structure: Structure, graph: Graph) -> Blocks:
        """Blocks of H in eV: each edge's own, zero where the file has none; see `Hamiltonian.blocks`."""
        params, base = variables["params"], len(self.basis.sites)
        kinds, whole = self.basis.kinds(structure.species), graph.shifts.dtype
        places = np.unravel_index(np.arange(len(kinds)) // base, structure.repeats)
        cells = jnp.asarray(np.stack(places, axis=1), whole)
        shifts = (
            graph.shifts * jnp.asarray(structure.repeats, whole)[None] + cells[graph.receivers] - cells[graph.senders]
        )
        low = self.rows[:, 2:].min(axis=0)
        table = np.full((base, base, *(self.rows[:, 2:].max(axis=0) - low + 1)), len(self.rows), np.int32)
        table[tuple((self.rows - np.array([0, 0, *low])).T)] = np.arange(len(self.rows))
        wanted = shifts - jnp.asarray(low, whole)[None]
        place = jnp.clip(wanted, 0, jnp.asarray(table.shape[2:], whole)[None] - 1)
        i, j = graph.senders % base, graph.receivers % base
        row = jnp.asarray(table)[i, j, place[:, 0], place[:, 1], place[:, 2]]
        row = jnp.where((place == wanted).all(axis=1), row, len(self.rows))
        dtype = structure.positions.dtype
        own = table[np.arange(base), np.arange(base), *(-low)]

        def on_edges(values: Array) -> tuple[Array, Array]:
            values = values.astype(dtype if self.real else np.result_type(dtype, np.complex64))
            values = jnp.concatenate([values, jnp.zeros_like(values[:1])])
            return values[own][kinds], values[row]

        onsite, hopping = on_edges(params["hopping"])
        if self.exact:
            dipoles, between = on_edges(params["positions"])
            return Blocks(onsite, hopping, None, self.basis, structure.species, dipoles, between)
        centres = jnp.moveaxis(params["centres"].astype(dtype), -1, 1)
        dipoles = centres[..., None] * jnp.eye(self.basis.block_size, dtype=dtype)[None, None]
        return Blocks(onsite, hopping, None, self.basis, structure.species, dipoles[kinds])


def read(
    path: str | Path,
    structure: Structure | None = None,
    centres: Float[np.ndarray, "w 3"] | None = None,
    electrons: float | int | None = None,
    spinors: bool | None = None,
    smallest: float | int = 0.0,
) -> Hamiltonian:
    """A fixed Hamiltonian from `seedname_hr.dat` or `seedname_tb.dat` and the files beside it.

    Args:
        structure: the crystal; that of `seedname.win` by default. Wannier functions are numbered as in the file.
        centres: of the Wannier functions, Cartesian, angstrom; those of `seedname_centres.xyz` by default, or of the _tb.dat
            file itself.
        electrons: of the cell, in these bands; `num_valence_bands` of the .win file by default, else not known, which
            bands and densities of states do not need.
        spinors: whether each function holds one electron; `spinors` of the .win file by default, else no. Imaginary parts
            of H are kept in either case.
        smallest: elements of a pair of atoms that are all below this, eV, are left out.

    Raises:
        InputError: a file that is missing, damaged or of another crystal; centres that were moved to the home cell and no
            longer belong to H(R); matrices that are not Hermitian; more electrons than the bands hold; vectors of the
            Wigner-Seitz distances that are missing and cannot be made again.
    """
    path = Path(path)
    tight = read_tb(path) if path.name.endswith(ENDING) else None
    found = files.read_hr(path) if tight is None else tight.hoppings
    there = files.beside(path, (".win", "_centres.xyz", "_wsvec.dat"))
    functions = found.matrices.shape[1]
    given = files.read_win(there[".win"]) if ".win" in there else None
    counted = given.wholes("num_wann") if given is not None else None
    if given is not None and counted not in (None, [functions]):
        raise InputError(f"{given.path} has num_wann {counted[0]}; {path} holds {functions} Wannier functions")
    if structure is None and given is None:
        raise InputError(f"{path} has no .win file beside it; give the crystal as structure=")
    crystal = given.structure if structure is None and given is not None else structure
    assert crystal is not None
    if given is not None and np.abs(np.asarray(crystal.cell) - np.asarray(given.structure.cell)).max() > TOLERANCE:
        raise InputError(
            f"the structure has another lattice than {given.path}, in whose lattice vectors {path} counts R"
        )
    if tight is not None:
        centres = _centres_of(tight, path, np.asarray(crystal.cell), centres)
    elif centres is None:
        centres = _centres_beside(path, there, given, functions)
    if np.shape(centres) != (functions, 3):
        raise InputError(f"centres have shape {np.shape(centres)}; expected ({functions}, 3), angstrom")
    stated = given.flag("spinors") if given is not None else None
    spinor = bool(stated if spinors is None else spinors)
    filled = given.wholes("num_valence_bands") if given is not None else None
    if electrons is None and filled is not None:
        electrons = float(filled[0]) * (1 if spinor else 2)
    if electrons is not None and not 0 <= electrons <= functions * (1 if spinor else 2):
        raise InputError(
            f"{electrons:g} electrons do not fit into the {functions} bands of {path}, {1 if spinor else 2} each; give the "
            "number of a cell (or num_valence_bands in the .win file)"
        )
    shared = _superlattice(path, there, given, found.vectors, np.asarray(centres))
    vectors, matrices = files.spread(found, shared, path)
    _refuse_not_hermitian(vectors, matrices, path)
    off = float(np.abs(matrices.imag).max())
    if off > TOLERANCE and stated is None and spinors is None:
        warnings.warn(
            f"{path}: H has imaginary parts up to {off:.4f} eV, which are kept; its functions count as spin-degenerate: write "
            "spinors = .true. into the .win file (or .false., and this is not said again) if each holds one electron",
            stacklevel=2,
        )
    name = found.comment or path.name
    beside = there[".win"].name if ".win" in there else path.name.removesuffix("_hr.dat").removesuffix(ENDING) + ".win"
    places = None
    if tight is not None:
        places = np.stack([files.spread(found._replace(matrices=p), shared, path)[1] for p in tight.positions])
    return build(name, crystal, np.asarray(centres), vectors, matrices, electrons, spinor, smallest, beside, places)


def _centres_of(tight: Tight, path: Path, cell: np.ndarray, given: np.ndarray | None) -> np.ndarray:
    """The centres that a _tb.dat file holds itself."""
    if given is not None:
        raise InputError(f"{path} holds its centres itself, as position matrix elements; leave centres= out")
    if np.abs(tight.cell - cell).max() > TOLERANCE:
        raise InputError(
            f"{path} has another lattice than the crystal: give the structure, or the .win file, that it belongs to"
        )
    return tight.centres


def _centres_beside(path: Path, there: dict[str, Path], given: files.Input | None, functions: int) -> np.ndarray:
    if "_centres.xyz" not in there:
        raise InputError(
            f"{path} has no _centres.xyz beside it; run wannier90 with write_xyz = true, or give centres= (angstrom)"
        )
    if given is not None and given.flag("translate_home_cell"):
        raise InputError(
            f"{there['_centres.xyz']} was written with translate_home_cell = true: its centres were moved by lattice vectors "
            "and no longer belong to H(R), which would spoil velocities; give the centres of the .wout file as centres="
        )
    return files.read_centres(there["_centres.xyz"], functions)


def _superlattice(
    path: Path, there: dict[str, Path], given: files.Input | None, vectors: np.ndarray, centres: np.ndarray
) -> np.ndarray | None:
    """How each element is shared among R + T (`files.read_ws_vectors`), or None where H(R) stands as it is."""
    if "_wsvec.dat" in there:
        return files.read_ws_vectors(there["_wsvec.dat"])
    wanted = given.flag("use_ws_distance") if given is not None else False
    mesh = given.wholes("mp_grid", 3, 1) if given is not None else None
    missing = path.name.removesuffix("_hr.dat").removesuffix(ENDING) + "_wsvec.dat"
    if given is not None and wanted and mesh is None:
        raise InputError(
            f"{given.path} has use_ws_distance = true, but neither mp_grid nor a file {missing} beside it; copy that file here"
        )
    if given is not None and wanted and mesh is not None:
        warnings.warn(
            f"{missing} is not beside {path}; its vectors are made again from mp_grid and the centres. Images at one distance "
            "may be shared otherwise than in Wannier90 (some 0.01 eV on coarse meshes): copy that file here for its very bands",
            stacklevel=3,
        )
        return files.minimal_images(np.asarray(given.structure.cell), mesh, vectors, centres)
    if given is not None and wanted is None and mesh is not None:
        warnings.warn(
            f"{path}: no {missing} and no use_ws_distance in {given.path}, so that H(R) is taken as it stands, as Wannier90 "
            "1 and 2 meant it: write use_ws_distance = .true. there if version 3 wrote it, or .false. if that is right",
            stacklevel=3,
        )
    return None


def _refuse_not_hermitian(vectors: np.ndarray, matrices: np.ndarray, path: Path) -> None:
    rows = {tuple(v): i for i, v in enumerate(vectors.tolist())}
    zero = np.zeros_like(matrices[0])
    for v, i in rows.items():
        back = rows.get((-v[0], -v[1], -v[2]))
        off = np.abs(matrices[i] - (zero if back is None else matrices[back].conj().T)).max()
        if off > TOLERANCE:
            raise InputError(
                f"{path}: H(R) and H(-R) of R = {list(v)} differ by {off:.4f} eV where they should be Hermitian"
            )


def build(
    name: str,
    crystal: Structure,
    centres: Float[np.ndarray, "w 3"],
    vectors: Int[np.ndarray, "r 3"],
    matrices: Any,
    electrons: float | int | None = None,
    spinor: bool = False,
    smallest: float | int = 0.0,
    source: str = "the .win file",
    places: Any = None,
) -> Hamiltonian:
    """A fixed Hamiltonian from arrays.

    Args:
        centres: angstrom. vectors: lattice vectors R, integers. matrices: <m 0| H |n R>, eV, shape (r, w, w), to be summed
            with exp(ik.R) and no further weights. electrons, spinor, smallest: as in `read`. source: of the number of
            electrons, for messages. places: <m 0| r |n R> likewise, angstrom, shape (3, r, w, w), or None. Their Hermitian
            part counts, which finite differences on a mesh of k leave incomplete.

    Raises:
        InputError: lattice vectors so long that a table of them would fill the memory.
    """
    positions, cell = np.asarray(crystal.positions, np.float64), np.asarray(crystal.cell, np.float64)
    atom, home, offset = _nearest_atoms(positions, cell, centres)
    orbitals = np.bincount(atom, minlength=len(positions))
    slot = np.array([int((atom[:m] == atom[m]).sum()) for m in range(len(atom))])
    m, n = np.meshgrid(np.arange(len(atom)), np.arange(len(atom)), indexing="ij")
    moved = vectors[:, None, None] + home[n] - home[m]
    ends = np.broadcast_to(np.stack([atom[m], atom[n]], axis=-1), (*moved.shape[:3], 2))
    flat = np.concatenate([ends, moved], axis=3).reshape(-1, 5)
    kinds, place = np.unique(flat, axis=0, return_inverse=True)
    width = int(orbitals.max())

    def by_atoms(values: Any) -> tuple[np.ndarray, np.ndarray]:
        blocks = np.zeros((len(kinds), width, width), dtype=complex)
        np.add.at(blocks, (place.reshape(moved.shape[:3]), slot[m][None], slot[n][None]), values)
        return _symmetric(kinds, blocks, len(positions))

    rows, blocks = by_atoms(matrices)
    own = (rows[:, 0] == rows[:, 1]) & ~rows[:, 2:].any(axis=1)
    kept = own | (np.abs(blocks).max(axis=(1, 2)) > smallest)
    params: dict[str, Any] = {}
    if places is not None:
        from_atoms = np.array(places, complex)
        home_cell = np.flatnonzero(~vectors.any(axis=1))[0]
        each = np.arange(len(atom))
        from_atoms[:, home_cell, each, each] += (offset - centres).T
        found = np.stack([by_atoms(values)[1] for values in from_atoms], axis=1)
        kept |= np.abs(found).max(axis=(1, 2, 3)) > smallest
        params["positions"] = found[kept]
    rows, blocks = rows[kept], blocks[kept]
    table = len(positions) ** 2 * float(np.prod(np.ptp(rows[:, 2:], axis=0) + 1.0))
    if table > LARGEST_TABLE:
        raise InputError(f"{name}: lattice vectors R up to {np.abs(rows[:, 2:]).max()} cells; the file is damaged")
    distance = np.linalg.norm(positions[rows[:, 1]] + rows[:, 2:] @ cell - positions[rows[:, 0]], axis=1)
    held = np.zeros((len(positions), width, 3))
    held[atom, slot] = offset
    sites = tuple(crystal.species)
    shells = tuple((z, ()) for z in dict.fromkeys(sites))
    basis = SiteBasis(
        shells, (), spinor, sites, tuple(orbitals.tolist()), None if electrons is None else float(electrons), source
    )
    complex_part = max(float(np.abs(values.imag).max()) for values in (blocks, *params.values()))
    real = not spinor and complex_part <= ROUNDING
    module = Wannier(
        basis,
        tuple(map(tuple, cell.tolist())),
        tuple(map(tuple, positions.tolist())),
        rows.astype(np.int32).tobytes(),
        real=real,
        exact=places is not None,
        name=name,
        cutoff=float(distance.max()) + SKIN if len(rows) > own.sum() else 1.0,
    )
    params |= {"hopping": blocks} if places is not None else {"hopping": blocks, "centres": held}
    return Hamiltonian({name: jnp.asarray(values.real if real else values) for name, values in params.items()}, module)


def _nearest_atoms(
    positions: Float[np.ndarray, "n 3"], cell: Float[np.ndarray, "3 3"], centres: Float[np.ndarray, "w 3"]
) -> tuple[Int[np.ndarray, "w"], Int[np.ndarray, "w 3"], Float[np.ndarray, "w 3"]]:
    """For each centre the nearest atom, the lattice translation of that atom, and the vector from it, angstrom."""
    fractional = (centres[:, None] - positions[None]) @ np.linalg.inv(cell)
    near = np.round(fractional).astype(int)
    images = near[:, :, None] + np.indices((3, 3, 3)).reshape(3, -1).T - 1
    apart = centres[:, None, None] - positions[None, :, None] - images @ cell
    length = np.round(np.linalg.norm(apart, axis=-1), 6)  # ties, of centres between two atoms, go to the first
    best = length.reshape(len(centres), -1).argmin(axis=1)
    atom, image = np.divmod(best, images.shape[2])
    w = np.arange(len(centres))
    return atom, images[w, atom, image], apart[w, atom, image]


def _symmetric(rows: np.ndarray, blocks: np.ndarray, atoms: int) -> tuple[np.ndarray, np.ndarray]:
    """Blocks averaged with their Hermitian partners, with every atom's own pair, so that rounding leaves H Hermitian."""
    own = np.column_stack([np.arange(atoms)] * 2 + [np.zeros((atoms, 3), int)])
    mirrored = np.concatenate([rows[:, [1, 0]], -rows[:, 2:]], axis=1)
    both = np.concatenate([rows, mirrored, own])
    values = np.concatenate([blocks, blocks.conj().swapaxes(1, 2), np.zeros((atoms, *blocks.shape[1:]))])
    unique, place = np.unique(both, axis=0, return_inverse=True)
    out = np.zeros((len(unique), *blocks.shape[1:]), dtype=complex)
    np.add.at(out, place.ravel(), 0.5 * values)
    return unique, out
