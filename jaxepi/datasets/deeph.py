"""Data sets in the layouts of DeepH, both ways: a folder a configuration, with a structure, H(R) and S(R).

    new      POSCAR, info.json (elements_orbital_map: angular momenta of each element's shells), hamiltonian.h5 and overlap.h5
             with atom_pairs (R1 R2 R3 i j, atoms from zero), chunk_shapes, chunk_boundaries and entries (all blocks in a row)
    legacy   lat.dat (lattice vectors in columns), site_positions.dat (atoms in columns), element.dat, orbital_types.dat (a line
             an atom), info.json, hamiltonians.h5, overlaps.h5 with blocks by key "[R1, R2, R3, i, j]", atoms from one

Both in eV and angstrom; <i mu| H |j nu at R>, both members of a Hermitian pair. The new layout has the orbitals of a shell from
m = -l to l, p = (y, z, x) and d = (xy, yz, z^2, xz, x^2-y^2); the legacy one has OpenMX's, p = (x, y, z) and
d = (z^2, x^2-y^2, xy, xz, yz). Flows in and out: `DataSet` with `PairBlocks`.
"""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Float

from jaxepi.datasets import dataset, orbital_checks
from jaxepi.datasets.blocks import PairBlocks
from jaxepi.datasets.dataset import Configurations, DataSet
from jaxepi.datasets.deeptb_blocks import HERMITIAN, rotation
from jaxepi.datasets.overlap import DEGREE, pair_vectors
from jaxepi.errors import InputError, shown_words

LETTERS = {degree: letter for letter, degree in DEGREE.items()}
FROM_OPENMX = {0: [0], 1: [1, 2, 0], 2: [2, 4, 0, 3, 1]}
"""Where OpenMX has the orbitals of a shell from m = -l to l."""

FILES = {"new": ("hamiltonian.h5", "overlap.h5"), "legacy": ("hamiltonians.h5", "overlaps.h5")}
SOME = {"new": ("POSCAR", "info.json"), "legacy": ("lat.dat", "element.dat", "site_positions.dat", "orbital_types.dat")}

Blocks = dict[tuple[int, ...], np.ndarray]


class _Frame(NamedTuple):
    """What a folder says beside its blocks."""

    layout: str
    positions: np.ndarray
    cell: np.ndarray
    species: tuple[int, ...]
    degrees: dict[int, tuple[int, ...]]
    info: Mapping[str, Any]


def layout_of(folder: Path) -> str | None:
    """Which layout a folder of one configuration has, if any."""
    for layout in SOME:
        if all((folder / name).is_file() for name in SOME[layout]):
            return layout
    return None


def holds(folder: str | os.PathLike) -> bool:
    """Whether a folder is, or holds, configurations in one of DeepH's layouts."""
    root = Path(folder)
    return any(layout_of(one) for one in (root, *_inside(root)))


def _inside(root: Path) -> list[Path]:
    """Its folders by name, numbers in their order."""
    found = (one for one in root.iterdir() if one.is_dir()) if root.is_dir() else ()
    return sorted(found, key=lambda one: (len(one.name), one.name))


def read(
    folder: str | os.PathLike,
    *,
    level: str = "dft",
    theory: Mapping[str, Any] | None = None,
    electrons: Mapping[str, float | int] | None = None,
    pbc: tuple[bool, bool, bool] = (True, True, True),
    name: str | None = None,
) -> DataSet:
    """A set from a folder of one configuration, or from all such folders inside it.

    Args:
        level: name of the level of theory. theory: its definition (code, version, settings). electrons: valence electrons of
            each element, where bands are to be counted. pbc: which directions are periodic, which the layouts do not say.

    Raises:
        InputError: no such folder, files that are missing or damaged, spin, shells beyond d, elements of two bases in one set,
            orbitals in another order or of other signs, S that is not positive definite, blocks that are not Hermitian.
    """
    root = Path(folder)
    folders = [one for one in (root, *_inside(root)) if layout_of(one)]
    if not folders:
        raise InputError(
            f"{root} holds no folder in a layout of DeepH ({', '.join(SOME['new'])} or {', '.join(SOME['legacy'])})"
        )
    frames = [_frame(one) for one in folders]
    first: dict[int, tuple[Path, tuple[int, ...]]] = {}
    for one, frame in zip(folders, frames, strict=True):
        for z, degrees in frame.degrees.items():
            place, known = first.setdefault(z, (one, degrees))
            if known != degrees:
                raise InputError(
                    f"{one}: {chemical_symbols[z]} has shells {list(degrees)}, in {place} {list(known)}: labels of two bases "
                    "do not go into one set; keep them in separate folders"
                )
    found = [_blocks(one, frame, level) for one, frame in zip(folders, frames, strict=True)]
    reach = max(one.reach for one in found)
    parts = []
    for one, frame, blocks in zip(folders, frames, found, strict=True):
        held = PairBlocks(blocks.offsets, blocks.pairs, blocks.hamiltonian, blocks.overlap, blocks.shells, reach, level)
        filled = _occupied(one, frame, electrons)
        more: dict[str, Any] = {"pbc": pbc, "occupied": filled, "blocks": held, "source": one.name}
        parts.append(dataset.single(frame.positions, frame.cell, frame.species, {level: {}}, **more))
    definition = dict(theory or dataset.UNKNOWN)
    return dataset.gather(name or root.name, {level: definition}, parts, source=f"DeepH's layout, {len(parts)} folders")


