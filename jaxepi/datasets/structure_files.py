"""Structures from files: whatever ASE reads, and CIF files by the rules of `datasets.cif`."""

import os
from typing import Any

from jaxepi.datasets.cif import read_cif
from jaxepi.errors import InputError
from jaxepi.structure import Structure


def read_structure(path: str | os.PathLike) -> Structure:
    """The structure of a file (the last one, where it holds several).

    Raises:
        InputError: a file that cannot be read, or a structure that makes no sense; names the file.
        OSError: there is no file, or it may not be read.
    """
    import ase.io
    from ase.io.formats import filetype

    with open(path, "rb"):
        pass  # what the system refuses is not a matter of its format
    try:
        atoms: Any = read_cif(path) if filetype(os.fspath(path)) == "cif" else ase.io.read(os.fspath(path))
        return Structure.from_ase(atoms)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # ASE's readers raise whatever their parsers meet
        reason = str(error) or type(error).__name__
        raise InputError(f"{path} cannot be read as a structure ({reason}); give a file that ASE reads") from error
