"""H(R) and S(R) in the layout of DeePTB: `hamiltonians.h5`, `overlaps.h5`, and the order of its orbitals.

A file has a group a frame ("0", "1", ... or "1", "2", ...) with blocks by key "i_j_Rx_Ry_Rz": <i mu| H |j nu at R>, eV,
atoms counted from zero or from one; of each Hermitian pair one key is enough. Shells stand as in the basis ("2s2p1d": s s
p p d), orbitals of a shell from m = -l to l: p = (y, z, x), d = (xy, yz, z^2, xz, x^2-y^2). Flows in and out: `PairBlocks`.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase.data import atomic_numbers, chemical_symbols
from jaxtyping import Float

from jaxepi.datasets.blocks import PairBlocks
from jaxepi.datasets.overlap import pair_vectors
from jaxepi.errors import InputError, shown_words

Spec = str | Sequence[str]
"""Shells of a species: "2s2p1d" (how many of each) or a list such as ["3s", "3p", "d*"]."""

FILES = {"hamiltonian": ("hamiltonians.h5", "hamiltonian.h5"), "overlap": ("overlaps.h5", "overlap.h5")}
"""What the files are called: by DeePTB, and by the converter dftio."""

HERMITIAN = 1e-4
"""How far a block may be from the transpose of its partner where a file holds both, eV."""

_H = 3**0.5 / 2
TO_E3NN = {
    "s": np.eye(1),
    "p": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "d": np.array([[0.0, 0, 0, 1, 0], [1, 0, 0, 0, 0], [0, 0, -0.5, 0, -_H], [0, 1, 0, 0, 0], [0, 0, _H, 0, -0.5]]),
}
"""Orbitals of `jaxepi.hamiltonians.basis` (rows) in those of DeePTB, whose d functions have their pole along z, not y."""


def rotation(shells: Sequence[str]) -> Float[np.ndarray, "o o"]:
    """Orthogonal matrix from DeePTB's orbitals of an atom to e3nn's."""
    size = sum(len(TO_E3NN[shell]) for shell in shells)
    out, start = np.zeros((size, size)), 0
    for shell in shells:
        part = slice(start, start + len(TO_E3NN[shell]))
        out[part, part] = TO_E3NN[shell]
        start = part.stop
    return out


def shells_of(spec: Spec, where: str) -> tuple[str, ...]:
    """Letters of the shells of a species.

    Raises:
        InputError: a word that is not a shell, or a shell beyond d.
    """
    if isinstance(spec, str):
        parts = re.findall(r"([0-9]+)([a-z])", spec)
        if "".join(n + x for n, x in parts) != spec or not parts:
            raise InputError(
                f"{where}: basis {spec!r} is not known; write it like 2s2p1d, or as a list like 3s, 3p, d*"
            )
        if any(len(n) > 2 for n, _ in parts):
            raise InputError(f"{where}: basis {spec!r} has more than 99 shells of a kind")
        letters = tuple(x for n, x in parts for _ in range(int(n)))
    else:
        letters = tuple(re.sub(r"[0-9*]", "", str(word)) for word in spec)
    strange = sorted(set(letters) - set(TO_E3NN))
    if strange or not letters:
        raise InputError(f"{where}: shells {strange} of basis {spec!r} are not among {', '.join(TO_E3NN)}")
    return letters


def shells(basis: Mapping[str, Spec] | None, folder: Path, species: Sequence[int]) -> tuple[str, ...]:
    """Shells of every atom, from what the caller says or from `basis.dat`.

    Raises:
        InputError: neither says it, or atoms differ in their shells (one array cannot hold their blocks).
    """
    where, found = str(folder), dict(basis or {})
    if basis is None:
        file = folder / "basis.dat"
        if not file.is_file():
            raise InputError(f"{where} has blocks but no basis.dat; give basis={{'Si': '2s2p1d'}} or the like")
        try:
            text = file.read_text().strip()
            found = dict(ast.literal_eval(text)) if text.startswith("{") else {}
        except (OSError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
            raise InputError(f"{file} cannot be read: {shown_words(str(error))}; write 2s2p1d or the like") from error
        if text.startswith("{"):
            wrong = [
                s for s, spec in found.items() if s not in atomic_numbers or not isinstance(spec, str | list | tuple)
            ]
            if wrong:
                raise InputError(f"{file}: {wrong[0]!r} is no element with a basis like 2s2p1d")
        else:
            lines = text.split()
            if len(lines) not in (1, len(species)):
                raise InputError(f"{file} has {len(lines)} lines for {len(species)} atoms")
            found = {chemical_symbols[z]: lines[min(i, len(lines) - 1)] for i, z in enumerate(species)}
    numbers = {atomic_numbers[s]: shells_of(spec, where) for s, spec in found.items()}
    missing = sorted({chemical_symbols[z] for z in species} - set(found))
    if missing:
        raise InputError(f"{where}: the basis says nothing about {', '.join(missing)}")
    each = {numbers[z] for z in species}
    if len(each) > 1:
        raise InputError(f"{where}: atoms have different shells {sorted(each)}; blocks of one size an atom are needed")
    return each.pop()


def read(
    folder: Path,
    basis: Mapping[str, Spec] | None,
    species: Sequence[int],
    positions: Float[np.ndarray, "s n 3"],
    cell: Float[np.ndarray, "s 3 3"],
    level: str,
) -> list[PairBlocks] | None:
    """Blocks of every frame, or None where the folder has none. Without `overlaps.h5` the basis is orthogonal.

    Raises:
        InputError: frames, keys or sizes that do not fit, complex blocks, or blocks that are not Hermitian.
    """
    paths = {kind: _file(folder, names) for kind, names in FILES.items()}
    if paths["hamiltonian"] is None:
        if paths["overlap"] is not None:
            raise InputError(f"{folder} has {paths['overlap'].name} but no hamiltonians.h5")
        return None
    letters, n = shells(basis, folder, species), len(species)
    turn, out = rotation(letters), []
    held = {k: _frames(p, len(positions), n, len(turn)) for k, p in paths.items() if p is not None}
    for frame in range(len(positions)):
        h = held["hamiltonian"][frame]
        own = {(i, i, 0, 0, 0): np.eye(len(turn)) for i in range(n)}
        s = held["overlap"][frame] if "overlap" in held else own
        missing = [i for i in range(n) for x in (h, s) if (i, i, 0, 0, 0) not in x]
        if missing:
            raise InputError(f"{folder}, frame {frame}: atom {missing[0]} has no block of its own")
        pairs = np.array(sorted(set(h) | set(s)))
        zero = np.zeros((len(turn), len(turn)))
        hamiltonian, overlap = (
            turn @ np.array([x.get(tuple(p), zero) for p in pairs.tolist()]) @ turn.T for x in (h, s)
        )
        reach = float(np.linalg.norm(pair_vectors(positions[frame], cell[frame], pairs), axis=1).max())
        out.append(PairBlocks(np.array([0, len(pairs)]), pairs, hamiltonian, overlap, letters, reach, level))
    reach = max(b.reach for b in out)  # one for all, so that they can be held together
    return [PairBlocks(b.offsets, b.pairs, b.hamiltonian, b.overlap, letters, reach, level) for b in out]


def _file(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _frames(path: Path, frames: int, atoms: int, size: int) -> list[dict[tuple[int, ...], np.ndarray]]:
    """Blocks of every frame by (i, j, R), of each Hermitian pair the one that comes first."""
    try:
        with h5py.File(path) as file:
            first = 0 if "0" in file else 1
            names = [str(first + i) for i in range(frames)]
            if set(names) != set(file):
                raise InputError(f"{path} holds blocks of {len(file)} frames where there are {frames}")
            return [
                _blocks(_small(file[name], size, f"{path}, frame {i}"), f"{path}, frame {i}", atoms, size)
                for i, name in enumerate(names)
            ]
    except (OSError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read as HDF5: {shown_words(str(error))}") from error


def _small(node: Any, size: int, where: str) -> dict[str, np.ndarray]:
    """The blocks of a frame, read where they are of the size of blocks."""
    for key, value in node.items() if isinstance(node, h5py.Group) else [("the frame", None)]:
        if not isinstance(value, h5py.Dataset) or value.size != size**2 or value.dtype.kind not in "fiuc":
            held = f"shape {value.shape} of {value.dtype}" if isinstance(value, h5py.Dataset) else "no array"
            raise InputError(f"{where}: {key} has {held}; the basis has {size} orbitals an atom")
    return {key: value[...] for key, value in node.items()}


def _blocks(raw: dict[str, np.ndarray], where: str, atoms: int, size: int) -> dict[tuple[int, ...], np.ndarray]:
    start = 0 if "0_0_0_0_0" in raw else 1
    out: dict[tuple[int, ...], np.ndarray] = {}
    for key, block in raw.items():
        if not re.fullmatch(r"[0-9]+_[0-9]+(_-?[0-9]+){3}", key):
            raise InputError(f"{where}: key {key!r} is not of the form i_j_Rx_Ry_Rz")
        i, j, *shift = (int(x) for x in key.split("_"))
        i, j = i - start, j - start
        if not (0 <= i < atoms and 0 <= j < atoms):
            raise InputError(f"{where}: {key} names an atom beyond the {atoms} of the frame")
        if np.iscomplexobj(block):
            raise InputError(f"{where}: {key} is complex; blocks with spin-orbit coupling are not read")
        if block.shape != (size, size):
            raise InputError(f"{where}: {key} has shape {block.shape}; the basis has {size} orbitals an atom")
        if not np.isfinite(block).all():
            raise InputError(f"{where}: {key} holds NaN or infinity")
        there, back = (i, j, *shift), (j, i, *(-x for x in shift))
        pair, value = (there, block) if there <= back else (back, block.T)
        partner = out.get(pair, value.T if there == back else value)
        if np.abs(partner - value).max() > HERMITIAN:
            raise InputError(f"{where}: {key} and its Hermitian partner differ by {np.abs(partner - value).max():.4f}")
        out[pair] = np.asarray(value, np.float64)
    return out


def write(blocks: PairBlocks, folder: Path, species: Sequence[int]) -> None:
    """Both files and `basis.dat`; atoms and frames are counted from zero, shells sorted (all s, then all p, then all d)."""
    order = sorted(range(len(blocks.shells)), key=lambda i: "spd".index(blocks.shells[i]))
    starts = np.cumsum([0] + [len(TO_E3NN[x]) for x in blocks.shells])
    index = np.concatenate([np.arange(starts[i], starts[i + 1]) for i in order])
    letters = [blocks.shells[i] for i in order]
    spec = "".join(f"{letters.count(x)}{x}" for x in dict.fromkeys(letters))
    (folder / "basis.dat").write_text("\n".join([spec] * len(species)) + "\n")
    turn = rotation(letters)
    for kind, names in FILES.items():
        with h5py.File(folder / names[0], "w") as file:
            for frame in range(len(blocks)):
                part = slice(blocks.offsets[frame], blocks.offsets[frame + 1])
                node = file.create_group(str(frame))
                for pair, block in zip(blocks.pairs[part].tolist(), getattr(blocks, kind)[part], strict=True):
                    node["_".join(map(str, pair))] = turn.T @ block[np.ix_(index, index)] @ turn