def _occupied(folder: Path, frame: _Frame, electrons: Mapping[str, float | int] | None) -> int:
    if electrons is None:
        return 0
    missing = sorted({chemical_symbols[z] for z in frame.species} - set(electrons))
    if missing:
        raise InputError(f"{folder}: electrons of {', '.join(missing)} are not given")
    filled = sum(electrons[chemical_symbols[z]] for z in frame.species) / 2
    if abs(filled - round(filled)) > 1e-9:
        raise InputError(f"{folder}: {2 * filled:g} electrons do not fill whole bands; check electrons")
    return round(filled)


def _frame(folder: Path) -> _Frame:
    layout = layout_of(folder)
    assert layout is not None
    info = _json(folder / "info.json")
    if info.get("spinful", info.get("isspinful", False)) or info.get("split_hkb", False):
        raise InputError(f"{folder}: info.json says spinful; blocks with spin are not read: make the set without spin")
    if layout == "new":
        from ase.io.vasp import read_vasp

        try:
            atoms = read_vasp(folder / "POSCAR")
        except Exception as error:  # whatever ASE meets in a damaged file
            raise InputError(f"{folder / 'POSCAR'} cannot be read: {shown_words(str(error))}") from error
        positions, cell, species = atoms.positions, atoms.cell.array, tuple(int(z) for z in atoms.numbers)
        listed = info.get("elements_orbital_map")
        if not isinstance(listed, Mapping) or set(listed) - set(atomic_numbers):
            raise InputError(f"{folder / 'info.json'}: elements_orbital_map is no table of elements with their shells")
        degrees = {atomic_numbers[s]: _degrees(value, folder) for s, value in listed.items()}
    else:
        cell = _table(folder / "lat.dat").T
        positions = _table(folder / "site_positions.dat").T
        species = tuple(int(z) for z in _table(folder / "element.dat").ravel())
        lines = (folder / "orbital_types.dat").read_text().splitlines()
        rows = [_degrees(line.split(), folder) for line in lines if line.strip()]
        if len(rows) != len(species) or positions.shape != (len(species), 3) or cell.shape != (3, 3):
            raise InputError(
                f"{folder}: {len(species)} elements, {len(rows)} lines of orbitals and positions {positions.shape}"
            )
        degrees = dict(zip(species, rows, strict=True))
        if any(degrees[z] != row for z, row in zip(species, rows, strict=True)):
            raise InputError(f"{folder}: orbital_types.dat gives atoms of one element different shells")
    if missing := sorted({chemical_symbols[z] for z in species if z not in degrees}):
        raise InputError(f"{folder}: nothing says which shells {', '.join(missing)} has")
    if len({degrees[z] for z in species}) > 1:
        raise InputError(f"{folder}: atoms have different shells; blocks of one size an atom are needed")
    return _Frame(layout, positions, cell, species, degrees, info)


