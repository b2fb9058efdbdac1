"""Structures of CIF files: every site occupied, and the space group in the setting that the file means.

Flows in: one file. Flows out: `ase.Atoms`. A file that lists its symmetry operations says all; ASE reads it. One that names
its group alone is read by the table of all 530 settings in spglib, since a name (F d -3 m :2) or a number alone may mean
another origin, other axes or another cell than the standard ones.
"""

import os
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxepi.errors import InputError

if TYPE_CHECKING:
    import ase

SAME_SITE = 0.05
"""Angstrom: images of a site that fall this close are one, since files round special positions (0.3333)."""

_NAME = ("_space_group_name_h-m_alt", "_space_group.name_h-m_alt", "_symmetry_space_group_name_h-m")
_NUMBER = ("_space_group_it_number", "_space_group.it_number", "_symmetry_int_tables_number")
_LISTED = (
    "_space_group_symop_operation_xyz",
    "_space_group_symop.operation_xyz",
    "_symmetry_equiv_pos_as_xyz",
    "_symmetry_equiv.pos_as_xyz",
)

_ORIGINS = {"s": "1", "z": "2"}
"""ICSD's letters for the two origins of a group."""

_BEFORE_1992 = {
    191: "abm2 bma2 b2cm c2mb cm2a ac2m",
    203: "aba2 bba2 b2cb c2cb cc2a ac2a",
    304: "cmca ccmb abma acam bbcm bmab",
    316: "cmma cmmb abmm acmm bmcm bmam",
    322: "ccca ccca cccb cccb abaa abaa acaa acaa bbcb bbcb bbab bbab",
}
"""Names of settings, from the first on, before the International Tables wrote e for a glide along two axes."""

_OLD_NAMES = {first + i: name for first, names in _BEFORE_1992.items() for i, name in enumerate(names.split())}


def read_cif(path: str | os.PathLike) -> "ase.Atoms":
    """The last structure of a CIF file.

    Raises:
        InputError: a site that is occupied in part, a group that is not known, or one whose origin or axes are left open.
    """
    from ase.io.cif import parse_cif

    blocks = [block for block in parse_cif(os.fspath(path)) if block.has_structure()]
    if not blocks:
        raise InputError("it holds no structure; give a CIF file with the coordinates of atoms")
    block = blocks[-1]
    _refuse_disorder(block)
    name, number, listed = (
        next((block[tag] for tag in tags if tag in block), None) for tags in (_NAME, _NUMBER, _LISTED)
    )
    if listed or (name is None and number is None) or block.get_cellpar() is None:
        return block.get_atoms()
    atoms = block.get_unsymmetrized_structure()
    hall = _setting(name, number, block.get("_symmetry_space_group_setting"), np.asarray(atoms.cell))
    return _symmetrised(atoms, hall)


def _refuse_disorder(block: Any) -> None:
    """Refuse sites that are not occupied by one atom each."""
    occupancies, labels = block.get("_atom_site_occupancy") or [], block.get("_atom_site_label")
    for i, occupancy in enumerate(occupancies):
        if isinstance(occupancy, int | float) and abs(occupancy - 1) > 1e-3:
            label = (labels or block.get_symbols())[i]
            raise InputError(
                f"site {label} has occupancy {occupancy:g}: a structure has one atom a site; give an ordered one, such as a "
                "supercell with its sites filled"
            )


def _plain(name: str) -> str:
    return re.sub(r"[\s_()]", "", name).lower()


def _setting(name: Any, number: Any, setting: Any, cell: np.ndarray) -> int:
    """Number (of 530, after Hall) of the setting that a file means."""
    import spglib

    if name is None:
        base, choice = None, str(setting or "")
    else:
        parts = re.fullmatch(r"(.*?)(?:\s*:\s*(\S+)|\s+([SZHR]))?\s*", str(name))
        assert parts is not None
        base, choice = parts[1], (parts[2] or parts[3] or str(setting or "")).lower()
    choice = _ORIGINS.get(choice.lower(), choice.lower())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the way spglib's next version will report errors
        kinds: dict[int, Any] = {h: spglib.get_spacegroup_type(h) for h in range(1, 531)}
    found = [h for h, kind in kinds.items() if base is None or _plain(base) in _names(kind)]
    if not found and base is not None:  # Fd3m: without the bar, as it was once written
        barred = re.sub(r"^([pfi][mnda])3", r"\1-3", _plain(base))
        found = [h for h, kind in kinds.items() if barred in _names(kind)]
    what = f"space group {name if name is not None else number}"
    if not found:
        raise InputError(f"{what} is not known; write its Hermann-Mauguin name, or list its operations")
    if number is not None:
        found = [h for h in found if str(kinds[h].number) == str(number).strip()]
        if not found:
            raise InputError(f"{what} is not that of number {number}; correct one of them, or list its operations")
    if choice:
        known = sorted({kinds[h].choice for h in found} - {""})
        found = [h for h in found if kinds[h].choice.lower() == choice]
        if not found:
            raise InputError(f"{what}: the setting {choice!r} is not known; known are {', '.join(known) or 'none'}")
    fitting = [h for h in found if _keeps_the_cell(h, cell)]
    if not fitting:
        raise InputError(f"{what}: its operations do not fit lengths and angles of the cell; list its operations")
    if {"1", "2"} <= {kinds[h].choice for h in fitting}:
        raise InputError(
            f"{what} has two origins, and the file does not say which it means: append ':1' or ':2' to the name in "
            "_symmetry_space_group_name_H-M, or list its operations"
        )
    return min(fitting)


def _names(kind: Any) -> set[str]:
    """Names of a setting, without blanks: short and full, and of monoclinic ones without the ones (P 21/n)."""
    names = {_plain(n) for n in [kind.international_short, kind.international_full, *kind.international.split("=")]}
    names.add(_OLD_NAMES.get(kind.hall_number, ""))
    if 3 <= kind.number <= 15:
        words = kind.international_full.replace("_", "").split()
        names = {_plain(kind.international_full), _plain("".join([words[0], *(w for w in words[1:] if w != "1")]))}
    return names


def _operations(hall: int) -> tuple[np.ndarray, np.ndarray]:
    import spglib

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        found: Any = spglib.get_symmetry_from_database(hall)
    return np.asarray(found["rotations"]), np.asarray(found["translations"])


def _keeps_the_cell(hall: int, cell: np.ndarray) -> bool:
    """Whether the rotations of a setting leave lengths and angles of the cell as they are, to a hundredth."""
    metric = cell @ cell.T
    turned = np.swapaxes(_operations(hall)[0], 1, 2) @ metric @ _operations(hall)[0]
    return bool(np.abs(turned - metric).max() < 0.01 * metric.max())


def _symmetrised(sites: "ase.Atoms", hall: int) -> "ase.Atoms":
    """All images of the sites of an asymmetric unit."""
    from ase import Atoms

    rotations, translations = _operations(hall)
    cell, positions, numbers = np.asarray(sites.cell), [], []
    for x, z in zip(sites.get_scaled_positions(wrap=False), sites.numbers, strict=True):
        kept: list[np.ndarray] = []
        for image in rotations @ x + translations:
            away = np.array(kept).reshape(-1, 3) - image
            if not (np.linalg.norm((away - np.round(away)) @ cell, axis=1) < SAME_SITE).any():
                kept.append(image % 1.0)
        positions += kept
        numbers += [z] * len(kept)
    return Atoms(numbers, scaled_positions=positions, cell=cell, pbc=True)
