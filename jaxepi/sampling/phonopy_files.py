"""Force constants from phonopy's files, and to them, by phonopy itself (an optional extra).

Flows in: phonopy.yaml, phonopy_params.yaml or phonopy_disp.yaml, with what it holds or what stands beside it. Flows out: the
supercell in the order of atoms that `ForceConstants` has, and the numbers that belong to it. A supercell of any shape is made
of repeats of a cell of the same lattice (`lattices.diagonal`).
"""

import os
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from jaxepi.datasets.born import read_born
from jaxepi.errors import InputError
from jaxepi.files import whole
from jaxepi.sampling.finite_displacements import HARMONIC
from jaxepi.sampling.lattices import diagonal
from jaxepi.sampling.polar import Polar, checked, from_born, note_excess
from jaxepi.structure import Structure
from jaxepi.units import COULOMB

YAML = ("phonopy_params.yaml", "phonopy.yaml", "phonopy_disp.yaml")
"""Files that say which crystal it is, the most complete first."""

CONSTANTS = ("FORCE_CONSTANTS", "force_constants.hdf5")
FORCES = ("FORCE_SETS",)
"""Files of numbers alone, in the order in which phonopy looks for them."""


class Read(NamedTuple):
    """What phonopy's files hold.

    Attributes:
        supercell: repeats of a base cell. matrix: as of `ForceConstants`, eV/angstrom^2. polar: charges, or None.
        masses: of the base cell's atoms, amu. primitive: cell, as phonopy has it. files: that were read.
    """

    supercell: Structure
    matrix: Float[np.ndarray, "b 3 r b 3"]
    polar: Polar | None
    masses: Float[np.ndarray, " b"]
    primitive: Structure
    files: tuple[Path, ...]


def phonopy() -> Any:
    """The package.

    Raises:
        InputError: it is not installed.
    """
    try:
        import phonopy as package
    except ImportError:
        raise InputError("phonopy's files are read by phonopy: pip install 'jaxepi[phonopy]'") from None
    return package


def is_phonopy(path: str | os.PathLike) -> bool:
    """Whether a name is that of a file that phonopy writes."""
    return _numbers_alone(Path(path)) or Path(path).name.endswith((".yaml", ".yml", ".yaml.xz", ".yaml.gz"))


def _numbers_alone(path: Path) -> bool:
    """Whether a file holds forces or force constants, and not the crystal that they are of."""
    return path.name.startswith(("FORCE_CONSTANTS", "FORCE_SETS")) or path.suffix == ".hdf5"


def read(path: str | os.PathLike, born: str | os.PathLike | None = None) -> Read:
    """Force constants of a file, made of its forces where it has none.

    Args:
        path: phonopy_params.yaml and its like, with FORCE_CONSTANTS, force_constants.hdf5 or FORCE_SETS beside it where it
            has neither constants nor forces itself; or one of these, with the yaml file beside it. born: a BORN file; that
            beside the yaml file, when left out and it has no charges itself.

    Raises:
        InputError: phonopy is not installed; files that are missing, damaged or of different crystals, by name.
    """
    described, numbers = _pair(Path(path))
    header = _header(described)
    numbers = numbers or _beside(described, header)
    options: dict[str, Any] = {"is_nac": False, "log_level": 0}
    if numbers is not None:
        kind = "force_sets_filename" if numbers.name.startswith("FORCE_SETS") else "force_constants_filename"
        options[kind] = numbers
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of defaults that are none here, and of its own coming versions
            found = phonopy().load(described, **options)
    except Exception as error:
        raise InputError(f"{numbers or described} does not fit {described} ({_reason(error)})") from error
    if found.force_constants is None:
        raise InputError(f"{numbers or described}: phonopy makes no force constants of it; are its forces complete?")
    _warn_of_large_displacements(found, numbers or described)
    given = header.nac_params
    supercell, matrix, base = _laid_out(found, numbers or described)
    polar, charged = _charges(given, described, born, base)
    files = tuple(p for p in (described, numbers, charged) if p is not None)
    primitive = _structure(found.primitive, found.calculator)
    masses = np.asarray(found.primitive.masses, dtype=float)
    return Read(supercell, matrix, polar, masses, primitive, tuple(dict.fromkeys(files)))


