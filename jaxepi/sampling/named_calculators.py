"""ASE calculators by name, as the command line gives them.

Flows in: a name of ASE's, a function or class of an installed module or of a file, and options. Flows out: the calculator.
Making one runs the code that is named, as a script would.
"""

import hashlib
import importlib
import importlib.util
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxepi.errors import InputError, shown

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


def hashes(name: str | None) -> dict[str, str]:
    """For `results.provenance`: what the Python file holds that makes a calculator, where it is one."""
    place = Path((name or "").rpartition(":")[0])
    if place.suffix != ".py" or not place.is_file():
        return {}
    return {"calculator_hash": hashlib.sha256(place.read_bytes()).hexdigest()}


def calculator(name: str, options: Sequence[str] = ()) -> "Calculator":
    """A calculator.

    Args:
        name: as ASE calls it ("emt", "espresso", "mace_mp"), "module:attribute" of what is installed, or "file.py:attribute";
            the attribute is a class or function that makes a calculator, or one that is made.
        options: keyword arguments, "name=value"; values are read as TOML does (numbers, true, lists, tables), else as text.

    Raises:
        InputError: nothing of that name, options that are none, or whatever goes wrong when it is made.
    """
    from ase.calculators.abc import GetPropertiesMixin

    found, given = _named(name), _options(options)
    made = isinstance(found, GetPropertiesMixin)
    if made and given:
        raise InputError(f"calculator {name} is made already; leave its options out, or name what makes it")
    if not made:
        try:
            found = found(**given)
        except Exception as error:  # whatever a calculator of others raises
            told = f"{type(error).__name__}: {error}"
            raise InputError(f"calculator {name} cannot be made with {given or 'no options'}: {told}") from error
    if not isinstance(found, GetPropertiesMixin):
        raise InputError(f"calculator {name} makes {type(found).__name__}, which is no calculator of ASE")
    return found  # type: ignore[return-value]


def _named(name: str) -> Any:
    """What a name stands for."""
    place, colon, attribute = name.rpartition(":")
    if not colon:
        return _of_ase(name)
    try:
        module = _file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:  # whatever the code of others raises
        told = f"{type(error).__name__}: {error}"
        raise InputError(f"calculator {shown(name)}: {shown(place)} cannot be imported ({told})") from error
    if attribute not in vars(module):
        raise InputError(
            f"calculator {shown(name)}: {place} has no {shown(attribute)}; give the name of what makes one"
        )
    return vars(module)[attribute]


def _of_ase(name: str) -> Any:
    from ase.calculators.calculator import get_calculator_class

    try:
        return get_calculator_class(name)
    except Exception as error:  # whatever the code of others raises
        raise InputError(
            f"calculator {shown(name)}: ASE has none of that name, or what it needs is not installed ({error}); give one that "
            "it has (emt, espresso, vasp, mace_mp), module:class or file.py:function"
        ) from error


def _file(path: Path) -> Any:
    """A Python file as a module."""
    if not path.is_file():
        raise FileNotFoundError("there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _options(options: Sequence[str]) -> dict[str, Any]:
    found = {}
    for option in options:
        name, equals, text = option.partition("=")
        if not equals or not name.isidentifier():
            raise InputError(f"calculator option {shown(option)}: give name=value, as in model=small")
        try:
            found[name] = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = text
    return found
