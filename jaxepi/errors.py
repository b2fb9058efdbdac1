"""The one exception for input that cannot be used. Its message names the value and the remedy."""

import difflib
import math
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """Input that jaxepi refuses; the command line prints the message and exits with status 2."""


def refuse_unknown(given: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse keys that are not known.

    Args:
        where: begins the message.

    Raises:
        InputError: names the key and the nearest known one, or all.
    """
    names = list(known)
    for key in given:
        if key not in names:
            near = difflib.get_close_matches(key, names, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(names)}"
            raise InputError(f"{where}: unknown key {key!r}; {hint}")


def whole_number(value: Any, where: str, least: int = 1) -> int:
    """A value as an integer: Python's or NumPy's, or a float without a fraction.

    Args:
        where: begins the message. least: smallest value that is taken.

    Raises:
        InputError: anything else, or less than `least`.
    """
    try:
        number = float(value)
        if isinstance(value, bool | str) or not math.isfinite(number) or number != int(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{where}: {value!r} is not a whole number") from None
    if number < least:
        raise InputError(f"{where}: {int(number)} is less than {least}")
    return int(value)


def shown(value: Any) -> str:
    """A value in a message, shortened where it is long."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**30:
        return f"of {math.log10(abs(value)):.0f} digits"
    if isinstance(value, list | tuple) and value and all(isinstance(v, int | float) for v in value):
        return shown_words(" ".join(shown(v) for v in value[:50]))
    try:
        return shown_words(repr(value))
    except (ValueError, RecursionError):
        return f"of type {type(value).__name__}"


def shown_words(text: str, most: int = 200) -> str:
    """A text in one line of at most so many letters."""
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 4]} ..."