def unit_cell(path: str | os.PathLike) -> Structure:
    """The crystal of a file, as its unit cell.

    Raises:
        InputError: phonopy is not installed, or a file that is not one of its own.
    """
    described, _ = _pair(Path(path))
    header = _header(described)
    return _structure(header.unitcell, header.calculator)


def _header(described: Path) -> Any:
    """What phonopy's reader finds in a yaml file."""
    phonopy()
    try:
        from phonopy.interface.phonopy_yaml import PhonopyYaml

        header = PhonopyYaml()
        header.read(described)
    except OSError:
        raise
    except Exception as error:  # phonopy and its YAML reader raise whatever they meet
        raise InputError(f"{described} cannot be read as a phonopy file ({_reason(error)})") from error
    if header.unitcell is None:
        raise InputError(f"{described} holds no crystal: give phonopy.yaml, phonopy_params.yaml or phonopy_disp.yaml")
    return header


def _pair(path: Path) -> tuple[Path, Path | None]:
    """The file that describes the crystal, and the one with its numbers where that was given."""
    with path.open("rb"):
        pass  # what the system refuses is not a matter of its format
    if not _numbers_alone(path):
        return path, None
    for name in YAML:
        if (path.parent / name).is_file():
            return path.parent / name, path
    raise InputError(
        f"{path} holds numbers, and not of which crystal: put one of {', '.join(YAML)} beside it, which phonopy wrote with it"
    )


def _beside(described: Path, header: Any) -> Path | None:
    """Where the numbers are that a yaml file has not itself."""
    dataset = header.dataset or {}
    if header.force_constants is not None or any("forces" in one for one in (dataset, *dataset.get("first_atoms", ()))):
        return None
    for name in (*CONSTANTS, *FORCES):
        if (described.parent / name).is_file():
            return described.parent / name
    raise InputError(
        f"{described} has neither force constants nor forces, and none of {', '.join((*CONSTANTS, *FORCES))} stands beside it: "
        "put one there, or give a file that phonopy saved with them (phonopy_params.yaml)"
    )


def _units(calculator: str | None) -> tuple[float, float]:
    """Angstrom of the file's unit of length, eV/angstrom^2 of its unit of force constants."""
    from phonopy.physical_units import get_calculator_physical_units

    own, ours = get_calculator_physical_units(calculator), get_calculator_physical_units("vasp")
    return float(own.distance_to_A), float(own.factor / ours.factor) ** 2


def _structure(cell: Any, calculator: str | None) -> Structure:
    length = _units(calculator)[0]
    numbers = [int(z) for z in cell.numbers]
    return Structure.create(cell.positions * length, cell.cell * length, numbers)


def _laid_out(found: Any, name: Path) -> tuple[Structure, np.ndarray, Structure]:
    """Supercell and matrix, base cell by base cell; the base cell, whose atoms are phonopy's primitive ones."""
    length, stiffness = _units(found.calculator)
    supercell, primitive = found.supercell, found.primitive
    rows = np.asarray(primitive.p2s_map)
    lattice, cell = primitive.cell * length, supercell.cell * length
    matrix = np.rint(cell @ np.linalg.inv(lattice)).astype(int)
    if np.linalg.det(matrix) < 0 or np.linalg.det(lattice) < 0:
        raise InputError(f"{name}: the cell of phonopy's file is left-handed; swap two of its lattice vectors")
    _, counts, right = diagonal(matrix)
    lattice = np.linalg.inv(right) @ lattice
    x = supercell.positions * length
    parent = _parents(primitive)
    cells = np.rint((x - x[rows][parent]) @ np.linalg.inv(lattice)).astype(int) % counts
    order = np.ravel_multi_index(tuple(cells.T), counts) * len(rows) + parent
    if not np.array_equal(np.sort(order), np.arange(len(x))):
        raise InputError(f"{name}: its supercell is no repetition of its primitive cell")
    constants = np.asarray(found.force_constants)
    if constants.shape not in ((len(rows), len(x), 3, 3), (len(x), len(x), 3, 3)):
        raise InputError(
            f"{name} does not fit its phonopy.yaml: force constants of shape {constants.shape[:2]} for {len(x)} atoms of the "
            f"supercell and {len(rows)} of the primitive cell"
        )
    if constants.shape[0] != len(rows):
        constants = constants[rows]
    if not np.isfinite(constants).all():
        raise InputError(f"{name}: NaN or infinity among the force constants")
    laid = np.empty_like(constants)
    laid[:, order] = constants * stiffness
    b = len(rows)
    laid = laid.reshape(b, -1, b, 3, 3).transpose(0, 3, 1, 2, 4)
    species = [int(z) for z in np.asarray(supercell.numbers)[rows]]
    base = Structure.create(x[rows], lattice, species)
    return base.supercell(counts), laid, base