def _degrees(values: Any, folder: Path) -> tuple[int, ...]:
    try:
        found = tuple(int(v) for v in values)
    except (TypeError, ValueError) as error:
        raise InputError(f"{folder}: shells {values!r} are no angular momenta like 0 0 1 1 2") from error
    if not found or not set(found) <= set(LETTERS):
        raise InputError(f"{folder}: shells {list(found)}; angular momenta 0, 1 and 2 (s, p and d) are read")
    return found


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text()) if path.is_file() else {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON: {shown_words(str(error))}") from error
    if not isinstance(found, Mapping):
        raise InputError(f"{path} is no table")
    return found


def _table(path: Path) -> np.ndarray:
    try:
        return np.loadtxt(path, dtype=np.float64, ndmin=2)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is no table of numbers: {shown_words(str(error))}") from error


def _blocks(folder: Path, frame: _Frame, level: str) -> PairBlocks:
    """Blocks of one folder in the order of this package, checked."""
    letters = tuple(LETTERS[d] for d in frame.degrees[frame.species[0]])
    turn = rotation(letters) @ _from_file(letters, frame.layout)
    n, size = len(frame.species), len(turn)
    names = FILES[frame.layout]
    h = _half(_raw(folder / names[0], frame.layout), n, size, folder / names[0])
    orthogonal = bool(frame.info.get("orthogonal_basis", frame.info.get("isorthogonal", False)))
    if orthogonal:
        s: Blocks = {(i, i, 0, 0, 0): np.eye(size) for i in range(n)}
    else:
        s = _half(_raw(folder / names[1], frame.layout), n, size, folder / names[1])
    for i in range(n):
        if any((i, i, 0, 0, 0) not in held for held in (h, s)):
            raise InputError(f"{folder}: atom {i} has no block of its own")
    pairs, zero = np.array(sorted(set(h) | set(s))), np.zeros((size, size))
    listed = [np.array([x.get(tuple(p), zero) for p in pairs.tolist()]) for x in (h, s)]
    hamiltonian, overlap = (turn @ x @ turn.T for x in listed)
    reach = float(np.linalg.norm(pair_vectors(frame.positions, frame.cell, pairs), axis=1).max())
    found = PairBlocks(np.array([0, len(pairs)]), pairs, hamiltonian, overlap, letters, reach, level)
    if not orthogonal:
        orbital_checks.check(found, 0, frame.positions, frame.cell, str(folder))
    return found


def _from_file(letters: tuple[str, ...], layout: str) -> Float[np.ndarray, "o o"]:
    """Permutation from a file's orbitals to those from m = -l to l."""
    if layout == "new":
        return np.eye(sum(2 * DEGREE[x] + 1 for x in letters))
    order, start = [], 0
    for letter in letters:
        order += [start + i for i in FROM_OPENMX[DEGREE[letter]]]
        start += 2 * DEGREE[letter] + 1
    return np.eye(start)[order]


def _raw(path: Path, layout: str) -> Blocks:
    """Blocks by (i, j, R), atoms from zero."""
    if not path.is_file():
        raise InputError(f"{path} is missing")
    try:
        with h5py.File(path) as file:
            return _chunks(file, path) if layout == "new" else _keys(file, path)
    except (OSError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read: {shown_words(str(error))}") from error


def _chunks(file: h5py.File, path: Path) -> Blocks:
    pairs, shapes, bounds = (file[n][...].astype(np.int64) for n in ("atom_pairs", "chunk_shapes", "chunk_boundaries"))
    entries = file["entries"]
    count = len(pairs)
    sizes = np.diff(bounds)
    fits = pairs.shape == (count, 5) and shapes.shape == (count, 2) and bounds.shape == (count + 1,)
    if not (fits and bounds[0] == 0 and (sizes == shapes.prod(axis=1)).all() and bounds[-1] == entries.shape[0]):
        raise InputError(f"{path}: atom_pairs, chunk_shapes, chunk_boundaries and entries do not fit each other")
    values = entries[...]
    return {
        (i, j, a, b, c): values[bounds[row] : bounds[row + 1]].reshape(shapes[row])
        for row, (a, b, c, i, j) in enumerate(pairs.tolist())
    }


def _keys(file: h5py.File, path: Path) -> Blocks:
    out: Blocks = {}
    for key, value in file.items():
        try:
            a, b, c, i, j = (int(x) for x in json.loads(key))
        except (ValueError, TypeError) as error:
            raise InputError(f"{path}: key {key!r} is not of the form [R1, R2, R3, i, j]") from error
        out[(i - 1, j - 1, a, b, c)] = value[...]
    return out


def _half(raw: Blocks, atoms: int, size: int, path: Path) -> Blocks:
    """One of each Hermitian pair."""
    out: Blocks = {}
    for (i, j, *shift), block in raw.items():
        if not (0 <= i < atoms and 0 <= j < atoms):
            raise InputError(f"{path}: a block names atoms {i} and {j} (from zero) of {atoms}")
        if block.shape != (size, size) or np.iscomplexobj(block) or not np.isfinite(block).all():
            raise InputError(
                f"{path}: the block of {(i, j, *shift)} is no array of {size} x {size} real, finite numbers"
            )
        there, back = (i, j, *shift), (j, i, *(-x for x in shift))
        pair, value = (there, block) if there <= back else (back, block.T)
        partner = out.get(pair, value.T if there == back else value)
        if np.abs(partner - value).max() > HERMITIAN:
            raise InputError(
                f"{path}: the block of {there} and its Hermitian partner differ by {np.abs(partner - value).max():.4f}"
            )
        out[pair] = np.asarray(value, np.float64)
    return out


def write(data: DataSet, folder: str | os.PathLike, layout: str = "new") -> list[Path]:
    """A folder a configuration, "0", "1", ..., in a folder that must not be there yet; returns them.

    Raises:
        InputError: another layout, a folder that is there, or a set without blocks.
    """
    root = Path(folder)
    if layout not in FILES:
        raise InputError(f"layout {layout!r}: choose one of {', '.join(FILES)}")
    if root.exists():
        raise InputError(f"{root} is there already; give another folder")
    if not data.groups or any(group.blocks is None for group in data.groups):
        raise InputError(f"the set {data.name} has configurations without H(R); DeepH's layouts hold nothing else")
    temporary = root.with_name(f".{root.name}.{os.getpid()}.tmp")
    made: list[Path] = []
    try:
        for group in data.groups:
            for row in range(len(group)):
                made.append(root / str(len(made)))
                (temporary / made[-1].name).mkdir(parents=True)
                _write(group, row, temporary / made[-1].name, layout)
        temporary.rename(root)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return made


def _write(group: Configurations, row: int, folder: Path, layout: str) -> None:
    blocks = group.blocks
    assert blocks is not None
    order = np.argsort(np.array([list(dict.fromkeys(group.species)).index(z) for z in group.species]), kind="stable")
    order = order if layout == "new" else np.arange(len(order))  # a POSCAR holds elements one after the other
    place = np.argsort(order)
    species = [group.species[i] for i in order]
    degrees = [DEGREE[x] for x in blocks.shells]
    turn = (rotation(blocks.shells) @ _from_file(blocks.shells, layout)).T
    part = slice(blocks.offsets[row], blocks.offsets[row + 1])
    pairs = blocks.pairs[part].copy()
    pairs[:, :2] = place[pairs[:, :2]]
    own = (pairs[:, 0] == pairs[:, 1]) & ~pairs[:, 2:].any(axis=1)
    every = np.concatenate([pairs, np.column_stack([pairs[:, [1, 0]], -pairs[:, 2:]])[~own]])
    for file, held in zip(FILES[layout], (blocks.hamiltonian[part], blocks.overlap[part]), strict=True):
        values = turn @ held @ turn.T
        values = np.concatenate([values, values[~own].swapaxes(1, 2)])
        _write_matrix(folder / file, every, values, layout)
    symbols = {chemical_symbols[z]: degrees for z in dict.fromkeys(species)}
    x, cell = group.positions[row][order], group.cell[row]
    if layout == "new":
        from ase import Atoms

        Atoms(species, positions=x, cell=cell, pbc=True).write(folder / "POSCAR", format="vasp", direct=False)
        info: dict[str, Any] = {
            "atoms_quantity": len(species),
            "orbits_quantity": len(species) * len(turn),
            "orthogonal_basis": False,
        }
        info |= {"spinful": False, "fermi_energy_eV": None, "elements_orbital_map": symbols}
    else:
        np.savetxt(folder / "lat.dat", cell.T, fmt="%.12f")
        np.savetxt(folder / "rlat.dat", 2 * np.pi * np.linalg.inv(cell), fmt="%.12f")
        np.savetxt(folder / "site_positions.dat", x.T, fmt="%.12f")
        np.savetxt(folder / "element.dat", np.array(species), fmt="%d")
        np.savetxt(folder / "orbital_types.dat", np.array([degrees] * len(species)), fmt="%d")
        info = {"isspinful": False, "isorthogonal": False}
    (folder / "info.json").write_text(json.dumps(info, indent=1))


def _write_matrix(path: Path, pairs: np.ndarray, values: np.ndarray, layout: str) -> None:
    with h5py.File(path, "w") as file:
        if layout == "legacy":
            for (i, j, *shift), block in zip(pairs.tolist(), values, strict=True):
                file[json.dumps([*shift, i + 1, j + 1])] = block
            return
        size = values.shape[1]
        file["atom_pairs"] = pairs[:, [2, 3, 4, 0, 1]]
        file["chunk_shapes"] = np.full((len(pairs), 2), size)
        file["chunk_boundaries"] = np.arange(len(pairs) + 1) * size**2
        file["entries"] = values.ravel()
