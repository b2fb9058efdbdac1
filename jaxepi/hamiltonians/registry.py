"""Hamiltonians of every kind by name or file: published Slater-Koster sets, learned models, H(R) of Wannier90."""

from pathlib import Path

from jaxepi.errors import InputError
from jaxepi.guards import warn_of_single_precision
from jaxepi.hamiltonians import parameter_files
from jaxepi.hamiltonians.base import Hamiltonian
from jaxepi.hamiltonians.parameter_files import sets

CHECKPOINT, WANNIER = ".npz", ("_hr.dat", "_tb.dat")
"""How names of files of learned models and of Wannier90 end."""

_MODELS = Path(__file__).parent / "models"


def available() -> list[str]:
    """Names of the shipped sets and models."""
    return sorted([*sets(), *(file.stem for file in _MODELS.glob(f"*{CHECKPOINT}"))])


def citation(name_or_path: str | Path) -> str:
    """Where a set or model comes from.

    Raises:
        InputError: as `load`.
    """
    kind, name = _kind(name_or_path)
    if kind in WANNIER:
        return f"Wannier functions of {Path(name).name}"
    if kind == CHECKPOINT:
        from jaxepi.checkpoint import read_checkpoint

        return str(read_checkpoint(name).card.get("citation", "no citation"))
    return parameter_files.read(name)["citation"]


def load(name_or_path: str | Path, spin_orbit: bool = False) -> Hamiltonian:
    """A Hamiltonian, by shipped name (`available()`), from a parameter file or a Slater-Koster model of DeePTB (.json), a
    learned checkpoint (.npz), or H(R) of Wannier90 (_hr.dat or _tb.dat; see `wannier.read`).

    Args:
        spin_orbit: use the spinor basis with the set's spin-orbit couplings.

    Raises:
        InputError: an unknown name, a file that cannot be read or used, or a model without spin-orbit couplings when
            they are asked for.
    """
    kind, name = _kind(name_or_path)
    warn_of_single_precision(name_or_path)
    if kind in WANNIER:
        from jaxepi.hamiltonians import wannier

        if spin_orbit:
            raise InputError(f"{name}: H(R) of a file has its spin-orbit coupling or none; load it without spin_orbit")
        return wannier.read(name)
    if kind == CHECKPOINT:
        found = _checkpoint(name)
        return found.with_spin_orbit() if spin_orbit else found
    return parameter_files.load(name, spin_orbit)


def _checkpoint(path: str) -> Hamiltonian:
    """A learned model, whose file says of which kind it is."""
    from jaxepi.checkpoint import read_checkpoint
    from jaxepi.hamiltonians import e3, learned

    model = read_checkpoint(path, "hamiltonian").config.get("model")
    kind = model.get("kind") if isinstance(model, dict) else None
    return (e3 if kind == "equivariant" else learned).read(path)[0]


def _kind(name_or_path: str | Path) -> tuple[str, str]:
    """What a name means: how the names of such files end, and its file (for a published set, its name).

    Raises:
        InputError: neither a shipped name nor the name of a file of a known kind.
    """
    name = str(name_or_path)
    if name in sets():
        return parameter_files.ENDING, name
    shipped = _MODELS / f"{name}{CHECKPOINT}"
    if shipped.is_file():
        return CHECKPOINT, str(shipped)
    endings = (*WANNIER, CHECKPOINT, parameter_files.ENDING)
    for ending in endings:
        if name.endswith(ending):
            return ending, name
    if name.endswith(".pth"):
        raise InputError(
            f"{name} is a file of torch, which is not unpickled here: convert a model of DeePTB with python "
            f"scripts/convert_deeptb.py {name} model.json where dptb is installed"
        )
    raise InputError(
        f"no Hamiltonian {name!r}; shipped are {', '.join(available())}, or give a {' or '.join(endings)} file"
    )