def _parents(primitive: Any) -> np.ndarray:
    """Of each atom of the supercell, the place of its atom in the primitive cell."""
    place = {int(row): n for n, row in enumerate(primitive.p2s_map)}
    return np.array([place[int(s)] for s in primitive.s2p_map])


def _charges(given: Any, described: Path, born: Any, base: Structure) -> tuple[Polar | None, Path | None]:
    """Charges: of the BORN file that is named, else of the yaml file, else of the BORN file beside it."""
    beside = described.parent / "BORN"
    path = Path(born) if born is not None else beside if given is None and beside.is_file() else None
    if path is not None:
        polar, off = from_born(read_born(path), base, str(path))
    elif given is not None:
        polar, off = checked(given["born"], given["dielectric"], base, str(described))
    else:
        return None, None
    note_excess(str(path or described), off, len(base))
    return polar, path


def _warn_of_large_displacements(found: Any, name: Path) -> None:
    dataset = found.dataset or {}
    moved = [one["displacement"] for one in dataset.get("first_atoms", ())]
    moved = moved or dataset.get("displacements", ())
    if len(moved) == 0:
        return
    largest = float(np.linalg.norm(np.asarray(moved, dtype=float), axis=-1).max()) * _units(found.calculator)[0]
    if largest > HARMONIC:
        warnings.warn(
            f"{name}: atoms were displaced by up to {largest:.3f} angstrom; beyond {HARMONIC:g} forces are hardly harmonic, "
            "and frequencies may be off",
            stacklevel=3,
        )


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__


def write(
    path: str | os.PathLike,
    base: Structure,
    repeats: tuple[int, int, int],
    matrix: np.ndarray,
    masses: np.ndarray,
    polar: Polar | None,
    made_by: str = "",
) -> None:
    """A phonopy_params.yaml with force constants, compact, and charges where there are some.

    Args:
        base, repeats, matrix, masses, polar: as of `handed`. made_by: first line, a comment.

    Raises:
        InputError: phonopy is not installed. OSError: the file cannot be written.
    """
    own = handed(base, repeats, matrix, masses, polar)
    with whole(path) as temporary:
        own.save(temporary, settings={"force_constants": True, "force_sets": False, "displacements": False})
        temporary.write_text(f"# {made_by or 'jaxepi'}\n{temporary.read_text()}")


def handed(
    base: Structure,
    repeats: tuple[int, int, int],
    matrix: np.ndarray,
    masses: np.ndarray,
    polar: Polar | None,
) -> Any:
    """Force constants as phonopy's own object, compact, and charges where there are some.

    Args:
        base: the cell that `repeats` make the supercell of, which phonopy then takes as primitive. matrix: of
            `ForceConstants`. masses: amu.

    Raises:
        InputError: phonopy is not installed.
    """
    package = phonopy()
    atoms = package.structure.atoms.PhonopyAtoms(
        numbers=list(base.species),
        positions=np.asarray(base.positions, dtype=float),
        cell=np.asarray(base.cell, dtype=float),
        masses=np.asarray(masses, dtype=float),
    )
    own = package.Phonopy(atoms, np.diag(repeats), primitive_matrix="P", log_level=0)
    lattice, b = np.asarray(base.cell, dtype=float), len(base)
    parent = _parents(own.primitive)
    x = own.supercell.positions
    cells = np.rint((x - np.asarray(base.positions, dtype=float)[parent]) @ np.linalg.inv(lattice)).astype(int)
    order = np.ravel_multi_index(tuple((cells % np.asarray(repeats)).T), tuple(repeats)) * b + parent
    laid = np.asarray(matrix, dtype=float).transpose(0, 2, 3, 1, 4).reshape(b, -1, 3, 3)
    own.force_constants = np.ascontiguousarray(laid[:, order])
    if polar is not None:
        charges, dielectric = (np.asarray(value, dtype=float) for value in (polar.charges, polar.dielectric))
        own.nac_params = {"born": charges, "dielectric": dielectric, "factor": COULOMB}
    return own
